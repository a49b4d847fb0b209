"""Processes of early Lunatic: handles, spawning by the rules of the time, and links by handles."""

from __future__ import annotations

import pytest

from luna.scheduler import ExitKind, ProcessConfig

from .lab import Lab, wait_for
from .wat import param

START = '(func (export "_start")'
UNKNOWN = "this process has no process of that id"
OUTSIDE = "outside the guest's memory"

I32, I64, V128 = 0x7F, 0x7E, 0x7B

# Prints the error whose id is at this address.
SHOW = """
    (func $show (param $at i32) (local $id i64)
      (local.set $id (i64.load (local.get $at)))
      (error.to_string (local.get $id) 2100:i32)
      (i32.store 2080:i32 2100:i32) (i32.store 2084:i32 (error.string_size (local.get $id)))
      (drop (wasi.fd_write 1:i32 2080:i32 1:i32 2088:i32)))
"""


async def printed(lab: Lab, source: str) -> str:
    """What a guest prints, whose own checks must all hold."""
    pid = await lab.spawn(source)
    text = (await lab.output(pid)).decode()
    status = await lab.wait_exit(pid)
    assert status.kind is ExitKind.NORMAL, (status, text)
    return text


# -- handles --------------------------------------------------------------------------------------


async def test_handles_count_from_0_and_are_never_used_again(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (is64 (process.this@0.6) 0:i64)
        (is64 (process.this@0.6) 1:i64)
        (is64 (process.clone_process@0.6 0:i64) 2:i64)
        (process.drop_process@0.6 2:i64)
        (process.drop_process@0.6 0:i64)
        (is64 (process.clone_process@0.6 1:i64) 3:i64))""")


@pytest.mark.parametrize(
    "call",
    [
        "(process.drop_process@0.6 H)",
        "(drop (process.clone_process@0.6 H))",
        "(process.id@0.6 H 0:i32)",
        "(drop (process.this@0.6)) (process.link@0.6 0:i64 H)",
        "(drop (process.this@0.6)) (process.unlink@0.6 H)",
    ],
)
@pytest.mark.parametrize("handle", ["7:i64", "-1:i64", "dropped"])
async def test_an_unknown_handle_traps(lab: Lab, call: str, handle: str) -> None:
    dropped = "(drop (process.this@0.6)) (process.drop_process@0.6 0:i64)" if handle == "dropped" else ""
    use = call.replace("H", "0:i64" if dropped else handle)
    assert UNKNOWN in await lab.traps(f"{START} {dropped} {use})")


async def test_the_id_of_a_process_is_its_own_whatever_the_handle(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "child") (gate))
        (func $same (param $one i64) (param $other i64) (result i32)
          (memory.fill 0:i32 0xaa:i32 16:i32)
          (process.id@0.6 (local.get $one) 0:i32)
          (process.id@0.6 (local.get $other) 16:i32)
          (i32.and (i64.eq (i64.load 0:i32) (i64.load 16:i32)) (i64.eq (i64.load 8:i32) (i64.load 24:i32))))
        {START}
          (is64 (process.this@0.6) 0:i64)
          (is64 (process.clone_process@0.6 0:i64) 1:i64)
          (is64 (call $early_spawn 0:i64 @"child") 2:i64)
          (is64 (call $early_spawn 0:i64 @"child") 3:i64)
          (is32 (call $same 0:i64 1:i64) 1:i32)
          (is32 (call $same 0:i64 2:i64) 0:i32)
          (is32 (call $same 2:i64 3:i64) 0:i32))""")


async def test_the_id_of_a_process_needs_16_bytes(lab: Lab) -> None:
    await lab.passes(f"{START} (process.id@0.6 (process.this@0.6) 65520:i32))")
    assert OUTSIDE in await lab.traps(f"{START} (process.id@0.6 (process.this@0.6) 65521:i32))")


async def test_dropping_a_handle_leaves_the_process_alone(lab: Lab) -> None:
    pid = await lab.spawn(f"""
        (func (export "child") (gate) (report 1:i64))
        {START}
          (process.drop_process@0.6 (call $early_spawn 0:i64 @"child"))
          (gate) (process.sleep_ms 5000:i64))""")
    await wait_for(lambda: lab.at_gate == 2)
    lab.gate.set()
    await wait_for(lambda: lab.reports == [1])
    lab.runtime.kill(pid)


# -- spawning -------------------------------------------------------------------------------------


async def test_a_child_gets_its_parameters(lab: Lab) -> None:
    params = param(I32, -5, 32) + param(I64, 1 << 40) + param(V128, 7 << 64 | 9)
    await lab.spawn(f"""
        (func (export "child") (param i32 i64 v128)
          (report (i64.extend_i32_s (local.get 0)))
          (report (local.get 1))
          (report (i64x2.extract_lane 0 (local.get 2)))
          (report (i64x2.extract_lane 1 (local.get 2))))
        {START}
          (is32 (process.inherit_spawn@0.6 0:i64 @"child" @"{params}" 0:i32) 0:i32)
          (is64 (i64.load 0:i32) 0:i64)
          (gate))""")
    await wait_for(lambda: lab.reports == [-5, 1 << 40, 9, 7])


async def test_what_is_left_of_a_last_parameter_is_ignored(lab: Lab) -> None:
    await lab.spawn(f"""
        (func (export "child") (param i64) (report (local.get 0)))
        {START}
          (is32 (process.inherit_spawn@0.6 0:i64 @"child" @"{param(I64, 3)}rest of a record" 0:i32) 0:i32)
          (gate))""")
    await wait_for(lambda: lab.reports == [3])


async def test_an_unknown_type_of_a_parameter_traps(lab: Lab) -> None:
    reason = await lab.traps(f"""(func (export "child"))
        {START} (drop (process.inherit_spawn@0.6 0:i64 @"child" @"{param(0x7D, 3)}" 0:i32)))""")
    assert "parameter type is not" in reason


async def test_a_missing_function_is_code_1_with_the_text_of_the_time(lab: Lab) -> None:
    text = await printed(
        lab,
        f"""{SHOW} (memory (export "memory") 1) (func $nothing)
        {START}
          (is32 (process.inherit_spawn@0.6 0:i64 @"nothing" 0:i32 0:i32 0:i32) 1:i32)
          (call $show 0:i32)
          (is32 (process.inherit_spawn@0.6 1:i64 @"memory" 0:i32 0:i32 0:i32) 1:i32)
          (call $show 0:i32))""",
    )
    assert text == "Function 'nothing' not foundFunction 'memory' not found"


async def test_a_child_that_takes_other_parameters_is_born_and_fails(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "child") (param i64))
        {START}
          (process.die_when_link_dies 0:i32)
          (drop (call $early_spawn 4:i64 @"child"))
          (is32 (message.receive@0.6 0:i64 0:i32) 1:i32)
          (is64 (message.get_tag) 4:i64))""")


async def test_an_entry_may_return_values(lab: Lab) -> None:
    # Were that a failure, the link would tell.
    await lab.passes(f"""
        (func (export "child") (result i32 i64 f64) (report 1:i64) 1:i32 2:i64 (f64.const 3))
        {START}
          (process.die_when_link_dies 0:i32)
          (call $early_await_end (call $early_spawn 4:i64 @"child"))
          (is32 (message.receive@0.6 0:i64 50:i32) 9027:i32))""")
    assert lab.reports == [1]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("inherit_spawn@0.6 0:i64 65535:i32 2:i32 0:i32 0:i32 0:i32", OUTSIDE),
        ("inherit_spawn@0.6 0:i64 0:i32 0:i32 65535:i32 2:i32 0:i32", OUTSIDE),
        ('inherit_spawn@0.6 0:i64 @"f" 0:i32 0:i32 65529:i32', OUTSIDE),
        ('inherit_spawn@0.6 0:i64 @"\\ff" 0:i32 0:i32 0:i32', "not UTF-8"),
        ('spawn@0.6 0:i64 0:i64 @"f" 0:i32 0:i32 0:i32', "this process has no module of that id"),
        ('spawn@0.6 0:i64 -1:i64 @"f" 0:i32 0:i32 0:i32', "this process has no module of that id"),
    ],
)
async def test_bad_arguments_of_a_spawn_trap(lab: Lab, call: str, text: str) -> None:
    source = f'(func (export "f")) {START} (drop (process.{call})))'
    assert text in (await lab.run(source)).reason


async def test_without_the_right_a_spawn_traps(lab: Lab) -> None:
    source = f'{START} (drop (process.inherit_spawn@0.6 0:i64 @"f" 0:i32 0:i32 0:i32)))'
    assert "may not spawn" in (await lab.run(source, config=ProcessConfig())).reason


async def test_not_in_a_start_section(lab: Lab) -> None:
    source = '(start $s) (func $s (drop (call $early_spawn 0:i64 @"_start"))) (func (export "_start"))'
    with pytest.raises(Exception, match="start section"):
        await lab.run(source)


async def test_both_generations_of_spawn_and_send_in_one_program(lab: Lab) -> None:
    # One that has today's `spawn` beside handles: each function takes the ids of its own.
    pid = await lab.spawn(f"""
        (func (export "child") (report (process.process_id)) (report (process.this@0.6)))
        {START} (drop (call $spawn @"child")) (gate))""")
    await wait_for(lambda: lab.reports == [pid + 1, 0])


# -- links ----------------------------------------------------------------------------------------

FAILS = '(func (export "fails") (drop (call $early_receive)) (unreachable))'
ENDS = '(func (export "ends") (drop (call $early_receive)))'


@pytest.mark.parametrize(("entry", "code"), [("fails", 1), ("ends", 9027)])
async def test_a_spawned_link_tells_failures_only(lab: Lab, entry: str, code: int) -> None:
    await lab.passes(f"""{FAILS} {ENDS}
        {START} (local $child i64)
          (process.die_when_link_dies 0:i32)
          (local.set $child (call $early_spawn 6:i64 @"{entry}"))
          (call $early_send (local.get $child) 0:i64 0:i64)
          (is32 (message.receive@0.6 0:i64 {0 if code == 1 else 50}:i32) {code}:i32))""")


@pytest.mark.parametrize("tag", [9, 0])
async def test_a_link_by_a_handle_has_its_tag(lab: Lab, tag: int) -> None:
    await lab.passes(f"""{FAILS}
        {START} (local $child i64)
          (process.die_when_link_dies 0:i32)
          (local.set $child (call $early_spawn 0:i64 @"fails"))
          (process.link@0.6 {tag}:i64 (local.get $child))
          (call $early_send (local.get $child) 0:i64 0:i64)
          (is32 (message.receive@0.6 0:i64 0:i32) 1:i32)
          (is64 (message.get_tag) {tag}:i64))""")


async def test_linking_again_changes_the_tag(lab: Lab) -> None:
    await lab.passes(f"""{FAILS}
        {START} (local $child i64)
          (process.die_when_link_dies 0:i32)
          (local.set $child (call $early_spawn 2:i64 @"fails"))
          (process.link@0.6 3:i64 (local.get $child))
          (call $early_send (local.get $child) 0:i64 0:i64)
          (is32 (message.receive@0.6 0:i64 0:i32) 1:i32)
          (is64 (message.get_tag) 3:i64)
          (is32 (message.receive@0.6 0:i64 20:i32) 9027:i32))""")


async def test_a_link_kills_who_does_not_want_the_notice(lab: Lab) -> None:
    status = await lab.run(f"""{FAILS}
        {START} (local $child i64)
          (local.set $child (call $early_spawn 0:i64 @"fails"))
          (process.link@0.6 1:i64 (local.get $child))
          (call $early_send (local.get $child) 0:i64 0:i64)
          (drop (call $early_receive)))""")
    assert status.kind is ExitKind.LINK_DIED


async def test_a_link_works_both_ways_with_one_tag(lab: Lab) -> None:
    await lab.spawn(f"""
        (func (export "child")
          (process.die_when_link_dies 0:i32)
          (drop (call $early_receive))
          (is32 (message.receive@0.6 0:i64 0:i32) 1:i32)
          (report (message.get_tag)))
        {START} (local $child i64)
          (local.set $child (call $early_spawn 0:i64 @"child"))
          (process.link@0.6 12:i64 (local.get $child))
          (call $early_send (local.get $child) 0:i64 0:i64)
          (process.sleep_ms 5:i64)
          (unreachable))""")
    await wait_for(lambda: lab.reports == [12])


async def test_linking_to_what_has_ended_does_nothing(lab: Lab) -> None:
    # It dies of nothing, hears nothing, and no link is kept.
    await lab.passes(f"""{FAILS} {ENDS}
        (func $link_late (param $child i64)
          (call $early_send (local.get $child) 0:i64 0:i64)
          (call $early_await_end (local.get $child))
          (process.link@0.6 1:i64 (local.get $child))
          (is32 (message.receive@0.6 0:i64 20:i32) 9027:i32))
        {START}
          (call $link_late (call $early_spawn 0:i64 @"fails"))
          (call $link_late (call $early_spawn 0:i64 @"ends"))
          (process.die_when_link_dies 0:i32)
          (call $link_late (call $early_spawn 0:i64 @"fails"))
          (call $link_late (call $early_spawn 0:i64 @"ends")))""")


async def test_linking_to_one_that_ends_at_that_moment_does_nothing(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "ends"))
        {START} (local $n i32)
          (loop $again
            (process.link@0.6 1:i64 (call $early_spawn 0:i64 @"ends"))
            (br_if $again (i32.lt_s (local.tee $n (i32.add (local.get $n) 1:i32)) 2000:i32)))
          (is32 (message.receive@0.6 0:i64 50:i32) 9027:i32))""")


async def test_an_unlinked_process_tells_nothing(lab: Lab) -> None:
    await lab.passes(f"""{FAILS}
        {START} (local $child i64)
          (local.set $child (call $early_spawn 3:i64 @"fails"))
          (process.unlink@0.6 (local.get $child))
          (process.unlink@0.6 (local.get $child))
          (call $early_send (local.get $child) 0:i64 0:i64)
          (is32 (message.receive@0.6 0:i64 50:i32) 9027:i32))""")


async def test_a_link_to_oneself_does_nothing(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (process.link@0.6 1:i64 (process.this@0.6))
        (process.unlink@0.6 0:i64))""")
