"""The scratch message: what it holds, how it is read, and what traps."""

from __future__ import annotations

import pytest

from luna.scheduler import ProcessConfig

from .lab import Lab

NO_MESSAGE = "there is no message"
NOT_DATA = "not a data message"
OUT_OF_BOUNDS = "lies outside the guest's memory"

START = '(func (export "_start")'
# Makes the scratch a LinkDied: links to a process that never was.
LINK_DIED = """
    (process.die_when_link_dies 0:i32)
    (process.link 5:i64 999999:i64)
    (is32 (call $receive_any -1:i64) 1:i32)
"""


async def test_a_message_has_its_tag_and_size_and_no_process(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (message.create_data 7:i64 100:i64)
        (is64 (message.get_tag) 7:i64)
        (is64 (message.get_process_id) 0:i64)
        (is64 (message.data_size) 0:i64)
        (is32 (message.write_data @"hello") 5:i32)
        (is32 (message.write_data @" world") 6:i32)
        (is64 (message.data_size) 11:i64))""")


async def test_tags_are_any_64_bits(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (message.create_data -9223372036854775808:i64 0:i64)
        (is64 (message.get_tag) -9223372036854775808:i64)
        (message.create_data -1:i64 0:i64)
        (is64 (message.get_tag) -1:i64))""")


async def test_an_absurd_capacity_hint_is_only_a_hint(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (message.create_data 0:i64 -1:i64)
        (is32 (message.write_data @"x") 1:i32))""")


async def test_creating_a_message_drops_the_one_before(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (message.create_data 1:i64 0:i64) (drop (message.write_data @"old"))
        (message.create_data 2:i64 0:i64)
        (is64 (message.data_size) 0:i64) (is64 (message.get_tag) 2:i64))""")


async def test_reading_advances_and_ends_with_zero(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (message.create_data 0:i64 0:i64) (drop (message.write_data @"abcdef"))
        (is32 (message.read_data 0:i32 4:i32) 4:i32) (is32 (i32.load 0:i32) 0x64636261:i32)
        (is32 (message.read_data 8:i32 100:i32) 2:i32) (is32 (i32.load8_u 8:i32) 0x65:i32)
        (is32 (message.read_data 8:i32 100:i32) 0:i32)
        (is64 (message.data_size) 6:i64))""")


async def test_writing_appends_whatever_the_read_offset_is(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (message.create_data 0:i64 0:i64) (drop (message.write_data @"ab"))
        (drop (message.read_data 0:i32 1:i32))
        (drop (message.write_data @"cd"))
        (is32 (message.read_data 0:i32 8:i32) 3:i32) (is32 (i32.load8_u 2:i32) 0x64:i32))""")


async def test_seeking_sets_the_read_offset(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (message.create_data 0:i64 0:i64) (drop (message.write_data @"abcd"))
        (message.seek_data 3:i64)
        (is32 (message.read_data 0:i32 8:i32) 1:i32) (is32 (i32.load8_u 0:i32) 0x64:i32)
        (message.seek_data 0:i64)
        (is32 (message.read_data 0:i32 8:i32) 4:i32)
        (message.seek_data 4:i64)
        (is32 (message.read_data 0:i32 8:i32) 0:i32))""")


@pytest.mark.parametrize("offset", [5, -1, 1 << 40])
async def test_reading_beyond_the_end_traps_after_a_seek_that_does_not(lab: Lab, offset: int) -> None:
    reason = await lab.traps(f"""{START}
        (message.create_data 0:i64 0:i64) (drop (message.write_data @"abcd"))
        (message.seek_data {offset}:i64)
        (report 1:i64)
        (drop (message.read_data 0:i32 1:i32)))""")
    assert "beyond the end" in reason
    assert lab.reports == [1]


async def test_a_large_message_arrives_whole(lab: Lab) -> None:
    await lab.passes("""
        (memory (export "memory") 160)
        (func (export "_start") (local $child i64)
          (local.set $child (call $spawn @"child"))
          (memory.fill 65536:i32 0x5a:i32 10000000:i32)
          (message.create_data 3:i64 0:i64)
          (is32 (message.write_data 65536:i32 10000000:i32) 10000000:i32)
          (drop (message.send (local.get $child)))
          (is32 (call $receive_any 10000:i64) 0:i32)
          (is64 (call $read) 0x5a:i64))
        (func (export "child")
          (is32 (call $receive_any -1:i64) 0:i32)
          (is64 (message.data_size) 10000000:i64)
          (message.seek_data 9999999:i64)
          (is32 (message.read_data 0:i32 100:i32) 1:i32)
          (call $send 1:i64 0:i64 (i64.load8_u 0:i32)))""")


async def test_a_message_holds_at_most_256_mib(lab: Lab) -> None:
    reason = await lab.traps("""
        (memory (export "memory") 1025)
        (func (export "_start")
          (message.create_data 0:i64 0:i64)
          (is32 (message.write_data 0:i32 67108864:i32) 67108864:i32)
          (loop $again (drop (message.write_data 0:i32 67108864:i32)) (br $again)))""")
    assert "at most 256 MiB" in reason


@pytest.mark.parametrize(
    "call",
    [
        '(drop (message.write_data @"x"))',
        "(drop (message.read_data 0:i32 1:i32))",
        "(message.seek_data 0:i64)",
        "(drop (message.get_tag))",
        "(drop (message.get_process_id))",
        "(drop (message.data_size))",
        "(drop (message.take_module 0:i64))",
        "(drop (message.send 1:i64))",
        "(drop (message.send_receive_skip_search 1:i64 1:i64 0:i64))",
        "(drop (timer.send_after 1:i64 0:i64))",
        "(drop (distributed.send 0:i64 1:i64))",
        "(drop (distributed.send_receive_skip_search 0:i64 1:i64 1:i64 0:i64))",
    ],
)
@pytest.mark.parametrize(
    "before", ["", "(call $send 1:i64 0:i64 0:i64)"], ids=["at the start", "after a send"]
)
async def test_a_call_about_the_message_traps_when_there_is_none(lab: Lab, before: str, call: str) -> None:
    assert NO_MESSAGE in await lab.traps(f"{START} {before} {call})")


@pytest.mark.parametrize(
    "call",
    [
        '(drop (message.write_data @"x"))',
        "(drop (message.read_data 0:i32 1:i32))",
        "(message.seek_data 0:i64)",
        "(drop (message.data_size))",
        "(drop (message.take_module 0:i64))",
    ],
)
async def test_a_call_about_data_traps_on_a_link_death(lab: Lab, call: str) -> None:
    assert NOT_DATA in await lab.traps(f"{START} {LINK_DIED} {call})")


async def test_a_trap_in_writing_or_reading_loses_the_message(lab: Lab) -> None:
    await lab.passes("""
        (func (export "_lunatic_catch_trap") (param i32 i32) (result i32)
          (if (local.get 0)
            (then (drop (message.write_data 65536:i32 1:i32)))
            (else (drop (message.read_data 65536:i32 1:i32))))
          1:i32)
        (func (export "has_none") (param i32 i32) (result i32) (drop (message.get_tag)) 1:i32)
        (func (export "_start")
          (message.create_data 1:i64 0:i64)
          (is32 (trap.catch 1:i32 0:i32) 0:i32)
          (report 1:i64)
          (message.create_data 1:i64 0:i64)
          (is32 (trap.catch 0:i32 0:i32) 0:i32))""")
    reason = await lab.traps("""
        (func (export "_lunatic_catch_trap") (param i32 i32) (result i32)
          (drop (message.write_data 65536:i32 1:i32)) 1:i32)
        (func (export "_start")
          (message.create_data 1:i64 0:i64)
          (drop (trap.catch 1:i32 0:i32))
          (drop (message.get_tag)))""")
    assert NO_MESSAGE in reason


async def test_pointers_are_checked_also_when_nothing_is_copied(lab: Lab) -> None:
    await lab.passes(
        f"{START} (message.create_data 0:i64 0:i64) (is32 (message.write_data 65536:i32 0:i32) 0:i32))"
    )
    for call in ("(message.write_data 65537:i32 0:i32)", "(message.read_data -1:i32 0:i32)"):
        assert OUT_OF_BOUNDS in await lab.traps(f"{START} (message.create_data 0:i64 0:i64) (drop {call}))")


async def test_a_guest_without_memory_cannot_pass_pointers(lab: Lab) -> None:
    reason = await lab.traps("""
        (memory 1)
        (func (export "_start")
          (message.create_data 0:i64 0:i64) (drop (message.write_data 0:i32 1:i32)))""")
    assert OUT_OF_BOUNDS in reason


async def test_a_received_message_can_be_forwarded_with_tag_and_offset(lab: Lab) -> None:
    await lab.passes("""
        (func (export "_start") (local $second i64)
          (local.set $second (call $spawn @"second"))
          (call $send (call $spawn @"first") 5:i64 (local.get $second))
          (is32 (call $receive_any 10000:i64) 0:i32)
          (is64 (call $read) 5:i64))
        (func (export "first") (local $second i64)
          (local.set $second (call $receive))
          (drop (message.send (local.get $second))))
        (func (export "second")
          (is32 (call $receive_any -1:i64) 0:i32)
          (is32 (message.read_data 0:i32 8:i32) 0:i32)
          (message.seek_data 0:i64)
          (is32 (message.read_data 0:i32 8:i32) 8:i32)
          (is64 (i64.load 0:i32) (process.process_id))
          (call $send 1:i64 0:i64 (message.get_tag))
          )""")


async def test_a_link_death_can_be_forwarded(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "_start")
          (drop (call $spawn @"child"))
          (is32 (call $receive_any 10000:i64) 1:i32)
          (is64 (message.get_tag) 5:i64)
          (is64 (message.get_process_id) 0:i64))
        (func (export "child") {LINK_DIED} (drop (message.send 1:i64)))""")


@pytest.mark.parametrize("send", ["message.send", "distributed.send 0:i64", "timer.send_after"])
async def test_the_end_of_a_process_can_be_forwarded(lab: Lab, send: str) -> None:
    delay = "0:i64" if send.startswith("timer") else ""
    await lab.passes(f"""
        {START}
          (drop (call $spawn @"child"))
          (is32 (call $receive_any 10000:i64) 2:i32)
          (is64 (message.get_process_id) 999999:i64)
          (is64 (message.get_tag) 0:i64))
        (func (export "child")
          (process.monitor 999999:i64)
          (is32 (call $receive_any -1:i64) 2:i32)
          (drop ({send} 1:i64 {delay})))""")


@pytest.mark.parametrize("send", ["message.send", "distributed.send 0:i64", "timer.send_after"])
async def test_every_way_to_send_takes_modules_to_a_process_of_this_node(lab: Lab, send: str) -> None:
    delay = "0:i64" if send.startswith("timer") else ""
    await lab.passes(f"""{START}
        (is32 (process.compile_module @"(module)" 0:i32) 0:i32)
        (message.create_data 4:i64 0:i64)
        (is64 (message.push_module 0:i64) 0:i64)
        (drop ({send} (process.process_id) {delay}))
        (is32 (call $receive_tag 4:i64 10000:i64) 0:i32)
        (is64 (message.take_module 0:i64) 1:i64))""")


async def test_sending_to_a_dead_process_is_silent(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (message.create_data 0:i64 0:i64) (is32 (message.send 999999:i64) 0:i32)
        (message.create_data 0:i64 0:i64) (is32 (message.send -1:i64) 0:i32)
        (message.create_data 0:i64 0:i64) (is32 (message.send 0:i64) 0:i32)
        (message.create_data 0:i64 0:i64) (is32 (distributed.send 77:i64 999999:i64) 0:i32))""")


async def test_a_process_can_send_to_itself(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (call $send (process.process_id) 3:i64 42:i64)
        (is64 (call $receive) 42:i64)
        (is64 (message.get_tag) 3:i64))""")


async def test_distributed_send_reaches_local_processes(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (call $write 4:i64 42:i64)
        (is32 (distributed.send (distributed.node_id) (process.process_id)) 0:i32)
        (is64 (call $receive) 42:i64))""")


async def test_a_module_travels_in_a_message_and_can_be_spawned(lab: Lab) -> None:
    await lab.passes("""
        (func (export "_start") (local $child i64)
          (local.set $child (call $spawn @"child"))
          (is32 (process.compile_module @"(module (func (export \\"f\\")))" 0:i32) 0:i32)
          (message.create_data 0:i64 0:i64)
          (is64 (message.push_module (i64.load 0:i32)) 0:i64)
          (is64 (message.push_module (i64.load 0:i32)) 1:i64)
          (drop (message.send (local.get $child)))
          ;; it stays here as well
          (process.drop_module (i64.load 0:i32))
          (is64 (call $receive) 1:i64))
        (func (export "child")
          (is32 (call $receive_any -1:i64) 0:i32)
          (is64 (message.take_module 1:i64) 0:i64)
          (is64 (message.take_module 0:i64) 1:i64)
          (is32 (process.spawn 0:i64 -1:i64 1:i64 @"f" 0:i32 0:i32 0:i32) 0:i32)
          (call $send 1:i64 0:i64 1:i64))""")


PUSHED = """
    (is32 (process.compile_module @"(module)" 0:i32) 0:i32)
    (message.create_data 0:i64 0:i64)
    (drop (message.push_module 0:i64))"""


@pytest.mark.parametrize(
    ("calls", "text"),
    [
        ("(message.create_data 0:i64 0:i64) (drop (message.push_module 0:i64))", "no module of that id"),
        (f"{PUSHED} (drop (message.take_module 1:i64))", "no module at that index"),
        (f"{PUSHED} (drop (message.take_module -1:i64))", "no module at that index"),
        (
            f"{PUSHED} (drop (message.take_module 0:i64)) (drop (message.take_module 0:i64))",
            "no module at that",
        ),
        (f"{PUSHED} (process.drop_module 0:i64) (drop (message.push_module 0:i64))", "no module of that id"),
        (f"{PUSHED} (drop (message.send 1:i64)) (drop (message.push_module 0:i64))", NO_MESSAGE),
        (f"{PUSHED} (loop $again (drop (message.push_module 0:i64)) (br $again))", "at most 4096 resources"),
    ],
)
async def test_wrong_uses_of_modules_in_messages_trap(lab: Lab, calls: str, text: str) -> None:
    assert text in await lab.traps(f"{START} {calls})")


async def test_an_unread_message_with_a_module_is_freed_with_its_process(lab: Lab) -> None:
    await lab.passes(f"{START} {PUSHED} (drop (message.send (process.process_id))))")
    await lab.passes(f"{START} {PUSHED})", config=ProcessConfig.program())
