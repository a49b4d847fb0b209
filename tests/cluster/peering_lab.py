"""Nodes that are a `Peering` each, with a recorder for what it asks for and a clock that tests set."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from luna.cluster.keeping import Timings
from luna.cluster.members import Event, EventKind, Member, MemberState, NodeInfo
from luna.cluster.membership import Membership
from luna.cluster.peer import Peer, Stream
from luna.cluster.peering import Peering
from luna.cluster.wire import members_from_proto
from luna.proto import node_pb2

TIMINGS = Timings(5.0)


class Recorder:
    """Actions that only note what was asked for."""

    def __init__(self) -> None:
        self.log: list[tuple[object, ...]] = []
        self.sent: list[tuple[int, node_pb2.Envelope]] = []
        self.told: list[tuple[EventKind, int]] = []

    def attempt(self, peer: Peer) -> None:
        self.log.append(("attempt", peer.id))

    def check(self, peer: Peer) -> None:
        self.log.append(("check", peer.id))

    def probe(self, asker: Peer, reference: int, target: NodeInfo) -> None:
        self.log.append(("probe", asker.id, reference, target.id))

    def reunite(self, member: Member) -> None:
        self.log.append(("reunite", member.node.id))

    def close(self, stream: Stream, reason: str) -> None:
        self.log.append(("close", stream))

    def begin_session(self, peer: Peer) -> None:
        assert peer.link is not None
        self.log.append(("begin", peer.id, peer.link.session))

    def end_session(self, peer: Peer, reason: str) -> None:
        self.log.append(("end", peer.id))

    def send(self, peer: Peer, envelope: node_pb2.Envelope) -> None:
        self.sent.append((peer.id, envelope))

    def fatal(self, refusal: node_pb2.Refusal, detail: str) -> None:
        assert detail
        self.log.append(("fatal", refusal))

    def tell(self, event: Event, reason: str) -> None:
        self.told.append((event.kind, event.member.node.id))

    def take(self) -> list[tuple[object, ...]]:
        """What was asked for since the last call."""
        log, self.log = self.log, []
        return log

    def gossip(self) -> dict[int, list[Member]]:
        """What was told to which peer since the last call."""
        told: dict[int, list[Member]] = {}
        for node_id, envelope in self.sent:
            if envelope.HasField("gossip"):
                told.setdefault(node_id, []).extend(members_from_proto(envelope.gossip.members))
        self.sent = []
        return told


class Node:
    """One `Peering` with its recorder, and a clock that tests set."""

    def __init__(self, node_id: int, seed: int = 1) -> None:
        self.info = NodeInfo(node_id, f"n{node_id}", "c", f"10.0.0.{node_id}:1", started_ms=node_id)
        self.actions = Recorder()
        self.peering = Peering(Membership(self.info), self.actions, Random(seed), TIMINGS)
        self.now_s = 100.0

    @property
    def id(self) -> int:
        return self.info.id

    def knows(self, *others: Node) -> None:
        self.peering.gossip(self.now_s, [Member(other.info) for other in others])

    def record(self, state: MemberState = MemberState.ALIVE, *, later: int = 0) -> Member:
        """It as others may hear of it; `later`: of how many incarnations from now."""
        own = self.peering.membership.own
        return replace(own, state=state, incarnation=own.incarnation + later)

    def peer(self, other: Node) -> Peer:
        peer = self.peering.peer(other.id)
        assert peer is not None
        return peer

    def session(self, other: Node) -> int:
        link = self.peer(other).link
        return 0 if link is None else link.session

    def state_of(self, other: Node) -> tuple[MemberState, int]:
        member = self.peering.membership.get(other.id)
        assert member is not None
        return (member.state, member.incarnation)

    def break_stream(self, other: Node) -> None:
        stream = self.peer(other).stream
        assert stream is not None
        self.peering.ended(self.now_s, self.peer(other), stream)


def connect(dialer: Node, acceptor: Node) -> tuple[str, str]:
    """Open a stream; its names on both sides."""
    near, far = f"{dialer.id}>{acceptor.id}", f"{acceptor.id}<{dialer.id}"
    answer, opened = acceptor.peering.accept(acceptor.now_s, dialer.peering.offer(dialer.peer(acceptor)), far)
    assert opened is not None
    assert dialer.peering.answered(dialer.now_s, dialer.peer(acceptor), answer, near) is not None
    return near, far


def connected() -> tuple[Node, Node]:
    low, high = Node(1), Node(2)
    low.knows(high)
    connect(low, high)
    low.actions.take()
    high.actions.take()
    return low, high


def mesh(count: int) -> list[Node]:
    nodes = [Node(node_id) for node_id in range(1, count + 1)]
    for low in nodes:
        for high in nodes[low.id :]:
            low.knows(high)
            connect(low, high)
    for node in nodes:
        node.actions.take()
        node.actions.gossip()
        node.actions.told = []
    return nodes
