"""The benchmarks of one machine: what is asked of each system, and what its answers mean."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.lab import Lab
from benchmarks.machine import available_memory_kib, resident_kib, total_memory_kib
from benchmarks.model import Benchmark, BenchmarkError, Measure, Values, on
from benchmarks.session import ANSWER_TIMEOUT_S, Session, open_process, rate
from benchmarks.systems import erlang_command, open_erlang, open_floors, open_luna

__all__ = ["LOCAL"]

AT_ONCE: Final = 1000
RING: Final = 1000
BUSY: Final = 100
LOAD_ROUNDS: Final = 500
LOAD_PAUSE_MS: Final = 1
PARKED: Final = 100_000
PARKED_MILLION: Final = 1_000_000
KIB_EACH: Final = 24
"""KiB of one parked process with its share of the kernel's tables: what a count must find available."""
LEFT_FREE: Final = 0.1
"""of the machine's memory: with less, a node refuses to spawn."""
SMALL: Final = 64
LARGE: Final = 65_536
MOST_LARGE: Final = 5_000
"""messages of LARGE bytes in one run: a sink that falls behind has them all in memory, 330 MB."""
MOST_SMALL: Final = 2_000_000


def spawn(session: Session, lab: Lab) -> Values:
    """Processes that send one message to their parent and end; the parent awaits each. Once with up to 1000
    of them alive, once one after the other. The floors are threads made and joined, and forks."""
    return {
        "at_once": rate(session, "spawn_loop", lambda count: (count, AT_ONCE), "/s", scale=lab.scale),
        "one_by_one": rate(session, "spawn_loop", lambda count: (count, 1), "/s", scale=lab.scale),
    }


def fork(session: Session, lab: Lab) -> Values:
    """Processes of the kernel, forked, ended and waited for one by one."""
    return {"one_by_one": rate(session, "fork_loop", lambda count: (count,), "/s", scale=lab.scale)}


def parked_luna(session: Session, lab: Lab) -> Values:
    """Processes with one page of wasm memory that wait for a message, counted when all of them do:
    growth of the resident memory by process, and how fast they were made. The floor is threads, fewer."""
    needed_kib = parked_count(lab) * KIB_EACH
    spare_kib = available_memory_kib() - int(total_memory_kib() * LEFT_FREE)
    if needed_kib > spare_kib:
        raise BenchmarkError(
            f"{parked_count(lab)} processes need {needed_kib >> 10} MiB, {spare_kib >> 10} are to spare"
        )
    return parked(session, lab)


def parked(session: Session, lab: Lab) -> Values:
    """Whatever takes the place of a process on a system, waiting."""
    session.ask("parked", 100)  # what the first ones cost once is no cost of each
    answer = session.ask("parked", parked_count(lab))
    return {
        "memory": (answer["after_kib"] - answer["before_kib"]) / answer["count"],
        "count": answer["count"],
        "rate": answer["count"] / (answer["elapsed_ns"] * 1e-9),
    }


def parked_count(lab: Lab) -> int:
    """How many to park."""
    return PARKED_MILLION if lab.million else int(PARKED * lab.scale)


def pingpong(session: Session, lab: Lab) -> Values:
    """A message of 8 bytes to another process and its answer, the mean of many rounds. The floor is
    two threads that wake each other by a futex."""
    return {"round_trip": rate(session, "pingpong", lambda count: (count,), "us", scale=lab.scale)}


def throughput(session: Session, lab: Lab) -> Values:
    """Messages from one process to another that only takes them, until it has taken the last. The floor is
    a pipe between two threads. Erlang passes a reference where the others copy 64 KiB."""
    small = rate(session, "oneway", lambda count: (count, SMALL), "/s", scale=lab.scale, most=MOST_SMALL)
    large = rate(session, "oneway", lambda count: (count, LARGE), "/s", scale=lab.scale, most=MOST_LARGE)
    return {"small": small, "large": large * LARGE / 1e6}


def ring(session: Session, lab: Lab) -> Values:
    """A token goes round 1000 processes, the mean time from one to the next. The floor is the same with
    threads. Making the ring is part of the run, and small beside it."""
    hop = rate(
        session,
        "ring",
        lambda rounds: (RING, rounds),
        "us",
        scale=lab.scale,
        items=lambda rounds: rounds * RING,
    )
    return {"hop": hop}


def under_load(session: Session, lab: Lab) -> Values:
    """Round trips of two processes beside 100 that compute without end, one millisecond apart. The floor is
    threads of the kernel in the same places."""
    answer = session.ask("under_load", BUSY, int(LOAD_ROUNDS * lab.scale), LOAD_PAUSE_MS)
    return {key: answer[f"{key}_ns"] * 1e-6 for key in ("p50", "p99", "max")}


def start_luna(lab: Lab) -> Values:
    """From the start of `luna-node start` to its ready line, and its resident memory then. The floor is
    Python importing the libraries a node is made of."""
    arguments = ["start", "--name", "bench", "--listen", "127.0.0.1:0", "--no-discovery", "--state"]
    command = [str(Path(sys.executable).parent / "luna-node"), *arguments, str(lab.folder / "state-start")]
    return _start(lab, command, "luna-node")


def start_python(lab: Lab) -> Values:
    """Python importing the libraries a node is made of."""
    code = "import grpc.aio, trio, wasmtime, zeroconf; print('ready', flush=True); input()"
    return _start(lab, [sys.executable, "-c", code], "python")


def start_erlang(lab: Lab) -> Values:
    """An Erlang node that says it is ready."""
    return _start(lab, erlang_command(lab, "-run", "luna_bench", "main"), "erlang-start")


def _start(lab: Lab, command: Sequence[str | Path], name: str) -> Values:
    began = time.perf_counter()
    with open_process(command, name, lab.log(name)) as session:
        session.read_line("start")
        ready_s = time.perf_counter() - began
        memory_kib = resident_kib(session.process.pid)
        session.process.terminate()
        try:
            session.process.wait(ANSWER_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise BenchmarkError(f"{name} did not stop") from error
    return {"ready": ready_s, "memory": memory_kib / 1024}


LOCAL: Final = (
    Benchmark(
        "spawn",
        "local",
        (
            Measure("at_once", "spawn and exit, 1000 alive", "/s", ">= 50k"),
            Measure("one_by_one", "spawn and exit, one by one", "/s"),
        ),
        on(open_luna, spawn),
        {"threads": on(open_floors, spawn), "fork": on(open_floors, fork)},
        on(open_erlang, spawn),
    ),
    Benchmark(
        "parked",
        "local",
        (
            Measure("memory", "memory of a parked process", "KiB", "<= 16"),
            Measure("rate", "parked processes made", "/s"),
            Measure("count", "parked processes", "", "1M with --million"),
        ),
        on(open_luna, parked_luna),
        {"threads": on(open_floors, parked)},
        on(open_erlang, parked),
    ),
    Benchmark(
        "ping-pong",
        "local",
        (Measure("round_trip", "ping-pong, there and back", "us", "<= 2"),),
        on(open_luna, pingpong),
        {"threads": on(open_floors, pingpong)},
        on(open_erlang, pingpong),
    ),
    Benchmark(
        "throughput",
        "local",
        (
            Measure("small", "one way, 64 B", "/s"),
            Measure("large", "one way, 64 KiB", "MB/s"),
        ),
        on(open_luna, throughput),
        {"pipe": on(open_floors, throughput)},
        on(open_erlang, throughput),
    ),
    Benchmark(
        "ring",
        "local",
        (Measure("hop", "ring of 1000, one hop", "us"),),
        on(open_luna, ring),
        {"threads": on(open_floors, ring)},
        on(open_erlang, ring),
    ),
    Benchmark(
        "under-load",
        "local",
        (
            Measure("p50", "ping-pong under 100 loops, p50", "ms"),
            Measure("p99", "ping-pong under 100 loops, p99", "ms"),
            Measure("max", "ping-pong under 100 loops, max", "ms"),
        ),
        on(open_luna, under_load),
        {"threads": on(open_floors, under_load)},
        on(open_erlang, under_load),
    ),
    Benchmark(
        "start",
        "local",
        (
            Measure("ready", "node, start to ready", "s"),
            Measure("memory", "node, resident memory", "MiB"),
        ),
        start_luna,
        {"imports": start_python},
        start_erlang,
    ),
)
