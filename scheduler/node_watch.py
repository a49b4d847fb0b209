"""News of nodes for guests (`luna::node`): who subscribed, and the messages they get.

Owns the subscribers, and which nodes are up as they were told. What a cluster is, the node knows: it calls
`up` and `down`, and gives the names. In a runtime without a cluster nothing ever happens. For one trio
thread.

A message is a record of fixed little-endian fields and a name:

    0   u32  1 the node is up, 2 it is down
    4   u32  0, or why it is down: 1 it left, 2 it was declared dead
    8   u64  its node id
    16  u32  bytes of its name
    20       the name, UTF-8
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Final, Protocol, final

from luna.proto.limits import MAX_NAME_LENGTH
from luna.scheduler.requests import GuestTrap, Request

__all__ = ["Downfall", "NodeNames", "NodeWatch"]

UP, DOWN = 1, 2
UNKNOWN: Final = -1
NO_NODE: Final = 0

MAX_ASKED_NAME_BYTES: Final = 4 * MAX_NAME_LENGTH
"""bytes of a node's name that a guest looks for: the characters of one, at four bytes each."""

_NAMESPACE: Final = "luna::node"
_RECORD: Final = struct.Struct("<IIQI")
_U32: Final = 0xFFFF_FFFF


class Downfall(IntEnum):
    """Why a node is down; the numbers are the guest interface's."""

    LEFT = 1
    """It said goodbye."""
    LOST = 2
    """It was declared dead: it crashed, froze or was cut off, or misbehaved."""


class NodeNames(Protocol):
    """What a cluster knows of names."""

    def name_of(self, node_id: int) -> str | None:
        """The name of a node that is a member or was one lately, this one included."""

    def find(self, name: str) -> int | None:
        """The id of the live member of that name, this node included."""


@final
class NodeWatch:
    """The subscribers of one runtime."""

    def __init__(self, send: Callable[[int, int, bytes], object]) -> None:
        """`send(pid, tag, data)` sends a message to a process of this runtime."""
        self._send = send
        self._tags: dict[int, int] = {}  # by pid of the subscriber
        self._up: dict[int, str] = {}  # names by node id
        self._names: NodeNames | None = None

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve these host calls."""
        set_handler(_NAMESPACE, "subscribe", self._on_subscribe)
        set_handler(_NAMESPACE, "unsubscribe", self._on_unsubscribe)
        set_handler(_NAMESPACE, "name", self._on_name)
        set_handler(_NAMESPACE, "find", self._on_find)

    # -- for the node ---------------------------------------------------------------

    def connect(self, names: NodeNames) -> None:
        """Answer questions about names from a cluster."""
        self._names = names

    def up(self, node_id: int, name: str) -> None:
        """A session with a node began.

        To be called when the core knows it, and before anything that it sends is delivered.
        """
        self._up[node_id] = name
        self._tell(_record(UP, 0, node_id, name))

    def down(self, node_id: int, why: Downfall) -> None:
        """It is over.

        To be called when the core has ended it: then nothing of it comes behind this news.
        """
        name = self._up.pop(node_id, None)
        if name is not None:
            self._tell(_record(DOWN, why, node_id, name))

    def ended(self, pid: int) -> None:
        """A process has ended, and its subscription with it."""
        self._tags.pop(pid, None)

    def _tell(self, record: bytes) -> None:
        for pid, tag in self._tags.items():
            self._send(pid, tag, record)

    # -- host calls -------------------------------------------------------------------

    def _on_subscribe(self, request: Request) -> None:
        (tag,) = map(int, request.args)
        request.native.own()  # its end will be told
        self._tags[request.pid] = tag
        for node_id, name in self._up.items():
            self._send(request.pid, tag, _record(UP, 0, node_id, name))

    def _on_unsubscribe(self, request: Request) -> None:
        self._tags.pop(request.pid, None)

    def _on_name(self, request: Request) -> int:
        node_id, pointer, capacity = map(int, request.args)
        name = self._names.name_of(node_id) if self._names is not None else None
        if name is None:
            request.check(pointer, 0)
            return UNKNOWN
        data = name.encode()
        request.write(pointer, data[: capacity & _U32])
        return len(data)

    def _on_find(self, request: Request) -> int:
        pointer, size = map(int, request.args)
        if size & _U32 > MAX_ASKED_NAME_BYTES:
            raise GuestTrap(f"{request.full_name}: a node's name has at most {MAX_ASKED_NAME_BYTES} bytes")
        name = request.read_text(pointer, size)
        found = self._names.find(name) if self._names is not None else None
        return NO_NODE if found is None else found


def _record(kind: int, reason: int, node_id: int, name: str) -> bytes:
    text = name.encode()
    return _RECORD.pack(kind, reason, node_id, len(text)) + text
