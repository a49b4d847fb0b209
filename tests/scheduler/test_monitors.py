"""Monitors, kill and exists: exactly one notice of every end."""

from __future__ import annotations

import pytest

from luna.scheduler import ExitKind

from .lab import Lab, open_lab, wait_for

START = '(func (export "_start")'
ENDS = {
    "return": "",
    "exit 0": "(wasi.proc_exit 0:i32)",
    "exit 3": "(wasi.proc_exit 3:i32)",
    "trap": "unreachable",
    "kill": "(process.kill (process.process_id)) (call $spin)",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
async def test_every_end_of_a_monitored_process_is_told_once(lab: Lab, end: str) -> None:
    await lab.passes(f"""
        {START} (local $child i64)
          (local.set $child (call $spawn @"child"))
          (process.monitor (local.get $child))
          (process.monitor (local.get $child))
          (call $send (local.get $child) 0:i64 0:i64)
          (is32 (call $receive_any 10000:i64) 2:i32)
          (is64 (message.get_process_id) (local.get $child))
          (is64 (message.get_tag) 0:i64)
          (is32 (call $receive_any 5:i64) 9027:i32))
        (func (export "child") (drop (call $receive)) {end})""")


@pytest.mark.parametrize("pid", [999999, 0, -1, 5 << 40])
async def test_monitoring_a_dead_process_answers_at_once(lab: Lab, pid: int) -> None:
    await lab.passes(f"""
        {START}
          (process.monitor {pid}:i64)
          (is32 (call $receive_any 10000:i64) 2:i32)
          (is64 (message.get_process_id) {pid}:i64)
          (is32 (call $receive_any 5:i64) 9027:i32))""")


async def test_an_ended_process_is_never_found_by_tag(lab: Lab) -> None:
    await lab.passes(f"""
        {START}
          (process.monitor 999999:i64)
          (is32 (call $receive_tag 0:i64 20:i64) 9027:i32)
          (is32 (call $receive_any 0:i64) 2:i32))""")


async def test_after_stop_monitoring_nothing_comes(lab: Lab) -> None:
    await lab.passes(f"""
        {START} (local $child i64)
          (local.set $child (call $spawn @"child"))
          (process.monitor (local.get $child))
          (process.stop_monitoring (local.get $child))
          (call $send (local.get $child) 0:i64 0:i64)
          (loop $again (br_if $again (process.exists (local.get $child))))
          (is32 (call $receive_any 10:i64) 9027:i32))
        (func (export "child") (drop (call $receive)))""")


async def test_stopping_takes_back_an_end_that_is_on_its_way(lab: Lab) -> None:
    """Monitoring is answered before the next call, and its answer not looked at until the process waits."""
    await lab.passes(f"""{START}
        (process.monitor 999999:i64)
        (process.stop_monitoring 999999:i64)
        (is32 (call $receive_any 5:i64) 9027:i32))""")


async def test_stopping_to_monitor_a_stranger_is_fine(lab: Lab) -> None:
    await lab.passes(f"{START} (process.stop_monitoring 999999:i64) (process.stop_monitoring 1:i64))")


async def test_a_process_may_monitor_itself(lab: Lab) -> None:
    await lab.passes(
        f"{START} (process.monitor (process.process_id)) (is32 (call $receive_any 5:i64) 9027:i32))"
    )


async def test_all_watchers_are_told(lab: Lab) -> None:
    await lab.passes(f"""
        {START} (local $n i32) (local $target i64)
          (local.set $target (call $spawn @"target"))
          (loop $again
            (call $send (call $spawn @"watcher") 0:i64 (local.get $target))
            (drop (call $receive))
            (local.set $n (i32.add (local.get $n) 1:i32))
            (br_if $again (i32.lt_u (local.get $n) 100:i32)))
          (process.kill (local.get $target))
          (loop $again
            (is64 (call $receive) (local.get $target))
            (local.set $n (i32.sub (local.get $n) 1:i32))
            (br_if $again (local.get $n))))
        (func (export "target") (call $park))
        (func (export "watcher")
          (process.monitor (call $receive))
          (call $send 1:i64 0:i64 0:i64)
          (is32 (call $receive_any -1:i64) 2:i32)
          (call $send 1:i64 0:i64 (message.get_process_id)))""")


async def test_a_monitor_that_races_with_the_end_is_answered_once() -> None:
    async with open_lab(threads=4) as lab:
        await lab.passes(f"""
            {START} (local $n i32)
              (loop $again
                (process.monitor (call $spawn @"child"))
                (is32 (call $receive_any 10000:i64) 2:i32)
                (local.set $n (i32.add (local.get $n) 1:i32))
                (br_if $again (i32.lt_u (local.get $n) 2000:i32)))
              (is32 (call $receive_any 5:i64) 9027:i32))
            (func (export "child"))""")


async def test_link_and_monitor_that_race_with_a_kill_are_answered_once() -> None:
    async with open_lab(threads=4) as lab:
        await lab.passes(f"""
            {START} (local $n i32) (local $child i64) (local $killer i64)
              (process.die_when_link_dies 0:i32)
              (local.set $killer (call $spawn @"killer"))
              (loop $again
                (local.set $child (call $spawn @"child"))
                (call $send (local.get $killer) 0:i64 (local.get $child))
                (process.link 5:i64 (local.get $child))
                (process.monitor (local.get $child))
                (is32 (i32.add (call $receive_any 10000:i64) (call $receive_any 10000:i64)) 3:i32)
                (local.set $n (i32.add (local.get $n) 1:i32))
                (br_if $again (i32.lt_u (local.get $n) 1000:i32)))
              (is32 (call $receive_any 5:i64) 9027:i32)
              (process.kill (local.get $killer)))
            (func (export "child") (call $spin))
            (func (export "killer") (loop $again (process.kill (call $receive)) (br $again)))""")


async def test_exists_tells_whether_a_process_lives(lab: Lab) -> None:
    await lab.passes(f"""
        {START} (local $child i64)
          (is32 (process.exists (process.process_id)) 1:i32)
          (is32 (process.exists 999999:i64) 0:i32)
          (is32 (process.exists 0:i64) 0:i32)
          (is32 (process.exists -1:i64) 0:i32)
          (is32 (process.exists {5 << 40}:i64) 0:i32)
          (local.set $child (call $spawn @"child"))
          (is32 (process.exists (local.get $child)) 1:i32)
          (process.monitor (local.get $child))
          (process.kill (local.get $child))
          (is32 (call $receive_any 10000:i64) 2:i32)
          (is32 (process.exists (local.get $child)) 0:i32))
        (func (export "child") (call $park))""")


async def test_killing_the_dead_is_silent(lab: Lab) -> None:
    await lab.passes(f"{START} (process.kill 999999:i64) (process.kill -1:i64) (process.kill 0:i64))")


async def test_a_killed_process_does_nothing_more(lab: Lab) -> None:
    status = await lab.run(f"""
        {START}
          (process.kill (process.process_id))
          (drop (call $receive_any 1000:i64))
          (report 1:i64))""")
    assert status.kind is ExitKind.KILLED
    assert lab.reports == []


WAITS = {
    "receive": "(drop (call $receive_any -1:i64))",
    "sleep": "(process.sleep_ms 1000000:i64)",
    "reply": "(call $write 0:i64 0:i64) (drop (message.send_receive_skip_search 1:i64 5:i64 -1:i64))",
    "request": "(gate)",
    "poll": """(i32.store8 8:i32 0:i32) (i32.store 16:i32 1:i32) (i64.store 24:i32 1000000000000:i64)
               (drop (wasi.poll_oneoff 0:i32 100:i32 1:i32 200:i32))""",
    "loop": "(call $spin)",
    "yield": "(loop $again (drop (wasi.sched_yield)) (br $again))",
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
async def test_a_process_can_be_killed_in_every_wait(lab: Lab, wait: str) -> None:
    pid = await lab.spawn(f"{START} (report 1:i64) {wait} (report 2:i64))")
    await wait_for(lambda: lab.reports == [1])
    assert lab.runtime.kill(pid)
    assert (await lab.wait_exit(pid)).kind is ExitKind.KILLED
    assert not lab.runtime.kill(pid)
    await wait_for(lambda: lab.at_gate == 0)
    assert lab.reports == [1]
