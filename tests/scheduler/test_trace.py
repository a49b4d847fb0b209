"""The trace: what processes do, a line each on stderr."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from luna.scheduler import ExitKind, Trace

from .lab import PATIENCE_S, Lab, open_lab

TEXT_LINE = re.compile(r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z DEBUG luna::process (\d+)\] (.*)")
LINE_MAX = 4096
"""bytes that a pipe takes undivided (PIPE_BUF)"""

Lines = Callable[[], list[tuple[int, str]]]

PING_PONG = """
    (func (export "pong")
        (call $send (call $receive) 6:i64 0:i64))
    (func (export "_start") (local $child i64)
        (registry.put @"ping" 0:i64 (process.process_id))
        (local.set $child (call $spawn_link 9:i64 @"pong"))
        (process.monitor (local.get $child))
        (call $send (local.get $child) 5:i64 (process.process_id))
        (drop (call $receive_tag 6:i64 -1:i64))
        (drop (call $receive_any -1:i64)))
"""


def trace(*, lives: bool = False, calls: bool = False, signals: bool = False, as_json: bool = False) -> Trace:
    return Trace(lives=lives, calls=calls, signals=signals, as_json=as_json)


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Lines:
    """What the trace has so far: the number of a process, and what is said of it."""

    def read() -> list[tuple[int, str]]:
        found = []
        for line in capfd.readouterr().err.splitlines():
            match = TEXT_LINE.fullmatch(line)
            assert match, line
            found.append((int(match[1]), match[2]))
        return found

    return read


@asynccontextmanager
async def tracing(trace: Trace, node_id: int = 0) -> AsyncIterator[Lab]:
    async with open_lab(node_id, trace=trace) as lab:
        yield lab


def of(process: int, lines: list[tuple[int, str]]) -> list[str]:
    return [text for pid, text in lines if pid == process]


async def test_nothing_is_written_without_a_trace(lab: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    await lab.passes(PING_PONG)
    assert capfd.readouterr().err == ""


async def test_host_calls_are_shown_with_arguments_and_results(lines: Lines) -> None:
    async with tracing(trace(calls=True)) as lab:
        await lab.passes(PING_PONG)
    found = lines()
    assert of(1, found) == [
        "lunatic::process::process_id() -> 1",
        'lunatic::registry::put("ping", 0, 1)',
        'lunatic::process::spawn(9, -1, -1, "pong", 0, 0, 2000)',
        "lunatic::process::spawn -> 0 [process 2]",
        "lunatic::process::monitor(2)",
        "lunatic::process::process_id() -> 1",
        "lunatic::message::create_data(5, 8)",
        "lunatic::message::write_data(2000, 8) -> 8",
        "lunatic::message::send(2) -> 0 [tag 5, 8 bytes]",
        *_waiting("lunatic::message::receive(2000, 1, -1)", "-> 0 [tag 6, 8 bytes]", found),
        *_waiting("lunatic::message::receive(0, 0, -1)", "-> 2 [process 2]", found),
    ]
    assert "lunatic::message::send(1) -> 0 [tag 6, 8 bytes]" in of(2, found)


def _waiting(call: str, result: str, found: list[tuple[int, str]]) -> list[str]:
    """A call that waits, unless what it waits for was there already."""
    at_once = f"{call} {result}"
    return [at_once] if at_once in of(1, found) else [call, f"{call.partition('(')[0]} {result}"]


async def test_births_and_ends_are_shown_with_the_reason(lines: Lines) -> None:
    async with tracing(trace(lives=True)) as lab:
        await lab.run("""
            (func (export "fails") (unreachable))
            (func (export "_start") (drop (call $spawn_link 7:i64 @"fails")) (call $park))""")
    found = lines()
    assert of(1, found) == [
        'spawned from outside, runs "_start"',
        "ended, link died: a linked process died: 2",
    ]
    assert of(2, found) == [
        'spawned by 1, linked with tag 7, runs "fails"',
        "ended, failure: wasm trap: wasm `unreachable` instruction executed",
    ]


async def test_signals_are_shown_with_their_sender(lines: Lines) -> None:
    async with tracing(trace(signals=True)) as lab:
        await lab.passes(PING_PONG)
    found = lines()
    assert of(1, found) == [
        "signal: link from 2, tag 9",
        "signal: message from 2, tag 6, 8 bytes",
        "signal: end of a linked process, normal, from 2, tag 9",
        "signal: end of a monitored process, normal, from 2",
    ]
    assert of(2, found) == ["signal: monitor from 1", "signal: message from 1, tag 5, 8 bytes"]


async def test_kill_of_a_waiting_process_and_its_death_are_shown(lines: Lines) -> None:
    async with tracing(trace(lives=True, calls=True, signals=True)) as lab:
        pid = await lab.spawn('(func (export "_start") (gate) (unreachable))')
        with trio.fail_after(PATIENCE_S):
            while not lab.at_gate:
                await trio.sleep(0.002)
        assert lab.runtime.kill(pid)
        assert (await lab.wait_exit(pid)).kind is ExitKind.KILLED
    assert of(1, lines()) == [
        'spawned from outside, runs "_start"',
        "lunatic::distributed::nodes_count()",
        "signal: kill from 0",
        "ended, killed: killed",
    ]


async def test_traps_of_host_calls_are_shown(lines: Lines) -> None:
    async with tracing(trace(calls=True)) as lab:
        await lab.traps('(func (export "_start") (drop (message.send 5:i64)))', quiet=True)
        await lab.traps(
            '(func (export "_start") (drop (process.compile_module 70000:i32 1:i32 0:i32)))', quiet=True
        )
        await lab.traps('(func (export "_start") (drop (message.receive 70000:i32 1:i32 0:i64)))', quiet=True)
    found = lines()
    assert of(1, found) == [
        "lunatic::message::send(5) -> trap: there is no message to send: create or receive one first"
    ]
    called, trapped = of(2, found)
    assert called == "lunatic::process::compile_module(70000, 1, 0)"
    assert trapped.startswith("lunatic::process::compile_module -> trap: lunatic::process::compile_module: ")
    (line,) = of(3, found)
    assert line.startswith(
        "lunatic::message::receive(70000, 1, 0) -> trap: lunatic::message::receive: a pointer"
    )


async def test_exit_has_no_result(lines: Lines) -> None:
    async with tracing(trace(calls=True)) as lab:
        status = await lab.run('(func (export "_start") (wasi.proc_exit 3:i32))', quiet=True)
    assert status.code == 3
    assert of(1, lines()) == ["wasi_snapshot_preview1::proc_exit(3)"]


async def test_call_that_enters_the_guest_again_is_around_what_happens_there(lines: Lines) -> None:
    async with tracing(trace(calls=True)) as lab:
        await lab.passes("""
            (func (export "_lunatic_catch_trap") (param i32 i32) (result i32)
                (process.sleep_ms 1:i64) (unreachable))
            (func (export "_start") (is32 (trap.catch 1:i32 2:i32) 0:i32))""")
    assert of(1, lines()) == [
        "lunatic::trap::catch(1, 2)",
        "lunatic::process::sleep_ms(1)",
        "lunatic::process::sleep_ms goes on",
        "lunatic::trap::catch -> 0",
    ]


async def test_texts_of_guests_are_bounded_and_cannot_steer_a_terminal(lines: Lines) -> None:
    async with tracing(trace(calls=True)) as lab:
        await lab.passes(f"""
            (func (export "_start")
                (registry.remove @"\\1b[2J\\0a\\22q\\22")
                (registry.remove @"{"n" * 500}"))""")
    shown = [text for text in of(1, lines()) if "(" in text]
    assert shown == [
        r'lunatic::registry::remove("\x1b[2J\x0a\x22q\x22")',
        f'lunatic::registry::remove("{"n" * 96}...")',
    ]


async def test_lines_are_json_objects_if_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    async with tracing(trace(lives=True, calls=True, signals=True, as_json=True), node_id=5) as lab:
        await lab.passes("""
            (func (export "child"))
            (func (export "_start") (process.monitor (call $spawn @"child")) (drop (call $receive_any -1:i64))
                (registry.remove @"\\5c\\22"))""")
    records = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert {record["level"] for record in records} == {"debug"}
    assert {record["pid"] for record in records} == {5 << 40 | 1, 5 << 40 | 2}
    assert {len(record["timestamp"]) for record in records} == {len("2026-11-24T17:00:00.123Z")}
    said = [record["event"] for record in records]
    assert 'spawned by 1, runs "child"' in said
    assert r'lunatic::registry::remove("\x5c\x22")' in said


async def test_longest_line_is_one_write(capfd: pytest.CaptureFixture[str]) -> None:
    entry = "\\01" * 4000
    for as_json in (False, True):
        async with tracing(trace(lives=True, calls=True, as_json=as_json)) as lab:
            await lab.passes(f"""
                (func (export "_start")
                    (drop (process.spawn 0:i64 -1:i64 -1:i64 @"{entry}" 0:i32 0:i32 2000:i32)))""")
        lines = capfd.readouterr().err.splitlines()
        assert max(map(len, lines)) < LINE_MAX
        assert any("spawn(" in line for line in lines)


UNREAD = """
import sys, trio
from luna.scheduler import Trace, open_runtime

GUEST = b'''(module
    (import "lunatic::process" "process_id" (func $id (result i64)))
    (func (export "once") (drop (call $id)))
    (func (export "_start") (local $n i32)
        (loop $again
            (drop (call $id))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $n) (i32.const 20000))))))'''

async def main():
    trace = Trace(lives=False, calls=True, signals=False, as_json=False)
    async with open_runtime(threads=1, trace=trace) as runtime:
        module = await runtime.load_module(GUEST, "guest")
        for entry in ("_start", "once"):
            status = await runtime.wait_exit(await runtime.spawn(module, entry=entry))
            print(status.kind.name, flush=True)
            await trio.to_thread.run_sync(sys.stdin.readline)

trio.run(main)
"""


async def test_reader_that_stops_reading_stops_no_guest_and_learns_what_it_missed() -> None:
    seen = (await trio.to_thread.run_sync(_read_late)).splitlines()
    shown = sum(line.endswith("DEBUG luna::process 1] lunatic::process::process_id() -> 1") for line in seen)
    assert seen[-2:] == [
        f"[{20_000 - shown} lines of the trace are lost]",
        seen[-1][: len("[2026-11-24T17:00:00.123Z ")]
        + "DEBUG luna::process 2] lunatic::process::process_id() -> 2",
    ]
    assert len(seen) == shown + 2


def _read_late() -> str:
    """The trace of a guest that calls 20 000 times while nobody reads, and of another when somebody does."""
    with subprocess.Popen(
        [sys.executable, "-c", UNREAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as runtime:
        assert runtime.stdin is not None
        assert runtime.stdout is not None
        assert runtime.stderr is not None
        assert runtime.stdout.readline() == b"NORMAL\n"
        seen = os.read(runtime.stderr.fileno(), 1 << 20)  # all that a pipe holds
        runtime.stdin.write(b"\n")
        runtime.stdin.flush()
        assert runtime.stdout.readline() == b"NORMAL\n"
        runtime.stdin.write(b"\n")
        runtime.stdin.close()
        return (seen + runtime.stderr.read()).decode()
