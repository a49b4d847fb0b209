"""Which tests are run."""

from __future__ import annotations

import pytest

from luna.cli.testing.binary import TestCase
from luna.cli.testing.options import TestOptions
from luna.cli.testing.selection import select

TESTS = [TestCase(name, name, name.endswith("late")) for name in ("m::a", "m::ab", "m::b", "n::a", "n::late")]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (TestOptions(), "m::a m::ab m::b n::a n::late"),
        (TestOptions(filters=("m::",)), "m::a m::ab m::b"),
        (TestOptions(filters=("ab", "n::a")), "m::ab n::a"),
        (TestOptions(filters=("m::a",), exact=True), "m::a"),
        (TestOptions(filters=("m::a", "m::b"), exact=True), "m::a m::b"),
        (TestOptions(filters=("m",), exact=True), ""),
        (TestOptions(exact=True), "m::a m::ab m::b n::a n::late"),
        (TestOptions(skips=("a",)), "m::b"),
        (TestOptions(skips=("m::a", "late")), "m::b n::a"),
        (TestOptions(skips=("m::a",), exact=True), "m::ab m::b n::a n::late"),
        (TestOptions(filters=("m::",), skips=("ab",)), "m::a m::b"),
        (TestOptions(ignored="only"), "n::late"),
        (TestOptions(ignored="only", filters=("m::",)), ""),
        (TestOptions(ignored="too", filters=("n::",)), "n::a n::late"),
    ],
)
def test_tests_are_picked_by_name_and_mark(options: TestOptions, names: str) -> None:
    selection = select(TESTS, options)
    assert [test.name for test in selection.tests] == names.split()
    assert selection.filtered_out == len(TESTS) - len(names.split())


def test_ignored_tests_that_were_asked_for_are_ignored_no_more() -> None:
    assert [test.ignored for test in select(TESTS, TestOptions()).tests] == [False] * 4 + [True]
    assert [test.ignored for test in select(TESTS, TestOptions(ignored="only")).tests] == [False]
    assert [test.ignored for test in select(TESTS, TestOptions(ignored="too")).tests] == [False] * 5
