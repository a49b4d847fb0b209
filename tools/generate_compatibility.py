"""Makes docs/compatibility.md, what a program made for Lunatic meets in Luna, from the host-call table.

`--check` leaves the tree alone and fails when the page differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from generated_file import ROOT, settle
from luna.scheduler.hostcalls import EARLIER_CALLS, HOST_CALLS, HostCall, Where

TARGET = ROOT / "docs" / "compatibility.md"

ANSWERED = {
    Where.NATIVE: "native",
    Where.REQUEST: "Python",
    Where.REQUEST_DATA: "Python",
    Where.WASI: "wasmtime",
}

ONLY_LUNA = "luna::"
"""what the namespaces begin with that Lunatic has nothing like; this page leaves them out"""

HEAD = """\
# Compatibility with Lunatic

[Lunatic](https://github.com/lunatic-solutions/lunatic) is a runtime of Erlang-like WebAssembly processes,
written in Rust. A program for it imports functions by name from the runtime, `lunatic::message::send` and so
on, next to those of WASI, the usual interface of WebAssembly to files, arguments and clocks. Such functions
are called host calls, and all of them together are the guest interface. Programs are seldom written against
it directly: the libraries `lunatic` for Rust and `as-lunatic` for AssemblyScript are.

Luna has the guest interface of Lunatic 0.13, whole: each name, each type, each result code. So a program that
was compiled for Lunatic loads in Luna as it is. This page says for every host call who answers it, and where
it does something else than in Lunatic 0.13.2. It is made by `tools/generate_compatibility.py` from the table
that also makes the host calls; what each one does is in [host-calls.md](host-calls.md), with those that only
Luna has, in namespaces that begin with `luna::`.

## What is the same

- Names, types and result codes. Code 9027 is a time-out, time-outs are milliseconds and all ones is for ever,
  ids of configs, modules, errors, streams and the like count from 0 in each process and are never used again.
- What traps, traps: an unknown id, a pointer that leaves memory, text that is not UTF-8, a message call
  without a message. A trap ends the process, unless `lunatic::trap::catch` is around it.
- A process starts in an exported function without a result, with memory of its own. Signals that one process
  sends another arrive in their order. A failure goes along links, a normal end does not.
- A child is instantiated before its parent's `spawn` returns, and runs after that at the earliest.

## What differs everywhere

- **Process ids hold the node.** They are 64 bits and good on every node of a cluster, so all functions that
  take one work across nodes, for programs that know nothing of it: send, link, monitor, kill, timers. Without
  a cluster, as under `luna run`, ids count from 1 as in Lunatic.
- **A dead node is a dead target.** Where Lunatic traps the caller because another node is unknown or does not
  answer, Luna answers as for a dead process.
- **Rights only shrink.** A child never gets memory, computation, rights or directories that its parent lacks.
- **Everything has a limit**, those of [limits.md](limits.md): the size of messages, tables and texts. Lunatic
  has few, so that a program can take its host down. What goes beyond one traps, or is the call's error.
- **The end of a program is told.** `luna run` exits with the program's own code and says why it failed;
  Lunatic exits with 0 whatever happened.

## What is not supported

- Lunatic's own cluster: Luna nodes do not speak with Lunatic nodes or with its control server, and there is
  no `lunatic control`, `login`, `app` or `deploy`.
- Names with versions, as programs of Lunatic 0.6 register them, are known on their node only.
- Messages to other nodes cannot carry sockets or modules; they cannot in Lunatic.
- Sockets of WASI (`sock_accept` and the rest): no process has one, so they answer with an error number.
  `lunatic::networking` is the way to the network.
- Reducing the rights of descriptors, raising signals and clocks of processor time, in WASI: an error number.
- WebAssembly threads, several instances, memories or tables in one process: refused, as in Lunatic.
- WASI 0.2 and the component model, and `wasi_unstable`: Lunatic has neither.

## How to read the tables

- **Answered by**: *native* is the core, without Python; *Python* is code on the node's main thread, while the
  process is parked and others run; *wasmtime* is the WASI of the WebAssembly engine, which *native* functions
  of WASI make use of as well.
- **Parks**: the call may park its process, and others run meanwhile. No call holds up a thread, but those of
  files do, which are read and written on the spot.
- **Differs from Lunatic**: on purpose, and why where it does not speak for itself. Nothing means that no
  difference is known.
"""

EARLIER = """\
## Earlier interfaces

Lunatic changed types and meanings of host calls between its releases without changing their names. Luna tells
by the imports of a module what it was made for. These rows stand beside those above for such modules.
"""


def line(row: HostCall) -> str:
    """The row of one host call."""
    cells = (f"`{row.name}`", ANSWERED[row.where], "yes" if row.suspends else "no", row.departs)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(rows: Sequence[HostCall]) -> Iterator[str]:
    """The table of one namespace."""
    yield "| function | answered by | parks | differs from Lunatic |"
    yield "|---|---|---|---|"
    yield from map(line, rows)


def sections(rows: Sequence[HostCall], level: str) -> Iterator[str]:
    """A heading and a table for each namespace, in table order."""
    for namespace in dict.fromkeys(row.namespace for row in rows):
        own = [row for row in rows if row.namespace == namespace]
        yield from ("", f"{level} `{namespace}` ({len(own)})", "", *table(own))


def page() -> str:
    """The whole text of the page."""
    lunatic = [row for row in HOST_CALLS if not row.namespace.startswith(ONLY_LUNA)]
    lines = [HEAD.rstrip(), *sections(lunatic, "##")]
    if EARLIER_CALLS:
        lines += ["", EARLIER.rstrip()]
    for interface in dict.fromkeys(row.interface for row in EARLIER_CALLS):
        rows = [row for row in EARLIER_CALLS if row.interface == interface]
        lines += ["", f"### Lunatic {interface}", *sections(rows, "####")]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(settle(TARGET, page(), sys.argv[1:], "tools/generate_compatibility.py"))
