"""Output of processes: bounded, readable while they live and after."""

from __future__ import annotations

import contextlib

import pytest
import trio

from luna.proto.errors import NotFoundError, WouldBlockError
from luna.proto.limits import DEAD_LOGS_KEPT, LOG_BUFFER_BYTES
from luna.scheduler import ExitKind, ExitStatus, ProcessConfig
from luna.scheduler.births import Birth, Spawn
from luna.scheduler.lives import Lives

from .lab import Lab, wait_for

PRINT = """
    (func $print (param $stream i32) (param $at i32) (param $size i32) (local $done i32)
      (loop $again
        (i32.store 400:i32 (i32.add (local.get $at) (local.get $done)))
        (i32.store 404:i32 (i32.sub (local.get $size) (local.get $done)))
        (is32 (wasi.fd_write (local.get $stream) 400:i32 1:i32 408:i32) 0:i32)
        (local.set $done (i32.add (local.get $done) (i32.load 408:i32)))
        (br_if $again (i32.lt_u (local.get $done) (local.get $size)))))
    (func (export "_start")"""
LOOP = """(local $n i32)
    (loop $again
      {}
      (local.set $n (i32.add (local.get $n) 1:i32))
      (br_if $again (i32.lt_u (local.get $n) {}:i32)))"""


async def test_a_reader_waits_for_output_and_ends_with_the_process(lab: Lab) -> None:
    pid = await lab.spawn(f'{PRINT} (gate) (call $print 1:i32 @"one") (call $print 2:i32 @"two"))')
    reader = lab.runtime.logs(pid)
    with pytest.raises(WouldBlockError):
        reader.receive_nowait()
    lab.gate.set()
    with trio.fail_after(10):
        first, second = await reader.receive(), await reader.receive()
        assert (first.stream, first.data, first.dropped) == (1, b"one", 0)
        assert (second.stream, second.data, second.dropped) == (2, b"two", 0)
        for _ in range(2):
            with pytest.raises(trio.EndOfChannel):
                await reader.receive()


async def test_each_reader_reads_from_the_beginning(lab: Lab) -> None:
    pid = await lab.spawn(f'{PRINT} (call $print 1:i32 @"text"))')
    await lab.wait_exit(pid)
    for _ in range(2):
        assert await lab.output(pid) == b"text"


async def test_a_cancelled_reader_loses_nothing(lab: Lab) -> None:
    pid = await lab.spawn(f'{PRINT} (gate) (call $print 1:i32 @"text"))')
    reader = lab.runtime.logs(pid)
    for _ in range(3):
        with trio.move_on_after(0.01) as scope:
            await reader.receive()
        assert scope.cancelled_caught
    lab.gate.set()
    with trio.fail_after(10):
        assert (await reader.receive()).data == b"text"
        with pytest.raises(trio.EndOfChannel):
            await reader.receive()


async def test_a_cancelled_receive_that_has_data_loses_nothing(lab: Lab) -> None:
    pid = await lab.spawn(f'{PRINT} (call $print 1:i32 @"text"))')
    await lab.wait_exit(pid)
    reader = lab.runtime.logs(pid)
    with trio.CancelScope() as scope:
        scope.cancel()
        await reader.receive()
    assert scope.cancelled_caught
    assert reader.receive_nowait().data == b"text"


async def test_a_full_log_gives_up_the_oldest_and_counts_it(lab: Lab) -> None:
    printed = LOOP.format('(call $print 1:i32 @"' + "0123456789" * 10 + '")', 10000)
    pid = await lab.spawn(f'{PRINT} {printed} (call $print 1:i32 @"end"))')
    await lab.wait_exit(pid)
    reader = lab.runtime.logs(pid)
    first = reader.receive_nowait()
    kept = len(first.data)
    dropped = first.dropped
    last = first
    while True:
        try:
            last = reader.receive_nowait()
        except trio.EndOfChannel:
            break
        kept += len(last.data)
        dropped += last.dropped
    assert last.data == b"end"
    assert kept + dropped == 1_000_003
    assert LOG_BUFFER_BYTES // 4 < kept <= LOG_BUFFER_BYTES


async def test_an_enormous_write_is_taken_piece_by_piece(lab: Lab) -> None:
    pid = await lab.spawn(f'(memory (export "memory") 20) {PRINT} (call $print 1:i32 8192:i32 1000000:i32))')
    status = await lab.wait_exit(pid)
    assert status.code == 0, status
    reader = lab.runtime.logs(pid)
    total = 0
    while True:
        try:
            chunk = reader.receive_nowait()
        except trio.EndOfChannel:
            break
        total += len(chunk.data) + chunk.dropped
    assert total == 1_000_000


async def test_what_children_print_is_in_the_log_of_the_one_who_leads_them(lab: Lab) -> None:
    pid = await lab.spawn(f"""{PRINT}
          (call $print 1:i32 @"parent ")
          (process.monitor (call $spawn @"child"))
          (is32 (call $receive_any 10000:i64) 2:i32))
        (func (export "child")
          (call $print 1:i32 @"child ")
          (process.monitor (call $spawn @"grandchild"))
          (is32 (call $receive_any 10000:i64) 2:i32))
        (func (export "grandchild") (call $print 2:i32 @"grandchild"))""")
    assert await lab.output(pid) == b"parent child grandchild"
    assert await lab.output(pid + 1) == b"child "
    assert await lab.output(pid + 2) == b"grandchild"


async def test_each_piece_tells_who_printed_it(lab: Lab) -> None:
    pid = await lab.spawn(f"""{PRINT}
          (call $print 1:i32 @"parent ")
          (process.monitor (call $spawn @"child"))
          (is32 (call $receive_any 10000:i64) 2:i32)
          (call $print 2:i32 @"again"))
        (func (export "child") (call $print 1:i32 @"child "))""")
    pieces: list[tuple[int, int, bytes]] = []
    with lab.runtime.logs(pid) as reader, contextlib.suppress(trio.EndOfChannel):
        while True:
            chunk = await reader.receive()
            pieces.append((chunk.pid, chunk.stream, chunk.data))
    assert pieces == [(pid, 1, b"parent "), (pid + 1, 1, b"child "), (pid, 2, b"again")]


async def test_a_child_may_print_after_its_leader_died(lab: Lab) -> None:
    pid = await lab.spawn(f"""{PRINT} (drop (call $spawn @"child")))
        (func (export "child") (gate) (call $print 1:i32 @"late"))""")
    await lab.wait_exit(pid)
    lab.gate.set()
    await wait_for(lambda: lab.runtime.statistics().processes == 0)
    assert await lab.output(pid + 1) == b"late"


async def test_the_output_of_the_last_dead_processes_is_kept(lab: Lab) -> None:
    module = await lab.load(f'{PRINT} (call $print 1:i32 @"text"))')
    pids = []
    for _ in range(DEAD_LOGS_KEPT + 10):
        pids.append(await lab.spawn(module, config=ProcessConfig()))
        await lab.wait_exit(pids[-1])
    for forgotten in pids[:10]:
        with pytest.raises(NotFoundError):
            lab.runtime.logs(forgotten)
        with pytest.raises(NotFoundError):
            lab.runtime.exit_status(forgotten)
    assert await lab.output(pids[10]) == b"text"


async def test_a_process_is_not_forgotten_before_its_spawn_has_returned(lab: Lab) -> None:
    module = await lab.load('(func (export "_start") (call $park))')
    output = lab.runtime._core.output_of(await lab.spawn(module))
    assert output is not None
    lives = Lives(lab.runtime._core)
    ended = ExitStatus(ExitKind.NORMAL, 0, "")
    early = 10**6
    lives.add(Spawn(module, watch=True, follow=True), Birth(1, early, output))
    for pid in range(early, early + 2 * DEAD_LOGS_KEPT):
        lives.ended(pid, ended, output)
    lives.spawned(early)
    assert await lives.wait_exit(early) == ended
    lives.reader(early, follow=True)
    lives.ended(early - 1, ended, output)
    with pytest.raises(NotFoundError):
        lives.exit_status(early)
    assert lives.exit_status(early + DEAD_LOGS_KEPT + 1) == ended


async def test_there_are_no_logs_of_what_never_was(lab: Lab) -> None:
    with pytest.raises(NotFoundError):
        lab.runtime.logs(999)


async def test_a_writer_waits_for_its_follower_and_nothing_is_lost(lab: Lab) -> None:
    printed = LOOP.format('(call $print 1:i32 @"' + "0123456789" * 10 + '")', 20000)
    module = await lab.load(f"{PRINT} {printed} (report 1:i64))")
    pid = await lab.spawn(module, follow=True)
    await wait_for(lambda: [process.state for process in lab.runtime.processes()] == ["waiting"])
    assert lab.reports == []
    total = 0
    with lab.runtime.logs(pid, follow=True) as reader, trio.fail_after(20):
        while True:
            try:
                chunk = await reader.receive()
            except trio.EndOfChannel:
                break
            assert chunk.dropped == 0
            total += len(chunk.data)
    assert total == 2_000_000
    assert lab.reports == [1]


@pytest.mark.parametrize("how", ["close", "forget", "kill"])
async def test_a_writer_goes_on_when_its_follower_gives_up(lab: Lab, how: str) -> None:
    printed = LOOP.format('(call $print 1:i32 @"' + "0123456789" * 10 + '")', 20000)
    pid = await lab.spawn(f"{PRINT} {printed})", follow=True)
    await wait_for(lambda: [process.state for process in lab.runtime.processes()] == ["waiting"])
    match how:
        case "close":
            lab.runtime.logs(pid, follow=True).close()
        case "forget":
            lab.runtime.forget_follower(pid)
        case _:
            lab.runtime.kill(pid)
    await lab.wait_exit(pid)
