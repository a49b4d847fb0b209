"""Test mode of `luna run`: from the file and its command line to the result of the command."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from luna.cli.errors import ExitCode
from luna.cli.local_runtime import guest_config, run_on_runtime
from luna.cli.module_file import module_name
from luna.cli.output import ReaderGoneError
from luna.cli.result import NOTHING, Line, Result
from luna.cli.testing.options import HelpRequested, parse_options
from luna.cli.testing.report import Report, listing
from luna.cli.testing.selection import select

if TYPE_CHECKING:
    from luna.cli.app import App
    from luna.cli.testing.binary import TestCase
    from luna.scheduler.config import ProcessConfig
    from luna.scheduler.runtime import Runtime

__all__ = ["TestResult", "run_tests"]


@final
@dataclass(frozen=True, slots=True)
class TestResult(Result):
    """What became of the tests. The counts are of tests; `failures` their names."""

    __test__ = False  # for pytest, see TestCase

    schema: ClassVar[str] = "luna.test/1"
    file: str
    tests: tuple[str, ...]
    passed: int
    failures: tuple[str, ...]
    ignored: int
    filtered_out: int

    def data(self) -> Mapping[str, object]:
        """`file`, `tests` (names of those selected) and what became of them."""
        return {
            "file": self.file,
            "tests": list(self.tests),
            "passed": self.passed,
            "failures": list(self.failures),
            "ignored": self.ignored,
            "filtered_out": self.filtered_out,
        }

    def view(self) -> Line:
        """Nothing: it was printed as it happened."""
        return NOTHING

    @property
    def exit_code(self) -> int:
        """1 if a test failed."""
        return ExitCode.FAILED if self.failures else ExitCode.OK


def run_tests(
    app: App,
    file: str,
    module: bytes,
    tests: list[TestCase],
    arguments: tuple[str, ...],
    directories: tuple[str, ...],
    variables: Mapping[str, str],
    allowed: tuple[str, ...],
) -> TestResult:
    """Run, or list, the `tests` of `module` as the harness' command line `arguments` says.

    Raises click.UsageError, LunaError (the module, a test that cannot be started), KeyboardInterrupt and
    ReaderGoneError.
    """
    name = module_name(file)

    def show(stream: int, data: bytes) -> None:
        app.output.guest(2 if app.output.json else stream, data)  # the document has stdout to itself

    try:
        options = parse_options(arguments, os.environ, name)
    except HelpRequested as help_:
        show(1, f"{help_}\n".encode())
        return TestResult(file, (), 0, (), 0, 0)
    selection = select(tests, options)
    names = tuple(test.name for test in selection.tests)
    if options.lists:
        show(1, listing(selection, options.terse))
        return TestResult(file, names, 0, (), 0, selection.filtered_out)
    report = Report(lambda data: show(1, data), options, selection, _has_colors(options.color))
    config = guest_config((*directories, *options.directories), variables, options.arguments, allowed)
    # Processes that fail belong to tests: the report shows what matters of it.
    if any(not test.ignored for test in selection.tests):
        try:
            run_on_runtime(_Run(module, name, config, report, show), log_level="error")
        except BaseExceptionGroup as error:  # from the task that printed
            if error.subgroup(ReaderGoneError) is not None:
                raise ReaderGoneError from None
            raise
    else:  # a filter is given to all binaries of a project, and fits the tests of few
        report.begin()
        for test in selection.tests:
            report.ignore(test)
        report.end(0.0)
    return TestResult(
        file,
        names,
        len(report.passed),
        tuple(output.name for output in report.failed),
        len(report.ignored),
        selection.filtered_out,
    )


@final
@dataclass(frozen=True, slots=True)
class _Run:
    module: bytes
    name: str
    config: ProcessConfig
    report: Report
    echo: Callable[[int, bytes], None]

    async def __call__(self, runtime: Runtime) -> None:
        from luna.cli.testing.runner import TestRunner

        module = await runtime.load_module(self.module, self.name)
        report = self.report
        started = time.monotonic()
        report.begin()
        runner = TestRunner(runtime, module, self.config, report.options, report, self.echo)
        await runner.run(report.selection.tests)
        report.end(time.monotonic() - started)


def _has_colors(choice: str) -> bool:
    if choice == "auto":
        return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return choice == "always"
