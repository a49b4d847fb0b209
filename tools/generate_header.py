"""Makes sdk/c/luna.h, the guest interface for C, from the host-call table.

`--check` leaves the tree alone and fails when the header differs.
"""

from __future__ import annotations

import sys
import textwrap

from generated_file import ROOT, settle
from luna.scheduler.hostcalls import HOST_CALLS, WASI_NAMESPACE, HostCall, Kind, namespaces

TARGET = ROOT / "sdk" / "c" / "luna.h"
WIDTH = 100

C_TYPES = {
    Kind.I32: "int32_t ",
    Kind.I64: "int64_t ",
    Kind.F64: "double ",
    Kind.LEN: "uint32_t ",
    Kind.IN: "const void *",
    Kind.OUT: "void *",
    Kind.OUT16: "uint16_t *",
    Kind.OUT32: "uint32_t *",
    Kind.OUT64: "int64_t *",
}

HEAD = """\
/* The guest interface of Luna for C. Made by tools/generate_header.py from the host-call table;
 * edit the table, not this file.
 *
 * Build a guest with
 *
 *     python -m ziglang cc -target wasm32-wasi -O2 -s -Wl,-z,stack-size=65536 -Isdk/c \\
 *         program.c -o program.wasm
 *
 * A function that `luna_spawn` starts is exported with LUNA_EXPORT, takes int32_t and int64_t
 * parameters and returns nothing. Every process has a memory of its own: globals are not shared.
 */
#ifndef LUNA_H
#define LUNA_H

#include <stddef.h>
#include <stdint.h>

#define LUNA_IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define LUNA_EXPORT(name) __attribute__((export_name(name)))

enum {
    LUNA_OWN = -1,          /* config or module: the caller's own */
    LUNA_FOREVER = -1,      /* timeout: none */
    LUNA_TIMEOUT = 9027,    /* result: the timeout passed */
    LUNA_DATA = 0,          /* result of receive: a data message */
    LUNA_LINK_DIED = 1,     /* result of receive: a linked process failed; get_tag gives the link's tag */
    LUNA_PROCESS_DIED = 2,  /* result of receive: a monitored process ended; get_process_id names it */
    LUNA_EXIT_NORMAL = 0,   /* result of exit_reason, of a LUNA_LINK_DIED or LUNA_PROCESS_DIED */
    LUNA_EXIT_FAILURE = 1,
    LUNA_EXIT_KILLED = 2,
    LUNA_EXIT_LINK_DIED = 3,
    LUNA_EXIT_NO_PROCESS = 4,
    LUNA_EXIT_NO_CONNECTION = 5,
};
"""

HELPERS = """\
/* ---- helpers ---- */

/* One parameter of a spawned function, as the interface wants it: a type byte and 16 bytes. */
typedef struct {
    uint8_t type;
    uint8_t value[16];
} luna_value;

static inline luna_value luna_i32(int32_t value) {
    luna_value record = {0x7f, {0}};
    __builtin_memcpy(record.value, &value, sizeof value);
    return record;
}

static inline luna_value luna_i64(int64_t value) {
    luna_value record = {0x7e, {0}};
    __builtin_memcpy(record.value, &value, sizeof value);
    return record;
}

/* The last two arguments of luna_spawn: LUNA_PARAMS(luna_i64(pid), luna_i32(3)) or LUNA_NO_PARAMS. */
#define LUNA_PARAMS(...) (const luna_value[]){__VA_ARGS__}, sizeof((luna_value[]){__VA_ARGS__})
#define LUNA_NO_PARAMS NULL, 0

/* Spawns a process of this module. A link tag other than 0 links it to the caller; config is an id
 * or LUNA_OWN. Returns the process id, or -1 when it could not be started. */
static inline int64_t luna_spawn(const char *entry, int64_t link_tag, int64_t config,
                                 const luna_value *params, uint32_t params_len) {
    int64_t id = 0;
    uint32_t entry_len = 0;
    while (entry[entry_len]) entry_len++; /* not strlen: there may be no libc */
    int32_t status = lunatic_process_spawn(link_tag, config, LUNA_OWN, entry, entry_len, params,
                                           params_len, &id);
    if (status == 0) return id;
    lunatic_error_drop(id);
    return -1;
}

/* Sends bytes to a process, on whichever node it lives. */
static inline void luna_send(int64_t process, int64_t tag, const void *data, uint32_t data_len) {
    lunatic_message_create_data(tag, data_len);
    lunatic_message_write_data(data, data_len);
    lunatic_message_send(process);
}

/* The node a process lives on: the upper 23 bits of its id. */
static inline int64_t luna_node_of(int64_t process) { return process >> 40; }

/* The number of a process on its node: the lower 40 bits of its id. */
static inline int64_t luna_serial_of(int64_t process) { return process & 0xffffffffffLL; }

#ifndef LUNA_NO_LIBC
#include <stdarg.h>
#include <stdio.h>

/* Prints at once, up to 511 bytes: stdio keeps text back, and a process that is killed never writes it. */
__attribute__((format(printf, 1, 2))) static inline void luna_print(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0) return;
    if (length >= (int)sizeof text) length = sizeof text - 1;
    struct { const void *data; uint32_t data_len; } vector = {text, (uint32_t)length};
    uint32_t written;
    wasi_fd_write(1, &vector, 1, &written);
}
#endif

#endif
"""


def c_name(row: HostCall) -> str:
    """The C function: `lunatic_message_send`, `wasi_fd_write`."""
    prefix = "wasi" if row.namespace == WASI_NAMESPACE else row.namespace.replace("::", "_")
    return f"{prefix}_{row.name}"


def comment(row: HostCall) -> str:
    text = row.summary
    if row.traps != "never":
        text += f" Traps: {row.traps}."
    lines = textwrap.wrap(text, WIDTH - 6)
    return "/* " + "\n * ".join(lines) + " */"


def declaration(row: HostCall) -> str:
    # A parameter stays on one line: its spaces are hidden from the wrapping.
    typed = [f"{C_TYPES[item.kind]}{item.name}".replace(" ", "\0") for item in row.parameters]
    parameters = ", ".join(typed) or "void"
    result = "void " if row.returns is None else C_TYPES[row.returns]
    # Without it the compiler goes on after an exit.
    ends = "_Noreturn " if row.name == "proc_exit" else ""
    prototype = f"{ends}{result}{c_name(row)}({parameters});"
    lines = textwrap.wrap(prototype, WIDTH, subsequent_indent=" " * 4, break_long_words=False)
    lines = [line.replace("\0", " ") for line in lines]
    return "\n".join([comment(row), f'LUNA_IMPORT("{row.namespace}", "{row.name}")', *lines, ""])


def header() -> str:
    """The whole text of luna.h."""
    parts = [HEAD]
    for namespace in namespaces():
        parts.append(f"/* ---- {namespace} ---- */\n")
        parts.extend(declaration(row) for row in HOST_CALLS if row.namespace == namespace)
    return "\n".join([*parts, HELPERS])


if __name__ == "__main__":
    sys.exit(settle(TARGET, header(), sys.argv[1:], "tools/generate_header.py"))
