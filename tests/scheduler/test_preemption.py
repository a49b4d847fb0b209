"""Nobody keeps a thread: loops yield, and what is runaway can be killed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from luna.scheduler import ExitKind, ProcessConfig

from .lab import Lab, open_lab, wait_for

START = '(func (export "_start")'
SELF = "(process.process_id)"
# Loops without end, each of another kind.
LOOPS = {
    "a bare loop": "(loop $again (br $again))",
    "recursion": "(loop $again (drop (call $fibonacci 30:i32)) (br $again))",
    "host calls": f"(loop $again (drop {SELF}) (br $again))",
    "host calls that may suspend": f"(loop $again (drop (process.exists {SELF})) (br $again))",
    "looks into an empty mailbox": "(loop $again (drop (call $receive_any 0:i64)) (br $again))",
    "messages to itself": f"(loop $again (call $send {SELF} 0:i64 0:i64) (drop (call $receive)) (br $again))",
    "naps of nothing": "(loop $again (process.sleep_ms 0:i64) (br $again))",
    "yields": "(loop $again (drop (wasi.sched_yield)) (br $again))",
    "random bytes": "(loop $again (drop (wasi.random_get 0:i32 60000:i32)) (br $again))",
}
FIBONACCI = """
    (func $fibonacci (param i32) (result i32)
      (if (i32.lt_u (local.get 0) 2:i32) (then (return 1:i32)))
      (i32.add (call $fibonacci (i32.sub (local.get 0) 1:i32)) (call $fibonacci (i32.sub
        (local.get 0) 2:i32))))"""


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS.keys())
async def test_an_endless_process_stops_nobody_on_its_thread_and_can_be_killed(loop: str) -> None:
    async with open_lab(threads=1) as lab:
        endless = [await lab.spawn(f"{FIBONACCI} {START} {loop})") for _ in range(3)]
        with trio.fail_after(10):
            for _ in range(5):
                await lab.passes(f"{START} (process.sleep_ms 1:i64))")
        for pid in endless:
            assert lab.runtime.kill(pid)
            assert (await lab.wait_exit(pid)).kind is ExitKind.KILLED


async def test_a_start_section_without_end_can_be_cancelled() -> None:
    async with open_lab(threads=1) as lab:
        module = await lab.load('(start $s) (func $s (call $spin)) (func (export "_start"))')
        with trio.move_on_after(0.05) as scope:
            await lab.runtime.spawn(module)
        assert scope.cancelled_caught
        await lab.passes(f"{START})")
        await wait_for(lambda: lab.runtime.statistics().processes == 0)


async def test_ping_pong_goes_on_under_a_hundred_busy_loops(lab: Lab) -> None:
    loop = await lab.load(f"{START} (call $spin))")
    busy = [await lab.spawn(loop) for _ in range(100)]
    with trio.fail_after(20):
        await lab.passes("""
            (func (export "_start") (local $pong i64) (local $n i32)
              (local.set $pong (call $spawn @"pong"))
              (loop $again
                (call $send (local.get $pong) 0:i64 0:i64)
                (drop (call $receive))
                (local.set $n (i32.add (local.get $n) 1:i32))
                (br_if $again (i32.lt_u (local.get $n) 200:i32))))
            (func (export "pong") (loop $again (call $send 101:i64 0:i64 (call $receive)) (br $again)))""")
    assert lab.runtime.statistics().preempted > 100
    for pid in busy:
        lab.runtime.kill(pid)


async def test_all_busy_loops_get_on() -> None:
    async with open_lab(threads=1) as lab:
        module = await lab.load(f"""{START} (local $n i32)
            (loop $again
              (local.set $n (i32.add (local.get $n) 1:i32))
              (br_if $again (i32.lt_u (local.get $n) 20000000:i32))))""")
        with trio.fail_after(20):
            for pid in [await lab.spawn(module) for _ in range(10)]:
                await lab.wait_exit(pid)


async def test_timers_are_served_while_a_process_makes_work_without_end() -> None:
    """Children that sleep for a moment end about as fast as their parent makes them."""
    async with open_lab(threads=1) as lab:
        parent = await lab.spawn("""
            (func (export "_start") (loop $again (drop (call $spawn @"child")) (br $again)))
            (func (export "child") (process.sleep_ms 1:i64))""")
        most = 0

        def many_came() -> bool:
            nonlocal most
            statistics = lab.runtime.statistics()
            most = max(most, statistics.processes)
            return statistics.spawned >= 50_000

        await wait_for(many_came)
        assert most < 10_000
        spawned = lab.runtime.statistics().spawned
        assert lab.runtime.kill(parent)
        assert (await lab.wait_exit(parent)).kind is ExitKind.KILLED
        # The kill waited for a turn of its target, not for all that was runnable.
        assert lab.runtime.statistics().spawned - spawned < 25_000
        await wait_for(lambda: lab.runtime.statistics().processes == 0)


async def test_a_pair_that_wakes_each_other_without_end_starves_nobody() -> None:
    """The process woken last runs next, but not for ever: others were woken before it."""
    async with open_lab(threads=1) as lab:
        await lab.spawn("""
            (func (export "_start") (local $a i64) (local $b i64) (local $other i64)
              (local.set $a (call $spawn @"pong"))
              (local.set $b (call $spawn @"pong"))
              (local.set $other (call $spawn @"other"))
              (process.sleep_ms 20:i64)
              (call $send (local.get $other) 0:i64 0:i64)
              (call $send (local.get $a) 0:i64 (local.get $b))
              (call $park))
            (func (export "pong") (local $to i64)
              (local.set $to (call $receive))
              (loop $again
                (call $send (local.get $to) 0:i64 (process.process_id))
                (local.set $to (call $receive))
                (br $again)))
            (func (export "other") (report (call $receive)))""")
        await wait_for(lambda: lab.reports == [0])


async def test_an_idle_runtime_uses_no_processor_time(lab: Lab) -> None:
    for _ in range(20):
        await lab.spawn(f"{START} (call $park))")
    await wait_for(lambda: all(process.state == "waiting" for process in lab.runtime.processes()))
    await trio.sleep(0.05)  # the clock lingers for some milliseconds; what counts is what follows
    before = time.process_time()
    await trio.sleep(0.5)
    assert time.process_time() - before < 0.1


async def test_stopping_ends_what_never_yields_by_itself() -> None:
    begin = time.monotonic()
    async with open_lab() as lab:
        for body in ("(call $spin)", "(call $park)", "(process.sleep_ms 1000000:i64)", "(gate)"):
            module = await lab.load(f"{START} {body})")
            for _ in range(10):
                await lab.spawn(module)
        flood = await lab.load(f"{START} (loop $again (call $send 1:i64 0:i64 0:i64) (br $again)))")
        await lab.spawn(flood)
        bomb = await lab.load('(func (export "_start") (loop $a (drop (call $spawn @"_start")) (br $a)))')
        await lab.spawn(bomb)
        del module, flood, bomb
        await wait_for(lambda: lab.at_gate == 10)
        begin = time.monotonic()
    assert time.monotonic() - begin < 10


async def test_a_fork_bomb_ends_at_the_limit_of_processes(built: Callable[[str], bytes]) -> None:
    async with open_lab(max_processes=500) as lab:
        await lab.spawn(built("forkbomb"))
        await wait_for(lambda: lab.runtime.statistics().processes >= 500)
        assert lab.runtime.statistics().processes <= 501  # one more may just be refused
        with pytest.raises(Exception, match="holds as many processes as it may"):
            await lab.runtime.spawn(await lab.load(f"{START})"))
        for process in lab.runtime.processes():
            lab.runtime.kill(process.pid)


async def test_a_refused_spawn_is_code_1_with_a_text_and_a_place_is_free_again_after_an_end() -> None:
    async with open_lab(max_processes=2) as lab:
        await lab.passes("""
            (func (export "_start") (local $child i64)
              (local.set $child (call $spawn @"child"))
              (is32 (process.spawn 0:i64 -1:i64 -1:i64 @"child" 0:i32 0:i32 0:i32) 1:i32)
              (if (i32.eqz (error.string_size (i64.load 0:i32))) (then unreachable))
              (process.kill (local.get $child))
              (loop $again (br_if $again (process.spawn 0:i64 -1:i64 -1:i64 @"child" 0:i32 0:i32 0:i32))))
            (func (export "child") (call $park))""")
        for process in lab.runtime.processes():
            lab.runtime.kill(process.pid)
        await wait_for(lambda: lab.runtime.statistics().processes == 0)


async def test_what_a_stuck_thread_has_woken_runs_on_one_that_computes(lab: Lab, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    config = ProcessConfig.program(preopens=[(".", str(tmp_path))])
    pid = await lab.spawn(
        """(func (export "spins") (call $spin))
        (func (export "woken") (drop (call $receive)) (report 1:i64))
        (func (export "_start") (local $woken i64)
          (local.set $woken (call $spawn @"woken"))
          (drop (call $spawn @"spins"))
          (process.sleep_ms 5:i64)
          (call $send (local.get $woken) 0:i64 0:i64)
          ;; Nobody writes to the pipe: opening it blocks the thread.
          (drop (wasi.path_open 3:i32 0:i32 @"pipe" 0:i32 2:i64 0:i64 0:i32 0:i32))
          (report 2:i64))""",
        config=config,
    )
    try:
        await wait_for(lambda: lab.reports == [1], "the woken process runs")
    finally:
        writer = os.open(tmp_path / "pipe", os.O_RDWR)
    await lab.wait_exit(pid)
    os.close(writer)
    assert lab.reports == [1, 2]
