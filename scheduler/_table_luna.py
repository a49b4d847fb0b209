"""Rows of the `luna::` namespaces: what Lunatic has nothing like."""

from __future__ import annotations

from typing import Final

from luna.scheduler._hostcall import HostCall, Rows, Where

_message = Rows("luna::message", Where.NATIVE)
_distributed = Rows("luna::distributed", Where.NATIVE)
_node = Rows("luna::node", Where.REQUEST)
_group = Rows("luna::group", Where.REQUEST)

_NAME = "out of bounds; not UTF-8; a name of more than 255 bytes"

_MESSAGE = (
    _message(
        "exit_reason",
        "-> i32",
        "How the process ended that the scratch, a LinkDied or ProcessDied, tells of: 0 normally, 1 it "
        "failed, 2 it was killed, 3 it died of a link, 4 there was no such process, 5 its node is gone; -1 "
        "of any other scratch.",
        traps="no scratch",
    ),
    _message(
        "exit_code",
        "-> i32",
        "The exit code of that process: 0 of a normal end, else what it exited with, or 1; 0 where there is "
        "none.",
        traps="no scratch",
    ),
    _message(
        "exit_text",
        "text:out text_len:len -> i32",
        "Writes up to text_len bytes of why it ended, a line of at most 256; returns how many there are. "
        "None of a normal end, nor of a process that was not there or whose node is gone.",
        traps="no scratch; out of bounds",
    ),
)

_DISTRIBUTED = (
    _distributed(
        "spawn_monitored",
        "link_tag:i64 node:i64 config:i64 module:i64 entry:in entry_len:len params:in params_len:len "
        "id:out64 -> i32",
        "As lunatic::distributed::spawn, of a child that the caller monitors and, unless the tag is 0, is "
        "linked to from its birth on: its end comes as a ProcessDied, however soon.",
        traps="spawning not permitted; no cluster; unknown config; malformed params; out of bounds; "
        "not UTF-8",
        suspends=True,
    ),
)

_NODE = (
    _node(
        "subscribe",
        "tag:i64",
        "From now on the caller gets a data message with this tag for each other node that comes up or goes "
        "down; first, before this returns, one for each that is up. Subscribing again changes the tag, and "
        "sends those that are up again. The message: u32 kind (1 up, 2 down), u32 reason (of a down: 1 it "
        "left, 2 it was declared dead), u64 node id, u32 length of the name, the name; little endian.",
    ),
    _node(
        "unsubscribe",
        "",
        "No more news of nodes; those already sent stay in the mailbox.",
    ),
    _node(
        "name",
        "node:i64 name:out name_len:len -> i32",
        "Writes up to name_len bytes of a node's name, this node's included; returns how long it is. -1: no "
        "member has that id, or had it lately.",
        traps="out of bounds",
    ),
    _node(
        "find",
        "name:in name_len:len -> i64",
        "The id of the live node of that name, this one included; 0 if there is none.",
        traps="out of bounds; not UTF-8; a name of more than 252 bytes",
    ),
)

_GROUP = (
    _group(
        "join",
        "name:in name_len:len -> i32",
        "Makes the caller a member of a group of its environment, on all nodes: 0 it joined, 1 it was one "
        "already, 2 a limit is reached. It leaves when it ends.",
        traps=_NAME,
    ),
    _group(
        "leave",
        "name:in name_len:len -> i32",
        "Makes the caller a member no more: 0 it left, 1 it was none.",
        traps=_NAME,
    ),
    _group(
        "members",
        "name:in name_len:len members:out members_len:len -> i32",
        "Writes up to members_len 64-bit process ids of members; returns how many there are, which may be "
        "more.",
        traps=_NAME,
    ),
    _group(
        "broadcast",
        "name:in name_len:len -> i32",
        "Sends a copy of the scratch, which is empty afterwards, to each member, also to the caller if it is "
        "one; returns to how many.",
        traps=f"no scratch; one that is not plain data of at most 16 MiB; {_NAME}",
        suspends=True,
        where=Where.NATIVE,
    ),
)

ROWS: Final[tuple[HostCall, ...]] = (*_MESSAGE, *_DISTRIBUTED, *_NODE, *_GROUP)
