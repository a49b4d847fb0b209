"""Which tests of a binary run. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from luna.cli.testing.binary import TestCase
from luna.cli.testing.options import TestOptions

__all__ = ["Selection", "select"]


@final
@dataclass(frozen=True, slots=True)
class Selection:
    """The tests that were asked for, those included that are shown as ignored and not run."""

    tests: tuple[TestCase, ...]
    filtered_out: int


def select(tests: Sequence[TestCase], options: TestOptions) -> Selection:
    """Pick by name, then by the mark of ignored tests, which those that shall run lose."""
    chosen = [test for test in tests if _is_named(test.name, options)]
    if options.ignored == "only":
        chosen = [test for test in chosen if test.ignored]
    if options.ignored != "no":
        chosen = [replace(test, ignored=False) for test in chosen]
    return Selection(tuple(chosen), len(tests) - len(chosen))


def _is_named(name: str, options: TestOptions) -> bool:
    def fits(text: str) -> bool:
        return name == text if options.exact else text in name

    wanted = not options.filters or any(map(fits, options.filters))
    return wanted and not any(map(fits, options.skips))
