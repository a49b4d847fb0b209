"""Messages of early Lunatic: handles in them, requests and receives with a tag, time-outs of 32 bits."""

from __future__ import annotations

import pytest

from luna.scheduler import ExitKind

from .lab import Lab, wait_for

START = '(func (export "_start")'
NO_MESSAGE = "there is no message"
NOT_DATA = "not a data message"
UNKNOWN = "this process has no process of that id"

# Makes the scratch a LinkDied with tag 5.
LINK_DIED = """
    (process.die_when_link_dies 0:i32)
    (drop (call $early_spawn 5:i64 @"fails"))
    (is32 (message.receive@0.6 0:i64 0:i32) 1:i32)
"""
FAILS = '(func (export "fails") (unreachable))'


# -- processes in messages ------------------------------------------------------------------


async def test_a_process_is_moved_by_a_message(lab: Lab) -> None:
    # The parent sends its own handle, the child answers by the one it takes.
    await lab.passes(f"""
        (func (export "child") (local $parent i64)
          (is32 (message.receive@0.6 0:i64 0:i32) 0:i32)
          (is64 (message.take_process@0.6 1:i64) 0:i64)
          (is64 (message.take_process@0.6 0:i64) 1:i64)
          (call $early_send 1:i64 0:i64 42:i64))
        {START} (local $child i64)
          (local.set $child (call $early_spawn 0:i64 @"child"))
          (is64 (local.get $child) 0:i64)
          (message.create_data 0:i64 0:i64)
          (is64 (process.this@0.6) 1:i64)
          (is64 (message.push_process@0.6 1:i64) 0:i64)
          (is64 (message.push_process@0.6 (process.clone_process@0.6 0:i64)) 1:i64)
          (message.send@0.6 (local.get $child))
          (is64 (call $early_receive) 42:i64))""")


async def test_a_pushed_handle_is_gone(lab: Lab) -> None:
    reason = await lab.traps(f"""{START}
        (message.create_data 0:i64 0:i64)
        (drop (message.push_process@0.6 (process.this@0.6)))
        (report 1:i64)
        (process.drop_process@0.6 0:i64))""")
    assert f"process::drop_process: {UNKNOWN}" in reason
    assert lab.reports == [1]


async def test_a_taken_process_leaves_an_empty_place(lab: Lab) -> None:
    reason = await lab.traps(f"""{START}
        (message.create_data 0:i64 0:i64)
        (drop (message.push_process@0.6 (process.this@0.6)))
        (drop (message.push_process@0.6 (process.this@0.6)))
        (is64 (message.take_process@0.6 0:i64) 2:i64)
        (is64 (message.take_process@0.6 1:i64) 3:i64)
        (report 1:i64)
        (drop (message.take_process@0.6 0:i64)))""")
    assert "take_process: the message has no process at that index" in reason
    assert lab.reports == [1]


@pytest.mark.parametrize("index", [1, -1, 1 << 40])
async def test_taking_what_was_never_pushed_traps(lab: Lab, index: int) -> None:
    reason = await lab.traps(f"""{START}
        (message.create_data 0:i64 0:i64)
        (drop (message.push_process@0.6 (process.this@0.6)))
        (drop (message.take_process@0.6 {index}:i64)))""")
    assert "no process at that index" in reason


async def test_a_process_is_not_taken_as_a_module_nor_a_module_as_a_process(lab: Lab) -> None:
    reason = await lab.traps(f"""{START}
        (message.create_data 0:i64 0:i64)
        (drop (message.push_process@0.6 (process.this@0.6)))
        (drop (message.take_module 0:i64)))""")
    assert "no module at that index" in reason
    reason = await lab.traps(f"""{START}
        (is32 (process.add_this_module@0.6 (process.this_env@0.6) 0:i32) 0:i32)
        (message.create_data 0:i64 0:i64)
        (drop (message.push_module 0:i64))
        (drop (message.take_process@0.6 0:i64)))""")
    assert "no process at that index" in reason


@pytest.mark.parametrize("call", ["push_process@0.6 (process.this@0.6)", "take_process@0.6 0:i64"])
async def test_without_a_data_message_both_trap(lab: Lab, call: str) -> None:
    assert NO_MESSAGE in await lab.traps(f"{START} (drop (message.{call})))")
    reason = await lab.traps(f"{FAILS} {START} {LINK_DIED} (drop (message.{call})))")
    assert NOT_DATA in reason


async def test_an_unknown_handle_cannot_be_pushed(lab: Lab) -> None:
    reason = await lab.traps(f"{START} (drop (message.push_process@0.6 0:i64)))")
    assert f"push_process: {UNKNOWN}" in reason


async def test_a_handle_is_lost_where_there_is_no_message(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "_lunatic_catch_trap") (param i32 i32) (result i32)
          (if (local.get 0) (then (process.drop_process@0.6 0:i64)))
          (drop (message.push_process@0.6 0:i64)) 1:i32)
        {START}
          (drop (process.this@0.6))
          (is32 (trap.catch 0:i32 0:i32) 0:i32)
          (message.create_data 0:i64 0:i64)
          (is32 (trap.catch 1:i32 0:i32) 0:i32)
          (is64 (process.this@0.6) 1:i64))""")


async def test_a_message_holds_4096_processes(lab: Lab) -> None:
    reason = await lab.traps(f"""{START}
        (message.create_data 0:i64 0:i64)
        (loop $again (drop (message.push_process@0.6 (process.this@0.6))) (br $again)))""")
    assert "push_process: a message holds at most 4096 resources" in reason


# -- send ---------------------------------------------------------------------------------------


async def test_a_dead_target_is_silent(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "child"))
        {START} (local $child i64)
          (local.set $child (call $early_spawn 0:i64 @"child"))
          (call $early_await_end (local.get $child))
          (call $early_send (local.get $child) 0:i64 1:i64)
          (call $early_send (local.get $child) 0:i64 1:i64))""")


async def test_one_can_send_to_oneself(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (call $early_send (process.this@0.6) 9:i64 7:i64)
        (is64 (call $early_receive) 7:i64)
        (is64 (message.get_tag) 9:i64))""")


async def test_sending_needs_a_message_before_a_handle(lab: Lab) -> None:
    assert "no message to send" in await lab.traps(f"{START} (message.send@0.6 0:i64))")
    reason = await lab.traps(f"{START} (message.create_data 0:i64 0:i64) (message.send@0.6 0:i64))")
    assert UNKNOWN in reason


async def test_with_an_unknown_handle_the_message_is_lost(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "_lunatic_catch_trap") (param i32 i32) (result i32)
          (if (local.get 0) (then (drop (message.get_tag)) (return 1:i32)))
          (message.send@0.6 0:i64) 1:i32)
        {START}
          (drop (process.this_env@0.6))
          (message.create_data 3:i64 0:i64)
          (is32 (trap.catch 1:i32 0:i32) 1:i32)
          (is32 (trap.catch 0:i32 0:i32) 0:i32)
          (is32 (trap.catch 1:i32 0:i32) 0:i32))""")


async def test_a_notice_can_be_sent_on(lab: Lab) -> None:
    await lab.passes(f"""{FAILS}
        {START}
          {LINK_DIED}
          (message.send@0.6 (process.this@0.6))
          (is32 (message.receive@0.6 5:i64 0:i32) 1:i32)
          (is64 (message.get_tag) 5:i64))""")


# -- receive ------------------------------------------------------------------------------------


async def test_a_tag_is_received_out_of_order_and_0_takes_the_oldest(lab: Lab) -> None:
    await lab.passes(f"""{START} (local $me i64)
        (local.set $me (process.this@0.6))
        (call $early_send (local.get $me) 0:i64 1:i64)
        (call $early_send (local.get $me) 7:i64 2:i64)
        (call $early_send (local.get $me) -7:i64 3:i64)
        (call $early_send (local.get $me) 7:i64 4:i64)
        (is32 (message.receive@0.6 -7:i64 0:i32) 0:i32) (is64 (call $read) 3:i64)
        (is32 (message.receive@0.6 7:i64 0:i32) 0:i32) (is64 (call $read) 2:i64)
        (is32 (message.receive@0.6 0:i64 0:i32) 0:i32) (is64 (call $read) 1:i64)
        (is32 (message.receive@0.6 0:i64 1:i32) 0:i32) (is64 (call $read) 4:i64)
        (is32 (message.receive@0.6 0:i64 1:i32) 9027:i32))""")


async def test_a_time_out_leaves_the_message_and_the_mailbox_as_they_were(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (call $early_send (process.this@0.6) 1:i64 5:i64)
        (message.create_data 3:i64 0:i64)
        (is32 (message.receive@0.6 2:i64 5:i32) 9027:i32)
        (is64 (message.get_tag) 3:i64)
        (is64 (call $early_receive) 5:i64))""")


@pytest.mark.parametrize("timeout_ms", [0, -1])
async def test_0_waits_for_ever_and_all_ones_are_49_days(lab: Lab, timeout_ms: int) -> None:
    pid = await lab.spawn(f"""
        (func (export "child") (local $parent i64)
          (drop (call $early_receive))
          (local.set $parent (message.take_process@0.6 0:i64))
          (gate)
          (call $early_send (local.get $parent) 0:i64 3:i64))
        {START} (local $child i64)
          (local.set $child (call $early_spawn 0:i64 @"child"))
          (message.create_data 0:i64 0:i64)
          (drop (message.push_process@0.6 (process.this@0.6)))
          (message.send@0.6 (local.get $child))
          (is32 (message.receive@0.6 0:i64 {timeout_ms}:i32) 0:i32)
          (is64 (call $read) 3:i64))""")
    await wait_for(lambda: lab.at_gate == 1)
    lab.gate.set()
    assert (await lab.wait_exit(pid)).kind is ExitKind.NORMAL


async def test_a_notice_matches_its_tag_only(lab: Lab) -> None:
    await lab.passes(f"""{FAILS}
        {START}
          (process.die_when_link_dies 0:i32)
          (drop (call $early_spawn 5:i64 @"fails"))
          (is32 (message.receive@0.6 4:i64 100:i32) 9027:i32)
          (is32 (message.receive@0.6 5:i64 0:i32) 1:i32)
          (is64 (message.get_tag) 5:i64))""")


async def test_of_0_7_waits_for_one_of_several_tags(lab: Lab) -> None:
    await lab.passes(f"""{START} (local $me i64)
        (local.set $me (process.this@0.6))
        (call $early_send (local.get $me) 1:i64 11:i64)
        (call $early_send (local.get $me) 2:i64 12:i64)
        (call $early_send (local.get $me) 3:i64 13:i64)
        (i64.store 0:i32 3:i64) (i64.store 8:i32 2:i64)
        (is32 (message.receive@0.7 0:i32 2:i32 0:i32) 0:i32) (is64 (call $read) 12:i64)
        (is32 (message.receive@0.7 0:i32 2:i32 0:i32) 0:i32) (is64 (call $read) 13:i64)
        (is32 (message.receive@0.7 0:i32 2:i32 1:i32) 9027:i32)
        (is32 (message.receive@0.7 0:i32 0:i32 0:i32) 0:i32) (is64 (call $read) 11:i64))""")


async def test_of_0_7_checks_its_tags(lab: Lab) -> None:
    reason = await lab.traps(f"{START} (drop (message.receive@0.7 65535:i32 1:i32 0:i32)))")
    assert "outside the guest's memory" in reason
    reason = await lab.traps(f"{START} (drop (message.receive@0.7 0:i32 65537:i32 0:i32)))")
    assert "at most 65536 tags" in reason


# -- requests -----------------------------------------------------------------------------------

# Answers each request, of which there are some with a handle to answer to, by its value + 1
# and the same tag; before that, by something else.
ANSWERS = """
    (func (export "answers") (local $client i64) (local $value i64) (local $tag i64)
      (local.set $value (call $early_receive))
      (local.set $client (message.take_process@0.6 0:i64))
      (loop $again
        (local.set $value (call $early_receive))
        (local.set $tag (message.get_tag))
        (if (i64.ne (local.get $tag) 0:i64)
          (then (call $early_send (local.get $client) 99:i64 0:i64)))
        (call $early_send (local.get $client) (local.get $tag) (i64.add (local.get $value) 1:i64))
        (br $again)))
    (func $server (result i64) (local $server i64)
      (local.set $server (call $early_spawn 1:i64 @"answers"))
      (message.create_data 0:i64 0:i64)
      (drop (message.push_process@0.6 (process.this@0.6)))
      (message.send@0.6 (local.get $server))
      (local.get $server))
"""


async def test_a_request_waits_for_the_tag_it_was_sent_with(lab: Lab) -> None:
    await lab.passes(f"""{ANSWERS}
        {START} (local $server i64)
          (local.set $server (call $server))
          (call $write 7:i64 10:i64)
          (is32 (message.send_receive_skip_search@0.6 (local.get $server) 0:i32) 0:i32)
          (is64 (message.get_tag) 7:i64)
          (is64 (call $read) 11:i64)
          (is32 (message.receive@0.6 0:i64 0:i32) 0:i32)
          (is64 (message.get_tag) 99:i64))""")


async def test_a_request_without_a_tag_waits_for_any_message_but_those_there_are(lab: Lab) -> None:
    await lab.passes(f"""{ANSWERS}
        {START} (local $server i64)
          (local.set $server (call $server))
          (call $early_send (process.this@0.6) 0:i64 5:i64)
          (call $write 0:i64 10:i64)
          (is32 (message.send_receive_skip_search@0.6 (local.get $server) 0:i32) 0:i32)
          (is64 (call $read) 11:i64)
          (is64 (call $early_receive) 5:i64))""")


async def test_a_request_that_is_not_answered_in_time(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "silent") (gate))
        {START} (local $silent i64)
          (local.set $silent (call $early_spawn 0:i64 @"silent"))
          (call $early_send (process.this@0.6) 8:i64 5:i64)
          (call $write 8:i64 0:i64)
          (is32 (message.send_receive_skip_search@0.6 (local.get $silent) 5:i32) 9027:i32)
          (is64 (call $early_receive) 5:i64))""")


async def test_a_notice_may_answer_a_request(lab: Lab) -> None:
    # Its code is 0 all the same, as it was in Lunatic.
    await lab.passes(f"""
        (func (export "dies") (drop (call $early_receive)) (unreachable))
        {START} (local $dying i64)
          (process.die_when_link_dies 0:i32)
          (local.set $dying (call $early_spawn 1:i64 @"dies"))
          (call $write 1:i64 0:i64)
          (is32 (message.send_receive_skip_search@0.6 (local.get $dying) 0:i32) 0:i32)
          (is64 (message.get_tag) 1:i64))""")


async def test_a_request_needs_a_message_and_a_known_process(lab: Lab) -> None:
    reason = await lab.traps(f"{START} (drop (message.send_receive_skip_search@0.6 0:i64 0:i32)))")
    assert "no message to send" in reason
    reason = await lab.traps(f"""{START}
        (message.create_data 0:i64 0:i64)
        (drop (message.send_receive_skip_search@0.6 0:i64 0:i32)))""")
    assert UNKNOWN in reason


# -- as-lunatic 0.12 ----------------------------------------------------------------------------

ECHO = """
    (func (export "echo") (local $value i64)
      (loop $again
        (local.set $value (call $receive))
        (call $send 1:i64 (message.get_tag) (i64.add (local.get $value) 1:i64))
        (br $again)))"""


@pytest.mark.parametrize("tag", [0, 7])
@pytest.mark.parametrize("function", ["message", "distributed"])
async def test_requests_of_as_lunatic(lab: Lab, tag: int, function: str) -> None:
    node = "(distributed.node_id)" if function == "distributed" else ""
    request = f"{function}.send_receive_skip_search@0.12 {node}"
    await lab.passes(f"""{ECHO}
        {START} (local $echo i64)
          (local.set $echo (call $spawn @"echo"))
          (message.create_data {tag}:i64 0:i64) (drop (message.send (process.process_id)))
          (call $write {tag}:i64 10:i64)
          (is32 ({request} (local.get $echo) -1:i64) 0:i32)
          (is64 (message.get_tag) {tag}:i64)
          (is64 (call $read) 11:i64)
          (call $write 8:i64 10:i64)
          (is32 ({request} (process.process_id) -1:i64) 0:i32)
          (call $write {tag}:i64 10:i64)
          (is32 ({request} 999999:i64 0:i64) 9027:i32)
          (call $write {tag}:i64 10:i64)
          (is32 ({request} 999999:i64 5:i64) 9027:i32))""")
    reason = await lab.traps(f"{START} (drop ({request} 1:i64 -1:i64)))")
    assert "no message to send" in reason
