"""Identity: node ids, process ids, node names, and how people read and write them.

A process id is absolute: `node id << 40 | serial`, positive as a signed 64-bit integer, since
guests carry ids inside payloads that nobody can translate. Node ids are drawn anew at every start
of a node, so an id of a dead incarnation never reaches a new process. Node id 0 is a runtime
without a cluster. Everything here is a pure function.
"""

from __future__ import annotations

import re
from collections.abc import Container
from random import Random

from luna.proto.errors import InvalidError
from luna.proto.limits import MAX_NAME_LENGTH

NODE_ID_BITS = 23
SERIAL_BITS = 40
MAX_NODE_ID = (1 << NODE_ID_BITS) - 1
MAX_SERIAL = (1 << SERIAL_BITS) - 1
LOCAL_NODE_ID = 0  # a runtime without a cluster: its pids are plain serials

# Letters, digits, - and _, beginning and ending with a letter or digit: usable as a DNS label, a
# file name and the part of a pid behind the @. `\Z` and not `$`, which allows a newline behind.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?\Z")
_SERIAL = re.compile(r"[0-9]{1,13}\Z")  # 2**40 - 1 has 13 digits


def make_pid(node_id: int, serial: int) -> int:
    """The absolute process id of `serial` (1 .. 2**40-1) on node `node_id` (0 .. 2**23-1).

    Raises InvalidError if either is out of range.
    """
    if not 0 <= node_id <= MAX_NODE_ID:
        raise InvalidError(f"node id {node_id} is not in 0..{MAX_NODE_ID}")
    if not 1 <= serial <= MAX_SERIAL:
        raise InvalidError(f"process serial {serial} is not in 1..{MAX_SERIAL}")
    return node_id << SERIAL_BITS | serial


def node_of(pid: int) -> int:
    """The node id inside `pid`."""
    return pid >> SERIAL_BITS


def serial_of(pid: int) -> int:
    """The serial inside `pid`."""
    return pid & MAX_SERIAL


def is_node_id(node_id: int) -> bool:
    """Whether a member of a cluster may have this id (1 .. 2**23-1)."""
    return 1 <= node_id <= MAX_NODE_ID


def draw_node_id(random: Random, taken: Container[int] = ()) -> int:
    """A random node id in 1 .. 2**23-1 that is not in `taken`.

    `taken` holds at most a few thousand of the eight million ids, so drawing again ends soon.
    """
    while True:
        node_id = random.randint(1, MAX_NODE_ID)
        if node_id not in taken:
            return node_id


def format_pid(pid: int, node_name: str) -> str:
    """`SERIAL@NODE`, the form of a pid that people read and type."""
    return f"{serial_of(pid)}@{node_name}"


def parse_pid(text: str) -> tuple[int, str]:
    """(serial, node name) of a pid written as `SERIAL@NODE`.

    Raises InvalidError if `text` is anything else.
    """
    serial_text, at, name = text.partition("@")
    if not at or not _SERIAL.match(serial_text) or not is_name(name):
        raise InvalidError(
            f"{text!r} is not a process id", hint="write it as SERIAL@NODE, for example 17@alpha"
        )
    serial = int(serial_text)
    if not 1 <= serial <= MAX_SERIAL:
        raise InvalidError(f"process serial {serial} is not in 1..{MAX_SERIAL}", hint="see `luna ps`")
    return serial, name


def is_name(text: str) -> bool:
    """Whether `text` may name a node or a cluster (see `check_name`)."""
    return len(text) <= MAX_NAME_LENGTH and _NAME.match(text) is not None


def check_name(text: str, what: str = "node name") -> str:
    """`text` itself if it may name a node or a cluster; `what` says which, for the error.

    Raises InvalidError otherwise. Names are compared exactly, upper and lower case apart.
    """
    if not is_name(text):
        raise InvalidError(
            f"{text!r} is not a valid {what}",
            hint=f"use 1 to {MAX_NAME_LENGTH} letters, digits, - and _, with a letter or digit at both ends",
        )
    return text


def name_from_host(host_name: str) -> str:
    """A valid node name made of a machine's host name: its first label, other characters as `-`.

    `node` if nothing usable is left.
    """
    label = re.sub(r"[^A-Za-z0-9_-]", "-", host_name.partition(".")[0])[:MAX_NAME_LENGTH].strip("-_")
    return label or "node"
