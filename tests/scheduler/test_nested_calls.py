"""Calls into the guest from its own host calls, one within the other, and their end in any state."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from luna.proto.errors import InvalidError
from luna.scheduler import ExitKind, GuestData, Module, ProcessConfig, Request

from .lab import PATIENCE_S, Lab, open_lab, wait_for

START = '(func (export "_start")'
ALLOC = '(func (export "lunatic_alloc") (param i32) (result i32)'
CATCH = '(func (export "_lunatic_catch_trap") (param i32 i32) (result i32)'
DATA = "(sqlite.last_error 0:i64 100:i32)"
MAX_DEPTH = 64
"""NESTED_CALLS_MAX of `_limits.pxd`"""


def serve_data(lab: Lab) -> None:
    """sqlite.last_error gives the guest five bytes, after Python's other tasks had a turn."""

    async def answer(request: Request) -> GuestData:
        await trio.lowlevel.checkpoint()
        return GuestData(b"hello", int(request.args[1]))

    lab.runtime.set_handler("lunatic::sqlite", "last_error", answer)


async def test_an_allocator_that_asks_for_data_itself(lab: Lab) -> None:
    serve_data(lab)
    await lab.passes(f"""(global $depth (mut i32) 0:i32)
        {ALLOC}
          (global.set $depth (i32.add (global.get $depth) 1:i32))
          (if (i32.lt_u (global.get $depth) 10:i32) (then (is32 {DATA} 700:i32)))
          700:i32)
        {START} (is32 {DATA} 700:i32) (is32 (global.get $depth) 10:i32))""")


async def test_an_allocator_that_asks_for_data_without_end(lab: Lab) -> None:
    serve_data(lab)
    reason = await lab.traps(f"""
        {ALLOC} (report 1:i64) {DATA})
        {START} (drop {DATA}))""")
    assert "lunatic_alloc, called to give the guest an answer, trapped: lunatic::sqlite" in reason
    assert "at most 64 calls deep" in reason
    assert len(lab.reports) == MAX_DEPTH


async def test_data_and_caught_calls_count_as_one_depth(lab: Lab) -> None:
    serve_data(lab)
    await lab.passes(f"""
        {ALLOC} (i32.add 1:i32 (trap.catch 0:i32 0:i32)))
        {CATCH} (report 1:i64) {DATA})
        {START} (is32 (trap.catch 0:i32 0:i32) {MAX_DEPTH // 2 - 1}:i32))""")
    assert len(lab.reports) == MAX_DEPTH // 2


async def test_an_exit_inside_the_allocator_is_the_process_s(lab: Lab) -> None:
    serve_data(lab)
    status = await lab.run(f"{ALLOC} (wasi.proc_exit 3:i32) 1:i32) {START} (drop {DATA}))")
    assert (status.code, status.reason) == (3, "exited with code 3")


async def test_the_start_section_is_given_data_too(lab: Lab) -> None:
    serve_data(lab)
    await lab.passes(f"""(start $first) (func $first (is32 {DATA} 700:i32))
        {ALLOC} (drop (wasi.sched_yield)) 700:i32)
        {START} (is32 (i32.load 700:i32) 0x6c6c6568:i32))""")


async def test_fuel_that_runs_out_in_the_allocator_is_told(lab: Lab) -> None:
    serve_data(lab)
    reason = await lab.traps(
        f"{ALLOC} (call $spin) 1:i32) {START} (drop {DATA}))", config=ProcessConfig.program(max_fuel=2)
    )
    assert "compute limit" in reason


# What a process may be in the middle of, at the bottom of several calls.
STATES = {
    "computing": "(call $spin)",
    "yielding": "(loop $again (drop (wasi.sched_yield)) (br $again))",
    "asking for files": "(loop $again (drop (wasi.fd_prestat_get 3:i32 0:i32)) (br $again))",
    "opening files for the first time": "(drop (wasi.fd_prestat_get 3:i32 0:i32)) (call $park)",
    "asking for data": f"(loop $again (drop {DATA}) (br $again))",
    "spawning": '(loop $again (drop (call $spawn @"child")) (br $again))',
    "receiving": "(call $park)",
    "in a request": "(gate)",
}


async def be_killed(lab: Lab, module: Module, config: ProcessConfig) -> None:
    """Spawn a process that is killed, maybe before it is born."""
    try:
        with trio.fail_after(PATIENCE_S):
            pid = await lab.runtime.spawn(module, config=config)
    except InvalidError:
        return
    assert (await lab.wait_exit(pid)).kind is ExitKind.KILLED


@pytest.mark.parametrize("fuel", [0, 1_000_000], ids=["", "with a compute limit"])
@pytest.mark.parametrize(
    ("state", "start"),
    [pytest.param(state, False, id=name) for name, state in STATES.items()]
    + [
        pytest.param(state, True, id=f"{name} in the start section")
        for name, state in STATES.items()
        if name != "spawning"  # which is not possible there
    ],
)
async def test_a_kill_at_any_time_leaves_nothing(tmp_path: Path, state: str, fuel: int, start: bool) -> None:
    config = ProcessConfig.program(preopens=[("/", str(tmp_path))], max_fuel=fuel)
    async with open_lab() as lab:
        serve_data(lab)
        module = await lab.load(f"""
            (global $first (mut i32) 1:i32)
            (func $once (if (global.get $first) (then (global.set $first 0:i32)
              {"(call $inside)" if start else "(drop (trap.catch 0:i32 0:i32))"})))
            (func $inside (report (process.process_id)) {state})
            {ALLOC} (call $once) 700:i32)
            {CATCH} (call $inside) 1:i32)
            (func $enter (drop {DATA}))
            {"(start $enter)" if start else ""}
            (func (export "child"))
            {START} {"" if start else "(call $enter)"})""")
        for rounds in range(1, 6):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(be_killed, lab, module, config)
                await wait_for(lambda: len(lab.reports) >= rounds, "the process is in that state")  # noqa: B023
                await trio.sleep(0.001 * rounds)  # at another place each time
                assert lab.runtime.kill(lab.reports[rounds - 1])


@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
async def test_stopping_at_any_time_leaves_nothing(tmp_path: Path, state: str) -> None:
    config = ProcessConfig.program(preopens=[("/", str(tmp_path))])
    async with open_lab() as lab:
        serve_data(lab)
        for _ in range(10):
            await lab.spawn(
                f"""(global $first (mut i32) 1:i32)
                {ALLOC}
                  (if (global.get $first) (then (global.set $first 0:i32) (drop (trap.catch 0:i32 0:i32))))
                  700:i32)
                {CATCH} (report 1:i64) {state} 1:i32)
                (func (export "child"))
                {START} (drop {DATA}))""",
                config=config,
            )
        await wait_for(lambda: len(lab.reports) == 10)


async def test_the_reason_of_a_trap_in_a_passed_on_call_is_its_cause(lab: Lab, tmp_path: Path) -> None:
    reason = await lab.traps(
        f"{START} (drop (wasi.fd_prestat_get 3:i32 70000:i32)))",
        config=ProcessConfig.program(preopens=[("/", str(tmp_path))]),
    )
    cause, *frames = reason.splitlines()
    assert "Pointer out of bounds: Region { start: 70000, len: 1 }" in cause
    assert "backtrace" not in cause
    assert len(frames) == 1  # the guest's own, not those of what passes the call on


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer keeps what was freed for a while"
)
async def test_references_that_an_export_returns_are_let_go(lab: Lab) -> None:
    module = await lab.load(f"""
        (func (export "_lunatic_catch_trap") (param i32 i32) (result anyref) (ref.i31 7:i32))
        {START} (local $n i32)
          (loop $again
            (drop (trap.catch 0:i32 0:i32))
            (local.set $n (i32.add (local.get $n) 1:i32))
            (br_if $again (i32.lt_u (local.get $n) 1000000:i32))))""")
    before = resident_bytes()
    await lab.passes(module)
    assert resident_bytes() - before < 20_000_000  # not 50 bytes for each


@pytest.mark.parametrize(
    "kind", ["(param i64) (result i32) 1:i32", "(param i32)", "(param i32) (result i64) 1:i64"]
)
async def test_an_allocator_of_another_type_traps(lab: Lab, kind: str) -> None:
    serve_data(lab)
    reason = await lab.traps(f'(func (export "lunatic_alloc") {kind}) {START} (drop {DATA}))')
    assert "trapped: the exported function has another type" in reason
