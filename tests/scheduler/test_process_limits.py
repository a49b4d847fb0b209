"""Memory, compute and stack limits, traps, and that only the guilty process dies."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from luna.scheduler import ExitKind, ProcessConfig

from .lab import Lab, wait_for

START = '(func (export "_start")'


async def test_memory_grows_to_the_limit_and_no_further(lab: Lab) -> None:
    await lab.passes(
        f"""{START}
          (is32 (memory.grow 3:i32) 1:i32)
          (is32 (memory.grow 1:i32) -1:i32)
          (is32 (memory.size) 4:i32))""",
        config=ProcessConfig.program(max_memory_bytes=4 * 65536),
    )


async def test_a_memory_hog_dies_alone(lab: Lab, built: Callable[[str], bytes]) -> None:
    bystander = await lab.spawn(f"{START} (call $park))")
    await lab.traps(built("memhog"), config=ProcessConfig.program(max_memory_bytes=16 << 20))
    assert lab.runtime.exists(bystander)


async def test_too_much_initial_memory_is_refused_with_a_reason(lab: Lab) -> None:
    with pytest.raises(Exception, match="memory"):
        await lab.spawn(
            f'(memory (export "memory") 10) {START})',
            config=ProcessConfig.program(max_memory_bytes=9 * 65536),
        )
    await wait_for(lambda: lab.runtime.statistics().processes == 0)


async def test_tables_are_limited(lab: Lab) -> None:
    await lab.passes(f"""
        (table 1 funcref)
        {START}
          (is32 (table.grow (ref.null func) 200000:i32) -1:i32)
          (is32 (table.grow (ref.null func) 90000:i32) 1:i32))""")


async def test_the_compute_limit_ends_a_loop(lab: Lab) -> None:
    config = ProcessConfig.program(max_fuel=1)
    reason = await lab.traps(f"{START} (call $spin))", config=config)
    assert "compute limit" in reason
    # 100 000 instructions are enough for a short program, and the same module without a limit has none.
    count = f"""{START} (local $n i32)
        (loop $again (local.set $n (i32.add (local.get $n) 1:i32)) (br_if $again (i32.lt_u
          (local.get $n) ROUNDS:i32))))"""
    await lab.passes(count.replace("ROUNDS", "10000"), config=config)
    await lab.traps(count.replace("ROUNDS", "100000"), config=config)
    await lab.passes(count.replace("ROUNDS", "100000"))


async def test_waiting_costs_no_compute(lab: Lab) -> None:
    await lab.passes(
        f"{START} (process.sleep_ms 20:i64) (is32 (call $receive_any 20:i64) 9027:i32))",
        config=ProcessConfig.program(max_fuel=1),
    )


async def test_an_enormous_compute_limit_is_none(lab: Lab) -> None:
    await lab.passes(f"{START})", config=ProcessConfig.program(max_fuel=(1 << 64) - 1))


async def test_many_processes_can_ask_for_counted_code_at_once(lab: Lab) -> None:
    await lab.passes("""
        (func (export "_start") (local $config i64) (local $n i64)
          (local.set $config (process.create_config))
          (process.config_set_max_fuel (local.get $config) 50:i64)
          (loop $again
            (process.monitor (call $spawn_with (local.get $config) @"child"))
            (local.set $n (i64.add (local.get $n) 1:i64))
            (br_if $again (i64.lt_u (local.get $n) 50:i64)))
          (loop $again
            (is32 (call $receive_any 10000:i64) 2:i32)
            (local.set $n (i64.sub (local.get $n) 1:i64))
            (br_if $again (i64.gt_u (local.get $n) 0:i64))))
        (func (export "child"))""")


async def test_the_limits_example_tells_its_story(lab: Lab, built: Callable[[str], bytes]) -> None:
    pid = await lab.spawn(built("limits"))
    output = (await lab.output(pid)).decode()
    assert (await lab.wait_exit(pid)).code == 0, output
    assert output.endswith("parent: all three are gone, and I am well\n")


@pytest.mark.parametrize(
    ("guest", "entry", "text"),
    [
        ("overflow", "_start", "call stack exhausted"),
        ("trap", "unreachable", "unreachable"),
        ("trap", "divide", "divide by zero"),
        ("trap", "load", "out of bounds memory access"),
        ("trap", "indirect", "uninitialized element"),
    ],
)
async def test_a_trap_ends_its_process_with_a_reason(
    lab: Lab, built: Callable[[str], bytes], guest: str, entry: str, text: str
) -> None:
    bystander = await lab.spawn(f"{START} (call $park))")
    reason = await lab.traps(built(guest), entry=entry)
    assert text in reason.splitlines()[0]
    assert len(reason) < 5000
    assert lab.runtime.exists(bystander)


async def test_a_stack_overflow_beneath_a_host_call_is_a_trap(lab: Lab) -> None:
    """Host calls at every depth of the stack, the last ones near its end."""
    reason = await lab.traps(f"""
        (func $deeper (param i32) (result i32)
          (drop (wasi.random_get 0:i32 8:i32))
          (drop (wasi.fd_write 9:i32 0:i32 0:i32 8:i32))
          (drop (process.exists 1:i64))
          (message.create_data 0:i64 0:i64)
          (i32.add (call $deeper (local.get 0)) 1:i32))
        {START} (drop (call $deeper 0:i32)))""")
    assert "call stack exhausted" in reason


async def test_a_trap_report_at_the_end_of_the_stack_is_survived(lab: Lab) -> None:
    reason = await lab.traps(f"""
        (func $deeper (param i32) (result i32)
          (if (i32.gt_u (local.get 0) 3000:i32) (then (drop (message.get_tag))))
          (i32.add (call $deeper (i32.add (local.get 0) 1:i32)) 1:i32))
        {START} (drop (call $deeper 0:i32)))""")
    assert "there is no message" in reason


async def test_ten_thousand_processes_live_and_die(lab: Lab) -> None:
    pid = await lab.spawn("""
        (func (export "_start") (local $n i64)
          (loop $again
            (drop (call $spawn_link 1:i64 @"child"))
            (local.set $n (i64.add (local.get $n) 1:i64))
            (br_if $again (i64.lt_u (local.get $n) 10000:i64)))
          (report 1:i64)
          (call $park))
        (func (export "child") (call $park))""")
    await wait_for(lambda: lab.reports == [1])
    assert lab.runtime.statistics().processes == 10001
    assert len(lab.runtime.processes()) == 10001
    lab.runtime.kill(pid)
    assert (await lab.wait_exit(pid)).kind is ExitKind.KILLED
    await wait_for(lambda: lab.runtime.statistics().processes == 0)
