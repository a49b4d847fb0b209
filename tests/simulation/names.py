"""The names of processes in simulations: a real `Names`, and guests that put, find, remove and reserve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from luna.cluster.name_messages import Answered, Effect, Entry, Kill, Name, NameMessage, Reserved, Send
from luna.cluster.name_wire import names_from_proto, names_to_protos
from luna.cluster.names import Names
from luna.proto import node_pb2

from .services import Parcel

if TYPE_CHECKING:
    from .node import SimulatedNode

NAMES = [Name(1, text) for text in ("a", "b", "c", "d")]

SETTLE_TIMEOUTS = 2.0
"""timeouts of a node after which names are decided on without members that do not agree"""

SPAWN_S = 0.02
"""seconds, at most, that a process takes to be born for a reserved name"""


class SimulatedNames:
    """The names service of one node."""

    kind = "names"

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node
        self._world = node.world
        self.names = Names(node.id, self._claim)
        self._number = 0
        self._reserved: set[int] = set()
        self._peers: set[int] = set()
        self._view = 0
        self._asked: dict[int, Name] = {}
        self.found: dict[Name, Entry | None] = {}

    def _claim(self, pid: int) -> bool:
        return pid in self._node.core.processes

    # --- what happens -----------------------------------------------------------------------

    def peer_up(self, peer_id: int) -> None:
        self._peers.add(peer_id)
        self._see(self.names.members_changed(self._peers))

    def peer_lost(self, peer_id: int) -> None:
        self._peers.discard(peer_id)
        self._see(self.names.peer_lost(peer_id))

    def received(self, peer_id: int, message: node_pb2.Names) -> None:
        effects: list[Effect] = []
        for each in names_from_proto(message):
            effects += self.names.received(peer_id, each)
        self._do(effects)

    def died(self, pid: int) -> None:
        self._do(self.names.process_died(pid))

    def _see(self, effects: list[Effect]) -> None:
        self._do(effects)
        self._view += 1
        patience_s = SETTLE_TIMEOUTS * self._world.timings.node_timeout_s
        self._world.after(patience_s, self._node, self._assume_settled, self._view)

    def _assume_settled(self, view: int) -> None:
        if view == self._view and not self.names.settled:
            self._do(self.names.assume_settled())

    def _do(self, effects: list[Effect]) -> None:
        outgoing: dict[int, list[NameMessage]] = {}
        for effect in effects:
            match effect:
                case Send(peer, message):
                    outgoing.setdefault(peer, []).append(message)
                case Answered(number, entry, _):
                    name = self._asked.pop(number, None)
                    if name is not None:
                        self.found[name] = entry
                case Reserved(number):
                    delay_s = self._world.random.random() * SPAWN_S
                    self._world.after(delay_s, self._node, self._spawned, number)
                case Kill(entry, _):
                    process = self._node.core.processes.get(entry.pid)
                    if process is not None:
                        process.die("its name stands for another")
        for peer, messages in outgoing.items():
            for names in names_to_protos(messages):
                self._node.core.send_envelope(peer, Parcel(self.kind, names))

    # --- what guests do ---------------------------------------------------------------------

    def act(self) -> None:
        random, node = self._world.random, self._node
        name, pids = random.choice(NAMES), list(node.core.processes)
        if not pids:
            return
        match random.choices(["get", "put", "reserve", "remove"], [4, 4, 3, 1])[0]:
            case "get":
                self._do(self.names.get(self._next(), name))
            case "put":
                pid = random.choice(pids)
                self._do(self.names.put(self._next(), Entry(name, node.id, pid, self._now_ms())))
            case "reserve":
                self._do(self.names.reserve(self._next(), name))
            case "remove":
                self._do(self.names.remove(self._next(), name))

    def _spawned(self, number: int) -> None:
        if self._world.random.random() < 0.1:
            self._do(self.names.cancel(number))
        else:
            process = self._node.core.spawn(survives=True)
            self._do(self.names.commit(number, self._node.id, process.pid, self._now_ms()))

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _now_ms(self) -> int:
        return int(self._world.now_s * 1000)

    # --- at rest ----------------------------------------------------------------------------

    def begin_check(self) -> None:
        for name in NAMES:
            number = self._next()
            self._asked[number] = name
            self._do(self.names.get(number, name))

    def check(self, nodes: Mapping[int, SimulatedNode]) -> str | None:
        """Each name has one holder at most, and all nodes find it."""
        if not self.names.settled:
            return "names are not settled"
        if self.names.under_way:
            return f"{self.names.under_way} operations on names never end"
        for name in NAMES:
            holders = [
                entry.pid
                for node in nodes.values()
                for service in node.services
                if isinstance(service, SimulatedNames)
                for entry in service.names.owned()
                if entry.name == name
            ]
            if len(holders) > 1:
                return f"name {name.text} has the holders {holders}"
            found = self.found.get(name)
            if (None if found is None else found.pid) != (holders[0] if holders else None):
                return f"name {name.text} is {found} here, and its holders are {holders}"
        return None
