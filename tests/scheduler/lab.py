"""A runtime under test: loads guests, waits for conditions, and sees that nothing is left behind."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from luna.scheduler import ExitKind, ExitStatus, Module, Request, Runtime, _core, open_runtime

from .wat import guest

PATIENCE_S: Final = 20.0
"""seconds a test waits for what should take milliseconds: this machine may be busy."""

LEFTOVERS_S: Final = 5.0
"""seconds until everything must be gone after a runtime was left"""

Guest = str | bytes | Module
"""What a test runs: the body of a WAT module, the bytes of a file, or a loaded module."""


async def wait_for(condition: Callable[[], object], what: str = "", timeout_s: float = PATIENCE_S) -> None:
    """Wait until `condition()` holds; other threads decide when, so it is polled."""
    with trio.move_on_after(timeout_s):
        while not condition():
            await trio.sleep(0.002)
        return
    raise AssertionError(f"still not true after {timeout_s} s: {what}")


class Lab:
    """A runtime and what its guests told the test."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.reports: list[int] = []
        """what guests reported, in order, as signed numbers"""
        self.gate = trio.Event()
        self.at_gate = 0
        """guests that wait for the gate"""
        runtime.set_handler("lunatic::distributed", "get_nodes", self._report)
        runtime.set_handler("lunatic::distributed", "nodes_count", self._wait_at_gate)

    async def _report(self, request: Request) -> int:
        self.reports.append(int.from_bytes(request.read(int(request.args[0]), 8), "little", signed=True))
        return 0

    async def _wait_at_gate(self, request: Request) -> int:
        self.at_gate += 1
        try:
            await self.gate.wait()
        finally:
            self.at_gate -= 1
        return 0

    async def load(self, source: Guest, name: str = "guest") -> Module:
        if isinstance(source, Module):
            return source
        return await self.runtime.load_module(guest(source) if isinstance(source, str) else source, name)

    async def spawn(self, source: Guest, **options: Any) -> int:
        """Start `_start`, or `entry`; options as of Runtime.spawn."""
        with trio.fail_after(PATIENCE_S):
            return await self.runtime.spawn(await self.load(source), **options)

    async def wait_exit(self, pid: int) -> ExitStatus:
        with trio.fail_after(PATIENCE_S):
            return await self.runtime.wait_exit(pid)

    async def run(self, source: Guest, **options: Any) -> ExitStatus:
        """Run a guest to its end."""
        return await self.wait_exit(await self.spawn(source, **options))

    async def passes(self, source: Guest, **options: Any) -> None:
        """Run a guest whose own checks must all hold."""
        status = await self.run(source, **options)
        if status.reason.startswith("exited with code") and status.code > 0:
            line = source.split("\n")[status.code - 1].strip() if isinstance(source, str) else ""
            raise AssertionError(f"the guest's check in line {status.code} failed: {line}")
        assert status.kind is ExitKind.NORMAL, status

    async def traps(self, source: Guest, **options: Any) -> str:
        """Run a guest that must end with a trap; what it says."""
        status = await self.run(source, **options)
        assert status.kind is ExitKind.FAILURE, status
        assert status.code == 1, status
        return status.reason

    async def output(self, pid: int) -> bytes:
        """Everything a process prints until its end, both streams."""
        chunks = bytearray()
        reader = self.runtime.logs(pid)
        with trio.fail_after(PATIENCE_S):
            while True:
                try:
                    chunks += (await reader.receive()).data
                except trio.EndOfChannel:
                    return bytes(chunks)


def native_threads() -> set[int]:
    """Threads of this OS process that neither Python nor wasmtime's file I/O started."""
    python = {thread.native_id for thread in threading.enumerate()}
    own = _thread_name(os.getpid())
    return {
        thread
        for thread in (int(path.name) for path in Path("/proc/self/task").iterdir())
        # Threads of the core inherit the name of the OS process, those of wasmtime have their own.
        if thread not in python and _thread_name(thread) == own
    }


def _thread_name(thread: int) -> str:
    try:
        return Path(f"/proc/self/task/{thread}/comm").read_text()
    except OSError:
        return ""  # it has just ended


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def balances(core: _core.Core) -> dict[str, int]:
    """The counters of things that exist; all zero when nothing is left."""
    counters = core.counters()
    return {name: counters[name] for name in _core.COUNTER_NAMES[: _core.BALANCED]}


@asynccontextmanager
async def open_lab(
    node_id: int = 0, threads: int = 2, *, held: tuple[str, ...] = ("modules", "outputs"), **options: Any
) -> AsyncIterator[Lab]:
    """A runtime that must leave nothing behind: no object of the core, thread or file.

    `held` are kinds of objects that variables of the test still refer to; other
    options as of open_runtime.
    """
    gc.collect()
    files, threads_before = open_files(), native_threads()
    async with open_runtime(node_id=node_id, threads=threads, **options) as runtime:
        stacks = balances(runtime._core)["stacks"]  # those of other runtimes of this OS process
        lab = Lab(runtime)
        yield lab
    core = runtime._core
    # The runtime remembers modules and ended processes: with it they must all be gone.
    del runtime
    vars(lab).clear()
    await trio.lowlevel.checkpoint()
    gc.collect()

    def left() -> dict[str, int]:
        counts = balances(core)
        counts["stacks"] -= stacks
        return {name: count for name, count in counts.items() if count and name not in held}

    def is_gone() -> bool:
        if left():
            gc.collect()  # a worker thread may have held on to what it raised until now
        return not left()

    # wasmtime may drop the last reference to an output stream on a thread of its own.
    await wait_for(is_gone, f"nothing is left in the core but {left()}", LEFTOVERS_S)
    await wait_for(lambda: native_threads() <= threads_before, "no thread is left", LEFTOVERS_S)
    await wait_for(lambda: open_files() == files, "no file descriptor is left", LEFTOVERS_S)
