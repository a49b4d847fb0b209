"""What a test run looks like, compared with what Rust's own harness prints."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from luna.cli.testing.binary import TestCase
from luna.cli.testing.options import TestOptions
from luna.cli.testing.report import COLUMNS, Report, listing
from luna.cli.testing.selection import Selection
from luna.cli.testing.verdict import Verdict

A, B, C = TestCase("a", "m::a"), TestCase("b", "m::b", panic=""), TestCase("c", "m::c", ignored=True)
PASSED, FAILED = Verdict(True), Verdict(False)


def shown(
    play: Callable[[Report], None],
    options: TestOptions | None = None,
    tests: tuple[TestCase, ...] = (A, B, C),
    colors: bool = False,
) -> str:
    written = bytearray()
    report = Report(written.extend, options or TestOptions(), Selection(tests, 2), colors)
    report.begin()
    play(report)
    report.end(1.239)
    return written.decode()


def mixed(report: Report) -> None:
    report.start(B)
    report.finish(B, FAILED, b"no end of line")
    report.ignore(C)
    report.start(A)
    report.finish(A, PASSED, b"said\n")


def test_results_come_as_tests_end_and_failures_are_told_below() -> None:
    assert (
        shown(mixed)
        == """
running 3 tests
test m::b - should panic ... FAILED
test m::c ... ignored
test m::a ... ok

failures:

---- m::b stdout ----
no end of line


failures:
    m::b

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 2 filtered out; finished in 1.24s

"""
    )


def test_output_of_passed_tests_is_shown_on_demand() -> None:
    def play(report: Report) -> None:
        report.finish(B, PASSED, b"")
        report.finish(A, PASSED, b"said\n")

    assert (
        shown(play, TestOptions(show_output=True), (A, B))
        == """
running 2 tests
test m::b - should panic ... ok
test m::a ... ok

successes:

---- m::a stdout ----
said


successes:
    m::a
    m::b

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 1.24s

"""
    )


def test_note_stands_behind_what_was_printed() -> None:
    def play(report: Report) -> None:
        report.finish(A, Verdict(False, "note: why"), b"said")
        report.finish(B, Verdict(False, "note: why"), b"")

    text = shown(play, tests=(A, B))
    assert "---- m::a stdout ----\nsaid\nnote: why\n\n" in text
    assert "---- m::b stdout ----\nnote: why\n\n" in text


def test_failures_without_output_are_only_named() -> None:
    text = shown(lambda report: report.finish(A, FAILED, b""), tests=(A,))
    assert "\nrunning 1 test\n" in text
    assert "\n\nfailures:\n\nfailures:\n    m::a\n\ntest result: FAILED. " in text


def test_one_at_a_time_is_named_before_it_runs() -> None:
    text = shown(mixed, TestOptions(threads=1))
    assert "\ntest m::b - should panic ... FAILED\ntest m::c ... ignored\ntest m::a ... ok\n" in text
    started = bytearray()
    report = Report(started.extend, TestOptions(threads=1), Selection((A,), 0), False)
    report.start(A)
    assert started == b"test m::a ... "
    assert "test m::a ... " not in shown(lambda report: report.start(A), TestOptions(threads=2))


def test_no_tests_are_a_success() -> None:
    assert (
        shown(lambda report: None, tests=())
        == """
running 0 tests

test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 1.24s

"""
    )


def test_terse_form_has_a_character_for_each_test_and_a_line_for_failures() -> None:
    def play(report: Report) -> None:
        report.start(A)
        report.finish(A, PASSED, b"")
        report.ignore(C)
        report.finish(B, FAILED, b"")
        report.finish(B, FAILED, b"")
        report.finish(A, PASSED, b"")

    text = shown(play, TestOptions(terse=True, threads=1), (A, B, C, A, B))
    start = "\nrunning 5 tests\n.i 2/5\nm::b --- FAILED\nm::b --- FAILED\n.\nfailures:\n"
    assert text.startswith(start)


def test_terse_rows_are_broken_and_say_how_far_they_got() -> None:
    tests = (A,) * (COLUMNS + 2)

    def play(report: Report) -> None:
        for test in tests:
            report.finish(test, PASSED, b"")

    text = shown(play, TestOptions(terse=True), tests)
    assert f"\n{'.' * 88} 88/90\n..\ntest result: ok. 90 passed; " in text


def test_colors_are_lunatic_s() -> None:
    text = shown(mixed, colors=True)
    assert "test m::a ... \x1b[92mok\x1b[0m\n" in text
    assert "test m::b - should panic ... \x1b[91mFAILED\x1b[0m\n" in text
    assert "test m::c ... \x1b[93mignored\x1b[0m\n" in text
    assert "\ntest result: \x1b[91mFAILED\x1b[0m. 1 passed" in text
    assert "\n\x1b[92m.\x1b[0m" in shown(
        lambda report: report.finish(A, PASSED, b""), TestOptions(terse=True), colors=True
    )


def test_test_that_takes_long_is_named() -> None:
    text = shown(lambda report: report.slow(B))
    assert "\ntest m::b - should panic has been running for over 60 seconds\n" in text


@pytest.mark.parametrize(
    ("tests", "summary"),
    [
        ((), "\n0 tests, 0 benchmarks\n"),
        ((A,), "\n1 test, 0 benchmarks\n"),
        ((A, C), "\n2 tests, 0 benchmarks\n"),
    ],
)
def test_list(tests: tuple[TestCase, ...], summary: str) -> None:
    names = "".join(f"{test.name}: test\n" for test in tests)
    assert listing(Selection(tests, 0), terse=True).decode() == names
    assert listing(Selection(tests, 0), terse=False).decode() == names + summary
