"""Reading the standard input: who waits for it, what it gives, and that nobody else is held up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from .lab import PATIENCE_S, Lab
from .wat import guest

# Prints what it reads, until the end of the input; buffers of 3 and 5 bytes.
ECHO = """
    (func $echo (local $size i32)
      (loop $again
        (i32.store 0:i32 100:i32) (i32.store 4:i32 3:i32)
        (i32.store 8:i32 200:i32) (i32.store 12:i32 5:i32)
        (is32 (wasi.fd_read 0:i32 0:i32 2:i32 16:i32) 0:i32)
        (local.set $size (i32.load 16:i32))
        (if (i32.eqz (local.get $size)) (then (return)))
        (memory.copy 103:i32 200:i32 5:i32)
        (call $print 100:i32 (local.get $size))
        (br $again)))"""
PRINT = """
    (func $print (param $at i32) (param $size i32)
      (i32.store 400:i32 (local.get $at)) (i32.store 404:i32 (local.get $size))
      (is32 (wasi.fd_write 1:i32 400:i32 1:i32 408:i32) 0:i32))"""


@contextmanager
def program(
    folder: Path, body: str, stdin: int | IO[bytes] = subprocess.PIPE
) -> Iterator[subprocess.Popen[bytes]]:
    """A guest under `luna run`, killed at the end of the block if it still runs."""
    (folder / "guest.wat").write_bytes(guest(body))
    with subprocess.Popen(
        [sys.executable, "-m", "luna.cli.luna", "run", "guest.wat"],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    with program(tmp_path, f'{PRINT} {ECHO} (func (export "_start") (call $echo))') as process:
        out, err = process.communicate(b"one two three\nfour", timeout=PATIENCE_S)
        assert (out, err, process.returncode) == (b"one two three\nfour", b"", 0)


def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"x" * 1000)
    with (
        (tmp_path / "input").open("rb") as source,
        program(tmp_path, f'{PRINT} {ECHO} (func (export "_start") (call $echo))', source) as process,
    ):
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (out, err, process.returncode) == (b"x" * 1000, b"", 0)


def test_a_read_gives_what_is_there_and_does_not_wait_for_more(tmp_path: Path) -> None:
    with program(tmp_path, f'{PRINT} {ECHO} (func (export "_start") (call $echo))') as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for part in (b"a\n", b"bc\n", b"def\n"):
            process.stdin.write(part)
            process.stdin.flush()
            assert process.stdout.readline() == part


def test_other_processes_run_while_as_many_wait_as_there_are_threads(tmp_path: Path) -> None:
    body = f"""{PRINT} {ECHO}
        (func (export "reader") (call $echo))
        (func (export "_start") (local $n i32)
          (loop $again
            (drop (call $spawn @"reader"))
            (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) 1:i32)) 32:i32)))
          (process.sleep_ms 20:i64)
          (call $print @"alive\\n")
          (process.sleep_ms 3600000:i64))"""
    with program(tmp_path, body) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"alive\n"


def test_a_reader_that_is_killed_gives_its_turn_to_the_next(tmp_path: Path) -> None:
    body = f"""{PRINT} {ECHO}
        (func (export "reader") (call $echo) (call $print @"should be dead\\n"))
        (func (export "_start") (local $reader i64)
          (local.set $reader (call $spawn @"reader"))
          (process.sleep_ms 50:i64)
          (process.monitor (local.get $reader))
          (process.kill (local.get $reader))
          (is32 (call $receive_any -1:i64) 2:i32)
          (call $print @"killed\\n")
          (call $echo))"""
    with program(tmp_path, body) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"killed\n"
        out, _ = process.communicate(b"for me", timeout=PATIENCE_S)
        assert out == b"for me"


def test_a_waiting_program_can_be_interrupted(tmp_path: Path) -> None:
    with program(
        tmp_path, f'{PRINT} {ECHO} (func (export "_start") (call $print @"now\\n") (call $echo))'
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130


@pytest.mark.parametrize(
    ("call", "errno"),
    [
        ("(wasi.fd_read 0:i32 65530:i32 1:i32 16:i32)", 21),
        ("(wasi.fd_read 0:i32 0:i32 1:i32 65534:i32)", 21),
        ("(wasi.fd_read 0:i32 24:i32 1:i32 16:i32)", 21),
        ("(wasi.fd_read 0:i32 0:i32 0:i32 16:i32)", 0),
        ("(wasi.fd_read 9:i32 0:i32 1:i32 16:i32)", 8),
    ],
    ids=["vectors", "size", "buffer", "no buffers", "descriptor"],
)
def test_bad_pointers_are_told_before_anything_is_read(tmp_path: Path, call: str, errno: int) -> None:
    body = f"""{PRINT} {ECHO}
        (func (export "_start")
          (i32.store 0:i32 100:i32) (i32.store 4:i32 3:i32)
          (i32.store 24:i32 65534:i32) (i32.store 28:i32 3:i32)
          (is32 {call} {errno}:i32)
          (call $echo))"""
    with program(tmp_path, body) as process:
        out, _ = process.communicate(b"kept", timeout=PATIENCE_S)
        assert (out, process.returncode) == (b"kept", 0)


def test_closed_standard_input_is_a_bad_descriptor(tmp_path: Path) -> None:
    body = """(func (export "_start")
          (i32.store 0:i32 100:i32) (i32.store 4:i32 3:i32)
          (is32 (wasi.fd_close 0:i32) 0:i32)
          (is32 (wasi.fd_read 0:i32 0:i32 1:i32 16:i32) 8:i32))"""
    with program(tmp_path, body) as process:
        process.communicate(b"never read", timeout=PATIENCE_S)
        assert process.returncode == 0


def test_standard_input_stays_when_it_could_not_be_replaced(tmp_path: Path) -> None:
    body = """(func (export "_start")
          (i32.store 0:i32 100:i32) (i32.store 4:i32 3:i32)
          (is32 (wasi.fd_renumber 99:i32 0:i32) 8:i32)
          (is32 (wasi.fd_read 0:i32 0:i32 1:i32 16:i32) 0:i32)
          (is32 (i32.load 16:i32) 3:i32) (is32 (i32.load8_u 100:i32) 0x79:i32))"""
    with program(tmp_path, body) as process:
        process.communicate(b"yes", timeout=PATIENCE_S)
        assert process.returncode == 0


async def test_a_program_whose_output_is_kept_has_no_input(lab: Lab) -> None:
    await lab.passes("""(func (export "_start")
        (i32.store 8:i32 16:i32) (i32.store 12:i32 8:i32)
        (is32 (wasi.fd_read 0:i32 8:i32 1:i32 32:i32) 0:i32) (is32 (i32.load 32:i32) 0:i32))""")


# Waits for input, at most so many nanoseconds, and prints which came: t or i.
POLL = """
    (func $poll (param $ns i64)
      (i64.store 500:i32 7:i64) (i32.store8 508:i32 1:i32) (i32.store 516:i32 0:i32)
      (i64.store 548:i32 8:i64) (i32.store8 556:i32 0:i32) (i32.store 564:i32 1:i32)
      (i64.store 572:i32 (local.get $ns)) (i32.store16 588:i32 0:i32)
      (is32 (wasi.poll_oneoff 500:i32 600:i32 2:i32 664:i32) 0:i32)
      (is32 (i32.load 664:i32) 1:i32)
      (is32 (i32.load16_u 608:i32) 0:i32)
      (if (i64.eq (i64.load 600:i32) 7:i64)
        (then (is32 (i32.load8_u 610:i32) 1:i32) (call $print @"i"))
        (else (is64 (i64.load 600:i32) 8:i64) (is32 (i32.load8_u 610:i32) 0:i32) (call $print @"t"))))"""


def test_polling_waits_for_input_or_the_clock(tmp_path: Path) -> None:
    body = f"""{PRINT} {ECHO} {POLL}
        (func (export "_start")
          (call $poll 1000000:i64) (call $poll 0:i64)
          (call $poll 3600000000000:i64) (call $poll 3600000000000:i64)
          (call $echo)
          (call $poll 3600000000000:i64))"""
    with program(tmp_path, body) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.read(2) == b"tt"
        process.stdin.write(b"now")
        process.stdin.flush()
        assert process.stdout.read(5) == b"iinow"
        out, _ = process.communicate(timeout=PATIENCE_S)  # the end of the input is something to read, too
        assert (out, process.returncode) == (b"i", 0)


def test_others_run_while_a_process_polls_the_input(tmp_path: Path) -> None:
    body = f"""{PRINT} {ECHO} {POLL}
        (func (export "poller") (call $poll 3600000000000:i64))
        (func (export "_start") (local $n i32)
          (loop $again
            (drop (call $spawn @"poller"))
            (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) 1:i32)) 8:i32)))
          (process.sleep_ms 20:i64)
          (call $print @"alive"))"""
    with program(tmp_path, body) as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == b"alive"
        assert process.wait(PATIENCE_S) == 0


# Exits with bits 0 to 2 set for streams that are terminals, as wasi-libc's isatty tells them.
TERMINALS = """
    (func (export "_start") (local $fd i32) (local $bits i32)
      (loop $again
        (is32 (wasi.fd_fdstat_get (local.get $fd) 0:i32) 0:i32)
        (if (i32.and
            (i32.eq (i32.load8_u 0:i32) 2:i32) (i64.eqz (i64.and (i64.load 8:i32) 36:i64)))
          (then (local.set $bits (i32.or (local.get $bits) (i32.shl 1:i32 (local.get $fd))))))
        (br_if $again (i32.lt_u (local.tee $fd (i32.add (local.get $fd) 1:i32)) 3:i32)))
      (wasi.proc_exit (local.get $bits)))"""


def test_a_terminal_is_told_as_one_and_a_pipe_is_not(tmp_path: Path) -> None:
    (tmp_path / "guest.wat").write_bytes(guest(TERMINALS))
    ours, theirs = os.openpty()
    try:
        for stdin, stdout, bits in (
            (theirs, theirs, 3),
            (subprocess.DEVNULL, theirs, 2),
            (theirs, subprocess.PIPE, 1),
        ):
            ended = subprocess.run(
                [sys.executable, "-m", "luna.cli.luna", "run", "guest.wat"],
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                cwd=tmp_path,
                check=False,
                timeout=PATIENCE_S,
            )
            assert ended.returncode == bits, ended.stderr
    finally:
        os.close(ours)
        os.close(theirs)
