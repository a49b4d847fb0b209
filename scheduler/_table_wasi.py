"""Rows of `wasi_snapshot_preview1`. All return an errno, 0 for success; none traps by itself.

wasmtime answers them, but for some: a process that sleeps, yields or waits for standard input is
parked by the native core, not to stall a scheduler thread; `proc_exit` takes all codes, not only those
below 126; and functions by which a guest comes to its directories open them first.
"""

from __future__ import annotations

from typing import Final

from luna.scheduler._hostcall import HostCall, Rows, Where

NAMESPACE: Final = "wasi_snapshot_preview1"

_wasi = Rows(NAMESPACE, Where.WASI)

_PATH = "fd:i32 path:in path_len:len"
_LOOKUP = "fd:i32 lookup_flags:i32 path:in path_len:len"

ROWS: Final[tuple[HostCall, ...]] = (
    _wasi("args_get", "argv:out buffer:out -> i32", "Writes the arguments."),
    _wasi("args_sizes_get", "count:out32 size:out32 -> i32", "Number and total size of the arguments."),
    _wasi("environ_get", "environ:out buffer:out -> i32", "Writes the environment."),
    _wasi("environ_sizes_get", "count:out32 size:out32 -> i32", "Number and total size of the environment."),
    _wasi("clock_res_get", "clock:i32 resolution_ns:out64 -> i32", "Resolution of a clock."),
    _wasi(
        "clock_time_get",
        "clock:i32 precision_ns:i64 time_ns:out64 -> i32",
        "Time of a clock.",
        where=Where.NATIVE,
    ),
    _wasi("fd_advise", "fd:i32 offset:i64 len:i64 advice:i32 -> i32", "Announces how a file will be used."),
    _wasi("fd_allocate", "fd:i32 offset:i64 len:i64 -> i32", "Makes room in a file."),
    _wasi("fd_close", "fd:i32 -> i32", "Closes a file.", suspends=True, where=Where.NATIVE),
    _wasi("fd_datasync", "fd:i32 -> i32", "Flushes a file's data."),
    _wasi(
        "fd_fdstat_get",
        "fd:i32 stat:out -> i32",
        "Type, flags and rights of a descriptor.",
        suspends=True,
        where=Where.NATIVE,
    ),
    _wasi("fd_fdstat_set_flags", "fd:i32 flags:i32 -> i32", "Sets the flags of a descriptor."),
    _wasi(
        "fd_fdstat_set_rights",
        "fd:i32 base:i64 inheriting:i64 -> i32",
        "Reduces a descriptor's rights.",
        departs="Not supported: error number 58.",
    ),
    _wasi(
        "fd_filestat_get",
        "fd:i32 stat:out -> i32",
        "Attributes of an open file.",
        suspends=True,
        where=Where.NATIVE,
    ),
    _wasi("fd_filestat_set_size", "fd:i32 size:i64 -> i32", "Truncates or extends a file."),
    _wasi(
        "fd_filestat_set_times",
        "fd:i32 access_ns:i64 modify_ns:i64 flags:i32 -> i32",
        "Sets the times of an open file.",
    ),
    _wasi(
        "fd_pread",
        "fd:i32 vectors:in vectors_len:len offset:i64 read:out32 -> i32",
        "Reads at an offset.",
    ),
    _wasi(
        "fd_pwrite",
        "fd:i32 vectors:in vectors_len:len offset:i64 written:out32 -> i32",
        "Writes at an offset.",
    ),
    _wasi(
        "fd_prestat_get",
        "fd:i32 stat:out -> i32",
        "Describes a directory given at start.",
        suspends=True,
        where=Where.NATIVE,
        departs=(
            "Directories are looked for at the spawn and opened when first asked for; one that is gone by "
            "then traps."
        ),
    ),
    _wasi(
        "fd_prestat_dir_name",
        "fd:i32 path:out path_len:len -> i32",
        "Name of a directory given at start.",
        suspends=True,
        where=Where.NATIVE,
    ),
    _wasi(
        "fd_read",
        "fd:i32 vectors:in vectors_len:len read:out32 -> i32",
        "Reads.",
        suspends=True,
        where=Where.NATIVE,
        departs=(
            "Waiting for standard input parks the process, where Lunatic blocks a thread; one process of a "
            "program reads it at a time, at most 64 KiB."
        ),
    ),
    _wasi(
        "fd_write",
        "fd:i32 vectors:in vectors_len:len written:out32 -> i32",
        "Writes.",
        suspends=True,
        where=Where.NATIVE,
    ),
    _wasi(
        "fd_readdir",
        "fd:i32 buffer:out buffer_len:len cookie:i64 used:out32 -> i32",
        "Reads directory entries.",
        suspends=True,
        where=Where.NATIVE,
    ),
    _wasi(
        "fd_renumber",
        "from:i32 to:i32 -> i32",
        "Renames a descriptor, closing the one it replaces.",
        suspends=True,
        where=Where.NATIVE,
    ),
    _wasi("fd_seek", "fd:i32 delta:i64 whence:i32 position:out64 -> i32", "Moves a file's offset."),
    _wasi("fd_tell", "fd:i32 position:out64 -> i32", "A file's offset."),
    _wasi("fd_sync", "fd:i32 -> i32", "Flushes a file."),
    _wasi(
        "path_create_directory", f"{_PATH} -> i32", "Makes a directory.", suspends=True, where=Where.NATIVE
    ),
    _wasi(
        "path_filestat_get",
        f"{_LOOKUP} stat:out -> i32",
        "Attributes of a file.",
        suspends=True,
        where=Where.NATIVE,
    ),
    _wasi(
        "path_filestat_set_times",
        f"{_LOOKUP} access_ns:i64 modify_ns:i64 flags:i32 -> i32",
        "Sets the times of a file.",
        suspends=True,
        where=Where.NATIVE,
    ),
    _wasi(
        "path_link",
        f"{_LOOKUP} new_fd:i32 new_path:in new_path_len:len -> i32",
        "Makes a hard link.",
        suspends=True,
        where=Where.NATIVE,
    ),
    _wasi(
        "path_open",
        f"{_LOOKUP} open_flags:i32 rights:i64 inheriting:i64 fd_flags:i32 opened:out32 -> i32",
        "Opens a file.",
        suspends=True,
        where=Where.NATIVE,
    ),
    _wasi(
        "path_readlink",
        f"{_PATH} buffer:out buffer_len:len used:out32 -> i32",
        "Reads a symbolic link.",
        suspends=True,
        where=Where.NATIVE,
    ),
    _wasi(
        "path_remove_directory",
        f"{_PATH} -> i32",
        "Removes an empty directory.",
        suspends=True,
        where=Where.NATIVE,
    ),
    _wasi(
        "path_rename",
        f"{_PATH} new_fd:i32 new_path:in new_path_len:len -> i32",
        "Renames a file.",
        suspends=True,
        where=Where.NATIVE,
    ),
    _wasi(
        "path_symlink",
        "target:in target_len:len fd:i32 path:in path_len:len -> i32",
        "Makes a symbolic link.",
        suspends=True,
        where=Where.NATIVE,
    ),
    _wasi("path_unlink_file", f"{_PATH} -> i32", "Removes a file.", suspends=True, where=Where.NATIVE),
    _wasi(
        "poll_oneoff",
        "subscriptions:in events:out subscriptions_len:len events_len:out32 -> i32",
        "Waits for a clock or a descriptor.",
        suspends=True,
        where=Where.NATIVE,
        departs=(
            "Parks the process, where Lunatic blocks a thread. Files are always ready. At most 1024 "
            "subscriptions."
        ),
    ),
    _wasi(
        "proc_exit",
        "code:i32",
        "Ends the process; code 0 is a normal end, any other a failure.",
        where=Where.NATIVE,
        departs="A program's exit code is that of luna run; that of Lunatic is 0.",
    ),
    _wasi(
        "proc_raise",
        "signal:i32 -> i32",
        "Raises a signal.",
        departs="Not supported: error number 58.",
    ),
    _wasi("random_get", "buffer:out buffer_len:len -> i32", "Writes random bytes."),
    _wasi(
        "sched_yield",
        "-> i32",
        "Lets other processes run.",
        suspends=True,
        where=Where.NATIVE,
        departs="Lets other processes run; in Lunatic it does nothing.",
    ),
    _wasi("sock_accept", "fd:i32 flags:i32 accepted:out32 -> i32", "Accepts a connection."),
    _wasi(
        "sock_recv",
        "fd:i32 vectors:in vectors_len:len flags:i32 read:out32 out_flags:out32 -> i32",
        "Receives from a socket.",
    ),
    _wasi(
        "sock_send",
        "fd:i32 vectors:in vectors_len:len flags:i32 written:out32 -> i32",
        "Sends to a socket.",
    ),
    _wasi("sock_shutdown", "fd:i32 how:i32 -> i32", "Shuts down a socket."),
)
