"""WASI preview 1 as programs see it: arguments, files, output, exit codes, and waits that suspend."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from luna.scheduler import ExitKind, ProcessConfig

from .lab import PATIENCE_S, Lab, open_lab, wait_for

START = '(func (export "_start")'
# Prints bytes to a stream.
PRINT = """
    (func $print (param $stream i32) (param $at i32) (param $size i32)
      (i32.store 400:i32 (local.get $at)) (i32.store 404:i32 (local.get $size))
      (is32 (wasi.fd_write (local.get $stream) 400:i32 1:i32 408:i32) 0:i32)
      (is32 (i32.load 408:i32) (local.get $size)))"""
# Sleeps through poll_oneoff: a relative time in nanoseconds on clock `$clock`.
POLL = """
    (func $poll (param $clock i32) (param $ns i64) (param $flags i32)
      (i64.store 0:i32 99:i64) (i32.store8 8:i32 0:i32) (i32.store 16:i32 (local.get $clock))
      (i64.store 24:i32 (local.get $ns)) (i64.store 32:i32 0:i64) (i32.store16 40:i32 (local.get $flags))
      (is32 (wasi.poll_oneoff 0:i32 100:i32 1:i32 200:i32) 0:i32)
      (is32 (i32.load 200:i32) 1:i32)
      (is64 (i64.load 100:i32) 99:i64)
      (is32 (i32.load16_u 108:i32) 0:i32)
      (is32 (i32.load8_u 110:i32) 0:i32))"""


@pytest.mark.parametrize(
    ("code", "kind"),
    [(0, ExitKind.NORMAL), (1, ExitKind.FAILURE), (3, ExitKind.FAILURE), (125, ExitKind.FAILURE)],
)
async def test_an_exit_code_is_the_processs(lab: Lab, code: int, kind: ExitKind) -> None:
    status = await lab.run(f"{START} (wasi.proc_exit {code}:i32) (report 1:i64))")
    assert (status.kind, status.code, status.reason) == (kind, code, f"exited with code {code}")
    assert lab.reports == []


async def test_a_program_that_returns_exits_with_0(lab: Lab) -> None:
    status = await lab.run(f"{START})")
    assert (status.kind, status.code) == (ExitKind.NORMAL, 0)


async def test_output_goes_to_its_stream_in_order(lab: Lab) -> None:
    pid = await lab.spawn(f"""{PRINT} {START}
        (call $print 1:i32 @"one ") (call $print 2:i32 @"two ") (call $print 1:i32 @"three"))""")
    reader = lab.runtime.logs(pid)
    await lab.wait_exit(pid)
    chunks = [reader.receive_nowait() for _ in range(3)]
    assert [(chunk.stream, chunk.data) for chunk in chunks] == [(1, b"one "), (2, b"two "), (1, b"three")]
    with pytest.raises(trio.EndOfChannel):
        reader.receive_nowait()


async def test_arguments_and_variables_are_those_of_the_config(lab: Lab) -> None:
    pid = await lab.spawn(
        f"""{PRINT} {START}
          (drop (wasi.args_sizes_get 0:i32 4:i32)) (is32 (i32.load 0:i32) 2:i32)
          (drop (wasi.args_get 8:i32 200:i32)) (call $print 1:i32 200:i32 (i32.load 4:i32))
          (drop (wasi.environ_sizes_get 0:i32 4:i32)) (is32 (i32.load 0:i32) 1:i32)
          (drop (wasi.environ_get 8:i32 200:i32)) (call $print 1:i32 200:i32 (i32.load 4:i32)))""",
        config=ProcessConfig.program(arguments=["prog", "ü x"], environment_variables=[("K", "v=w")]),
    )
    assert await lab.output(pid) == "prog\0ü x\0K=v=w\0".encode()


async def test_nothing_of_the_nodes_environment_is_seen(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (drop (wasi.environ_sizes_get 0:i32 4:i32)) (is32 (i32.load 0:i32) 0:i32)
        (drop (wasi.args_sizes_get 0:i32 4:i32)) (is32 (i32.load 0:i32) 0:i32)
        ;; no directory: descriptor 3 is bad (8)
        (is32 (wasi.fd_prestat_get 3:i32 0:i32) 8:i32))""")


async def test_files_of_a_preopened_directory_can_be_read_and_written(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"12345678")
    await lab.passes(
        f"""{PRINT} {START}
          (is32 (wasi.path_open 3:i32 0:i32 @"in" 0:i32 2:i64 0:i64 0:i32 0:i32) 0:i32)
          (i32.store 8:i32 16:i32) (i32.store 12:i32 8:i32)
          (is32 (wasi.fd_read (i32.load 0:i32) 8:i32 1:i32 32:i32) 0:i32)
          (is32 (wasi.path_open 3:i32 0:i32 @"out" 1:i32 64:i64 0:i64 0:i32 0:i32) 0:i32)
          (call $print (i32.load 0:i32) 16:i32 8:i32))""",
        config=ProcessConfig.program(preopens=[(".", str(tmp_path))]),
    )
    assert (tmp_path / "out").read_bytes() == b"12345678"


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "sub/../../secret", "link"])
async def test_nothing_outside_a_preopened_directory_is_reached(lab: Lab, tmp_path: Path, path: str) -> None:
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (inside / "link").symlink_to(tmp_path / "secret")
    await lab.passes(
        f"""{START} (if (i32.eqz (wasi.path_open 3:i32 1:i32 @"{path}" 0:i32 2:i64 0:i64 0:i32 0:i32))
          (then unreachable)))""",
        config=ProcessConfig.program(preopens=[(".", str(inside))]),
    )


async def test_standard_input_of_a_buffered_program_is_empty(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (i32.store 8:i32 16:i32) (i32.store 12:i32 8:i32)
        (is32 (wasi.fd_read 0:i32 8:i32 1:i32 32:i32) 0:i32) (is32 (i32.load 32:i32) 0:i32))""")


READS = """
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\06\\00\\00\\00")
  (data (i32.const 16) "hello\\n")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))
"""


def test_a_program_that_reads_a_silent_pipe_can_be_interrupted(tmp_path: Path) -> None:
    (tmp_path / "reads.wat").write_text(READS)
    with subprocess.Popen(
        [sys.executable, "-m", "luna.cli.luna", "run", "reads.wat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "hello\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 130
        finally:
            process.kill()
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


async def test_clocks_and_random_numbers_work(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (is32 (wasi.clock_time_get 0:i32 1:i64 0:i32) 0:i32) (report (i64.load 0:i32))
        (is32 (wasi.clock_time_get 1:i32 1:i64 0:i32) 0:i32)
        (is32 (wasi.clock_time_get 1:i32 1:i64 8:i32) 0:i32)
        (is32 (i64.le_u (i64.load 0:i32) (i64.load 8:i32)) 1:i32)
        (is32 (wasi.random_get 0:i32 16:i32) 0:i32)
        (is32 (i64.eq (i64.load 0:i32) (i64.load 8:i32)) 0:i32))""")
    assert abs(lab.reports[0] - time.time_ns()) < 60e9


@pytest.mark.parametrize(
    "call", ["(wasi.random_get 65530:i32 16:i32)", "(wasi.clock_time_get 0:i32 1:i64 65530:i32)"]
)
async def test_a_wasi_call_with_a_bad_pointer_hurts_the_caller_only(lab: Lab, call: str) -> None:
    status = await lab.run(f"{START} (if {call} (then unreachable)) (wasi.proc_exit 9:i32))")
    assert status.kind is ExitKind.FAILURE
    assert status.code != 9
    await lab.passes(f"{START})")


@pytest.mark.parametrize("clock", [0, 1])
async def test_polling_a_clock_takes_its_time(lab: Lab, clock: int) -> None:
    begin = time.monotonic()
    await lab.passes(f"{POLL} {START} (call $poll {clock}:i32 30000000:i64 0:i32))")
    assert time.monotonic() - begin >= 0.03


@pytest.mark.parametrize("clock", [0, 1])
async def test_polling_until_a_time_to_come_waits_for_it(lab: Lab, clock: int) -> None:
    begin = time.monotonic()
    await lab.passes(f"""{POLL} {START} (local $until i64)
        (drop (wasi.clock_time_get {clock}:i32 0:i64 304:i32))
        (local.set $until (i64.add (i64.load 304:i32) 50000000:i64))
        (call $poll {clock}:i32 (local.get $until) 1:i32)
        (drop (wasi.clock_time_get {clock}:i32 0:i64 304:i32))
        (is32 (i64.ge_u (i64.load 304:i32) (local.get $until)) 1:i32))""")
    assert 0.05 <= time.monotonic() - begin < PATIENCE_S / 2


async def test_polling_until_a_time_of_the_past_returns(lab: Lab) -> None:
    await lab.passes(f"{POLL} {START} (call $poll 0:i32 1:i64 1:i32) (call $poll 1:i32 0:i64 0:i32))")


async def test_a_process_that_polls_holds_no_thread() -> None:
    async with open_lab(threads=1) as lab:
        sleepers = [
            await lab.spawn(f"{POLL} {START} (report 1:i64) (call $poll 1:i32 60000000000:i64 0:i32))")
            for _ in range(3)
        ]
        await wait_for(lambda: len(lab.reports) == 3)
        await lab.passes(f"{START})")
        for pid in sleepers:
            lab.runtime.kill(pid)


async def test_of_several_clocks_the_first_counts(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (i64.store 0:i32 1:i64) (i32.store 16:i32 1:i32) (i64.store 24:i32 60000000000:i64)
        (i64.store 48:i32 2:i64) (i32.store 64:i32 1:i32) (i64.store 72:i32 5000000:i64)
        (is32 (wasi.poll_oneoff 0:i32 200:i32 2:i32 400:i32) 0:i32)
        (is32 (i32.load 400:i32) 1:i32)
        (is64 (i64.load 200:i32) 2:i64))""")


async def test_files_are_ready_at_once(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (i64.store 0:i32 1:i64) (i32.store 16:i32 1:i32) (i64.store 24:i32 60000000000:i64)
        (i64.store 48:i32 2:i64) (i32.store8 56:i32 2:i32) (i32.store 64:i32 1:i32)
        (is32 (wasi.poll_oneoff 0:i32 200:i32 2:i32 400:i32) 0:i32)
        (is32 (i32.load 400:i32) 1:i32)
        (is64 (i64.load 200:i32) 2:i64) (is32 (i32.load8_u 210:i32) 2:i32))""")


@pytest.mark.parametrize(
    "call",
    [
        "(wasi.poll_oneoff 65500:i32 100:i32 1:i32 200:i32)",
        "(wasi.poll_oneoff 0:i32 65510:i32 1:i32 200:i32)",
        "(wasi.poll_oneoff 0:i32 100:i32 1:i32 65534:i32)",
    ],
)
async def test_polling_with_a_bad_pointer_traps(lab: Lab, call: str) -> None:
    assert "outside the guest's memory" in await lab.traps(f"{START} (drop {call}))")


@pytest.mark.parametrize("count", [0, 1025, -1])
async def test_polling_nothing_or_too_much_is_an_error_number(lab: Lab, count: int) -> None:
    await lab.passes(f"{START} (is32 (wasi.poll_oneoff 0:i32 100:i32 {count}:i32 200:i32) 28:i32))")


async def test_yielding_lets_others_run() -> None:
    async with open_lab(threads=1) as lab:
        await lab.passes(f"""
            {START}
              (drop (call $spawn @"child"))
              (loop $again (drop (wasi.sched_yield)) (br_if $again (call $receive_any 0:i64))))
            (func (export "child") (call $send 1:i64 0:i64 1:i64))""")


async def test_a_program_of_c_runs(lab: Lab, built: object) -> None:
    assert callable(built)
    pid = await lab.spawn(built("hello"), config=ProcessConfig.program(arguments=["hello"]))
    assert b"child" in await lab.output(pid)
    assert (await lab.wait_exit(pid)).code == 0
    assert (await lab.run(built("exit3"))).code == 3


async def test_one_write_of_several_buffers_is_one_piece(lab: Lab) -> None:
    pid = await lab.spawn(f"""{START}
        (i32.store 0:i32 4096:i32) (i32.store 4:i32 2:i32)
        (i32.store 8:i32 0:i32) (i32.store 12:i32 0:i32)
        (i32.store 16:i32 4098:i32) (i32.store 20:i32 3:i32)
        (is32 (wasi.fd_write 2:i32 0:i32 3:i32 32:i32) 0:i32) (is32 (i32.load 32:i32) 5:i32)
        (is32 (wasi.fd_write 2:i32 0:i32 0:i32 32:i32) 0:i32) (is32 (i32.load 32:i32) 0:i32))
        (data (i32.const 4096) "ab\\63de")""")
    reader = lab.runtime.logs(pid)
    await lab.wait_exit(pid)
    chunk = reader.receive_nowait()
    assert (chunk.stream, chunk.data) == (2, b"abcde")
    with pytest.raises(trio.EndOfChannel):
        reader.receive_nowait()


@pytest.mark.parametrize(
    "call",
    [
        "(wasi.fd_write 1:i32 65533:i32 1:i32 32:i32)",
        "(wasi.fd_write 1:i32 0:i32 1:i32 65533:i32)",
        "(wasi.fd_write 1:i32 0:i32 2:i32 32:i32)",
    ],
    ids=["vectors", "written", "buffer"],
)
async def test_a_write_from_outside_memory_prints_nothing(lab: Lab, call: str) -> None:
    pid = await lab.spawn(f"""{START}
        (i32.store 0:i32 100:i32) (i32.store 4:i32 1:i32)
        (i32.store 8:i32 65535:i32) (i32.store 12:i32 2:i32)
        (is32 {call} 21:i32))""")
    assert await lab.output(pid) == b""


async def test_a_closed_standard_stream_takes_nothing(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (i32.store 0:i32 100:i32) (i32.store 4:i32 1:i32)
        (is32 (wasi.fd_close 1:i32) 0:i32)
        (is32 (wasi.fd_write 1:i32 0:i32 1:i32 32:i32) 8:i32)
        (is32 (wasi.fd_write 2:i32 0:i32 1:i32 32:i32) 0:i32)
        (is32 (wasi.fd_write 9:i32 0:i32 1:i32 32:i32) 8:i32))""")


async def test_a_file_in_the_place_of_a_standard_stream_gets_what_is_printed(
    lab: Lab, tmp_path: Path
) -> None:
    await lab.passes(
        f"""{START}
        (is32 (wasi.path_open 3:i32 0:i32 @"out" 1:i32 64:i64 0:i64 0:i32 40:i32) 0:i32)
        (is32 (wasi.fd_renumber (i32.load 40:i32) 1:i32) 0:i32)
        (i32.store8 100:i32 0x41:i32) (i32.store 0:i32 100:i32) (i32.store 4:i32 1:i32)
        (is32 (wasi.fd_write 1:i32 0:i32 1:i32 32:i32) 0:i32))""",
        config=ProcessConfig.program(preopens=[(".", str(tmp_path))]),
    )
    assert (tmp_path / "out").read_bytes() == b"A"
