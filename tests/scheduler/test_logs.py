"""What guests print reaches readers: bounded without one, whole with a follower."""

from __future__ import annotations

import pytest
import trio

from luna.proto.errors import WouldBlockError
from luna.scheduler import LogReader, open_runtime

LINES = 20_000
LINE_BYTES = 256
PRINTER = f"""
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\00\\01\\00\\00")
  (func (export "_start") (local $line i32)
    (loop $again
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (local.set $line (i32.add (local.get $line) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $line) (i32.const {LINES}))))))
""".encode()


async def read_all(reader: LogReader) -> tuple[int, int]:
    """(bytes read, bytes lost) until the process is dead."""
    read = lost = 0
    while True:
        try:
            chunk = await reader.receive()
        except trio.EndOfChannel:
            return read, lost
        read += len(chunk.data)
        lost += chunk.dropped


async def test_follower_from_the_start_gets_every_byte() -> None:
    async with open_runtime(threads=2) as runtime:
        module = await runtime.load_module(PRINTER, "printer")
        pid = await runtime.spawn(module, follow=True)
        with runtime.logs(pid, follow=True) as reader:
            assert await read_all(reader) == (LINES * LINE_BYTES, 0)
        assert (await runtime.wait_exit(pid)).code == 0


async def test_writer_waits_for_a_follower_that_does_not_read() -> None:
    async with open_runtime(threads=2) as runtime:
        module = await runtime.load_module(PRINTER, "printer")
        pid = await runtime.spawn(module, follow=True)
        reader = runtime.logs(pid, follow=True)
        before = -1
        while runtime.statistics().preempted != before:  # until it does not run any more
            before = runtime.statistics().preempted
            await trio.sleep(0.02)
        assert runtime.exists(pid)
        reader.close()
        assert (await runtime.wait_exit(pid)).code == 0


async def test_writer_goes_on_when_its_follower_is_forgotten() -> None:
    async with open_runtime(threads=2) as runtime:
        module = await runtime.load_module(PRINTER, "printer")
        pid = await runtime.spawn(module, follow=True)
        runtime.forget_follower(pid)
        assert (await runtime.wait_exit(pid)).code == 0


async def test_log_without_follower_keeps_the_end_and_says_what_was_lost() -> None:
    async with open_runtime(threads=2) as runtime:
        module = await runtime.load_module(PRINTER, "printer")
        pid = await runtime.spawn(module)
        assert (await runtime.wait_exit(pid)).code == 0
        read, lost = await read_all(runtime.logs(pid))
        assert 0 < read <= 256 * 1024
        assert read + lost == LINES * LINE_BYTES


async def test_reader_of_a_silent_process_would_block() -> None:
    async with open_runtime(threads=1) as runtime:
        module = await runtime.load_module(b'(module (func (export "_start") (loop $l (br $l))))', "spin")
        pid = await runtime.spawn(module)
        with pytest.raises(WouldBlockError):
            runtime.logs(pid).receive_nowait()
