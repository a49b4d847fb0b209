"""Sessions: a system under measurement that answers requests of one line, and how to repeat them.

`ProcessSession` talks to a child process: the runtime's worker, Erlang, the floors' program. All take
`NAME NUMBER...` on stdin and answer each request with a JSON object on one line.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from benchmarks.model import BenchmarkError, Unit, next_count, per_item

__all__ = ["ProcessSession", "Session", "open_process", "rate", "stop_process"]

ANSWER_TIMEOUT_S: Final = 180.0
"""seconds for one answer: the longest request, a million parked processes, takes a third of it."""
STOP_TIMEOUT_S: Final = 20.0
"""seconds for a child to end once its input has: destroying a million processes takes some of them."""
FIRST_COUNT: Final = 200
"""items of the first try, which warms up as well."""
TARGET_NS: Final = 600e6
"""nanoseconds that a timed run should take: long beside a time slice of the kernel and starting."""
MOST_ITEMS: Final = 5_000_000

Answer = Mapping[str, float]


class Session(Protocol):
    """A system that measures what it is asked for."""

    def ask(self, name: str, *numbers: int) -> Answer:
        """The answer to one request. Raises BenchmarkError."""
        ...


def rate(
    session: Session,
    name: str,
    arguments: Callable[[int], Sequence[int]],
    unit: Unit,
    *,
    scale: float = 1.0,
    items: Callable[[int], int] = lambda count: count,
    most: int = MOST_ITEMS,
) -> float:
    """The time of one item in `unit` (or items in a second) by a run that takes about TARGET_NS * scale.

    `arguments(count)` is what to ask for, `items(count)` how many items that is, if not `count`.
    """
    count = min(FIRST_COUNT, most)
    while True:
        elapsed_ns = session.ask(name, *arguments(count))["elapsed_ns"]
        more = next_count(count, elapsed_ns, TARGET_NS * scale, most)
        if more is None:
            return per_item(elapsed_ns, items(count), unit)
        count = more


class ProcessSession:
    """A session with a child process that has said it is ready."""

    def __init__(self, process: subprocess.Popen[str], what: str, log: Path) -> None:
        self.process: Final = process
        self._what = what
        self._log = log

    def ask(self, name: str, *numbers: int) -> Answer:
        """Send a request and wait for its answer. Raises BenchmarkError with what the child said."""
        request = " ".join([name, *map(str, numbers)])
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(request + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; reading finds that, and why
        return self.read_answer(request)

    def read_answer(self, request: str) -> Answer:
        """The next answer; `request` is named in errors."""
        line = self.read_line(request)
        try:
            answer: Answer = json.loads(line)
        except ValueError as error:
            raise BenchmarkError(f"{self._what}: {request}: answered {line!r}") from error
        return answer

    def read_line(self, request: str) -> str:
        """The next line of the child's stdout, within ANSWER_TIMEOUT_S."""
        assert self.process.stdout is not None
        watchdog = threading.Timer(ANSWER_TIMEOUT_S, self.process.kill)
        watchdog.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            code = self.process.wait()
            said = self._log.read_text(errors="replace").strip()[-2000:]
            raise BenchmarkError(f"{self._what}: {request}: ended with {code}, no answer\n{said}")
        return line


@contextmanager
def open_process(
    command: Sequence[str | Path], what: str, log: Path, *, environment: Mapping[str, str] | None = None
) -> Iterator[ProcessSession]:
    """A child process as a session; it ends with the block. `log` takes what it writes on stderr."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        )
    try:
        yield ProcessSession(process, what, log)
    finally:
        stop_process(process)


def stop_process(process: subprocess.Popen[str]) -> None:
    """End a child by closing its input, and if that does not help, by force."""
    if process.stdin is not None:
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass  # it ended before it read all
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
