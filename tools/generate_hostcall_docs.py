"""Makes docs/host-calls.md, the reference of the guest interface, from the host-call table.

`--check` leaves the tree alone and fails when the page differs.
"""

from __future__ import annotations

import sys

from generated_file import ROOT, settle
from luna.scheduler.hostcalls import EARLIER_CALLS, HOST_CALLS, HostCall, Where, namespaces

TARGET = ROOT / "docs" / "host-calls.md"

STATES = {
    Where.NATIVE: "native",
    Where.REQUEST: "request",
    Where.REQUEST_DATA: "request",
    Where.WASI: "wasi",
}

HEAD = """\
# Host calls

Every function a guest may import, made by `tools/generate_hostcall_docs.py` from the table in
`scheduler/hostcalls.py`. For C, the same as declarations: `sdk/c/luna.h`.

- **Type** is the wasm signature. Pointers and lengths are `i32`; integers in memory are little endian.
- **State**: *native* is answered by the native core; *request* by Python while the process is parked;
  *wasi* by wasmtime's WASI preview 1.
- **Suspends**: the call may park the process; others run meanwhile.
- **Traps**: what ends the calling process, unless `lunatic::trap::catch` is around it. Any pointer that
  leaves the guest's memory does.
- Timeouts are milliseconds, -1 (all ones) waits for ever, and 9027 is the result of one that passed.
"""

EARLIER = """\
## Earlier interfaces

What guests made for earlier releases of Lunatic import with another type or meaning, or what is gone since;
everything else they share with today's. A module's imports tell which is meant: the type of each, and for
`link` and `unlink`, whose types never changed, whatever else it imports. More is in
[guests.md](guests.md#programs-of-early-lunatic).
"""


def earlier_line(row: HostCall) -> str:
    return f"| {row.interface} | `{row.namespace}` {line(row)}"


def line(row: HostCall) -> str:
    cells = (
        f"`{row.name}`",
        f"`{row.type}`",
        STATES[row.where],
        "yes" if row.suspends else "no",
        row.traps,
        row.summary,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page() -> str:
    """The whole text of the page."""
    lines = [HEAD, f"{len(HOST_CALLS)} functions."]
    for namespace in namespaces():
        rows = [row for row in HOST_CALLS if row.namespace == namespace]
        lines += ["", f"## `{namespace}` ({len(rows)})", ""]
        lines += [
            "| function | type | state | suspends | traps | what it does |",
            "|---|---|---|---|---|---|",
        ]
        lines += [line(row) for row in rows]
    lines += [
        "",
        EARLIER,
        "| release | namespace | function | type | state | suspends | traps | what it does |",
        "|---|---|---|---|---|---|---|---|",
        *map(earlier_line, EARLIER_CALLS),
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(settle(TARGET, page(), sys.argv[1:], "tools/generate_hostcall_docs.py"))
