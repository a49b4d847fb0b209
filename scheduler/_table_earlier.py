"""Rows of earlier interfaces: what they had besides today's, or with another type or meaning.

A row that has the name and the type of one of today's is for modules that also
import something only its own interface had. Their ids of processes are handles:
good in the process that has them, and nowhere else.
"""

from __future__ import annotations

from typing import Final

from luna.scheduler._hostcall import HostCall, Rows, Where

_message = Rows("lunatic::message", Where.NATIVE, "0.6")
_process = Rows("lunatic::process", Where.NATIVE, "0.6")
_networking = Rows("lunatic::networking", Where.REQUEST, "0.6")
_plugin = Rows("lunatic::plugin", Where.NATIVE, "0.6")

_message_0_7 = Rows("lunatic::message", Where.NATIVE, "0.7")
_process_0_7 = Rows("lunatic::process", Where.NATIVE, "0.7")
_networking_0_7 = Rows("lunatic::networking", Where.REQUEST, "0.7")

_message_0_11 = Rows("lunatic::message", Where.NATIVE, "0.11")
_distributed_0_11 = Rows("lunatic::distributed", Where.NATIVE, "0.11")

_message_0_12 = Rows("lunatic::message", Where.NATIVE, "0.12")
_distributed_0_12 = Rows("lunatic::distributed", Where.NATIVE, "0.12")
_networking_0_12 = Rows("lunatic::networking", Where.REQUEST, "0.12")

_NO_DATA = "no scratch; scratch is not a data message"
_HANDLE = "unknown process"
_UNSENDABLE = "no scratch; unknown process, and the scratch is lost"
_SPAWN = "spawning not permitted; out of bounds; function name not UTF-8; unknown parameter type"
_VERSION = "out of bounds; not UTF-8; more than 4096 bytes"

_FOR_EVER = "A time-out of 0 waits for ever."
_SPAWNED = (
    "0 handle of the child written; 1 error id written, also when the function is not exported. A link tag "
    "of 0 is no link; what is left of a last parameter record of less than 17 bytes is ignored."
)
_NARROWED = "A child gets at most what its parent has."
_TIMED_OUT = "A time-out is an error, as in 0.6; Lunatic 0.7.5 said 9027."
_DEAD = "A process that has died is not found; Lunatic gives a handle of it."
_ADDRESS = "address_type:i32 address:in port:i32 flow_info:i32 scope_id:i32"
_NAMED = "name:in name_len:len version:in version_len:len"

_MESSAGE: Final = (
    _message(
        "push_process",
        "process:i64 -> i64",
        "Moves a handle into the scratch; returns its index in the message.",
        traps=f"{_HANDLE}; {_NO_DATA}",
        departs="At most 4096 resources in a message.",
    ),
    _message(
        "take_process",
        "index:i64 -> i64",
        "Takes a process out of the scratch; returns its new handle in this process.",
        traps=f"unknown index, already taken or of another kind; {_NO_DATA}",
    ),
    _message(
        "send",
        "process:i64",
        "Sends the scratch, which is empty afterwards. A dead target is silent.",
        traps=_UNSENDABLE,
    ),
    _message(
        "send_receive_skip_search",
        "process:i64 timeout_ms:i32 -> i32",
        "Sends the scratch and waits for a later message with the same tag, or for any if it had none: 0 it "
        f"is the scratch now, 9027 timeout. {_FOR_EVER}",
        traps=_UNSENDABLE,
        suspends=True,
    ),
    _message(
        "receive",
        "tag:i64 timeout_ms:i32 -> i32",
        "Waits for a message with that tag, or any when it is 0; it becomes the scratch: 0 data, 1 link "
        f"died, 9027 timeout. {_FOR_EVER}",
        suspends=True,
    ),
    _message_0_7(
        "receive",
        "tags:in tags_len:len timeout_ms:i32 -> i32",
        "Waits for a message with one of tags_len 64-bit tags, or any message when tags_len is 0; it becomes "
        f"the scratch: 0 data, 1 link died, 9027 timeout. {_FOR_EVER}",
        traps="out of bounds",
        suspends=True,
    ),
    _message_0_11(
        "send",
        "process:i64",
        "Sends the scratch, which is empty afterwards; a dead process is silent.",
        traps="no scratch; for another node, a scratch that is not plain data",
    ),
    _distributed_0_11(
        "send",
        "node:i64 process:i64",
        "The same for a process of any node.",
        traps="no scratch; for another node, a scratch that is not plain data",
    ),
    _message_0_12(
        "send_receive_skip_search",
        "process:i64 timeout_ms:i64 -> i32",
        "Sends the scratch and waits for a later message with the same tag, or for any if it had none: 0 it "
        "is the scratch now, 9027 timeout (-1 waits for ever).",
        traps="no scratch; for another node, a scratch that is not plain data",
        suspends=True,
    ),
    _distributed_0_12(
        "send_receive_skip_search",
        "node:i64 process:i64 timeout_ms:i64 -> i32",
        "The same for a process of any node.",
        traps="no scratch; for another node, a scratch that is not plain data",
        suspends=True,
    ),
)

_PROCESS: Final = (
    _process("this", "-> i64", "A new handle of the calling process."),
    _process(
        "clone_process",
        "process:i64 -> i64",
        "A second handle of the same process.",
        traps=_HANDLE,
    ),
    _process("drop_process", "process:i64", "Forgets a handle; the process lives on.", traps=_HANDLE),
    _process(
        "id",
        "process:i64 uuid:out",
        "Writes 16 bytes that no other process has.",
        traps=f"{_HANDLE}; out of bounds",
        departs="They are the process id and zeros, not a random UUID.",
    ),
    _process(
        "link",
        "tag:i64 process:i64",
        "Links to a process; nothing happens if it has ended. Tag 0 is no tag.",
        traps=_HANDLE,
    ),
    _process("unlink", "process:i64", "Removes a link.", traps=_HANDLE),
    _process(
        "spawn",
        "link_tag:i64 module:i64 entry:in entry_len:len params:in params_len:len id:out64 -> i32",
        f"Starts a process of a module, in the environment the module was added to: {_SPAWNED}",
        traps=f"unknown module; {_SPAWN}",
        suspends=True,
        departs=_NARROWED,
    ),
    _process(
        "inherit_spawn",
        "link_tag:i64 entry:in entry_len:len params:in params_len:len id:out64 -> i32",
        f"Starts a process of the caller's own module, in its environment: {_SPAWNED}",
        traps=_SPAWN,
        suspends=True,
    ),
    _process(
        "create_config",
        "max_memory:i64 max_fuel:i64 -> i64",
        "Makes a config that allows no host call; memory in bytes, fuel in units of 100 000 instructions or "
        "0 for any. Returns its id.",
        traps="creating configs not permitted",
    ),
    _process(
        "allow_namespace",
        "config:i64 prefix:in prefix_len:len",
        "Allows the host calls whose names (namespace::function) begin with these bytes.",
        traps="unknown config; out of bounds; not UTF-8; contains a zero byte; too many texts",
        departs="At most 64 prefixes.",
    ),
    _process(
        "add_plugin",
        "config:i64 plugin:in plugin_len:len id:out64 -> i32",
        "Always 1, error id written.",
        traps="unknown config; out of bounds",
        departs="There are no plugins.",
    ),
    _process(
        "create_environment",
        "config:i64 id:out64 -> i32",
        "Makes an environment with what the config allows now, and without names; 0, id written.",
        traps="unknown config; out of bounds",
    ),
    _process(
        "drop_environment",
        "environment:i64",
        "Forgets an environment; its modules and processes live on.",
        traps="unknown environment",
    ),
    _process("this_env", "-> i64", "A new id of the environment the caller runs in."),
    _process(
        "add_module",
        "environment:i64 module:in module_len:len id:out64 -> i32",
        "Compiles a module for an environment: 0 module id written, 1 error id written.",
        traps="unknown environment; out of bounds; more than 256 MiB",
        where=Where.REQUEST,
        departs=(
            "1 also for imports that are unknown, which Lunatic told when a process was spawned, and for who "
            "may not compile modules."
        ),
    ),
    _process(
        "add_this_module",
        "environment:i64 id:out64 -> i32",
        "Adds the caller's own module to an environment; 0, module id written.",
        traps="unknown environment; out of bounds",
    ),
    _process(
        "register",
        f"{_NAMED} environment:i64 process:i64 -> i32",
        "Registers a process in an environment by name and version, in place of one with the same: 0, or 1 "
        "if the version is none.",
        traps=f"unknown environment or process; {_VERSION}",
        where=Where.REQUEST,
        departs="At most 1 000 000 names of live processes.",
    ),
    _process(
        "unregister",
        f"{_NAMED} environment:i64 -> i32",
        "0 removed, 1 the version is none, 2 nothing is registered so.",
        traps=f"unknown environment; {_VERSION}",
        where=Where.REQUEST,
    ),
    _process(
        "lookup",
        "name:in name_len:len query:in query_len:len id:out64 -> i32",
        "Finds in the caller's environment what was registered last with a version that the query allows, "
        "such as ^1.2: 0 handle written, 1 the query is none, 2 nothing found.",
        traps=_VERSION,
        where=Where.REQUEST,
        departs=_DEAD,
    ),
    _process_0_7(
        "preopen_dir",
        "config:i64 directory:in directory_len:len id:out64 -> i32",
        "Gives environments of the config a directory: 0, or 1 and error id written if the caller has none "
        "of that name.",
        traps="unknown config; out of bounds; not UTF-8; contains a zero byte; too many texts",
        departs="The whole name must be the same; in Lunatic its end was enough.",
    ),
    _process_0_7(
        "create_remote_environment",
        "config:i64 node:in node_len:len id:out64 -> i32",
        "Always 1, error id written.",
        traps="unknown config; out of bounds; not UTF-8; contains a zero byte",
        departs="There are no environments on other nodes; programs of today's interface spawn on any node.",
    ),
)

_NETWORKING: Final = (
    _networking(
        "resolve",
        "name:in name_len:len timeout_ms:i32 id:out64 -> i32",
        f"Resolves host:port: 0 address iterator id written, 1 error id written. {_FOR_EVER}",
        traps="out of bounds; not UTF-8",
        departs=f"A name of more than 1024 bytes is code 1. {_TIMED_OUT}",
    ),
    _networking(
        "tcp_connect",
        f"{_ADDRESS} timeout_ms:i32 id:out64 -> i32",
        f"Connects: 0 stream id written, 1 error id written. {_FOR_EVER}",
        traps="address type is not 4 or 6; out of bounds",
        departs=_TIMED_OUT,
    ),
    _networking(
        "tcp_read",
        "stream:i64 buffer:out buffer_len:len timeout_ms:i32 count:out64 -> i32",
        f"Reads: 0 number of bytes written, 0 bytes at the end; 1 error id written. {_FOR_EVER}",
        traps="unknown stream; out of bounds",
        departs=f"At most 256 KiB at once; a read of no bytes never waits. {_TIMED_OUT}",
    ),
    _networking(
        "tcp_write_vectored",
        "stream:i64 buffers:in buffers_len:len timeout_ms:i32 count:out64 -> i32",
        "Writes (pointer, length) pairs of 4 bytes each: 0 number of bytes written, perhaps fewer; 1 error "
        f"id written. {_FOR_EVER}",
        traps="unknown stream; out of bounds",
        departs=f"At most 256 KiB and 1024 buffers at once. {_TIMED_OUT}",
    ),
    _networking_0_7(
        "local_addr",
        "listener:i64 id:out64 -> i32",
        "0 iterator of the listening address written, 1 error id written.",
        traps="unknown listener; out of bounds",
    ),
    _networking_0_12(
        "set_peek_timeout",
        "stream:i64 timeout_ms:i64 -> i32",
        "As today's, and 0.",
        traps="unknown stream",
    ),
    _networking_0_12(
        "get_read_timeout",
        "stream:i64 -> i32",
        "The low half of today's, -1 when there is none.",
        traps="unknown stream",
    ),
    _networking_0_12(
        "get_peek_timeout",
        "stream:i64 -> i32",
        "The low half of today's, -1 when there is none.",
        traps="unknown stream",
    ),
)

_DISTRIBUTED: Final = (
    _distributed_0_12(
        "spawn",
        "link_tag:i64 node:i64 config:i64 module:i64 entry:in entry_len:len params:in params_len:len "
        "id:out64 -> i32",
        "As today's, with a link from the child's birth on unless the tag is 0.",
        traps="as today's",
        suspends=True,
    ),
)

_PLUGIN: Final = (
    _plugin(
        "add_function",
        "type:i32 locals:in locals_len:len body:in body_len:len id:out64 -> i32",
        "Nothing.",
        traps="always",
        departs="There are no plugins.",
    ),
    _plugin(
        "add_function_type",
        "params:in params_len:len results:in results_len:len id:out64 -> i32",
        "Nothing.",
        traps="always",
        departs="There are no plugins.",
    ),
    _plugin(
        "add_function_export",
        "name:in name_len:len function:i32",
        "Nothing.",
        traps="always",
        departs="There are no plugins.",
    ),
)

ROWS: Final[tuple[HostCall, ...]] = _MESSAGE + _PROCESS + _NETWORKING + _DISTRIBUTED + _PLUGIN
