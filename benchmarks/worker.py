"""The program in which a runtime is measured: `python -m benchmarks.worker FOLDER_WITH_GUESTS`.

A fresh operating system process for each measurement, so that none inherits another's memory. Takes
requests as `benchmarks.session` describes; a name is that of an entry of bench.wasm, or of a request here.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import trio

from benchmarks.machine import resident_kib
from luna.scheduler import Module, Param, ProcessConfig, Runtime, open_runtime


def main() -> None:
    """Say `ready`, then answer each line of stdin until it ends."""
    trio.run(_serve, Path(sys.argv[1]))


async def _serve(guests: Path) -> None:
    async with open_runtime() as runtime:
        worker = Worker(
            runtime, await _load(runtime, guests, "bench"), await _load(runtime, guests, "latency")
        )
        print("ready", flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            name, *numbers = line.split()
            print(json.dumps(await worker.answer(name, [int(number) for number in numbers])), flush=True)


async def _load(runtime: Runtime, guests: Path, name: str) -> Module:
    return await runtime.load_module((guests / f"{name}.wasm").read_bytes(), name)


class Worker:
    """Answers requests by running guests."""

    def __init__(self, runtime: Runtime, bench: Module, latency: Module) -> None:
        self._runtime = runtime
        self._bench = bench
        self._latency = latency

    async def answer(self, name: str, numbers: list[int]) -> dict[str, float]:
        """The answer to one request. Raises what the runtime raises; RuntimeError when a guest fails."""
        if name == "parked":
            return await self._parked(*numbers)
        if name == "under_load":
            return await self._under_load(*numbers)
        began = time.perf_counter_ns()
        await self._finish(await self._spawn(self._bench, name, *numbers))
        return {"elapsed_ns": time.perf_counter_ns() - began}

    async def _parked(self, count: int) -> dict[str, float]:
        """Memory and time of `count` processes that wait; they do so until the runtime ends."""
        before_kib, began = resident_kib(), time.perf_counter_ns()
        parent = await self._spawn(self._bench, "spawn_parked", count)
        await self._finish(parent)
        elapsed_ns, after_kib = time.perf_counter_ns() - began, resident_kib()
        return {
            "count": count,
            "elapsed_ns": elapsed_ns,
            "before_kib": before_kib,
            "after_kib": after_kib,
        }

    async def _under_load(self, busy: int, rounds: int, pause_ms: int) -> dict[str, float]:
        """Round trips beside `busy` processes that compute."""
        loops = [await self._spawn(self._bench, "busy") for _ in range(busy)]
        pid = await self._spawn(self._latency, "pingpong", rounds, pause_ms)
        await self._finish(pid)
        for loop in loops:
            self._runtime.kill(loop)
        summary: dict[str, float] = json.loads(await self._output(pid))
        return summary

    async def _spawn(self, module: Module, entry: str, *numbers: int) -> int:
        params = [Param.i64(number) for number in numbers]
        return await self._runtime.spawn(module, entry=entry, params=params, config=ProcessConfig.program())

    async def _finish(self, pid: int) -> None:
        status = await self._runtime.wait_exit(pid)
        if status.code != 0:
            raise RuntimeError(f"the guest failed: {status.reason}")

    async def _output(self, pid: int) -> bytes:
        reader, data = self._runtime.logs(pid), b""
        try:
            while True:
                data += (await reader.receive()).data
        except trio.EndOfChannel:
            return data


if __name__ == "__main__":
    main()
