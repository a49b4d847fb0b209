"""Why a process ended, in words for people. Pure text."""

from __future__ import annotations

from typing import Final

__all__ = ["explain"]

_BACKTRACE: Final = "error while executing at wasm backtrace:\n"
_CAUSE: Final = "\n\nCaused by:\n"
_TRAP: Final = "wasm trap: "
FRAMES_SHOWN: Final = 16
"""frames of a backtrace; a stack overflow has thousands."""


def explain(reason: str) -> str:
    """A reason with its cause in the first line; frames of the wasm stack follow, innermost first."""
    if not reason.startswith(_BACKTRACE):
        return reason.strip()
    frames, _, cause = reason.removeprefix(_BACKTRACE).partition(_CAUSE)
    lines = [line.strip().removeprefix(_TRAP) for line in cause.splitlines() if line.strip()]
    calls = frames.splitlines()
    if len(calls) > FRAMES_SHOWN:
        calls = [*calls[:FRAMES_SHOWN], f"    ... {len(calls) - FRAMES_SHOWN} more"]
    return "\n".join([f"trap: {': '.join(lines)}", *calls])
