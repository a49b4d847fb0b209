"""How a generator writes its file, or says that the tree is stale.

Shared by the generators of this folder; decides nothing about their contents.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def settle(path: Path, text: str, arguments: list[str], command: str) -> int:
    """Write `text` to `path`, or with `--check` only compare.

    Returns the exit status: 1 when `--check` finds the file missing or different, 2 for
    an unknown argument.
    """
    unknown = [argument for argument in arguments if argument != "--check"]
    if unknown:
        print(f"unknown argument {unknown[0]!r}; the only one is --check", file=sys.stderr)
        return 2
    if "--check" not in arguments:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return 0
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return 0
    print(f"{path.relative_to(ROOT)} is stale; run python {command}", file=sys.stderr)
    return 1
