"""Process groups in simulations: a real `GroupExchange`, and guests that join and leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from luna.cluster.groups import GroupExchange, Membership, Message, Send

from .services import Parcel

if TYPE_CHECKING:
    from .node import SimulatedNode

GROUPS = ("red", "green")


class SimulatedGroups:
    """The groups service of one node."""

    kind = "groups"

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node
        self.own: dict[Membership, None] = {}
        self._exchange = GroupExchange()

    def peer_up(self, peer_id: int) -> None:
        self._send(self._exchange.peer_up(peer_id, list(self.own)))

    def peer_lost(self, peer_id: int) -> None:
        self._exchange.peer_lost(peer_id)

    def received(self, peer_id: int, message: Message) -> None:
        self._send(self._exchange.received(peer_id, message))

    def died(self, pid: int) -> None:
        for membership in [membership for membership in self.own if membership.pid == pid]:
            self._leave(membership)

    def act(self) -> None:
        random = self._node.world.random
        pids = list(self._node.core.processes)
        if self.own and random.random() < 0.4:
            self._leave(random.choice(list(self.own)))
        elif pids:
            membership = Membership(1, random.choice(GROUPS), random.choice(pids))
            if membership not in self.own:
                self.own[membership] = None
                self._send(self._exchange.joined(membership))

    def _leave(self, membership: Membership) -> None:
        del self.own[membership]
        self._send(self._exchange.left(membership))

    def _send(self, sends: Iterable[Send]) -> None:
        for send in sends:
            self._node.core.send_envelope(send.peer, Parcel(self.kind, send.message))

    def begin_check(self) -> None:
        pass

    def check(self, nodes: Mapping[int, SimulatedNode]) -> str | None:
        """Every node knows the members on all others."""
        expected = {
            membership
            for node in nodes.values()
            for service in node.services
            if isinstance(service, SimulatedGroups) and service is not self
            for membership in service.own
        }
        known = set(self._exchange.memberships())
        if known != expected:
            return (
                f"groups: {sorted(known - expected)} are no members, {sorted(expected - known)} are unknown"
            )
        return None
