"""Spawning from guests: parameters, what fails how, and when a child first runs."""

from __future__ import annotations

import pytest

from luna.scheduler import ExitKind, ProcessConfig

from .lab import Lab, wait_for
from .wat import param

START = '(func (export "_start")'
SPAWN = "(process.spawn 0:i64 -1:i64 -1:i64"
CHILD = '(func (export "child"))'


async def test_pids_count_from_one(lab: Lab) -> None:
    await lab.passes(f"""
        {START}
          (is64 (process.process_id) 1:i64)
          (is64 (call $spawn @"child") 2:i64)
          (is64 (call $spawn @"child") 3:i64))
        {CHILD}""")


async def test_a_child_gets_every_type_of_parameter(lab: Lab) -> None:
    records = param(0x7F, -1) + param(0x7E, 7) + param(0x7B, 0x0102030405060708090A0B0C0D0E0F10)
    await lab.passes(f"""
        {START}
          (is32 {SPAWN} @"child" @"{records}" 0:i32) 0:i32)
          (is64 (call $receive) 1:i64))
        (func (export "child") (param i32 i64 v128)
          (is32 (local.get 0) -1:i32)
          (is64 (local.get 1) 7:i64)
          (is64 (i64x2.extract_lane 0 (local.get 2)) 0x090A0B0C0D0E0F10:i64)
          (is64 (i64x2.extract_lane 1 (local.get 2)) 0x0102030405060708:i64)
          (call $send 1:i64 0:i64 1:i64))""")


async def test_upper_bytes_of_narrow_parameters_are_ignored(lab: Lab) -> None:
    await lab.passes(f"""
        {START}
          (is32 {SPAWN} @"child" @"{param(0x7F, 0xAAAA_BBBB_CCCC_DDDD_0000_0005)}" 0:i32) 0:i32)
          (is64 (call $receive) 5:i64))
        (func (export "child") (param i32) (call $send 1:i64 0:i64 (i64.extend_i32_u (local.get 0))))""")


async def test_a_child_inherits_no_resources(lab: Lab) -> None:
    await lab.passes(f"""
        {START}
          (is64 (process.create_config) 0:i64)
          (message.create_data 0:i64 0:i64)
          (drop (call $spawn @"child"))
          (is64 (call $receive) 0:i64))
        (func (export "child") (call $send 1:i64 0:i64 (process.create_config)))""")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (f'{SPAWN} @"child" 0:i32 1:i32 0:i32)', "not a whole number of 17-byte records"),
        (f'{SPAWN} @"child" 0:i32 16:i32 0:i32)', "not a whole number of 17-byte records"),
        (f'{SPAWN} @"child" @"{param(0x7D, 0)}" 0:i32)', "a parameter type is not"),
        (f'{SPAWN} @"child" 0:i32 2193:i32 0:i32)', "at most 128 parameters"),
        (f'{SPAWN} @"\\ff" 0:i32 0:i32 0:i32)', "not UTF-8"),
        (f'{SPAWN} @"child\\00" 0:i32 0:i32 0:i32)', "without a zero"),
        (f'{SPAWN} @"chi\\00ld" 0:i32 0:i32 0:i32)', "without a zero"),
        (f'{SPAWN} @"\\ed\\a0\\80" 0:i32 0:i32 0:i32)', "not UTF-8"),
        (f"{SPAWN} 0:i32 5000:i32 0:i32 0:i32 0:i32)", "at most 4096 bytes"),
        ('(process.spawn 0:i64 0:i64 -1:i64 @"child" 0:i32 0:i32 0:i32)', "no config of that id"),
        ('(process.spawn 0:i64 -2:i64 -1:i64 @"child" 0:i32 0:i32 0:i32)', "no config of that id"),
        ('(process.spawn 0:i64 -1:i64 0:i64 @"child" 0:i32 0:i32 0:i32)', "no module of that id"),
    ],
)
async def test_a_wrong_argument_traps_and_starts_nothing(lab: Lab, call: str, text: str) -> None:
    assert text in await lab.traps(f"{START} (drop {call})) {CHILD}")
    assert lab.runtime.processes() == []


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("nothing", "exports no function nothing"),
        ("memory", "exports no function memory"),
        ("returns", "results"),
        ("takes", "parameters"),
    ],
)
async def test_an_entry_that_cannot_be_called_fails_the_child_not_the_spawn(
    lab: Lab, entry: str, text: str
) -> None:
    await lab.passes(f"""
        {START}
          (process.die_when_link_dies 0:i32)
          (report (call $spawn_link 5:i64 @"{entry}"))
          (is32 (call $receive_any 10000:i64) 1:i32)
          (is64 (message.get_tag) 5:i64))
        (func (export "returns") (result i32) 1:i32)
        (func (export "takes") (param i32))""")
    assert lab.reports == [2]


async def test_parameters_of_another_type_fail_the_child(lab: Lab) -> None:
    await lab.passes(f"""
        {START}
          (is32 {SPAWN} @"child" @"{param(0x7E, 0)}" 0:i32) 0:i32)
          (process.monitor (i64.load 0:i32))
          (is32 (call $receive_any 10000:i64) 2:i32))
        (func (export "child") (param i32) (report 1:i64))""")
    assert lab.reports == []


async def test_a_start_section_that_traps_is_error_code_1_with_a_text(lab: Lab) -> None:
    await lab.passes("""
        (func (export "_start")
          (is32
            (process.compile_module
              @"(module (start $s) (func $s unreachable) (func (export \\"f\\")))"
              0:i32) 0:i32)
          (is32 (process.spawn 7:i64 -1:i64 0:i64 @"f" 0:i32 0:i32 8:i32) 1:i32)
          (is64 (i64.load 8:i32) 0:i64)
          (if (i32.lt_s (error.string_size 0:i64) 10:i32) (then unreachable))
          (error.to_string 0:i64 100:i32)
          (message.create_data 0:i64 0:i64)
          (drop (message.write_data 100:i32 (error.string_size 0:i64)))
          (is32 (wasi.fd_write 1:i32 200:i32 0:i32 300:i32) 0:i32)
          (error.drop 0:i64)
          ;; the failed child was linked and must not concern the parent
          (is32 (call $receive_any 5:i64) 9027:i32))""")


async def test_too_much_initial_memory_is_error_code_1(lab: Lab) -> None:
    await lab.passes("""
        (func (export "_start") (local $config i64)
          (is32 (process.compile_module @"(module (memory (export \\"memory\\") 32) (func
            (export \\"f\\")))" 0:i32) 0:i32)
          (local.set $config (process.create_config))
          (process.config_set_max_memory (local.get $config) 1048576:i64)
          (is32 (process.spawn 0:i64 (local.get $config) 0:i64 @"f" 0:i32 0:i32 8:i32) 1:i32)
          (if (i32.eqz (error.string_size (i64.load 8:i32))) (then unreachable)))""")


async def test_spawning_is_not_possible_in_the_start_section(lab: Lab) -> None:
    with pytest.raises(Exception, match="not possible in the start section"):
        await lab.spawn(
            '(start $begin) (func $begin (drop (call $spawn @"child"))) (func (export "_start"))' + CHILD
        )


async def test_spawning_needs_the_permission(lab: Lab) -> None:
    reason = await lab.traps(f'{START} (drop (call $spawn @"child"))) {CHILD}', config=ProcessConfig())
    assert "may not spawn processes" in reason


async def test_a_child_killed_right_after_spawn_never_runs(lab: Lab) -> None:
    await lab.passes("""
        (func (export "_start") (local $child i64) (local $n i32)
          (loop $again
            (local.set $child (call $spawn @"child"))
            (process.kill (local.get $child))
            (process.monitor (local.get $child))
            (is32 (call $receive_any 10000:i64) 2:i32)
            (local.set $n (i32.add (local.get $n) 1:i32))
            (br_if $again (i32.lt_u (local.get $n) 200:i32))))
        (func (export "child") (report 1:i64))""")
    assert lab.reports == []


async def test_killing_a_linked_child_right_after_spawn_kills_the_parent(lab: Lab) -> None:
    """After process::kill_process of Lunatic's guest library."""
    status = await lab.run("""
        (func (export "_start")
          (process.kill (call $spawn_link 1:i64 @"child"))
          (call $park))
        (func (export "child"))""")
    assert status.kind is ExitKind.LINK_DIED


async def test_a_child_runs_while_its_parent_computes(lab: Lab) -> None:
    pid = await lab.spawn("""
        (func (export "_start") (drop (call $spawn @"child")) (call $spin))
        (func (export "child") (report 1:i64))""")
    await wait_for(lambda: lab.reports == [1])
    assert lab.runtime.kill(pid)


async def test_a_child_outlives_its_parent(lab: Lab) -> None:
    await lab.passes("""
        (func (export "_start") (drop (call $spawn @"child")))
        (func (export "child") (process.sleep_ms 10:i64) (report (process.process_id)))""")
    await wait_for(lambda: lab.reports == [2])


async def test_a_result_pointer_out_of_bounds_traps_the_parent_and_the_child_runs(lab: Lab) -> None:
    reason = await lab.traps(f"""
        {START} (drop {SPAWN} @"child" 0:i32 0:i32 65529:i32)))
        (func (export "child") (report 1:i64))""")
    assert "outside the guest's memory" in reason
    await wait_for(lambda: lab.reports == [1])


async def test_a_thousand_children_at_once(lab: Lab) -> None:
    await lab.passes("""
        (func (export "_start") (local $n i64) (local $sum i64)
          (loop $again
            (drop (call $spawn @"child"))
            (local.set $n (i64.add (local.get $n) 1:i64))
            (br_if $again (i64.lt_u (local.get $n) 1000:i64)))
          (loop $again
            (local.set $sum (i64.add (local.get $sum) (call $receive)))
            (local.set $n (i64.sub (local.get $n) 1:i64))
            (br_if $again (i64.gt_u (local.get $n) 0:i64)))
          (is64 (local.get $sum) 501500:i64))
        (func (export "child") (call $send 1:i64 0:i64 (process.process_id)))""")


async def test_environment_and_node_are_known(lab: Lab) -> None:
    await lab.passes(
        f"""{START}
            (is64 (process.environment_id) 9:i64)
            (is64 (distributed.node_id) 0:i64)
            (is64 (distributed.module_id) 0:i64))""",
        environment=9,
    )


async def test_a_process_of_another_environment_does_not_exist(lab: Lab) -> None:
    other = await lab.spawn(f"{START} (call $park))", environment=2)
    await lab.passes(
        f"""{START}
            (is32 (process.exists {other}:i64) 0:i32)
            (call $send {other}:i64 0:i64 0:i64)
            (process.kill {other}:i64)
            (process.monitor {other}:i64)
            (is32 (call $receive_any 10000:i64) 2:i32)
            (process.die_when_link_dies 0:i32)
            (process.link 4:i64 {other}:i64)
            (is32 (call $receive_any 10000:i64) 1:i32))""",
        environment=3,
    )
    assert lab.runtime.exists(other)
    assert [process.messages for process in lab.runtime.processes()] == [0]


async def test_processes_tell_their_environment_which_is_that_of_their_parent(lab: Lab) -> None:
    parent = """(func (export "_start") (drop (call $spawn @"child")) (call $park))
        (func (export "child") (call $park))"""
    first = await lab.spawn(parent, environment=7)
    second = await lab.spawn(parent, environment=8)
    await wait_for(lambda: len(lab.runtime.processes()) == 4)
    found = {process.pid: process for process in lab.runtime.processes()}
    environments = {pid: process.environment for pid, process in found.items()}
    assert (environments[first], environments[second]) == (7, 8)
    assert all(
        process.environment == environments[process.parent] for process in found.values() if process.parent
    )
    for pid in found:
        lab.runtime.kill(pid)
