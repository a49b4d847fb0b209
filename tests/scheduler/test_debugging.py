"""When a process fails: its reason with a backtrace, and the log, also if nobody watches it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from luna.scheduler import ExitKind, ProcessConfig

from .lab import Lab, open_lab, wait_for

TOLD_IN_FULL = 10
"""FAILURES_LOGGED of `_limits.pxd`"""


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    """Records of failed processes."""
    with capture_logs() as records:
        yield records


def events(logs: list[Any]) -> list[str]:
    return [record["event"] for record in logs]


# -- the reason ---------------------------------------------------------------------------


async def test_backtrace_has_the_names_of_functions_and_module(lab: Lab) -> None:
    source = b"""(module $app
        (func $inner (unreachable))
        (func $_RNvC3app6middle (call $inner))
        (func $_ZN3app5outer17h0123456789abcdefE (call $_RNvC3app6middle))
        (func (call $_ZN3app5outer17h0123456789abcdefE))
        (func $main (export "_start") (call 3)))"""
    first, *frames = (await lab.traps(source)).split("\n")
    assert first == "trap: wasm `unreachable` instruction executed"
    assert [frame.split(" (app, offset 0x")[0] for frame in frames] == [
        "  0: inner", "  1: app::middle", "  2: app::outer", "  3: function 3", "  4: main",
    ]  # fmt: skip


async def test_trap_of_a_host_call_shows_who_called_it(lab: Lab) -> None:
    reason = await lab.traps(
        """(func $sends_nothing (drop (message.send 1:i64)))
        (func $main (export "_start") (call $sends_nothing))"""
    )
    first, *frames = reason.split("\n")
    assert first == "trap: there is no message to send: create or receive one first"
    assert [frame.split(" (")[0] for frame in frames] == ["  0: sends_nothing", "  1: main"]


async def test_trap_of_a_python_host_call_shows_who_called_it(lab: Lab) -> None:
    reason = await lab.traps(
        """(func $looks_up (drop (registry.get 0:i32 999999:i32 0:i32 0:i32)))
        (func (export "_start") (call $looks_up))"""
    )
    assert reason.startswith("trap: lunatic::registry::get: ")
    assert "\n  0: looks_up (" in reason


async def test_cause_is_not_lost_behind_long_names(lab: Lab) -> None:
    functions = "".join(f'(func $f{n} (export "{"x" * 900}{n}") (call $f{n + 1}))' for n in range(19))
    source = f'(module {functions} (func $f19 unreachable) (func (export "_start") (call $f0)))'
    name = "n" * 3000
    long = source.replace("$f", f"${name}")
    reason = await lab.traps(long.encode())
    assert reason.startswith("trap: wasm `unreachable` instruction executed\n  0: nnnn")
    assert len(reason) < 20_000


async def test_stack_overflow_says_that_frames_are_left_out(lab: Lab) -> None:
    reason = await lab.traps('(func $deeper (call $deeper)) (func (export "_start") (call $deeper))')
    lines = reason.split("\n")
    assert lines[0] == "trap: call stack exhausted"
    assert len(lines) == 22
    assert lines[-1] == "  ... and what called it"


async def test_compute_limit_shows_where_it_was_reached(lab: Lab) -> None:
    reason = await lab.traps(
        '(func $computes (loop $again (br $again))) (func (export "_start") (call $computes))',
        config=ProcessConfig.program(max_fuel=1),
    )
    assert reason.startswith("trap: all fuel consumed: the compute limit is reached\n  0: computes (")


async def test_guest_learns_why_a_start_section_failed_cause_first(lab: Lab) -> None:
    body = """(func $bad (unreachable)) (start $first)
        (func $first (if (i64.ne (process.process_id) 1:i64) (then (call $bad))))
        (func (export "child"))
        (func (export "_start") (local $error i64)
            (is32 (process.spawn 0:i64 -1:i64 -1:i64 @"child" 0:i32 0:i32 2000:i32) 1:i32)
            (local.set $error (i64.load 2000:i32))
            (error.to_string (local.get $error) 3000:i32)
            (drop (call $print 3000:i32 (i64.eqz (i64.const 0)))))
        (func $print (param $at i32) (param $more i32) (result i32)
            (i32.store 100:i32 (local.get $at)) (i32.store 104:i32 60:i32)
            (wasi.fd_write 1:i32 100:i32 1:i32 108:i32))"""
    pid = await lab.spawn(body)
    await lab.wait_exit(pid)
    assert (await lab.output(pid)).strip().startswith(b"wasm trap: wasm `unreachable` instruction executed")


# -- the log --------------------------------------------------------------------------------

UNSEEN = """
    (func $fails (unreachable))
    (func (export "child") (call $fails))
    (func (export "_start") (drop (call $spawn @"child")))
"""


async def test_child_that_nobody_watches_is_told_of(lab: Lab, logs: list[Any]) -> None:
    await lab.passes(UNSEEN)
    await wait_for(lambda: logs, "the failure is logged")
    (record,) = logs
    assert record["event"] == "process 2 failed: trap: wasm `unreachable` instruction executed"
    assert record["log_level"] == "warning"
    assert record["stack"].startswith("  0: fails (offset 0x")
    assert "pid" not in record
    assert "links" not in record


async def test_exit_code_of_a_child_is_told(lab: Lab, logs: list[Any]) -> None:
    await lab.passes(
        """(func (export "child") (wasi.proc_exit 3:i32))
        (func (export "_start") (drop (call $spawn @"child")))"""
    )
    await wait_for(lambda: logs, "the failure is logged")
    assert logs == [{"event": "process 2 failed: exited with code 3", "log_level": "warning"}]


async def test_names_and_links_of_a_process_are_told(lab: Lab, logs: list[Any]) -> None:
    status = await lab.run(
        """(func $register (param $name i32) (param $size i32)
            (registry.put (local.get $name) (local.get $size) 0:i64 (process.process_id)))
        (func (export "child")
            (call $register @"db/worker") (call $register @"gone") (call $register @"other\\0aname")
            (registry.remove @"gone") (unreachable))
        (func (export "_start") (drop (call $spawn_link 7:i64 @"child")) (call $park))"""
    )
    assert (status.kind, status.reason) == (ExitKind.LINK_DIED, "a linked process died: 2")
    (record,) = logs
    assert record["event"].startswith('process 2 "db/worker" "other\\nname" failed: trap: ')
    assert record["links"] == 1


async def test_of_many_names_the_oldest_are_told(lab: Lab, logs: list[Any]) -> None:
    body = "".join(f'(registry.put @"{name}" 0:i64 (process.process_id))' for name in "edcba")
    await lab.traps(f'(func (export "_start") {body} (registry.remove @"d") (unreachable))')
    await wait_for(lambda: logs)
    assert logs[0]["event"].startswith('process 1 "e" "c" "b" and 1 more names failed: ')


async def test_name_that_a_successor_has_taken_is_told_of_the_right_process(
    lab: Lab, logs: list[Any]
) -> None:
    body = """(func (export "child") (registry.put @"name" 0:i64 (process.process_id)) (unreachable))
        (func (export "_start") (local $n i32)
            (process.die_when_link_dies 0:i32)
            (loop $again
                (drop (call $spawn_link 7:i64 @"child"))
                (is32 (call $receive_any -1:i64) 1:i32)
                (registry.put @"name" 0:i64 (process.process_id))
                (local.set $n (i32.add (local.get $n) 1:i32))
                (br_if $again (i32.lt_u (local.get $n) 5:i32))))"""
    await lab.passes(body)
    await wait_for(lambda: len(logs) == 5, "all are logged")
    assert [event.partition(" failed")[0] for event in events(logs)] == [
        f'process {pid} "name"' for pid in range(2, 7)
    ]


async def test_ends_that_are_no_failure_are_not_told(lab: Lab, logs: list[Any]) -> None:
    await lab.passes(
        """(func (export "returns"))
        (func (export "leaves") (wasi.proc_exit 0:i32))
        (func (export "waits") (call $park))
        (func (export "linked") (process.link 0:i64 (i64.sub (process.process_id) 1:i64)) (call $park))
        (func (export "_start") (local $victim i64)
            (drop (call $spawn @"returns")) (drop (call $spawn @"leaves"))
            (local.set $victim (call $spawn @"waits")) (drop (call $spawn @"linked"))
            (process.sleep_ms 20:i64) (process.kill (local.get $victim)) (process.sleep_ms 20:i64))"""
    )
    await wait_for(lambda: lab.runtime.counters()["exited"] == 5, "all have ended")
    assert logs == []


async def test_failed_start_is_told_to_who_spawned_and_not_to_the_log(lab: Lab, logs: list[Any]) -> None:
    with pytest.raises(Exception, match="unreachable"):
        await lab.spawn('(start $s) (func $s unreachable) (func (export "_start"))')
    assert logs == []


async def test_quiet_process_is_left_to_who_started_it(lab: Lab, logs: list[Any]) -> None:
    assert "trap: " in await lab.traps('(func (export "_start") unreachable)', quiet=True)
    assert "trap: " in await lab.traps('(func (export "_start") unreachable)')
    assert len(logs) == 1
    assert events(logs)[0].startswith("process 2 failed: ")


async def test_pid_on_a_node_is_its_number_there_with_the_absolute_one_beside(logs: list[Any]) -> None:
    async with open_lab(node_id=5) as lab:
        await lab.traps('(func (export "_start") unreachable)')
    assert [(record["event"].split(":")[0], record["pid"]) for record in logs] == [
        ("process 1 failed", 5 << 40 | 1)
    ]


async def test_flood_of_failures_is_told_in_part_and_counted(lab: Lab, logs: list[Any]) -> None:
    count = 2000
    await lab.passes(
        f"""(func (export "child") (unreachable))
        (func (export "_start") (local $n i32)
            (loop $again
                (drop (call $spawn @"child"))
                (local.set $n (i32.add (local.get $n) 1:i32))
                (br_if $again (i32.lt_u (local.get $n) {count}:i32))))"""
    )

    def told() -> int:
        return sum(int(event.split()[1]) if event.startswith("and ") else 1 for event in events(logs))

    await wait_for(lambda: told() == count, "every failure is told or counted")
    full = [event for event in events(logs) if event.startswith("process ")]
    assert TOLD_IN_FULL <= len(full) < count / 10
    assert "and " in events(logs)[-1]


async def test_flood_that_ends_with_the_runtime_is_counted_too(logs: list[Any]) -> None:
    async with open_lab() as lab:
        await lab.passes(
            f"""(func (export "child") (unreachable))
            (func (export "_start") {'(drop (call $spawn @"child"))' * (TOLD_IN_FULL + 5)})"""
        )
        await wait_for(lambda: lab.runtime.counters()["exited"] == TOLD_IN_FULL + 6, "all have ended")
    assert len(logs) == TOLD_IN_FULL + 1
    assert events(logs)[-1] == "and 5 more processes failed"
