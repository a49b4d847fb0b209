"""Receiving: order, selection by tag, timeouts, and waiting for replies."""

from __future__ import annotations

import time

import pytest
import trio

from .lab import Lab

START = '(func (export "_start")'
SELF = "(process.process_id)"


def send_self(*messages: tuple[int, int]) -> str:
    """Sends (tag, value) messages to the caller itself."""
    return "".join(f"(call $send {SELF} {tag}:i64 {value}:i64)\n" for tag, value in messages)


async def test_messages_arrive_in_the_order_sent(lab: Lab) -> None:
    await lab.passes("""
        (func (export "_start") (local $n i64)
          (drop (call $spawn @"child"))
          (loop $again
            (is64 (call $receive) (local.get $n))
            (local.set $n (i64.add (local.get $n) 1:i64))
            (br_if $again (i64.lt_u (local.get $n) 10000:i64))))
        (func (export "child") (local $n i64)
          (loop $again
            (call $send 1:i64 0:i64 (local.get $n))
            (local.set $n (i64.add (local.get $n) 1:i64))
            (br_if $again (i64.lt_u (local.get $n) 10000:i64))))""")


async def test_without_tags_the_oldest_message_comes_whatever_its_tag(lab: Lab) -> None:
    await lab.passes(f"""{START}
        {send_self((5, 1), (0, 2), (7, 3))}
        (is64 (call $receive) 1:i64) (is64 (call $receive) 2:i64) (is64 (call $receive) 3:i64))""")


async def test_no_tags_means_that_the_pointer_is_not_read(lab: Lab) -> None:
    await lab.passes(f"""{START}
        {send_self((0, 1))}
        (is32 (message.receive -1:i32 0:i32 -1:i64) 0:i32))""")


async def test_with_a_tag_the_others_keep_their_order(lab: Lab) -> None:
    await lab.passes(f"""{START}
        {send_self((1, 10), (2, 20), (1, 11), (2, 21), (0, 30))}
        (is32 (call $receive_tag 2:i64 -1:i64) 0:i32) (is64 (call $read) 20:i64) (is64
          (message.get_tag) 2:i64)
        (is64 (call $receive) 10:i64)
        (is32 (call $receive_tag 2:i64 -1:i64) 0:i32) (is64 (call $read) 21:i64)
        (is64 (call $receive) 11:i64)
        (is64 (call $receive) 30:i64))""")


async def test_several_tags_take_the_oldest_of_any(lab: Lab) -> None:
    await lab.passes(f"""{START}
        {send_self((1, 10), (3, 30), (2, 20))}
        (i64.store 0:i32 2:i64) (i64.store 8:i32 3:i64)
        (is32 (message.receive 0:i32 2:i32 -1:i64) 0:i32) (is64 (call $read) 30:i64)
        (is32 (message.receive 0:i32 2:i32 -1:i64) 0:i32) (is64 (call $read) 20:i64)
        (is32 (message.receive 0:i32 2:i32 0:i64) 9027:i32))""")


async def test_tag_zero_matches_nothing(lab: Lab) -> None:
    await lab.passes(f"""{START}
        {send_self((0, 1))}
        (is32 (call $receive_tag 0:i64 10:i64) 9027:i32)
        (is64 (call $receive) 1:i64))""")


async def test_a_timeout_of_zero_is_a_look_into_the_mailbox(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (is32 (call $receive_any 0:i64) 9027:i32)
        {send_self((0, 1))}
        (is32 (call $receive_any 0:i64) 0:i32)
        (is32 (call $receive_any 0:i64) 9027:i32))""")


async def test_a_timeout_leaves_the_scratch_message_alone(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (message.create_data 9:i64 0:i64)
        (is32 (call $receive_any 0:i64) 9027:i32)
        (is64 (message.get_tag) 9:i64)
        (is32 (call $receive_any 5:i64) 9027:i32)
        (is64 (message.get_tag) 9:i64))""")


async def test_a_timeout_takes_its_time(lab: Lab) -> None:
    begin = time.monotonic()
    await lab.passes(f"{START} (is32 (call $receive_any 50:i64) 9027:i32))")
    assert time.monotonic() - begin >= 0.05


@pytest.mark.parametrize("milliseconds", [10**13, 10**14, 1 << 62, -2])
async def test_a_very_long_timeout_does_not_end_at_once(lab: Lab, milliseconds: int) -> None:
    await lab.passes(f"""
        (func (export "_start")
          (drop (call $spawn @"child"))
          (is32 (call $receive_any {milliseconds}:i64) 0:i32))
        (func (export "child") (process.sleep_ms 10:i64) (call $send 1:i64 0:i64 0:i64))""")


async def test_a_message_ends_a_wait_before_its_timeout(lab: Lab) -> None:
    with trio.fail_after(10):
        await lab.passes("""
            (func (export "_start")
              (drop (call $spawn @"child"))
              (is32 (call $receive_any 3600000:i64) 0:i32))
            (func (export "child") (call $send 1:i64 0:i64 0:i64))""")


async def test_a_receive_that_timed_out_does_not_reorder_what_comes_later(lab: Lab) -> None:
    await lab.passes(f"""{START}
        {send_self((1, 10))}
        (is32 (call $receive_tag 2:i64 5:i64) 9027:i32)
        {send_self((2, 20), (1, 11), (2, 21))}
        (is64 (call $receive) 10:i64) (is64 (call $receive) 20:i64)
        (is64 (call $receive) 11:i64) (is64 (call $receive) 21:i64))""")


async def test_waiting_for_a_reply_does_not_look_at_queued_messages(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "_start") (local $child i64)
          (local.set $child (call $spawn @"echo"))
          {send_self((5, 1))}
          (call $write 0:i64 77:i64)
          (is32 (message.send_receive_skip_search (local.get $child) 5:i64 10000:i64) 0:i32)
          (is64 (call $read) 77:i64)
          (is64 (call $receive) 1:i64))
        (func (export "echo") (call $send 1:i64 5:i64 (call $receive)))""")


async def test_a_reply_wait_leaves_other_messages_in_order(lab: Lab) -> None:
    await lab.passes("""
        (func (export "_start")
          (call $write 0:i64 0:i64)
          (is32 (message.send_receive_skip_search (call $spawn @"child") 5:i64 10000:i64) 0:i32)
          (is64 (call $read) 3:i64)
          (is64 (call $receive) 1:i64) (is64 (call $receive) 2:i64))
        (func (export "child")
          (drop (call $receive))
          (call $send 1:i64 0:i64 1:i64) (call $send 1:i64 6:i64 2:i64) (call $send 1:i64 5:i64 3:i64))""")


@pytest.mark.parametrize(
    "function", ["message.send_receive_skip_search", "distributed.send_receive_skip_search 0:i64"]
)
async def test_a_reply_that_does_not_come_times_out(lab: Lab, function: str) -> None:
    await lab.passes(f"""{START}
        (message.create_data 0:i64 0:i64)
        (is32 ({function} 999999:i64 5:i64 10:i64) 9027:i32))""")


async def test_waiting_for_a_reply_with_tag_zero_times_out(lab: Lab) -> None:
    await lab.passes("""
        (func (export "_start")
          (call $write 0:i64 0:i64)
          (is32 (message.send_receive_skip_search (call $spawn @"child") 0:i64 30:i64) 9027:i32)
          (is64 (call $receive) 1:i64))
        (func (export "child") (drop (call $receive)) (call $send 1:i64 0:i64 1:i64))""")


async def test_an_end_or_a_death_without_a_tag_is_no_reply(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (process.die_when_link_dies 0:i32)
        (process.monitor 999999:i64)
        (process.link 0:i64 999998:i64)
        (call $write 0:i64 0:i64)
        (is32 (message.send_receive_skip_search 999999:i64 7:i64 5:i64) 9027:i32)
        (is32 (call $receive_any 0:i64) 2:i32)
        (is32 (call $receive_any 0:i64) 1:i32)
        (is64 (message.get_tag) 0:i64))""")


async def test_a_late_reply_stays_in_the_mailbox(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (call $write 5:i64 1:i64)
        (is32 (message.send_receive_skip_search {SELF} 6:i64 5:i64) 9027:i32)
        (is32 (call $receive_tag 5:i64 0:i64) 0:i32))""")


async def test_a_message_to_oneself_answers_ones_own_wait(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (call $write 5:i64 1:i64)
        (is32 (message.send_receive_skip_search {SELF} 5:i64 10000:i64) 0:i32))""")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("(message.receive 65533:i32 1:i32 0:i64)", "outside the guest's memory"),
        ("(message.receive 0:i32 536870912:i32 0:i64)", "at most 65536 tags"),
        ("(message.receive 0:i32 -1:i32 0:i64)", "at most 65536 tags"),
    ],
)
async def test_a_bad_array_of_tags_traps(lab: Lab, call: str, text: str) -> None:
    assert text in await lab.traps(f"{START} (drop {call}))")


async def test_a_flooded_mailbox_does_not_slow_request_and_reply(lab: Lab) -> None:
    """After messaging::performance of Lunatic's guest library."""
    with trio.fail_after(15):
        await lab.passes("""
            (func (export "_start") (local $echo i64) (local $n i64)
              (drop (call $spawn_link 1:i64 @"flood"))
              (local.set $echo (call $spawn_link 1:i64 @"echo"))
              (loop $again
                (call $write 0:i64 (local.get $n))
                (is32 (message.send_receive_skip_search (local.get $echo) 5:i64 -1:i64) 0:i32)
                (is64 (call $read) (local.get $n))
                (local.set $n (i64.add (local.get $n) 1:i64))
                (br_if $again (i64.lt_u (local.get $n) 5000:i64)))
              (process.die_when_link_dies 0:i32))
            (func (export "flood") (loop $again (call $send 1:i64 9:i64 0:i64) (br $again)))
            (func (export "echo") (loop $again (call $send 1:i64 5:i64 (call $receive)) (br $again)))""")
    for process in lab.runtime.processes():
        lab.runtime.kill(process.pid)


async def test_many_tags_are_looked_for_in_many_messages_in_little_time(lab: Lab) -> None:
    """With each tag compared to each message this would take a minute."""
    await lab.passes(f"""
        (memory (export "memory") 16)
        {START} (local $n i32)
          (memory.fill 65536:i32 255:i32 524288:i32)
          (i64.store 589816:i32 9223372036854775807:i64)
          (i64.store 65536:i32 7:i64)
          (loop $again
            (call $send {SELF} 1:i64 0:i64)
            (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) 1:i32)) 50000:i32)))
          (local.set $n 0:i32)
          (loop $again
            (is32 (message.receive 65536:i32 65536:i32 0:i64) 9027:i32)
            (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) 1:i32)) 20:i32)))
          ;; The guest's own array is as it was, and each of its tags is found.
          (is64 (i64.load 65536:i32) 7:i64)
          (is64 (i64.load 65544:i32) -1:i64)
          {send_self((7, 70), (-1, 10), (9223372036854775807, 90))}
          (is32 (message.receive 65536:i32 65536:i32 0:i64) 0:i32) (is64 (call $read) 70:i64)
          (is32 (message.receive 65536:i32 65536:i32 0:i64) 0:i32) (is64 (call $read) 10:i64)
          (is32 (message.receive 65536:i32 65536:i32 0:i64) 0:i32) (is64 (call $read) 90:i64)
          (is64 (call $receive) 0:i64))""")
