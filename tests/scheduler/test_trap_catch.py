"""`lunatic::trap::catch`: calling back into the guest and surviving what happens there."""

from __future__ import annotations

import pytest

from luna.proto.errors import InvalidError
from luna.scheduler import ExitKind, ProcessConfig

from .lab import Lab, wait_for

START = '(func (export "_start")'
CATCH = '(func (export "_lunatic_catch_trap") (param i32 i32) (result i32)'


async def test_the_result_and_both_arguments_pass_through(lab: Lab) -> None:
    await lab.passes(f"""
        {CATCH} (i32.sub (local.get 0) (local.get 1)))
        {START} (is32 (trap.catch 50:i32 8:i32) 42:i32) (is32 (trap.catch 0:i32 1:i32) -1:i32))""")


FAILURES = {
    "unreachable": "unreachable",
    "a host call that traps": "(drop (message.get_tag))",
    "a failing request": "(registry.remove 65536:i32 1:i32)",
    "a memory access out of bounds": "(drop (i32.load 65536:i32))",
    "a stack overflow": "(drop (call $deeper 1:i32))",
    "an exit": "(wasi.proc_exit 3:i32)",
    "an exit with 0": "(wasi.proc_exit 0:i32)",
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
async def test_whatever_fails_inside_gives_0_and_memory_stays_as_it_was(lab: Lab, failure: str) -> None:
    await lab.passes(f"""
        (func $deeper (param i32) (result i32) (i32.add (call $deeper (local.get 0)) 1:i32))
        {CATCH} (i32.store 0:i32 77:i32) {failure} 1:i32)
        {START}
          (is32 (trap.catch 0:i32 0:i32) 0:i32)
          (is32 (i32.load 0:i32) 77:i32)
          (is32 (trap.catch 0:i32 0:i32) 0:i32)
          (report 1:i64))""")
    assert lab.reports == [1]


async def test_catches_nest_and_each_catches_its_own(lab: Lab) -> None:
    await lab.passes(f"""
        {CATCH}
          (if (i32.eqz (local.get 0)) (then unreachable))
          (i32.add 1:i32 (trap.catch (i32.sub (local.get 0) 1:i32) 0:i32)))
        {START} (is32 (trap.catch 10:i32 0:i32) 10:i32))""")


async def test_catches_nest_only_so_deep(lab: Lab) -> None:
    await lab.passes(f"""
        {CATCH} (i32.add 1:i32 (trap.catch 0:i32 0:i32)))
        {START}
          ;; the 65th traps inside the 64th, which gives 0
          (is32 (trap.catch 0:i32 0:i32) 63:i32)
          (is32 (trap.catch 0:i32 0:i32) 63:i32))""")


async def test_a_process_waits_inside_as_it_does_outside(lab: Lab) -> None:
    await lab.passes(f"""
        {CATCH}
          (process.sleep_ms 5:i64)
          (drop (call $spawn @"child"))
          (is64 (call $receive) 42:i64)
          (registry.remove @"name")
          (if (local.get 0) (then unreachable))
          9:i32)
        {START}
          (is32 (trap.catch 0:i32 0:i32) 9:i32)
          (is32 (trap.catch 1:i32 0:i32) 0:i32)
          (is32 (trap.catch 0:i32 0:i32) 9:i32))
        (func (export "child") (call $send 1:i64 0:i64 42:i64))""")


WAITS = {
    "receive": "(call $park)",
    "loop": "(call $spin)",
    "sleep": "(process.sleep_ms 100000:i64)",
    "request": "(gate)",
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
async def test_a_kill_is_not_caught(lab: Lab, wait: str) -> None:
    pid = await lab.spawn(f"""
        {CATCH} (if (local.get 0) (then (return (trap.catch (i32.sub (local.get 0) 1:i32) 0:i32))))
          (report 1:i64) {wait} 1:i32)
        {START} (drop (trap.catch 3:i32 0:i32)) (report 2:i64))""")
    await wait_for(lambda: lab.reports == [1])
    lab.runtime.kill(pid)
    assert (await lab.wait_exit(pid)).kind is ExitKind.KILLED
    assert lab.reports == [1]


async def test_a_loop_inside_is_preempted(lab: Lab) -> None:
    await lab.passes(f"""
        {CATCH} (local $n i32)
          (loop $again
            (local.set $n (i32.add (local.get $n) 1:i32))
            (br_if $again (i32.lt_u (local.get $n) 50000000:i32)))
          7:i32)
        {START} (is32 (trap.catch 0:i32 0:i32) 7:i32))""")
    assert lab.runtime.statistics().preempted > 0


async def test_running_out_of_fuel_inside_ends_the_process_soon(lab: Lab) -> None:
    reason = await lab.traps(
        f"{CATCH} (call $spin) 1:i32) {START} (drop (trap.catch 0:i32 0:i32)) (call $spin))",
        config=ProcessConfig.program(max_fuel=2),
    )
    assert "compute limit" in reason


async def test_catching_is_not_possible_in_the_start_section(lab: Lab) -> None:
    with pytest.raises(InvalidError, match="not possible in the start section"):
        await lab.run("""
            (func $start (drop (trap.catch 1:i32 2:i32))) (start $start)
            (func (export "_lunatic_catch_trap") (param i32 i32) (result i32) 3:i32)
            (func (export "_start"))""")


async def test_catching_needs_the_export(lab: Lab) -> None:
    text = "exports no function _lunatic_catch_trap"
    assert text in await lab.traps(f"{START} (drop (trap.catch 0:i32 0:i32)))")
    assert text in await lab.traps(
        f'(global (export "_lunatic_catch_trap") i32 0:i32) {START} (drop (trap.catch 0:i32 0:i32)))'
    )


@pytest.mark.parametrize(
    "kind", ["(param i32) (result i32) 1:i32", "(param i32 i32)", "(param i64 i64) (result i64) 1:i64"]
)
async def test_an_export_of_another_type_gives_0(lab: Lab, kind: str) -> None:
    await lab.passes(f"""
        (func (export "_lunatic_catch_trap") {kind})
        {START} (is32 (trap.catch 0:i32 0:i32) 0:i32))""")
