"""Timers and sleeping."""

from __future__ import annotations

import time

import pytest
import trio

from .lab import Lab, wait_for

START = '(func (export "_start")'
SELF = "(process.process_id)"


async def test_a_timer_sends_its_message_after_the_delay(lab: Lab) -> None:
    begin = time.monotonic()
    await lab.passes(f"""{START}
        (call $write 3:i64 42:i64)
        (is64 (timer.send_after {SELF} 50:i64) 0:i64)
        (is32 (call $receive_any 0:i64) 9027:i32)
        (is64 (call $receive) 42:i64)
        (is64 (message.get_tag) 3:i64))""")
    assert time.monotonic() - begin >= 0.05


async def test_timers_fire_in_the_order_of_their_time(lab: Lab) -> None:
    await lab.passes(f"""
        (func $after (param $ms i64) (call $write 0:i64 (local.get $ms)) (drop (timer.send_after {SELF}
          (local.get $ms))))
        {START}
          (call $after 40:i64) (call $after 10:i64) (call $after 25:i64) (call $after 0:i64)
          (is64 (call $receive) 0:i64) (is64 (call $receive) 10:i64)
          (is64 (call $receive) 25:i64) (is64 (call $receive) 40:i64))""")


async def test_setting_a_timer_takes_the_message(lab: Lab) -> None:
    reason = await lab.traps(f"""{START}
        (message.create_data 0:i64 0:i64)
        (drop (timer.send_after {SELF} 1000000:i64))
        (drop (message.get_tag)))""")
    assert "there is no message" in reason


async def test_a_cancelled_timer_never_fires(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (call $write 0:i64 1:i64)
        (drop (timer.send_after {SELF} 30:i64))
        (is32 (timer.cancel_timer 0:i64) 1:i32)
        (is32 (timer.cancel_timer 0:i64) 0:i32)
        (is32 (call $receive_any 60:i64) 9027:i32))""")


async def test_cancelling_a_timer_that_fired_or_never_was_says_0(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (is32 (timer.cancel_timer 0:i64) 0:i32)
        (is32 (timer.cancel_timer -1:i64) 0:i32)
        (call $write 0:i64 1:i64)
        (is64 (timer.send_after {SELF} 0:i64) 0:i64)
        (is64 (call $receive) 1:i64)
        (is32 (timer.cancel_timer 0:i64) 0:i32))""")


async def test_a_timer_outlives_its_process(lab: Lab) -> None:
    await lab.passes(f"""
        {START}
          (drop (call $spawn @"child"))
          (is64 (call $receive) 42:i64)
          (is32 (process.exists 2:i64) 0:i32))
        (func (export "child") (call $write 0:i64 42:i64) (drop (timer.send_after 1:i64 20:i64)))""")


async def test_a_timer_to_a_dead_process_is_dropped(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (call $write 0:i64 0:i64) (drop (timer.send_after 999999:i64 1:i64))
        (call $write 0:i64 0:i64) (drop (timer.send_after {7 << 40}:i64 1:i64))
        (process.sleep_ms 5:i64))""")
    await wait_for(lambda: lab.runtime.counters()["timers"] == 0)


async def test_very_long_delays_do_not_fire_at_once(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (call $write 0:i64 0:i64) (drop (timer.send_after {SELF} -1:i64))
        (call $write 0:i64 0:i64) (drop (timer.send_after {SELF} 10000000000000:i64))
        (is32 (call $receive_any 10:i64) 9027:i32))""")


async def test_many_timers_can_be_set_and_cancelled(lab: Lab) -> None:
    await lab.passes(f"""{START} (local $n i64)
        (loop $again
          (call $write 0:i64 (local.get $n))
          (is64 (timer.send_after {SELF} (i64.rem_u (local.get $n) 7:i64)) (local.get $n))
          (if (i32.eqz (i32.wrap_i64 (i64.rem_u (local.get $n) 3:i64)))
            (then (drop (timer.cancel_timer (local.get $n)))))
          (local.set $n (i64.add (local.get $n) 1:i64))
          (br_if $again (i64.lt_u (local.get $n) 20000:i64))))""")
    await wait_for(lambda: lab.runtime.counters()["timers"] == 0)


async def test_unfired_timers_are_freed_with_the_runtime(lab: Lab) -> None:
    await lab.spawn(f"""{START} (local $n i64)
        (loop $again
          (call $write 0:i64 0:i64) (drop (timer.send_after 1:i64 100000000:i64))
          (local.set $n (i64.add (local.get $n) 1:i64))
          (br_if $again (i64.lt_u (local.get $n) 100:i64)))
        (call $park))""")
    await wait_for(lambda: lab.runtime.counters()["timers"] == 100)


BIG = """
    (memory (export "memory") 17)
    (func $big
      (message.create_data 0:i64 0:i64)
      (drop (message.write_data 0:i32 1048576:i32)))"""
TIMES_400 = "(br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) 1:i32)) 400:i32))"


async def test_what_timers_hold_is_bounded(lab: Lab) -> None:
    """400 messages of 1 MiB would be more than is kept for one process."""
    reason = await lab.traps(f"""{BIG} {START} (local $n i32)
        (loop $again
          (report (i64.extend_i32_u (local.get $n)))
          (call $big) (drop (timer.send_after {SELF} 10000000:i64))
          {TIMES_400}))""")
    assert "the messages of this process's timers are too large together" in reason
    assert 100 < lab.reports[-1] < 400


async def test_cancelled_timers_give_their_room_back(lab: Lab) -> None:
    await lab.passes(f"""{BIG} {START} (local $n i32)
        (loop $again
          (call $big)
          (is32 (timer.cancel_timer (timer.send_after {SELF} 10000000:i64)) 1:i32)
          {TIMES_400}))""")
    assert lab.runtime.counters()["timers"] == 0


async def test_fired_timers_give_their_room_back(lab: Lab) -> None:
    await lab.passes(f"""{BIG} {START} (local $n i32)
        (loop $again
          (call $big)
          (drop (timer.send_after {SELF} 0:i64))
          (is32 (call $receive_any 10000:i64) 0:i32)
          {TIMES_400}))""")


async def test_setting_a_timer_costs_the_same_however_many_there_are(lab: Lab) -> None:
    """With a look at all of them for each one, this would take minutes."""
    await lab.passes(f"""{START} (local $n i64)
        (loop $again
          (message.create_data 0:i64 0:i64)
          (is64 (timer.send_after {SELF} 100000000:i64) (local.get $n))
          (br_if $again (i64.lt_u (local.tee $n (i64.add (local.get $n) 1:i64)) 200000:i64))))""")


WAITS = {
    "a sleep": "(process.sleep_ms 1:i64)",
    "a receive": "(drop (call $receive_any 1:i64))",
    "a reply": "(message.create_data 0:i64 0:i64)"
    " (drop (message.send_receive_skip_search 999999:i64 5:i64 1:i64))",
    "sleeps without end": "(loop $again (process.sleep_ms 1:i64) (br $again))",
}
ENDS = {"a kill": "(process.kill {})", "a message": "(call $send {} 0:i64 0:i64)"}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
async def test_timers_that_fire_while_their_processes_end_touch_nobody(lab: Lab, wait: str, end: str) -> None:
    """Thousands of processes get a kill or a message in the millisecond in which their time is up."""
    await lab.passes(f"""
        {START} (local $round i32) (local $at i32)
          (loop $again
            (local.set $at 10000:i32)
            (loop $each
              (i64.store (local.get $at) (call $spawn @"child"))
              (br_if $each (i32.lt_u (local.tee $at (i32.add (local.get $at) 8:i32)) 10800:i32)))
            (process.sleep_ms 1:i64)
            (local.set $at 10000:i32)
            (loop $each
              {end.format("(i64.load (local.get $at))")}
              (br_if $each (i32.lt_u (local.tee $at (i32.add (local.get $at) 8:i32)) 10800:i32)))
            ;; Whoever the message did not end is killed, at its second wait or its last moment.
            (local.set $at 10000:i32)
            (loop $each
              (process.kill (i64.load (local.get $at)))
              (br_if $each (i32.lt_u (local.tee $at (i32.add (local.get $at) 8:i32)) 10800:i32)))
            (br_if $again (i32.lt_u (local.tee $round (i32.add (local.get $round) 1:i32)) 20:i32))))
        (func (export "child") {wait} {wait})""")
    await wait_for(lambda: lab.runtime.statistics().processes == 0)
    statistics = lab.runtime.statistics()
    assert statistics.spawned == statistics.exited == 2001


async def test_sleeping_takes_its_time_and_no_thread(lab: Lab) -> None:
    begin = time.monotonic()
    with trio.fail_after(10):
        await lab.passes("""
            (func (export "_start") (local $n i64)
              (loop $again
                (drop (call $spawn @"sleeper"))
                (local.set $n (i64.add (local.get $n) 1:i64))
                (br_if $again (i64.lt_u (local.get $n) 100:i64)))
              (loop $again
                (drop (call $receive))
                (local.set $n (i64.sub (local.get $n) 1:i64))
                (br_if $again (i64.gt_u (local.get $n) 0:i64))))
            (func (export "sleeper") (process.sleep_ms 100:i64) (call $send 1:i64 0:i64 0:i64))""")
    assert 0.1 <= time.monotonic() - begin < 5


async def test_sleeping_zero_milliseconds_returns(lab: Lab) -> None:
    await lab.passes(f"{START} (process.sleep_ms 0:i64))")


async def test_messages_that_come_while_sleeping_are_kept_in_order(lab: Lab) -> None:
    await lab.passes("""
        (func (export "_start")
          (drop (call $spawn @"child"))
          (process.sleep_ms 30:i64)
          (is64 (call $receive) 1:i64) (is64 (call $receive) 2:i64))
        (func (export "child") (call $send 1:i64 0:i64 1:i64) (call $send 1:i64 0:i64 2:i64))""")


async def test_a_timer_ends_with_its_target_and_is_cancelled_as_if_it_had_not(lab: Lab) -> None:
    await lab.passes(f"""
        {START} (local $child i64)
          (local.set $child (call $spawn @"child"))
          (call $write 0:i64 0:i64)
          (is64 (timer.send_after (local.get $child) 3600000:i64) 0:i64)
          (call $write 0:i64 0:i64)
          (is64 (timer.send_after (local.get $child) 0:i64) 1:i64)
          (loop $again (process.sleep_ms 1:i64) (br_if $again (process.exists (local.get $child))))
          (call $write 0:i64 0:i64)
          (is64 (timer.send_after (local.get $child) 3600000:i64) 2:i64)
          (is32 (timer.cancel_timer 0:i64) 1:i32)
          (is32 (timer.cancel_timer 1:i64) 0:i32)
          (is32 (timer.cancel_timer 2:i64) 1:i32))
        (func (export "child") (drop (call $receive_any -1:i64)))""")


async def test_timers_for_the_dead_are_kept_no_longer(lab: Lab) -> None:
    keeper = await lab.spawn("""
        (func (export "_start") (call $park))""")
    await lab.passes(f"""
        {START} (local $n i32)
          (loop $again
            (call $write 0:i64 0:i64)
            (drop (timer.send_after {SELF} 3600000:i64))
            (call $write 0:i64 0:i64)
            (drop (timer.send_after {keeper}:i64 3600000:i64))
            (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) 1:i32)) 100:i32))))""")
    await wait_for(lambda: lab.runtime.counters()["timers"] == 100)
    lab.runtime.kill(keeper)
    await wait_for(lambda: lab.runtime.counters()["timers"] == 0)
    assert lab.runtime.counters()["signals"] == 0


async def test_what_a_timer_for_the_dead_would_have_brought_is_closed(lab: Lab) -> None:
    await lab.passes(f"""
        {START}
          (i32.store 1000:i32 0x0100007f:i32)
          (is32 (networking.udp_bind 4:i32 1000:i32 0:i32 0:i32 0:i32 0:i32) 0:i32)
          (message.create_data 0:i64 0:i64)
          (is64 (message.push_udp_socket 0:i64) 0:i64)
          (drop (timer.send_after {SELF} 3600000:i64)))""")
    await wait_for(lambda: not lab.runtime._resources._sent)
