"""Why a process ended, in words for people. Pure text."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["explain", "plain"]

FRAMES_KEPT: Final = 20
"""frames of a backtrace; wasmtime keeps no more, the innermost ones."""
NAME_SHOWN: Final = 240
"""characters of a function's name; those of generic Rust functions can fill pages."""

_FRAMES: Final = "\nwasm backtrace:\n"  # as scheduler/_failure.pyx writes it
_TRAP: Final = "wasm trap: "
_NUMBER: Final = re.compile(r"\d+: ")
# `  3:   0x198 - module!function`, where the address, and with debug information the module, may be missing.
_FRAME: Final = re.compile(r" *(?P<number>\d+): +(?:0x(?P<offset>[0-9a-f]+) - )?(?P<name>.*)")
_UNNAMED: Final = re.compile(r"<wasm function (\d+)>")
# What Rust's compiler adds to names to tell two builds of a crate apart; wasmtime has undone the rest.
_RUST_HASH: Final = re.compile(r"::h[0-9a-f]{16}\b|(?<=\w)\[[0-9a-f]{8,16}\](?=::)")


def explain(reason: str) -> str:
    """A reason: its cause in the first line; the frames of the wasm stack follow, innermost first.

    A frame is `  0: function (module, offset 0x1f)`; with debug information the source is in the next line.
    """
    cause, found, frames = reason.partition(_FRAMES)
    if not found:
        return "\n".join(map(plain, reason.strip().splitlines()))
    causes = [line.strip() for line in cause.splitlines() if line.strip()]
    if len(causes) > 1:
        causes = [_NUMBER.sub("", line, count=1) for line in causes]
    first = ": ".join(line.removeprefix(_TRAP) for line in causes)
    return "\n".join([plain(f"trap: {first}"), *_frames(frames)])


def _frames(text: str) -> list[str]:
    shown = []
    count = 0
    for line in text.splitlines():
        frame = _FRAME.fullmatch(line)
        if frame is not None:
            count += 1
            shown.append(_frame(frame))
        elif line.strip() and not line.startswith("note: "):  # which tells how to get the next kind of line
            shown.append(f"       {plain(line.strip())}")  # a place in a source, or a function inlined there
    if count >= FRAMES_KEPT:
        shown.append("  ... and what called it")
    return shown


def _frame(frame: re.Match[str]) -> str:
    module, found, function = frame["name"].partition("!")
    if not found:
        module, function = "", frame["name"]
    unnamed = _UNNAMED.fullmatch(function)
    function = f"function {unnamed[1]}" if unnamed else _RUST_HASH.sub("", function)
    if len(function) > NAME_SHOWN:
        function = function[:NAME_SHOWN] + "..."
    place = [] if module in ("", "<unknown>") else [module]
    if frame["offset"] is not None:
        place.append(f"offset 0x{frame['offset']}")
    where = f" ({', '.join(place)})" if place else ""
    return plain(f"{frame['number']:>3}: {function}{where}")


def plain(line: str) -> str:
    """`line` with escapes for what could steer a terminal or break a line: names in it are the guest's."""
    if line.isprintable():
        return line
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in line)
