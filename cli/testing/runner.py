"""Runs the tests of a binary: each as a process in an environment of its own, and so with names of its own.

Like Lunatic's, all run at the same time unless told otherwise. A test is over when its own process is; what
is left in its environment is killed then, for it would go on and take the time of other tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from luna.cli.testing.capture import Capture
from luna.cli.testing.report import SLOW_S
from luna.cli.testing.verdict import judge
from luna.proto.errors import InvalidError, LunaError

if TYPE_CHECKING:
    import trio

    from luna.cli.testing.binary import TestCase
    from luna.cli.testing.options import TestOptions
    from luna.cli.testing.report import Report
    from luna.scheduler.config import ProcessConfig
    from luna.scheduler.facts import ExitStatus
    from luna.scheduler.logs import LogReader
    from luna.scheduler.modules import Module
    from luna.scheduler.runtime import Runtime

__all__ = ["TestRunner"]

KILL_ROUNDS: Final = 50
"""looks at what a test left behind, `KILL_PAUSE_S` apart; a process may start another while it is killed.
What is alive then is in a system call, and ends with the run."""
KILL_PAUSE_S: Final = 0.002
"""seconds; a kill takes microseconds, unless its process just computes"""


@final
class TestRunner:
    """One run of the tests that were selected."""

    __test__ = False  # for pytest, see TestCase

    def __init__(
        self,
        runtime: Runtime,
        module: Module,
        config: ProcessConfig,
        options: TestOptions,
        report: Report,
        echo: Callable[[int, bytes], None],
    ) -> None:
        """`echo` is given what tests print, with the stream (1 stdout, 2 stderr), when it is not captured."""
        self._runtime = runtime
        self._module = module
        self._config = config
        self._options = options
        self._report = report
        self._echo = echo

    async def run(self, tests: tuple[TestCase, ...]) -> None:
        """Run the tests, those ignored left out, and tell the report.

        Raises LunaError, and stops all others, if one cannot be started.
        """
        import trio

        environments = itertools.count(1)
        free = trio.Semaphore(self._options.threads or max(1, len(tests)))
        async with trio.open_nursery() as nursery:
            for test in tests:
                await free.acquire()
                if test.ignored:  # told in its turn: one at a time, the line before may wait for its end
                    self._report.ignore(test)
                    free.release()
                    continue
                await nursery.start(self._run_one, test, next(environments), free)

    async def _run_one(
        self, test: TestCase, environment: int, free: trio.Semaphore, *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Tests start one after the other: `task_status` is told when this one has."""
        import trio

        self._report.start(test)
        try:
            pid = await self._runtime.spawn(
                self._module,
                entry=test.export,
                config=self._config,
                environment=environment,
                follow=True,
                quiet=True,
            )
        except LunaError as error:
            raise InvalidError(
                f"cannot start the test {test.name}: {error.message}", hint=error.hint
            ) from error
        # Nothing is awaited before its end and its output are waited for: the runtime forgets both in time.
        capture = Capture(pid)
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, self._runtime.logs(pid, follow=True), capture)
            status = await self._wait(test, pid)
        failed = status.kind != 0
        self._report.finish(test, judge(test, failed, status.reason, capture.text()), capture.content())
        await self._clean_up(environment)
        free.release()

    async def _wait(self, test: TestCase, pid: int) -> ExitStatus:
        import trio

        with trio.move_on_after(SLOW_S):
            return await self._runtime.wait_exit(pid)
        self._report.slow(test)
        return await self._runtime.wait_exit(pid)

    async def _read(self, reader: LogReader, capture: Capture) -> None:
        import trio

        with reader:
            while True:
                try:
                    chunk = await reader.receive()
                except trio.EndOfChannel:
                    return
                capture.add(chunk.pid, chunk.data)
                if self._options.nocapture:
                    self._echo(chunk.stream, chunk.data)

    async def _clean_up(self, environment: int) -> None:
        import trio

        for _ in range(KILL_ROUNDS):
            left = [
                process.pid for process in self._runtime.processes() if process.environment == environment
            ]
            if not left:
                break
            for pid in left:
                self._runtime.kill(pid)
            await trio.sleep(KILL_PAUSE_S)
