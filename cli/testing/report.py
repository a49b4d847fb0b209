"""What a test run looks like: that of Rust's own harness, in the order in which tests end.

Writes bytes to a function it is given, and keeps what the summary at the end needs. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, final

from luna.cli.testing.binary import TestCase
from luna.cli.testing.options import TestOptions
from luna.cli.testing.selection import Selection
from luna.cli.testing.verdict import Verdict

__all__ = ["SLOW_S", "Report", "listing"]

GREEN: Final = "92"
RED: Final = "91"
YELLOW: Final = "93"
COLUMNS: Final = 88
"""characters in a row of the terse format, as libtest has them"""
SLOW_S: Final = 60
"""seconds after which a test that still runs is named, as libtest does: one that hangs had no name else"""


@final
@dataclass(frozen=True, slots=True)
class _Output:
    name: str
    printed: bytes


@final
@dataclass(slots=True)
class Report:
    """The results of one run. Its methods are called as things happen; each writes whole."""

    write: Callable[[bytes], None]
    options: TestOptions
    selection: Selection
    colors: bool
    passed: list[_Output] = field(default_factory=list)
    failed: list[_Output] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    _column: int = 0

    def begin(self) -> None:
        """The line before the first test."""
        count = len(self.selection.tests)
        self._text(f"\nrunning {count} {'test' if count == 1 else 'tests'}\n")

    def start(self, test: TestCase) -> None:
        """A test starts: said only if the next line is certain to be its result."""
        if self.options.threads == 1 and not self.options.terse:
            self._text(f"test {test.title} ... ")

    def slow(self, test: TestCase) -> None:
        """A test has been running for `SLOW_S`."""
        self._text(f"test {test.title} has been running for over {SLOW_S} seconds\n")

    def ignore(self, test: TestCase) -> None:
        """A test is not run."""
        self.ignored.append(test.name)
        if self.options.terse:
            self._character("i", YELLOW)
        else:
            self._text(f"test {test.title} ... {self._colored('ignored', YELLOW)}\n")

    def finish(self, test: TestCase, verdict: Verdict, printed: bytes) -> None:
        """A test has ended; `printed` is what it printed."""
        if verdict.note is not None:
            printed = _ended(printed) + verdict.note.encode(errors="replace") + b"\n"
        if self.options.terse and not verdict.passed:
            self._end_row()  # it gets a line of its own, and is not counted in the row before
        (self.passed if verdict.passed else self.failed).append(_Output(test.name, printed))
        if not self.options.terse:
            result = self._colored("ok", GREEN) if verdict.passed else self._colored("FAILED", RED)
            prefix = "" if self.options.threads == 1 else f"test {test.title} ... "
            self._text(f"{prefix}{result}\n")
        elif verdict.passed:
            self._character(".", GREEN)
        else:
            self._text(f"{test.name} --- {self._colored('FAILED', RED)}\n")

    def end(self, seconds: float) -> None:
        """The summary."""
        if self.options.show_output:
            self._outputs("successes", self.passed)
        if self.failed:
            self._outputs("failures", self.failed)
        result = self._colored("FAILED", RED) if self.failed else self._colored("ok", GREEN)
        self._text(
            f"\ntest result: {result}. {len(self.passed)} passed; {len(self.failed)} failed; "
            f"{len(self.ignored)} ignored; 0 measured; {self.selection.filtered_out} filtered out; "
            f"finished in {seconds:.2f}s\n\n"
        )

    def _outputs(self, title: str, outputs: list[_Output]) -> None:
        """What tests printed, each under its name, then the names."""
        parts = [f"\n{title}:\n".encode()]
        if any(output.printed for output in outputs):
            parts.append(b"\n")
        parts += [
            f"---- {output.name} stdout ----\n".encode() + _ended(output.printed) + b"\n"
            for output in outputs
            if output.printed
        ]
        parts.append(f"\n{title}:\n".encode())
        parts += [f"    {name}\n".encode() for name in sorted(output.name for output in outputs)]
        self.write(b"".join(parts))

    def _character(self, character: str, color: str) -> None:
        self._text(self._colored(character, color))
        self._column += 1
        if self._column == COLUMNS:
            self._end_row()

    def _end_row(self) -> None:
        if self._column:
            done = len(self.passed) + len(self.failed) + len(self.ignored)
            self._text(f" {done}/{len(self.selection.tests)}\n")
            self._column = 0

    def _colored(self, text: str, color: str) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self.colors else text

    def _text(self, text: str) -> None:
        self.write(text.encode(errors="replace"))


def listing(selection: Selection, terse: bool) -> bytes:
    """The names of the tests; cargo-nextest and editors read the terse form."""
    lines = [f"{test.name}: test\n" for test in selection.tests]
    if not terse:
        count = len(lines)
        lines.append(f"\n{count} {'test' if count == 1 else 'tests'}, 0 benchmarks\n")
    return "".join(lines).encode(errors="replace")


def _ended(printed: bytes) -> bytes:
    """`printed` with an end of its last line."""
    return printed if not printed or printed.endswith(b"\n") else printed + b"\n"
