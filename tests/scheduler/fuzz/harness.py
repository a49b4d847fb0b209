"""Runs generated guests together in one runtime, and sees that they harm nobody.

`run` raises Harmed when a host call failed, a process ended for a reason that no guest can be the cause of,
could not be killed, left something behind, or if a good guest no longer runs.
"""

from __future__ import annotations

import operator
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, final

import structlog
import trio
from tests.scheduler.lab import PATIENCE_S, Lab, open_lab, wait_for
from tests.scheduler.wat import guest

from luna.proto.errors import LunaError
from luna.scheduler import ExitKind, ExitStatus, Module, ProcessConfig, Request, open_runtime
from luna.scheduler.handlers import BuiltinHandlers
from luna.scheduler.requests import Answer

from .program import REPORT_MARK, ROOT, Program, generate

__all__ = ["Counts", "Harmed", "run", "warm_up"]

QUIET_S: Final = 0.3
"""seconds in which no process is born, ends, sends or asks, after which those that are left wait for ever, or
compute"""
OTHER_ENVIRONMENTS: Final = 1000
"""added to a seed it is its guest's environment, so that guests do not meet"""
MAX_PROCESSES: Final = 20_000
"""of one runtime: what generated guests spawn stays far below"""

GOOD_GUEST: Final = """
    (func (export "_start")
      (call $send (call $spawn @"child") 1:i64 (process.process_id))
      (is32 (call $receive_any 10000:i64) 0:i32)
      (is64 (call $read) 42:i64)
      (registry.put @"good" (distributed.node_id) (process.process_id))
      (is32 (registry.get @"good" 0:i32 8:i32) 0:i32)
      (is32 (process.compile_module @"garbage" 0:i32) 1:i32))
    (func (export "child")
      (call $send (call $receive) 1:i64 42:i64))"""

USES_FILES: Final = """
    (func (export "_start")
      (drop (wasi.path_open 3:i32 0:i32 @"warm" 1:i32 0:i64 0:i64 0:i32 0:i32))
      (drop (wasi.fd_write 1:i32 0:i32 0:i32 8:i32)))"""

_REASONS: Final = re.compile(
    r"""returned | killed | exited\ with\ code\ \d+ | a\ linked\ process\ died(:\ -?\d+)?
    | the\ module\ exports\ no\ function\ .* | the\ entry\ .* | it\ made\ no\ more\ than\ .*
    | trap:\ .* | .*\ fuel\ .*""",
    re.VERBOSE,
)
"""First lines of why a process ended."""
_OURS: Final = re.compile(
    r"internal error|panick|Traceback|has no attribute|NoneType"
    r"|\b(Assertion|Attribute|Index|Key|Lookup|Name|OS|Overflow|Runtime|Type|Unicode\w*|Value)Error\b"
)
"""What shows in a text that something of the runtime failed, and not the guest."""

Counts = Counter[tuple[int, int]]
"""How often each row was called, returned, and returned 0: by its index and CALLED, RETURNED or WAS_ZERO."""


class Harmed(Exception):
    """Generated guests did harm; `seed` is whose, if that is known."""

    def __init__(self, text: str, seed: int | None = None) -> None:
        super().__init__(text if seed is None else f"seed {seed}: {text}")
        self.seed = seed


@final
class _Batch:
    """The guests of one runtime."""

    def __init__(self, lab: Lab, directory: Path, counts: Counts | None) -> None:
        self._runtime = lab.runtime
        self._lab = lab
        self._directory = directory
        self.statuses: dict[int, ExitStatus] = {}
        # The lab's own handlers keep guests waiting.
        builtin = BuiltinHandlers(self._runtime._modules)
        builtin.install(self._runtime.set_handler)
        get_nodes = self._runtime._answering._handlers["lunatic::distributed", "get_nodes"]

        def count(request: Request) -> Answer:
            row, mark = map(int, request.args)
            if mark != REPORT_MARK or counts is None:
                answer = get_nodes(request)
                assert isinstance(answer, int)
                return answer
            counts[divmod(row, 4)] += 1
            return 0

        self._runtime.set_handler("lunatic::distributed", "get_nodes", count)

    async def run(self, programs: Iterable[Program], seconds: float) -> None:
        async with trio.open_nursery() as nursery:
            for program in programs:
                module = await self._runtime.load_module(program.wat.encode(), f"seed {program.seed}")
                nursery.start_soon(self._run_one, program, module)
            with trio.move_on_after(seconds):
                await self._wait_quiet()
            await self._kill_all()
            nursery.cancel_scope.deadline = trio.current_time() + PATIENCE_S
        if nursery.cancel_scope.cancelled_caught:
            raise Harmed("processes are gone, but not all of them were told to have ended")
        for table in (
            self._runtime._resources._owners,
            self._runtime._resources._sent,
            self._runtime._answering._serving,
        ):
            await wait_for(partial(operator.not_, table), f"a table is empty, not {table!r:.500}")
        await self._lab.passes(GOOD_GUEST)

    async def _run_one(self, program: Program, module: Module) -> None:
        directory = self._directory / str(program.seed)
        directory.mkdir()
        config = replace(program.config, preopens=((".", str(directory)),))
        try:
            pid = await self._runtime.spawn(
                module, entry=ROOT, config=config, environment=OTHER_ENVIRONMENTS + program.seed
            )
            self.statuses[program.seed] = await self._runtime.wait_exit(pid)
        except LunaError as error:
            if _OURS.search(str(error)):
                raise Harmed(f"it was not started: {error}", program.seed) from error

    async def _wait_quiet(self) -> None:
        """Wait until no process does what others could see."""
        before: object = None
        since = trio.current_time()
        while trio.current_time() < since + QUIET_S:
            await trio.sleep(QUIET_S / 10)
            counters = self._runtime.counters()
            now = [counters[name] for name in ("spawned", "exited", "sent", "requests")]
            if now != before:
                since = trio.current_time()
            before = now

    async def _kill_all(self) -> None:
        """Kill until nobody is left: processes that are being killed may still spawn."""
        runtime = self._runtime

        def kill() -> bool:
            living = runtime.processes()
            for process in living:
                runtime.kill(process.pid)
            return not living

        try:
            await wait_for(kill)
        except AssertionError:
            left = {(process.module, process.entry, process.state) for process in runtime.processes()}
            raise Harmed(f"not to be killed: {left}") from None


async def run(
    seeds: Sequence[int], directory: Path, *, seconds: float, threads: int = 2, counts: Counts | None = None
) -> None:
    """Run the guests of these seeds at once, for at most so long. Raises Harmed.

    Their files are in `directory`. With `counts` it is noted what became of each host call.
    """
    with structlog.testing.capture_logs() as logs, _watched() as raised:
        try:
            async with open_lab(threads=threads, held=(), max_processes=MAX_PROCESSES) as lab:
                batch = _Batch(lab, directory, counts)
                programs = (generate(seed, counting=counts is not None) for seed in seeds)
                await batch.run(programs, seconds)
                statuses = batch.statuses
                del batch
        except* AssertionError as group:
            raise Harmed("; ".join(map(str, _leaves(group)))) from group
    if raised:
        raise Harmed(f"raised where nobody could catch it: {raised}")
    for seed, status in statuses.items():
        _check(status, seed)
    for log in logs:
        text = str(log)
        if log["log_level"] in ("error", "critical") or "exc_info" in log or _OURS.search(text):
            raise Harmed(f"the runtime logs: {text}")


def _check(status: ExitStatus, seed: int) -> None:
    first = status.reason.partition("\n")[0]
    expected = {ExitKind.NORMAL: 0, ExitKind.KILLED: 1}.get(status.kind, status.code)
    if not _REASONS.fullmatch(first) or _OURS.search(status.reason) or status.code != expected:
        raise Harmed(f"no way to end: {status}", seed)


@contextmanager
def _watched() -> Iterator[list[str]]:
    """What is raised in destructors, in native callbacks and in threads, where nobody can catch it."""
    raised: list[str] = []
    hook = sys.unraisablehook

    def note(unraisable: sys.UnraisableHookArgs) -> None:
        raised.append(f"{unraisable.err_msg} {unraisable.object!r}: {unraisable.exc_value!r}")

    sys.unraisablehook = note
    try:
        yield raised
    finally:
        sys.unraisablehook = hook


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


async def warm_up(directory: Path) -> None:
    """Have wasmtime open what it keeps for as long as the OS process lives."""
    async with open_runtime(threads=1) as runtime:
        module = await runtime.load_module(guest(USES_FILES), "warm-up")
        config = ProcessConfig.program(preopens=((".", str(directory)),))
        await runtime.wait_exit(await runtime.spawn(module, config=config))
