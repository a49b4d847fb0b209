"""Verdicts, and the two forms in which Rust tells of a panic."""

from __future__ import annotations

import pytest

from luna.cli.testing.binary import TestCase
from luna.cli.testing.verdict import Verdict, judge, panic_messages

HINT = "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"
BACKTRACE = "stack backtrace:\n   0: std::panicking::begin_panic\n             at src/x.rs:1:2\n"


def old(message: str, thread: str = "main") -> str:
    """As Rust up to 1.72 prints it."""
    return f"thread '{thread}' panicked at '{message}', src/lib.rs:3:5\n"


def new(message: str, thread: str = "<unnamed>") -> str:
    """As Rust from 1.73 on prints it."""
    return f"\nthread '{thread}' panicked at src/lib.rs:3:5:\n{message}\n"


@pytest.mark.parametrize("form", [old, new])
@pytest.mark.parametrize(
    "message",
    [
        "boom",
        "",
        "two\nlines",
        "a\n\nb\n",
        "it's 'quoted', is it",
        "it ends with a quote'",
        "', ",
        "at 'x', y",
        "src/a.rs:1:2",
        "thread pool is gone",
        "ü 🦀",
    ],
)
@pytest.mark.parametrize("before", ["", "a line\n", "a line\r\n\n"])
@pytest.mark.parametrize("after", ["", HINT, BACKTRACE])
def test_message_of_a_panic_is_found_whole(form, message: str, before: str, after: str) -> None:  # type: ignore[no-untyped-def]
    assert panic_messages(before + form(message) + after) == [message]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("", []),
        ("all is well\n", []),
        ("the thread 'main' panicked at 'x', a.rs:1:1\n", []),  # not at the beginning of a line
        ("thread 'main' panicked at nothing\n", []),
        ("thread 'main' panicked at 'unfinished\n", []),
        ("thread 'a' panicked at 'no place', \n", ["no place"]),  # what Lunatic takes for a panic
        ("thread 'a' panicked at 'x', a.rs:1\n", ["x"]),
        ("thread 'a'b' panicked at a b.rs:1:2:\nx\n", ["x"]),
        ("thread 'main' (4711) panicked at src/a.rs:1:2:\nx\n", ["x"]),  # Rust 1.91 and later
        (old("one") + HINT + "text\n" + new("two") + HINT, ["one", "two"]),
        (new("says:\n" + old("inner").rstrip()), ["says:", "inner"]),
    ],
)
def test_panics_are_told_from_other_text(text: str, messages: list[str]) -> None:
    assert panic_messages(text) == messages


def test_long_output_is_read_in_no_time() -> None:
    assert panic_messages(("x" * 99 + "\n") * 50_000 + new("boom")) == ["boom"]
    assert panic_messages("thread 'a' panicked at '" + "', " * 100_000) == ["', " * 99_999]
    assert panic_messages("thread 'a' panicked at\n" * 50_000) == []


def case(panic: str | None) -> TestCase:
    return TestCase("e", "m::f", panic=panic)


PASSED = Verdict(True)
KILLED = "trap: unreachable"


@pytest.mark.parametrize(
    ("panic", "failed", "printed", "verdict"),
    [
        (None, False, "", PASSED),
        (None, False, new("a panic that was caught"), PASSED),
        ("", False, new("x"), Verdict(False, "note: test did not panic as expected")),
        ("x", False, "", Verdict(False, "note: test did not panic as expected")),
        (None, True, new("x"), Verdict(False)),
        (None, True, old("x"), Verdict(False)),
        (None, True, "", Verdict(False, f"note: Process trapped or received kill signal\n{KILLED}")),
        ("", True, new("x"), PASSED),
        ("", True, "", PASSED),
        ("x", True, old("axb"), PASSED),
        ("x", True, new("axb"), PASSED),
        ("two\nlines", True, new("one two\nlines three"), PASSED),
        ("second", True, new("first") + new("second"), PASSED),
        ("", True, old(""), PASSED),
        (
            "x",
            True,
            "",
            Verdict(
                False,
                'note: Process received kill signal, but expected a panic that contains "x"\n' + KILLED,
            ),
        ),
        (
            'a"b',
            True,
            new("first") + new("c\nd") + HINT,
            Verdict(
                False,
                "note: panic did not contain expected string\n"
                '      panic message: "c\\nd",\n'
                ' expected substring: "a\\"b"',
            ),
        ),
    ],
)
def test_verdict(panic: str | None, failed: bool, printed: str, verdict: Verdict) -> None:
    assert judge(case(panic), failed, KILLED, printed) == verdict
