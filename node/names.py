"""The names of processes across the cluster, as a part of a node.

Carries `luna.cluster.names`, which decides everything: the messages between nodes, the waiting of guests, the
names that guests find without Python, the ends of processes, and the kills. Lives on trio.

A node without peers leaves all to `LocalNames`, in the native core. With the first peer its names are shared,
until it has lost the last and nobody waits here. Meanwhile a guest's `get` is answered natively for names of
processes of its own node, which no other node takes away without asking; all else comes here.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import final

import structlog
import trio

from luna.cluster.members import NodeInfo
from luna.cluster.name_messages import (
    Answered,
    Changed,
    Effect,
    Entry,
    Kill,
    Name,
    NameMessage,
    Reserved,
    Send,
)
from luna.cluster.name_wire import names_from_proto, names_to_protos
from luna.cluster.names import Names
from luna.node.events import EventKind, Events
from luna.node.peer_services import Handler
from luna.proto import node_pb2
from luna.proto.errors import RefusedError
from luna.proto.ids import serial_of
from luna.proto.limits import FROZEN_PEER_TIMEOUT_S
from luna.scheduler.local_names import LocalNames, OwnName, wall_clock_ms
from luna.scheduler.name_service import Registered

_log = structlog.get_logger(__name__)

SETTLE_PATIENCE_S = 2 * FROZEN_PEER_TIMEOUT_S
"""seconds that a node waits for its peers to see the same members and to tell which names they have. A member
that others do not reach is declared dead in half of that; whatever else is in the way, guests must not hang
for it."""


@final
@dataclass(slots=True)
class _Waiting:
    """A guest's operation under way."""

    done: trio.Event = field(default_factory=trio.Event)
    entry: Entry | None = None
    refused: bool = False


@final
class ClusterNames:
    """The NameService of a node, and a PeerService. For one trio thread."""

    def __init__(
        self,
        node_id: int,
        local: LocalNames,
        send: Callable[[int, bytes], bool],
        kill: Callable[[int], bool],
        events: Events,
    ) -> None:
        """`send(peer, envelope)` queues a serialized Envelope; `kill(pid)` kills a process of this node."""
        self._local = local
        self._send = send
        self._kill = kill
        self._events = events
        self._node_id = node_id
        self._names = Names(node_id, local.claim)
        self._shared = False
        self._peers: set[int] = set()
        self._view_changed = trio.Event()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}

    async def run(self) -> None:
        """Keep guests from waiting for ever for members that do not agree. Until cancelled."""
        while True:
            changed = self._view_changed
            patience_s = float("inf") if self._names.settled else SETTLE_PATIENCE_S
            with trio.move_on_after(patience_s):
                await changed.wait()
                continue
            if not self._names.settled:
                _log.warning("members do not agree who is there: names are decided on without them")
                self._act(self._names.assume_settled())

    # --- the service for guests -----------------------------------------------------------------

    def get_nowait(self, environment: int, name: str) -> Registered | None:
        """See NameService."""
        found = self._local.get_nowait(environment, name)  # also where names are shared: it may be held
        if not self._shared:
            return found
        key = Name(environment, name)
        self._bury(key)
        return _registered(self._names.look(key))

    async def get(self, environment: int, name: str) -> Registered | None:
        """See NameService."""
        if await self._is_local(environment, name):
            return self._local.find(environment, name)
        key = Name(environment, name)
        self._bury(key)
        return _registered((await self._operate(lambda number: self._names.get(number, key))).entry)

    async def put(self, environment: int, name: str, node_id: int, pid: int) -> None:
        """See NameService."""
        if await self._is_local(environment, name):
            await self._local.put(environment, name, node_id, pid)
            return
        entry = Entry(Name(environment, name), node_id, pid, wall_clock_ms())
        self._bury(entry.name)
        done = await self._operate(lambda number: self._names.put(number, entry))
        if done.refused:
            raise RefusedError(f"the node of process {pid} has too many names: it can be given no more")

    async def remove(self, environment: int, name: str) -> None:
        """See NameService."""
        if await self._is_local(environment, name):
            self._local.hide(environment, name)
            return
        await self._operate(lambda number: self._names.remove(number, Name(environment, name)))

    @asynccontextmanager
    async def reserve(self, environment: int, name: str) -> AsyncIterator[_Reserved]:
        """See NameService."""
        if await self._is_local(environment, name):
            async with self._local.reserve(environment, name) as held:
                yield _Reserved(held.found, held.commit)
            return
        key = Name(environment, name)
        self._bury(key)
        number = next(self._numbers)
        answer = await self._operate(lambda number: self._names.reserve(number, key), number)

        def commit(node_id: int, pid: int) -> None:
            self._act(self._names.commit(number, node_id, pid, wall_clock_ms()))

        try:
            yield _Reserved(_registered(answer.entry), commit)
        finally:
            self._act(self._names.cancel(number))
            self._keep_alone()

    async def _is_local(self, environment: int, name: str) -> bool:
        """Whether this node decides alone; before its names were shared, one may be held here for a spawn."""
        await self._local.wait_unheld(environment, name)
        return not self._shared

    def _bury(self, name: Name) -> None:
        """The end of a process is told later than it can be seen."""
        entry = self._names.holder(name)
        if entry is not None and not self._local.is_alive(entry.pid):
            self._died(entry.pid)

    async def _operate(self, begin: Callable[[int], list[Effect]], number: int | None = None) -> _Waiting:
        """Begin an operation and wait for its end, or for what was reserved."""
        number = next(self._numbers) if number is None else number
        waiting = self._waiting[number] = _Waiting()
        try:
            self._act(begin(number))
            await waiting.done.wait()
        except trio.Cancelled:
            self._act(self._names.cancel(number))
            raise
        finally:
            del self._waiting[number]
            self._keep_alone()
        return waiting

    # --- peers --------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[str, Handler]:
        """The messages it takes from peers (PeerService)."""
        return {"names": self._received}

    def peer_up(self, peer: NodeInfo) -> None:
        """A session with a peer began."""
        if not self._shared:
            self._share()
        self._peers.add(peer.id)
        self._see(self._names.members_changed(self._peers))

    def peer_lost(self, peer_id: int) -> None:
        """The session with a peer is over, if there was one."""
        self._peers.discard(peer_id)
        self._see(self._names.peer_lost(peer_id))
        self._keep_alone()

    def _received(self, peer: NodeInfo, message: node_pb2.Names) -> None:
        effects: list[Effect] = []
        try:
            for each in names_from_proto(message):
                effects += self._names.received(peer.id, each)
        finally:
            self._act(effects)

    def _see(self, effects: list[Effect]) -> None:
        self._view_changed.set()
        self._view_changed = trio.Event()
        self._act(effects)

    def _share(self) -> None:
        self._shared = True
        own = self._local.share(self._born_late, self._died)
        self._act(
            self._names.adopt(
                Entry(Name(each.environment, each.name), each.node_id, each.pid, each.stamp_ms)
                for each in own
            )
        )

    def _keep_alone(self) -> None:
        """Leave all to this node's core, if there is no peer and nobody waits for an answer from here."""
        if self._shared and not self._peers and not self._names.under_way:
            self._shared = False
            self._local.unshare()
            self._names = Names(self._node_id, self._local.claim)

    def _born_late(self, environment: int, name: str, node_id: int, pid: int) -> None:
        """A process was spawned for a name that others may have by now."""
        self._act(self._names.adopt([Entry(Name(environment, name), node_id, pid, wall_clock_ms())]))

    def _died(self, pid: int) -> None:
        self._act(self._names.process_died(pid))

    # --- what is to be done -------------------------------------------------------------------------

    def _act(self, effects: list[Effect]) -> None:
        outgoing: dict[int, list[NameMessage]] = {}
        for effect in effects:
            match effect:
                case Send(peer, message):
                    outgoing.setdefault(peer, []).append(message)
                case Answered(number, entry, refused):
                    waiting = self._waiting.get(number)
                    if waiting is not None:
                        waiting.entry, waiting.refused = entry, refused
                        waiting.done.set()
                case Reserved(number):
                    self._waiting[number].done.set()
                case Changed(name, None):
                    self._local.hide(*name)
                case Changed(name, Entry() as entry):
                    self._local.show(OwnName(*name, entry.node, entry.pid, entry.stamp))
                case Kill(entry, winner):
                    _log.warning(
                        "process killed: its name stands for one that was registered earlier on another node",
                        pid=entry.pid,
                        name=entry.name.text,
                        environment=entry.name.environment,
                        winner=winner,
                    )
                    detail = (
                        f"{entry.name.text}: process {serial_of(entry.pid)} of this node was killed for it"
                    )
                    self._events.publish(EventKind.NAME_CLASH, detail=detail)
                    self._kill(entry.pid)
        for peer, messages in outgoing.items():
            for names in names_to_protos(messages):
                self._send(peer, node_pb2.Envelope(names=names).SerializeToString())


@final
@dataclass(frozen=True, slots=True)
class _Reserved:
    """Reservation: what was found, and else how to commit."""

    found: Registered | None
    commit: Callable[[int, int], None]


def _registered(entry: Entry | None) -> Registered | None:
    return None if entry is None else Registered(entry.node, entry.pid)
