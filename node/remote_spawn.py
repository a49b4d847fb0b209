"""Spawning on other nodes: what the native core leaves to Python, and what commands ask for.

Guests' spawns are the core's (`scheduler/_remote_spawn.pyx`), on both sides, as long as the module is in
memory. Here are modules that are not, spawns that are not valid, and those that no process asked for, with
the table of these that wait for a reply. Lives on trio. The processes themselves are the scheduler's, the
modules the library's.

What a guest gets: 0 and the pid; 1 if the node is unknown, gone, or refuses; 2 if the module is unknown; 9027
if no answer came in time; an error id stands in the place of the pid for each but 0. Lunatic traps where this
answers 1, although its own interface names the code: a node that dies must not take its callers with it.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
import trio

from luna.cluster.members import NodeInfo
from luna.node.convert import check_entry, config_from_proto, params_from_proto
from luna.node.library import Library
from luna.node.peer_services import Handler
from luna.node.status import LimitError
from luna.proto import node_pb2
from luna.proto.errors import (
    BrokenError,
    ClosedError,
    InvalidError,
    LunaError,
    NotFoundError,
    RefusedError,
)
from luna.proto.ids import is_node_id, node_of
from luna.proto.limits import MAX_DETAIL_LENGTH
from luna.scheduler.births import Born, Spawn, check_environment
from luna.scheduler.modules import Module
from luna.scheduler.requests import FoundModule, Request
from luna.scheduler.runtime import Runtime

_log = structlog.get_logger(__name__)

GUEST_CALLS = (
    ("lunatic::distributed", "spawn"),
    ("lunatic::distributed", "spawn@0.12"),
    ("luna::distributed", "spawn_monitored"),
)

MAX_PENDING_SPAWNS = 1024
"""spawns of one peer in flight here, each way; further ones are refused. The core counts its own as well
(PENDING_SPAWNS_MAX)."""

SPAWN_TIMEOUT_S = 60.0
"""seconds for a remote spawn, its module shipped and compiled; a peer that is gone fails it much earlier."""

UNREACHABLE, MODULE_UNKNOWN = 1, 2


class SpawnTimeoutError(BrokenError):
    """No reply to a spawn came in time; the process may run all the same."""


class RemoteSpawn:
    """Remote spawns of one node, both ways. `register` makes it known to the runtime."""

    def __init__(self, nursery: trio.Nursery, runtime: Runtime, library: Library) -> None:
        self._nursery = nursery
        self._runtime = runtime
        self._library = library
        self._references = itertools.count(1)
        self._pending: defaultdict[int, dict[int, _Pending]] = defaultdict(dict)
        self._expiring = False
        self._serving: defaultdict[int, set[_Served]] = defaultdict(set)

    def register(self) -> None:
        """Handle the guest's calls from now on."""
        for namespace, name in GUEST_CALLS:
            self._runtime.set_handler(namespace, name, self._on_guest_spawn)

    def handlers(self) -> Mapping[str, Handler]:
        """The messages it takes from peers (PeerService)."""
        return {"spawn": self.spawn_requested, "spawn_reply": self.spawn_replied}

    # --- the guest's side -------------------------------------------------------------------

    async def _on_guest_spawn(self, request: Request) -> int | FoundModule:
        """The core spawns natively; it asks only for a module that is not in memory, and goes on with it."""
        *_, module_id, _, _, _, _, id_at = map(int, request.args)
        try:
            return FoundModule(await self._library.by_id(module_id))
        except LunaError as error:
            request.write_u64(id_at, request.add_error(error.message))
            return MODULE_UNKNOWN if isinstance(error, NotFoundError) else UNREACHABLE

    async def spawn(self, node_id: int, spawn: node_pb2.Spawn) -> int:
        """Have the node `node_id`, which may be this one, do `spawn`, which no process asks for; the pid.

        Its reference is set here.

        Raises BrokenError if the node is unknown or goes away, SpawnTimeoutError if it does not answer,
        LimitError if too many spawns are under way or it is at a limit, NotFoundError if the module cannot be
        had there, InvalidError if the module or the parameters are refused.
        """
        if node_id == self._runtime.node_id:
            return await self._spawn_here(spawn)
        if not is_node_id(node_id):
            raise _not_connected(node_id)  # the core's queues take node ids only
        waiting = self._pending[node_id]
        if len(waiting) >= MAX_PENDING_SPAWNS:
            raise LimitError(f"{MAX_PENDING_SPAWNS} spawns on node {node_id} are under way already")
        spawn.reference = next(self._references)
        pending = waiting[spawn.reference] = _Pending(trio.current_time() + SPAWN_TIMEOUT_S)
        try:
            envelope = node_pb2.Envelope(spawn=spawn).SerializeToString()
            if not self._runtime.peers.send(node_id, envelope):
                raise _not_connected(node_id)
            if not self._expiring:
                self._expiring = True
                self._nursery.start_soon(self._expire, name="time limit of remote spawns")
            await pending.answered.wait()
            if pending.error is not None:
                raise pending.error
            return pending.pid
        finally:
            waiting.pop(spawn.reference, None)
            if not waiting and self._pending.get(node_id) is waiting:
                del self._pending[node_id]

    async def _expire(self) -> None:
        """Fail the spawns that got no answer in time; ends when none waits. A scope each costs far more."""
        while self._pending:
            # Each table is in the order of its deadlines.
            await trio.sleep_until(
                min(next(iter(table.values())).deadline for table in self._pending.values())
            )
            now = trio.current_time()
            for node_id, waiting in self._pending.items():
                for pending in waiting.values():
                    if pending.deadline > now:
                        break
                    if not pending.answered.is_set():
                        pending.error = SpawnTimeoutError(
                            f"node {node_id} did not answer in {SPAWN_TIMEOUT_S:.0f} s"
                        )
                        pending.answered.set()
            await trio.lowlevel.checkpoint()  # who was answered leaves the table
        self._expiring = False

    async def _spawn_here(self, spawn: node_pb2.Spawn) -> int:
        module = await self._library.held(spawn.module)
        pending = _Pending()

        def born(error: LunaError | None) -> None:
            pending.error = error
            pending.answered.set()

        pid = self._begin(spawn, module, born)
        try:
            await pending.answered.wait()
        except trio.Cancelled:
            self._runtime.kill(pid)
            raise
        if pending.error is not None:
            raise pending.error
        return pid

    def spawn_replied(self, peer: NodeInfo, reply: node_pb2.SpawnReply) -> None:
        """A SpawnReply for no process came; one that nobody waits for any more is dropped."""
        pending = self._pending.get(peer.id, {}).get(reply.reference)
        if pending is None:
            return
        if reply.pid and node_of(reply.pid) != peer.id:
            raise InvalidError("a spawn was answered with a pid of another node")
        pending.pid = reply.pid
        if not reply.pid:
            pending.error = _error_of(reply, peer)
        pending.answered.set()

    def peer_up(self, peer: NodeInfo) -> None:
        """A session with a peer began: nothing waits for that."""

    def peer_lost(self, peer_id: int) -> None:
        """The session with a peer ended: its spawns fail, and those done for it stop."""
        for pending in self._pending.pop(peer_id, {}).values():
            pending.error = BrokenError(f"node {peer_id} went away")
            pending.answered.set()
        for served in self._serving.pop(peer_id, ()):
            served.abandon()

    # --- the serving side -------------------------------------------------------------------

    def spawn_requested(self, peer: NodeInfo, spawn: node_pb2.Spawn) -> None:
        """A Spawn came that the core left: do it and reply. Raises InvalidError for a forged parent.

        With the module at hand no task is needed, which would cost as much as the rest.
        """
        if spawn.parent and node_of(spawn.parent) != peer.id:
            raise InvalidError("a spawn for a process of another node")
        if len(self._serving[peer.id]) >= MAX_PENDING_SPAWNS:
            self._refuse(peer.id, spawn, node_pb2.LIMIT, f"over {MAX_PENDING_SPAWNS} spawns are under way")
            return
        try:
            _check(spawn)
        except InvalidError as error:  # before a module is fetched for it
            self._refuse(peer.id, spawn, node_pb2.INSTANTIATION, error.message)
            return
        module = self._runtime.find_module(spawn.module)
        if module is not None:
            self._start(peer, spawn, module)
            return
        scope = trio.CancelScope()
        served = self._serve(peer.id, scope.cancel)
        self._nursery.start_soon(self._fetch_and_start, peer, spawn, scope, served, name="fetch a module")

    async def _fetch_and_start(
        self, peer: NodeInfo, spawn: node_pb2.Spawn, scope: trio.CancelScope, served: _Served
    ) -> None:
        with scope:
            try:
                module = await self._library.obtain(spawn.module, peer.address, spawn.module_name)
            except (NotFoundError, BrokenError) as error:
                self._refuse(peer.id, spawn, node_pb2.MODULE_UNKNOWN, error.message)
            except InvalidError as error:
                self._refuse(peer.id, spawn, node_pb2.MODULE_INVALID, error.message)
            except LunaError as error:
                self._refuse(peer.id, spawn, _failure_of(error), error.message)
            except Exception:  # a bug must fail this spawn, not the node
                _log.exception("internal error while fetching a module for a peer", peer=peer.name)
                self._refuse(peer.id, spawn, node_pb2.INSTANTIATION, "internal error")
            else:
                self._start(peer, spawn, module)
            finally:
                self._served(peer.id, served)

    def _start(self, peer: NodeInfo, spawn: node_pb2.Spawn, module: Module) -> None:
        if not spawn.parent:
            self._start_for_nobody(peer, spawn, module)
        elif not self._runtime.peers.serve_spawn(peer.id, spawn.SerializeToString()):
            self._refuse(peer.id, spawn, node_pb2.INSTANTIATION, "what was asked for is not valid")

    def _start_for_nobody(self, peer: NodeInfo, spawn: node_pb2.Spawn, module: Module) -> None:
        def born(error: LunaError | None) -> None:
            self._served(peer.id, served)
            if error is None:
                self._reply(peer.id, node_pb2.SpawnReply(reference=spawn.reference, pid=pid))
            else:
                self._refuse(peer.id, spawn, _failure_of(error), error.message)

        try:
            pid = self._begin(spawn, module, born)
        except LunaError as error:
            self._refuse(peer.id, spawn, _failure_of(error), error.message)
        except Exception:  # a bug must fail this spawn, not the node
            _log.exception("internal error while spawning for a peer", peer=peer.name)
            self._refuse(peer.id, spawn, node_pb2.INSTANTIATION, "internal error")
        else:
            served = self._serve(peer.id, lambda: self._runtime.kill(pid))

    def _begin(self, spawn: node_pb2.Spawn, module: Module, born: Born) -> int:
        """Start a process that no other asked for; `born`, called later, says whether it lives.

        Raises LunaError.
        """
        return self._runtime.spawn_soon(
            Spawn(
                module=module,
                entry=spawn.entry or "_start",
                params=params_from_proto(spawn.params),
                config=config_from_proto(spawn.config),
                environment=spawn.environment,
                check_entry=True,
            ),
            born,
        )

    def _serve(self, peer_id: int, abandon: Callable[[], object]) -> _Served:
        served = _Served(abandon)
        self._serving[peer_id].add(served)
        return served

    def _served(self, peer_id: int, served: _Served) -> None:
        serving = self._serving.get(peer_id)
        if serving is not None:
            serving.discard(served)
            if not serving:
                del self._serving[peer_id]

    def _refuse(
        self, peer_id: int, spawn: node_pb2.Spawn, failure: node_pb2.SpawnFailure, error: str
    ) -> None:
        text = error[:MAX_DETAIL_LENGTH]
        self._reply(
            peer_id,
            node_pb2.SpawnReply(reference=spawn.reference, failure=failure, error=text, to=spawn.parent),
        )

    def _reply(self, peer_id: int, reply: node_pb2.SpawnReply) -> None:
        # False only if the peer is gone, and then nobody waits for the answer.
        self._runtime.peers.send(peer_id, node_pb2.Envelope(spawn_reply=reply).SerializeToString())


@dataclass(frozen=True, slots=True, eq=False)
class _Served:
    """A spawn being done for a peer; `abandon` stops it when the peer is gone."""

    abandon: Callable[[], object]


class _Pending:
    """One spawn that waits, until `deadline`; `pid` or `error` is set before `answered`."""

    def __init__(self, deadline: float = math.inf) -> None:
        self.deadline = deadline
        self.answered = trio.Event()
        self.pid = 0
        self.error: LunaError | None = None


def _check(spawn: node_pb2.Spawn) -> None:
    """Raise InvalidError for what breaks a limit, or makes no sense."""
    if not spawn.parent and (spawn.link or spawn.monitor):
        raise InvalidError("no process asked for it that it could be linked to or monitored by")
    check_entry(spawn.entry)
    params_from_proto(spawn.params)
    config_from_proto(spawn.config).check_texts()
    check_environment(spawn.environment)


def _not_connected(node_id: int) -> BrokenError:
    return BrokenError(f"node {node_id} is not connected")


def _failure_of(error: LunaError) -> node_pb2.SpawnFailure:
    if isinstance(error, ClosedError):
        return node_pb2.STOPPING
    return node_pb2.LIMIT if isinstance(error, RefusedError) else node_pb2.INSTANTIATION


def _error_of(reply: node_pb2.SpawnReply, peer: NodeInfo) -> LunaError:
    text = reply.error[:MAX_DETAIL_LENGTH] or "no reason given"
    message = f"node {peer.name} did not spawn the process: {text}"
    match reply.failure:
        case node_pb2.MODULE_UNKNOWN:
            return NotFoundError(message)
        case node_pb2.LIMIT:
            return LimitError(message)
        case node_pb2.STOPPING:
            return BrokenError(message)
        case _:
            return InvalidError(message)
