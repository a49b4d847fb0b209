"""Rows of `lunatic::message`, `lunatic::error`, `lunatic::timer` and `lunatic::registry`.

Every process has one scratch message: it is built or received there, then read or sent.
"""

from __future__ import annotations

from typing import Final

from luna.scheduler._hostcall import HostCall, Rows, Where

_message = Rows("lunatic::message", Where.NATIVE)
_error = Rows("lunatic::error", Where.NATIVE)
_timer = Rows("lunatic::timer", Where.NATIVE)
_registry = Rows("lunatic::registry", Where.NATIVE)

_NO_DATA = "no scratch; scratch is not a data message"
_UNSENDABLE = "no scratch; for another node, a scratch that cannot go there (as `send`)"

_ANY_NODE = "Also for processes of other nodes."
_CANNOT_TRAVEL = "1 the scratch cannot go to another node, and is lost"
_TO_ANOTHER_NODE = (
    "To another node go data and up to 64 modules, no sockets and no notice of a death; who fills the queue "
    "to it waits."
)
_RESOURCES = "At most 4096 resources in a message."

ROWS: Final[tuple[HostCall, ...]] = (
    _message(
        "create_data",
        "tag:i64 capacity:i64",
        "Makes an empty data message the scratch; tag 0 is no tag, the capacity in bytes is a hint.",
        departs="An absurd capacity is only a hint; in Lunatic it may end the host.",
    ),
    _message(
        "write_data",
        "data:in data_len:len -> i32",
        "Appends bytes to the scratch; returns data_len.",
        traps=f"{_NO_DATA}; out of bounds; message too large",
        departs="A message holds at most 256 MiB; Lunatic has no limit.",
    ),
    _message(
        "read_data",
        "data:out data_len:len -> i32",
        "Copies up to data_len bytes from the read offset and advances it; returns how many, 0 at the end.",
        traps=f"{_NO_DATA}; out of bounds; read offset beyond the end",
    ),
    _message(
        "seek_data",
        "offset:i64",
        "Sets the read offset, in bytes from the start of the scratch.",
        traps=_NO_DATA,
    ),
    _message("get_tag", "-> i64", "The tag of the scratch, 0 when it has none.", traps="no scratch"),
    _message(
        "get_process_id",
        "-> i64",
        "The process that died when the scratch is a ProcessDied, else 0.",
        traps="no scratch",
    ),
    _message("data_size", "-> i64", "Length of the whole scratch in bytes.", traps=_NO_DATA),
    _message(
        "push_module",
        "module:i64 -> i64",
        "Adds a module to the scratch, keeping it here too; returns its index in the message.",
        traps=f"unknown module; {_NO_DATA}",
        departs=_RESOURCES,
    ),
    _message(
        "take_module",
        "index:i64 -> i64",
        "Takes a module out of the scratch; returns its new id in this process.",
        traps="unknown index, already taken or of another kind; one of another node that cannot be had; "
        f"{_NO_DATA}",
        suspends=True,
        departs="One that came from another node may have to be fetched from there, and stays in the message "
        "if that fails.",
    ),
    _message(
        "push_tcp_stream",
        "stream:i64 -> i64",
        "Moves a TCP stream into the scratch; returns its index in the message.",
        traps=f"unknown stream; {_NO_DATA}",
        where=Where.REQUEST,
        departs=_RESOURCES,
    ),
    _message(
        "take_tcp_stream",
        "index:i64 -> i64",
        "Takes a TCP stream out of the scratch; returns its new id in this process.",
        traps=f"unknown index, already taken or of another kind; {_NO_DATA}",
        where=Where.REQUEST,
    ),
    _message(
        "push_tls_stream",
        "stream:i64 -> i64",
        "Moves a TLS stream into the scratch; returns its index in the message.",
        traps=f"unknown stream; {_NO_DATA}",
        where=Where.REQUEST,
        departs=_RESOURCES,
    ),
    _message(
        "take_tls_stream",
        "index:i64 -> i64",
        "Takes a TLS stream out of the scratch; returns its new id in this process.",
        traps=f"unknown index, already taken or of another kind; {_NO_DATA}",
        where=Where.REQUEST,
    ),
    _message(
        "push_udp_socket",
        "socket:i64 -> i64",
        "Moves a UDP socket into the scratch; returns its index in the message.",
        traps=f"unknown socket; {_NO_DATA}",
        where=Where.REQUEST,
        departs=_RESOURCES,
    ),
    _message(
        "take_udp_socket",
        "index:i64 -> i64",
        "Takes a UDP socket out of the scratch; returns its new id in this process.",
        traps=f"unknown index, already taken or of another kind; {_NO_DATA}",
        where=Where.REQUEST,
    ),
    _message(
        "send",
        "process:i64 -> i32",
        f"Sends the scratch, which is empty afterwards: 0, or {_CANNOT_TRAVEL}. A dead target is silent.",
        traps="no scratch",
        departs=f"{_ANY_NODE} {_TO_ANOTHER_NODE} A process with more than 1 GiB of unread messages is ended.",
    ),
    _message(
        "send_receive_skip_search",
        "process:i64 wait_tag:i64 timeout_ms:i64 -> i32",
        "Sends the scratch and waits for a later message with wait_tag, not looking at queued ones: "
        f"0 it is the scratch now, {_CANNOT_TRAVEL}, 9027 timeout (-1 waits for ever).",
        traps="no scratch",
        suspends=True,
        departs=f"{_ANY_NODE} {_TO_ANOTHER_NODE}",
    ),
    _message(
        "receive",
        "tags:in tags_len:len timeout_ms:i64 -> i32",
        "Waits for a message with one of tags_len 64-bit tags, or any message when tags_len is 0; it becomes "
        "the scratch: 0 data, 1 link died, 2 process died, 9027 timeout (-1 waits for ever).",
        traps="out of bounds",
        suspends=True,
        departs=(
            "One that timed out leaves no trace; in Lunatic it moves a later match to the end of the "
            "mailbox. A time-out of 0 finds all that has arrived, not only what had when the process last "
            "began to run. At most 65 536 tags."
        ),
    ),
    _error(
        "string_size",
        "error:i64 -> i32",
        "Length of an error's text in bytes.",
        traps="unknown error",
        departs="A text has at most 4096 bytes.",
    ),
    _error(
        "to_string",
        "error:i64 text:out",
        "Writes an error's text, string_size bytes of UTF-8 without terminator.",
        traps="unknown error; out of bounds",
    ),
    _error("drop", "error:i64", "Forgets an error.", traps="unknown error"),
    _timer(
        "send_after",
        "process:i64 delay_ms:i64 -> i64",
        "Sends the scratch after a delay; returns a timer id. The timer outlives its process.",
        traps=_UNSENDABLE,
        departs=(
            f"{_ANY_NODE} {_TO_ANOTHER_NODE} The target is looked up when the timer fires. At most 256 MiB "
            "wait in the timers of a process."
        ),
    ),
    _timer(
        "cancel_timer",
        "timer:i64 -> i32",
        "1 when the timer was still pending and now never fires, else 0.",
        departs="0 for every timer that has fired; Lunatic says 1 until the next send_after.",
    ),
    _registry(
        "put",
        "name:in name_len:len node:i64 process:i64",
        "Registers a process under a name of its environment, replacing an older entry.",
        traps="out of bounds; not UTF-8",
        suspends=True,
        departs=(
            "One set of names for each environment, across the cluster; in Lunatic parents hand theirs to "
            "children. A process that has died gets no name. At most 4096 bytes and 1 000 000 names."
        ),
    ),
    _registry(
        "get",
        "name:in name_len:len node:out64 process:out64 -> i32",
        "0 found and both ids written, 1 not found and nothing written.",
        traps="out of bounds; not UTF-8",
        suspends=True,
        departs=(
            "Finds processes of all nodes. One that has died is not found; Lunatic returns its id for ever."
        ),
    ),
    _registry(
        "remove",
        "name:in name_len:len",
        "Forgets a name; an unknown one is fine.",
        traps="out of bounds; not UTF-8",
        suspends=True,
    ),
)
