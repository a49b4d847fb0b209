"""Whether a test passed, by how its process ended and what that process printed. Pure.

A process that panics traps, as one does that is killed: only the message on stderr tells the two apart. Rust
up to 1.72 writes `panicked at 'MESSAGE', FILE:LINE:COLUMN`, later versions `panicked at FILE:LINE:COLUMN:`
and the message on lines of its own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final, final

from luna.cli.testing.binary import TestCase

__all__ = ["Verdict", "judge", "panic_messages"]

HEAD: Final = re.compile(r"^thread '.*' (?:\(\d+\) )?panicked at ", re.MULTILINE)
"""how a panic begins; Rust 1.91 and later have a thread id in it"""
OLD: Final = re.compile(r"'(?P<message>.*?)', (?:(?!', )[^\n])+:\d+(?::\d+)?$", re.DOTALL | re.MULTILINE)
"""up to the last quote and comma of a line that ends as a place in a file does"""
OLD_WITHOUT_LINE: Final = re.compile(r"'(?P<message>.*)', ", re.DOTALL)
"""what Lunatic takes for a panic: a message up to the last quote and comma"""
PLACE: Final = re.compile(r"[^\n]+:\d+:\d+:\n")
END: Final = re.compile(r"\n(?:\Z|stack backtrace:\n|note: run with `RUST_BACKTRACE=)")
"""where a message ends that is not quoted: at what Rust prints behind it, or with all that was printed"""


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """`note` is for people, and none if what the test printed says it all."""

    passed: bool
    note: str | None = None


def panic_messages(text: str) -> list[str]:
    """The messages of all panics in what a process printed, in order."""
    _, *panics = HEAD.split(text)
    return [message for panic in panics if (message := _message(panic)) is not None]


def _message(text: str) -> str | None:
    """The message of one panic, from what follows `panicked at `; None if it is none."""
    if text.startswith("'"):
        quoted = OLD.match(text) or OLD_WITHOUT_LINE.match(text)
        return None if quoted is None else quoted["message"]
    place = PLACE.match(text)
    return None if place is None else END.split(text[place.end() :], maxsplit=1)[0]


def judge(test: TestCase, failed: bool, reason: str, printed: str) -> Verdict:
    """The verdict on a test whose process failed, or ended normally, for `reason`, and itself `printed` that.

    A test that should panic has passed if any of its panics fits: one that was caught before counts too.
    """
    if not failed:
        return Verdict(True) if test.panic is None else Verdict(False, "note: test did not panic as expected")
    messages = panic_messages(printed)
    if test.panic is None:
        return Verdict(
            False, None if messages else f"note: Process trapped or received kill signal\n{reason}"
        )
    if not messages:
        return Verdict(True) if test.panic == "" else Verdict(False, _killed(test.panic, reason))
    if any(test.panic in message for message in messages):
        return Verdict(True)
    return Verdict(
        False,
        "note: panic did not contain expected string\n"
        f"      panic message: {_quoted(messages[-1])},\n"
        f" expected substring: {_quoted(test.panic)}",
    )


def _killed(expected: str, reason: str) -> str:
    return (
        "note: Process received kill signal, but expected a panic that contains "
        f"{_quoted(expected)}\n{reason}"
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
