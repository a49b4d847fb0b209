"""Remote spawns: replies find who waits, everything is bounded, and a lost peer fails what it was asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from luna.cluster.members import NodeInfo
from luna.node import remote_spawn
from luna.node.convert import config_from_proto
from luna.node.library import Library
from luna.node.module_spool import Spool
from luna.node.modules import ModuleStore
from luna.node.remote_spawn import MAX_PENDING_SPAWNS, RemoteSpawn, SpawnTimeoutError
from luna.node.status import LimitError
from luna.proto import node_pb2
from luna.proto.errors import BrokenError, InvalidError, LunaError, NotFoundError
from luna.proto.ids import make_pid
from luna.scheduler.config import ProcessConfig
from luna.scheduler.runtime import Runtime, open_runtime

OWN, PEER = 5, 7
MODULE = b'(module (func (export "_start")) (func (export "p") (param i32)))'
SPIN = b'(module (func (export "_start") (loop $again (br $again))))'


def info(node_id: int, name: str) -> NodeInfo:
    return NodeInfo(node_id, name, "test", "127.0.0.1:9", started_ms=node_id)


class Rig:
    """The real runtime with a peer that exists only as a queue."""

    def __init__(self, nursery: trio.Nursery, runtime: Runtime, folder: Path) -> None:
        self.runtime = runtime
        self.peer = info(PEER, "peer")
        self.served: dict[bytes, bytes] = {}
        self.library = Library(runtime, ModuleStore(folder), self._fetch)
        self.spawns = RemoteSpawn(nursery, runtime, self.library)

    async def _fetch(self, address: str | None, sha256: bytes, spool: Spool) -> None:
        await trio.lowlevel.checkpoint()
        if sha256 not in self.served:
            raise NotFoundError("the peer lacks it")
        spool.write(self.served[sha256])

    def sent(self) -> list[node_pb2.Envelope]:
        """What was queued for the peer since last asked."""
        envelopes: list[node_pb2.Envelope] = []
        while (frame := self.runtime.peers.take_frame(PEER, 1, 2**20, b"")) is not None:
            envelopes.extend(node_pb2.Frame.FromString(frame).envelopes)
        return envelopes

    async def replies(self, count: int) -> list[node_pb2.SpawnReply]:
        """Wait for this many replies to the peer."""
        found: list[node_pb2.SpawnReply] = []
        with trio.fail_after(10):
            while len(found) < count:
                found.extend(envelope.spawn_reply for envelope in self.sent())
                await trio.sleep(0.002)
        return found


@pytest.fixture
async def rig(tmp_path: Path, nursery: trio.Nursery) -> Any:
    async with open_runtime(node_id=OWN, threads=1) as runtime:
        runtime.peers.add_peer(PEER, 1)
        yield Rig(nursery, runtime, tmp_path)
        nursery.cancel_scope.cancel()


def spawn_of(sha256: bytes = b"m" * 32, **fields: Any) -> node_pb2.Spawn:
    return node_pb2.Spawn(environment=1, module=sha256, **fields)


async def answered(rig: Rig, reply: node_pb2.SpawnReply) -> int | LunaError:
    """The outcome of one spawn on the peer that is answered with `reply`."""
    outcome: list[int | LunaError] = []

    async def ask() -> None:
        try:
            outcome.append(await rig.spawns.spawn(PEER, spawn_of()))
        except LunaError as error:
            outcome.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked(0.01)
        (envelope,) = rig.sent()
        reply.reference = envelope.spawn.reference
        rig.spawns.spawn_replied(rig.peer, reply)
    return outcome[0]


async def test_a_reply_ends_the_wait_with_the_pid(rig: Rig) -> None:
    pid = make_pid(PEER, 3)
    assert await answered(rig, node_pb2.SpawnReply(pid=pid)) == pid


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (node_pb2.MODULE_UNKNOWN, NotFoundError),
        (node_pb2.MODULE_INVALID, InvalidError),
        (node_pb2.INSTANTIATION, InvalidError),
        (node_pb2.LIMIT, LimitError),
        (node_pb2.STOPPING, BrokenError),
        (node_pb2.SPAWN_FAILURE_UNSPECIFIED, InvalidError),
    ],
)
async def test_a_failure_names_the_node_and_the_reason(
    rig: Rig, failure: node_pb2.SpawnFailure, kind: type[LunaError]
) -> None:
    error = await answered(rig, node_pb2.SpawnReply(failure=failure, error="because"))
    assert type(error) is kind
    assert isinstance(error, LunaError)
    assert error.message == "node peer did not spawn the process: because"


async def test_a_pid_of_another_node_in_a_reply_is_invalid(rig: Rig) -> None:
    with pytest.RaisesGroup(InvalidError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.spawns.spawn, PEER, spawn_of())
            await trio.testing.wait_all_tasks_blocked(0.01)
            (envelope,) = rig.sent()
            reply = node_pb2.SpawnReply(reference=envelope.spawn.reference, pid=make_pid(9, 1))
            rig.spawns.spawn_replied(rig.peer, reply)


async def test_a_reply_nobody_waits_for_is_dropped(rig: Rig) -> None:
    rig.spawns.spawn_replied(rig.peer, node_pb2.SpawnReply(reference=99, pid=make_pid(PEER, 1)))


async def test_a_lost_peer_fails_every_spawn_that_waits_for_it(rig: Rig) -> None:
    failed = 0

    async def ask() -> None:
        nonlocal failed
        with pytest.raises(BrokenError, match="went away"):
            await rig.spawns.spawn(PEER, spawn_of())
        failed += 1

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked(0.01)
        rig.spawns.peer_lost(PEER)
    assert failed == 3


async def test_an_unknown_node_fails_at_once(rig: Rig) -> None:
    with pytest.raises(BrokenError, match="not connected"):
        await rig.spawns.spawn(1234, spawn_of())


async def test_no_answer_is_a_timeout(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_spawn, "SPAWN_TIMEOUT_S", 0.01)
    for _ in range(2):  # the second one when nobody watched the time any more
        with trio.fail_after(10), pytest.raises(SpawnTimeoutError):
            await rig.spawns.spawn(PEER, spawn_of())


async def test_spawns_in_flight_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_spawn, "MAX_PENDING_SPAWNS", 2)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(rig.spawns.spawn, PEER, spawn_of())
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(LimitError):
            await rig.spawns.spawn(PEER, spawn_of())
        nursery.cancel_scope.cancel()
    rig.sent()
    async with trio.open_nursery() as nursery:  # cancelled ones made room
        nursery.start_soon(rig.spawns.spawn, PEER, spawn_of())
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(rig.sent()) == 1
        nursery.cancel_scope.cancel()


async def test_a_spawn_for_a_peer_fetches_the_module_and_answers_with_the_pid(rig: Rig) -> None:
    module = await rig.runtime.load_module(SPIN, "spin")
    rig.served[module.sha256] = module.source
    rig.spawns.spawn_requested(rig.peer, spawn_of(module.sha256, reference=4))
    (reply,) = await rig.replies(1)
    assert reply.reference == 4
    assert rig.runtime.exists(reply.pid)


@pytest.mark.parametrize(
    ("fields", "failure"),
    [
        ({"module": b"x" * 32}, node_pb2.MODULE_UNKNOWN),
        ({"module": b"short"}, node_pb2.MODULE_INVALID),
        ({"entry": "nope"}, node_pb2.INSTANTIATION),
        ({"entry": "p"}, node_pb2.INSTANTIATION),
        ({"params": [node_pb2.Param()]}, node_pb2.INSTANTIATION),
        ({"monitor": True}, node_pb2.INSTANTIATION),
    ],
)
async def test_a_spawn_that_cannot_be_done_is_answered_with_the_reason(
    rig: Rig, fields: dict[str, Any], failure: node_pb2.SpawnFailure
) -> None:
    module = await rig.runtime.load_module(MODULE, "m")
    spawn = spawn_of(fields.pop("module", module.sha256), **fields)
    rig.spawns.spawn_requested(rig.peer, spawn)
    (reply,) = await rig.replies(1)
    assert reply.pid == 0
    assert reply.failure == failure
    assert reply.error


@pytest.mark.parametrize("entry", ["nope", "p"])
async def test_a_guest_s_child_with_a_bad_entry_is_born_and_fails_over_its_link(rig: Rig, entry: str) -> None:
    module = await rig.runtime.load_module(MODULE, "m")
    parent = make_pid(PEER, 9)
    spawn = spawn_of(module.sha256, entry=entry, parent=parent, link=True, link_tag=3)
    rig.spawns.spawn_requested(rig.peer, spawn)
    pid, death = 0, None
    with trio.fail_after(10):
        while not pid or death is None:
            for envelope in rig.sent():
                if envelope.HasField("spawn_reply"):
                    pid = envelope.spawn_reply.pid
                elif envelope.HasField("link_died"):
                    death = envelope.link_died
            await trio.sleep(0.002)
    assert (death.to, getattr(death, "from")) == (parent, pid)
    assert (death.tag, death.kind) == (3, node_pb2.EXIT_FAILURE)
    assert death.text


async def test_a_module_fetched_for_a_peer_is_called_what_it_is_called_there(rig: Rig) -> None:
    async with open_runtime(threads=1) as other:
        module = await other.load_module(SPIN, "spin.wat")
    rig.served[module.sha256] = module.source
    rig.spawns.spawn_requested(rig.peer, spawn_of(module.sha256, module_name="spin.wat"))
    await rig.replies(1)
    assert [process.module for process in rig.runtime.processes()] == ["spin.wat"]


async def test_bytes_of_another_module_are_refused(rig: Rig) -> None:
    rig.served[b"x" * 32] = MODULE
    rig.spawns.spawn_requested(rig.peer, spawn_of(b"x" * 32))
    (reply,) = await rig.replies(1)
    assert reply.failure == node_pb2.MODULE_INVALID


async def test_what_is_done_for_a_peer_ends_when_it_is_lost(rig: Rig) -> None:
    module = await rig.runtime.load_module(SPIN, "spin")
    rig.spawns.spawn_requested(rig.peer, spawn_of(module.sha256))  # is being born
    rig.spawns.spawn_requested(rig.peer, spawn_of(b"x" * 32))  # its module is being fetched
    rig.spawns.peer_lost(PEER)
    with trio.fail_after(10):
        while rig.runtime.processes():
            await trio.sleep(0.002)


async def test_a_forged_parent_is_invalid(rig: Rig) -> None:
    for parent in (make_pid(OWN, 1), make_pid(9, 1)):
        with pytest.raises(InvalidError, match="another node"):
            rig.spawns.spawn_requested(rig.peer, spawn_of(parent=parent))


async def test_more_spawns_than_the_bound_are_refused_and_answered(rig: Rig) -> None:
    module = await rig.runtime.load_module(MODULE, "m")
    for reference in range(MAX_PENDING_SPAWNS + 3):
        rig.spawns.spawn_requested(rig.peer, spawn_of(module.sha256, reference=reference))
    replies = await rig.replies(MAX_PENDING_SPAWNS + 3)
    refused = [reply for reply in replies if reply.failure == node_pb2.LIMIT]
    assert [reply.reference for reply in refused] == list(range(MAX_PENDING_SPAWNS, MAX_PENDING_SPAWNS + 3))
    assert {reply.reference for reply in replies} == set(range(MAX_PENDING_SPAWNS + 3))


CHILD_OF_A_CONFIG = f"""(module
    (import "lunatic::process" "create_config" (func $create (result i64)))
    (import "lunatic::process" "config_set_max_memory" (func $max_memory (param i64 i64)))
    (import "lunatic::process" "config_set_max_fuel" (func $max_fuel (param i64 i64)))
    (import "lunatic::process" "config_set_can_compile_modules" (func $can_compile (param i64 i32)))
    (import "lunatic::process" "config_set_can_spawn_processes" (func $can_spawn (param i64 i32)))
    (import "lunatic::distributed" "module_id" (func $module (result i64)))
    (import "lunatic::distributed" "spawn"
        (func $spawn (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "_start")
    (func (export "_start") (local $config i64)
        (local.set $config (call $create))
        (call $max_memory (local.get $config) (i64.const 0xffffffff))
        (call $max_fuel (local.get $config) (i64.const 0))
        (call $can_compile (local.get $config) (i32.const 1))
        (call $can_spawn (local.get $config) (i32.const 1))
        (drop (call $spawn (i64.const {PEER}) (local.get $config) (call $module)
            (i32.const 0) (i32.const 6) (i32.const 64) (i32.const 0) (i32.const 128)))))
"""


async def test_a_guest_s_child_on_another_node_gets_no_more_than_its_parent_has(rig: Rig) -> None:
    rig.spawns.register()
    module = await rig.runtime.load_module(CHILD_OF_A_CONFIG.encode(), "parent.wat")
    parent = ProcessConfig(
        max_memory_bytes=2**20,
        max_fuel=7,
        can_compile_modules=False,
        can_create_configs=True,
        can_spawn_processes=True,
    )
    await rig.runtime.spawn(module, config=parent)
    with trio.fail_after(10):
        while not (sent := rig.sent()):
            await trio.sleep(0.002)
    assert config_from_proto(sent[0].spawn.config) == replace(parent, can_create_configs=False)
