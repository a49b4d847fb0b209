"""Whole clusters in memory, on a fake clock, from a seed: membership tables driven as a node will drive them.

A `World` has hosts; a host runs one `SimulatedNode` at a time, and a new one, with a new id, after a
restart. The network loses, delays and reorders messages and can be split. Nodes probe, gossip and meet
(exchange Hellos through the real protobuf messages and the real judgement). Every event of every table
is checked against the promise that an id which departed never returns.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from luna.cluster.detector import (
    DetectorConfig,
    ProbeOrder,
    choose_indirect_probers,
    verdict_deadline,
)
from luna.cluster.gossip import Rumours
from luna.cluster.members import Event, EventKind, Member, MemberState, NodeInfo
from luna.cluster.membership import Membership
from luna.cluster.naming import judge_hello
from luna.cluster.wire import make_hello, members_from_proto, node_from_proto
from luna.proto import node_pb2
from luna.proto.ids import draw_node_id

CLUSTER = "simulated"
GOSSIP_INTERVAL_S = 0.3
GOSSIP_FANOUT = 2
MEET_INTERVAL_S = 2.0
RESTART_DELAY_S = 1.0

SPREAD = {
    EventKind.JOINED,
    EventKind.SUSPECTED,
    EventKind.RECOVERED,
    EventKind.UPDATED,
    EventKind.DIED,
    EventKind.LEFT,
    EventKind.REFUTED,
}
MUST_STOP = {EventKind.DECLARED_DEAD, EventKind.ID_CONFLICT}


@dataclass
class Network:
    """How bad the network is. `groups`: sets of hosts that cannot reach each other; empty: all can."""

    loss: float = 0.0
    min_delay_s: float = 0.001
    max_delay_s: float = 0.02
    groups: Sequence[set[int]] = ()

    def connected(self, a: int, b: int) -> bool:
        return not self.groups or any(a in group and b in group for group in self.groups)


@dataclass(order=True)
class _Call:
    at_s: float
    order: int
    action: Callable[[], None] = field(compare=False)


class World:
    """The clock, the network and the hosts."""

    def __init__(self, seed: int, hosts: int, detector: DetectorConfig | None = None) -> None:
        self.random = Random(seed)
        self.now_s = 0.0
        self.network = Network()
        self.detector = detector or DetectorConfig()
        self.hosts = list(range(hosts))
        self.running: dict[int, SimulatedNode] = {}
        self.used_ids: set[int] = set()
        self.departures: list[tuple[float, int, int]] = []  # when, by which host, which id
        self._calls: list[_Call] = []
        self._order = 0

    def at(self, delay_s: float, action: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._calls, _Call(self.now_s + delay_s, self._order, action))

    def run_until(self, end_s: float) -> None:
        while self._calls and self._calls[0].at_s <= end_s:
            call = heapq.heappop(self._calls)
            self.now_s = call.at_s
            call.action()
        self.now_s = end_s

    def start(self, host: int) -> None:
        """Start a node on `host`, unless one runs there."""
        if host not in self.running:
            self.running[host] = SimulatedNode(self, host)

    def crash(self, host: int) -> None:
        """The node of `host` is gone without a word."""
        node = self.running.pop(host, None)
        if node is not None:
            node.stopped = True

    def send(self, sender: int, receiver: int, deliver: Callable[[SimulatedNode], None]) -> None:
        """Call `deliver` with whatever node runs on host `receiver` when the message arrives, if it does."""
        network = self.network
        if self.random.random() < network.loss or not network.connected(sender, receiver):
            return

        def arrive() -> None:
            node = self.running.get(receiver)
            if node is None or not self.network.connected(sender, receiver):
                return
            if node.frozen_until_s > self.now_s:  # it waits in the socket's buffer
                self.at(node.frozen_until_s - self.now_s, arrive)
            else:
                deliver(node)

        self.at(self.random.uniform(network.min_delay_s, network.max_delay_s), arrive)

    def ids(self) -> list[int]:
        return sorted(node.id for node in self.running.values())

    def converged(self) -> bool:
        """Every host runs a node, and all of them see exactly these nodes, alive, with equal records."""
        views = [node.membership.live() for node in self.running.values()]
        return len(views) == len(self.hosts) and all(
            view == views[0]
            and [member.node.id for member in view] == self.ids()
            and all(member.state is MemberState.ALIVE for member in view)
            for view in views
        )

    def run_until_converged(self, deadline_s: float) -> bool:
        while self.now_s < deadline_s and not self.converged():
            self.run_until(self.now_s + 0.5)
        return self.converged()


class SimulatedNode:
    """One incarnation: tables, and the loops that drive them."""

    def __init__(self, world: World, host: int) -> None:
        self.world = world
        self.host = host
        self.id = draw_node_id(world.random, world.used_ids)
        world.used_ids.add(self.id)
        own = NodeInfo(
            self.id, f"host-{host}", CLUSTER, f"10.0.0.1:{host + 1}", {}, started_ms=int(world.now_s * 1000)
        )
        self.membership = Membership(own)
        self.rumours = Rumours()
        self.stopped = False
        self.frozen_until_s = 0.0
        self._departed: set[int] = set()
        self._deadlines: dict[int, float] = {}
        self._probe_order = ProbeOrder(world.random)
        self._probing: int | None = None
        self._every(world.detector.probe_interval_s, self._probe)
        self._every(GOSSIP_INTERVAL_S, self._gossip)
        self._every(MEET_INTERVAL_S, self._meet_somebody)

    # --- What the world does to it ---

    def freeze(self, seconds: float) -> None:
        self.frozen_until_s = self.world.now_s + seconds

    def leave(self) -> None:
        """Leave on purpose: tell some peers, then stop."""
        record = self.membership.leave()
        for peer in self._choose_peers(3):
            self._tell(peer, [record])
        self.world.crash(self.host)

    # --- Loops ---

    def _every(self, interval_s: float, action: Callable[[], None]) -> None:
        world = self.world

        def again() -> None:
            if self.stopped:
                return
            if self.frozen_until_s > world.now_s:
                world.at(self.frozen_until_s - world.now_s, again)
                return
            action()
            if not self.stopped:
                world.at(interval_s * world.random.uniform(0.9, 1.1), again)

        world.at(interval_s * world.random.random(), again)

    def _probe(self) -> None:
        if self._probing is not None:
            self.apply(self.membership.suspect(self._probing))
        peers = [member.node.id for member in self.membership.peers()]
        self._probing = target = self._probe_order.next(peers)
        if target is None:
            return
        self._ping(target, self)
        self.world.at(self.world.detector.probe_timeout_s, lambda: self._probe_indirectly(target))

    def _probe_indirectly(self, target: int) -> None:
        if self.stopped or self._probing != target:
            return
        live = [member.node.id for member in self.membership.live()]
        count = self.world.detector.indirect_probers
        for prober in choose_indirect_probers(self.world.random, live, target, self.id, count):
            self._send(prober, lambda node: node._ping(target, self))

    def _ping(self, target: int, asking: SimulatedNode) -> None:
        """Ping `target`; its answer goes back the way the ping came, to `asking` in the end."""

        def answer(node: SimulatedNode) -> None:
            if node.id != target:
                return
            hops = [self] if asking is self else [self, asking]

            def back(here: SimulatedNode) -> None:
                if here is not hops.pop(0):
                    return
                if hops:
                    self.world.send(here.host, hops[0].host, back)
                elif here._probing == target:
                    here._probing = None

            self.world.send(node.host, self.host, back)

        self._send(target, answer)

    def _gossip(self) -> None:
        for node_id, deadline_s in list(self._deadlines.items()):
            if deadline_s <= self.world.now_s:
                self.apply(self.membership.declare_dead(node_id))
        members = len(self.membership.live())
        for peer in self._choose_peers(GOSSIP_FANOUT):
            rumours = self.rumours.take(members)
            if rumours:
                self._tell(peer, rumours)

    def _meet_somebody(self) -> None:
        """Discovery found an address: exchange Hellos with whoever is there."""
        host = self.world.random.choice(self.world.hosts)
        if host != self.host:
            hello = self._hello()
            self.world.send(self.host, host, lambda node: node._met_by(self, hello))

    def _met_by(self, caller: SimulatedNode, hello: node_pb2.Hello) -> None:
        answer = self._hello()
        refused = judge_hello(answer, self.membership, hello)
        if refused is None:
            self._accept(hello)
            answer = self._hello()
        else:
            answer.ClearField("members")
            answer.refusal = refused.refusal
            answer.detail = refused.detail
        self.world.send(self.host, caller.host, lambda node: node._answered(caller, answer))

    def _answered(self, caller: SimulatedNode, answer: node_pb2.Hello) -> None:
        if self is not caller:
            return
        if answer.refusal in (node_pb2.DECLARED_DEAD, node_pb2.ID_TAKEN):
            self._stop_and_restart()
        elif answer.refusal == node_pb2.REFUSAL_UNSPECIFIED and not judge_hello(
            self._hello(), self.membership, answer
        ):
            self._accept(answer)

    def _accept(self, hello: node_pb2.Hello) -> None:
        members = [Member(node_from_proto(hello.node)), *members_from_proto(hello.members)]
        self.apply(self.membership.merge_all(members))

    def _hello(self) -> node_pb2.Hello:
        return make_hello(self.membership.own.node, self.membership.snapshot())

    # --- Messages ---

    def _choose_peers(self, count: int) -> list[int]:
        peers = [member.node.id for member in self.membership.peers()]
        return self.world.random.sample(peers, min(count, len(peers)))

    def _send(self, node_id: int, deliver: Callable[[SimulatedNode], None]) -> None:
        """To the node `node_id`; another one that runs at its address now is not reached."""
        member = self.membership.get(node_id)
        if member is not None:
            host = int(member.node.address.rpartition(":")[2]) - 1
            self.world.send(self.host, host, lambda node: deliver(node) if node.id == node_id else None)

    def _tell(self, node_id: int, rumours: list[Member]) -> None:
        self._send(node_id, lambda node: node._told(rumours))

    def _told(self, rumours: list[Member]) -> None:
        self.apply(self.membership.merge_all(rumours))

    def apply(self, events: list[Event]) -> None:
        """Act on the events of the table, as a node must."""
        for event in events:
            member = event.member
            node_id = member.node.id
            if self.stopped:
                return
            if event.kind in (EventKind.DIED, EventKind.LEFT):
                assert node_id not in self._departed, "an id departs once"
                self._departed.add(node_id)
                self.world.departures.append((self.world.now_s, self.host, node_id))
            elif event.kind is not EventKind.RETURNED:
                assert node_id not in self._departed, f"{node_id} departed and is back: {event}"
            if event.kind is EventKind.SUSPECTED:
                members = len(self.membership.live())
                self._deadlines[node_id] = verdict_deadline(self.world.now_s, members, self.world.detector)
            elif event.kind in SPREAD:
                self._deadlines.pop(node_id, None)
            if event.kind in SPREAD:
                self.rumours.add(member)
            lost_name = event.kind is EventKind.NAME_CONFLICT and node_id == self.id
            if event.kind in MUST_STOP or lost_name:
                self._stop_and_restart()

    def _stop_and_restart(self) -> None:
        if not self.stopped:
            self.world.crash(self.host)
            self.world.at(RESTART_DELAY_S, lambda: self.world.start(self.host))
