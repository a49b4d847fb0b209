"""Rows of `lunatic::process`, `lunatic::wasi`, `lunatic::trap` and `lunatic::version`."""

from __future__ import annotations

from typing import Final

from luna.scheduler._hostcall import HostCall, Rows, Where

_process = Rows("lunatic::process", Where.NATIVE)
_wasi = Rows("lunatic::wasi", Where.NATIVE)
_trap = Rows("lunatic::trap", Where.NATIVE)
_version = Rows("lunatic::version", Where.NATIVE)

_CONFIG = "unknown config"
_TEXT = "unknown config; out of bounds; not UTF-8"

_ANY_NODE = "Also for processes of other nodes."
_CUT = "A child never gets more than its parent has; Lunatic does not check."
_CHILD = (
    "A directory that cannot be opened is code 1; Lunatic traps. At most 128 parameters, and a name of at "
    "most 4096 bytes without a zero."
)
_CONFIG_TEXTS = "At most 4096 of them and 2 MiB of text in a config, without zero bytes."

ROWS: Final[tuple[HostCall, ...]] = (
    _process(
        "compile_module",
        "source:in source_len:len id:out64 -> i32",
        "Compiles WebAssembly: 0 module id written, 1 error id written, -1 not permitted.",
        traps="out of bounds",
        suspends=True,
        where=Where.REQUEST,
        departs="Holds up no other process; Lunatic compiles on the thread that runs them. At most 256 MiB.",
    ),
    _process("drop_module", "module:i64", "Forgets a module id.", traps="unknown module"),
    _process(
        "create_config",
        "-> i64",
        "Makes a config for spawning; returns its id, or -1 when not permitted.",
        departs=_CUT,
    ),
    _process("drop_config", "config:i64", "Forgets a config.", traps=_CONFIG),
    _process(
        "config_set_max_memory",
        "config:i64 bytes:i64",
        "Limits the memory of processes spawned with the config, in bytes.",
        traps=_CONFIG,
        departs="Cut to the parent's limit at the spawn.",
    ),
    _process("config_get_max_memory", "config:i64 -> i64", "The memory limit in bytes.", traps=_CONFIG),
    _process(
        "config_set_max_fuel",
        "config:i64 units:i64",
        "Limits the compute of processes spawned with the config, in units of 100 000 instructions; "
        "0 is no limit.",
        traps=_CONFIG,
        departs="Cut to the parent's limit at the spawn.",
    ),
    _process(
        "config_get_max_fuel",
        "config:i64 -> i64",
        "The compute limit in units of 100 000 instructions; 0 is no limit.",
        traps=_CONFIG,
    ),
    _process(
        "config_can_compile_modules",
        "config:i64 -> i32",
        "1 when the config permits compile_module, else 0.",
        traps=_CONFIG,
    ),
    _process(
        "config_set_can_compile_modules",
        "config:i64 allowed:i32",
        "Permits or forbids compile_module.",
        traps=_CONFIG,
        departs="Has an effect only if the parent has the right itself.",
    ),
    _process(
        "config_can_create_configs",
        "config:i64 -> i32",
        "1 when the config permits create_config, else 0.",
        traps=_CONFIG,
    ),
    _process(
        "config_set_can_create_configs",
        "config:i64 allowed:i32",
        "Permits or forbids create_config.",
        traps=_CONFIG,
        departs="Has an effect only if the parent has the right itself.",
    ),
    _process(
        "config_can_spawn_processes",
        "config:i64 -> i32",
        "1 when the config permits spawning, else 0.",
        traps=_CONFIG,
    ),
    _process(
        "config_set_can_spawn_processes",
        "config:i64 allowed:i32",
        "Permits or forbids spawning.",
        traps=_CONFIG,
        departs="Has an effect only if the parent has the right itself.",
    ),
    _process(
        "config_allow_namespace",
        "config:i64 prefix:in prefix_len:len",
        "Allows the host calls whose name (namespace::name) begins with the text. The first of these calls "
        "forbids all others, which trap; a config without any allows everything.",
        traps=f"{_CONFIG}; out of bounds; not UTF-8; more than 64 namespaces",
        departs="Luna's own; Lunatic has no such limit.",
    ),
    _process(
        "spawn",
        "link_tag:i64 config:i64 module:i64 entry:in entry_len:len params:in params_len:len id:out64 -> i32",
        "Spawns a process running an exported function: 0 process id written, 1 error id written. Link tag 0 "
        "links nothing; config and module -1 are the caller's own; params are 17-byte records.",
        traps="spawning not permitted; unknown config or module; malformed params; out of bounds; not UTF-8",
        suspends=True,
        departs=f"{_CUT} {_CHILD}",
    ),
    _process(
        "get_or_spawn",
        "name:in name_len:len link_tag:i64 config:i64 module:i64 entry:in entry_len:len params:in "
        "params_len:len node:out64 id:out64 -> i32",
        "Finds a registered process or spawns and registers one: 0 spawned, 1 error id written, "
        "2 it existed; on 0 and 2 both ids are written.",
        traps="spawning not permitted; unknown config or module; malformed params; out of bounds; not UTF-8",
        suspends=True,
        where=Where.NATIVE,
        departs=(
            "Of callers on all nodes one spawns, on its node, and the others wait for its child. A failed "
            "spawn registers nothing; Lunatic registers the error id. A dead process is spawned anew. "
            f"{_CUT} {_CHILD}"
        ),
    ),
    _process("sleep_ms", "duration_ms:i64", "Sleeps.", suspends=True),
    _process(
        "die_when_link_dies",
        "die:i32",
        "Whether the failure of a linked process kills this one (1, at the start) or becomes a message (0).",
    ),
    _process(
        "process_id",
        "-> i64",
        "The caller's process id.",
        departs="In a cluster it holds the id of the node, so it is good on all nodes and never used again. "
        "The tests of one run share the numbers; in Lunatic each test's begin with 1.",
    ),
    _process(
        "environment_id",
        "-> i64",
        "The caller's environment.",
        departs="Each test that `luna run` runs has one of its own, from 1 on; in Lunatic all have 0.",
    ),
    _process(
        "link",
        "tag:i64 process:i64",
        "Links to a process, here or on another node; a dead one is a link death at once. Tag 0 is no tag.",
        departs=f"{_ANY_NODE} One of a node that is gone is dead.",
    ),
    _process(
        "unlink",
        "process:i64",
        "Removes a link.",
        departs=f"{_ANY_NODE} A death that is on its way is not told any more.",
    ),
    _process(
        "monitor",
        "process:i64",
        "Asks for a ProcessDied message when a process ends; a dead one answers at once.",
        departs=(
            f"{_ANY_NODE} A dead process is answered at once, and so is one of a node that is gone; Lunatic "
            "says nothing."
        ),
    ),
    _process(
        "stop_monitoring",
        "process:i64",
        "Ends monitoring.",
        departs=f"{_ANY_NODE} A death that is on its way is not told any more.",
    ),
    _process(
        "kill",
        "process:i64",
        "Kills a process, here or on another node; may be the caller itself.",
        departs=f"{_ANY_NODE} Who kills itself stops at its next loop or function, not when it next waits.",
    ),
    _process(
        "exists",
        "process:i64 -> i32",
        "1 while the process lives in the caller's environment, else 0; for a remote one its node is asked.",
        suspends=True,
        departs=f"{_ANY_NODE} The caller waits while their node is asked.",
    ),
    _wasi(
        "config_add_environment_variable",
        "config:i64 key:in key_len:len value:in value_len:len",
        "Adds an environment variable to the config.",
        traps=_TEXT,
        departs=_CONFIG_TEXTS,
    ),
    _wasi(
        "config_add_command_line_argument",
        "config:i64 argument:in argument_len:len",
        "Appends a command line argument to the config.",
        traps=_TEXT,
        departs=_CONFIG_TEXTS,
    ),
    _wasi(
        "config_preopen_dir",
        "config:i64 directory:in directory_len:len",
        "Gives processes spawned with the config a directory, under the same name.",
        traps=_TEXT,
        departs=(
            "A process can hand on only directories it was given and what lies within; Lunatic opens any "
            f"directory of the machine. {_CONFIG_TEXTS}"
        ),
    ),
    _trap(
        "catch",
        "function:i32 argument:i32 -> i32",
        "Calls the export _lunatic_catch_trap with both values and returns its result, or 0 when it trapped.",
        traps="_lunatic_catch_trap is not exported",
        suspends=True,
        departs="Calls within calls are at most 64 deep, and none are possible in a start section.",
    ),
    _version("major", "-> i32", "Major version of the guest interface."),
    _version("minor", "-> i32", "Minor version of the guest interface."),
    _version("patch", "-> i32", "Patch version of the guest interface."),
)
