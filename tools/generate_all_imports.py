"""Makes integration/guests/all_imports.wat, a guest that imports every host call.

A runtime that loads it has proved that each import links with the table's signature.
`--check` leaves the tree alone and fails when the file differs.
"""

from __future__ import annotations

import sys

from generated_file import ROOT, settle
from luna.scheduler.hostcalls import HOST_CALLS, HostCall

TARGET = ROOT / "integration" / "guests" / "all_imports.wat"


def import_line(row: HostCall) -> str:
    params = " ".join(parameter.kind.wasm for parameter in row.parameters)
    kind = f" (param {params})" if params else ""
    if row.returns is not None:
        kind += f" (result {row.returns.wasm})"
    return f'  (import "{row.namespace}" "{row.name}" (func{kind}))'


def module() -> str:
    """The whole text of the module."""
    return "\n".join(
        [
            ";; Imports every host call with its exact signature and does nothing.",
            ";; Made by tools/generate_all_imports.py from the host-call table.",
            "(module",
            *(import_line(row) for row in HOST_CALLS),
            '  (memory (export "memory") 1)',
            '  (func (export "_start")))',
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(settle(TARGET, module(), sys.argv[1:], "tools/generate_all_imports.py"))
