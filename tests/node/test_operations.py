"""What the control service does on a node: output reaches whoever follows, and waits for nobody else."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from luna.node import operations
from luna.node.library import Library
from luna.node.module_spool import Spool
from luna.node.modules import ModuleStore
from luna.node.operations import OUTPUT_PART_BYTES, Operations
from luna.proto import control_pb2, node_pb2
from luna.proto.errors import NotFoundError
from luna.proto.ids import make_pid
from luna.scheduler.runtime import Runtime, open_runtime

from .peer_node import wait_for

NODE = 5
BLOCK_BYTES, BLOCKS = 16_384, 64  # a MiB, four times what a log keeps
# Prints blocks of 16 KiB, seven of eight on stdout, the others on stderr.
PRINTER = f"""
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\00\\40\\00\\00")
  (func (export "_start") (local $left i32)
    (local.set $left (i32.const {BLOCKS}))
    (memory.fill (i32.const 16) (i32.const 97) (i32.const {BLOCK_BYTES}))
    (loop $again
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (drop (call $write
        (select (i32.const 1) (i32.const 2) (i32.rem_u (local.get $left) (i32.const 8)))
        (i32.const 0) (i32.const 1) (i32.const 8)))
      (br_if $again (local.get $left)))))
""".encode()


class Rig:
    def __init__(self, nursery: trio.Nursery, runtime: Runtime, folder: Path) -> None:
        self.runtime = runtime

        async def fetch(address: str | None, sha256: bytes, spool: Spool) -> None:
            raise NotFoundError("there is no other node")

        library = Library(runtime, ModuleStore(folder), fetch)
        peers = SimpleNamespace(own=SimpleNamespace(id=NODE, name="own"))
        self.operations = Operations(nursery, runtime, library, cast(Any, peers), 0, lambda reason: None)

    async def spawn(self, *, follow: bool) -> int:
        spec = control_pb2.SpawnSpec(
            module_name="printer", config=node_pb2.ProcessConfig(max_memory_bytes=2**20), follow=follow
        )
        return (await self.operations.spawn(spec, PRINTER)).process.pid

    async def read(self, pid: int, *, follow: bool) -> list[control_pb2.LogsReply]:
        """All that can be read."""
        reader = await self.operations.open_logs(pid, follow)
        assert reader is not None
        found: list[control_pb2.LogsReply] = []
        with reader, trio.fail_after(20):
            while parts := await self.operations.next_parts(reader, follow):
                found.extend(parts)
        return found


@pytest.fixture
async def rig(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Rig]:
    async with open_runtime(node_id=NODE, threads=1) as runtime:
        yield Rig(nursery, runtime, tmp_path)
        nursery.cancel_scope.cancel()


async def test_a_followed_process_waits_for_its_reader_and_loses_nothing(rig: Rig) -> None:
    pid = await rig.spawn(follow=True)
    await wait_for(lambda: rig.runtime.processes()[0].state == "waiting", "it waits")
    parts = await rig.read(pid, follow=True)
    assert sum(part.dropped_bytes for part in parts) == 0
    assert sum(len(part.stdout) for part in parts) == BLOCK_BYTES * BLOCKS * 7 // 8
    assert sum(len(part.stderr) for part in parts) == BLOCK_BYTES * BLOCKS // 8
    assert max(len(part.stdout) for part in parts) <= OUTPUT_PART_BYTES + 2 * BLOCK_BYTES


async def test_a_process_that_nobody_comes_to_follow_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "FOLLOWER_TIMEOUT_S", 0.01)
    pid = await rig.spawn(follow=True)
    await wait_for(lambda: not rig.runtime.exists(pid), "it went on and ended")
    (lost, *_) = await rig.read(pid, follow=False)
    assert lost.dropped_bytes > 0


async def test_a_process_goes_on_when_its_follower_has_read_enough(rig: Rig) -> None:
    pid = await rig.spawn(follow=True)
    reader = await rig.operations.open_logs(pid, True)
    assert reader is not None
    with reader:
        assert await rig.operations.next_parts(reader, True)
        assert rig.runtime.exists(pid)
    await wait_for(lambda: not rig.runtime.exists(pid), "it went on and ended")


async def test_a_process_that_is_not_followed_waits_for_nobody(rig: Rig) -> None:
    pid = await rig.spawn(follow=False)
    await wait_for(lambda: not rig.runtime.exists(pid), "it ended")


async def test_a_follower_is_told_the_exit_however_early_it_sees_the_end_of_the_output(rig: Rig) -> None:
    for _ in range(50):
        pid = await rig.spawn(follow=False)
        deadline = time.monotonic() + 20
        while rig.runtime.exists(pid) and time.monotonic() < deadline:
            time.sleep(0.001)  # noqa: ASYNC251  # the event of its end must not be looked at meanwhile
        with trio.fail_after(20):
            status = await rig.operations.exit_of(pid, follow=True)
        assert status is not None


async def test_errors_name_a_process_as_people_do(rig: Rig) -> None:
    unknown = make_pid(NODE, 77)
    with pytest.raises(NotFoundError, match="no process 77@own,"):
        await rig.operations.kill(unknown)
    with pytest.raises(NotFoundError, match="no process 77@own,"):
        await rig.operations.open_logs(unknown, True)
