"""Whatever peers say, in whatever order: refused, or sessions begin and end as they must, one at a time."""

from __future__ import annotations

from random import Random

import pytest

from luna.cluster.keeping import Timings
from luna.cluster.link_layer import Link
from luna.cluster.members import Event, Member, MemberState, NodeInfo
from luna.cluster.membership import Membership
from luna.cluster.peer import Peer, Stream
from luna.cluster.peering import Peering
from luna.cluster.wire import make_hello
from luna.proto import node_pb2
from luna.proto.errors import InvalidError, RefusedError

OWN = NodeInfo(5, "own", "c", "10.0.0.5:1", started_ms=5)
IDS = (1, 2, 3, 5, 8, 9)
REFUSALS = [node_pb2.PROTOCOL, node_pb2.NAME_TAKEN, node_pb2.DECLARED_DEAD, node_pb2.EXPELLED]
STEPS = 300


class Checker:
    """Actions that hold the machine to what it promises its owner."""

    def __init__(self) -> None:
        self.sessions: dict[int, int] = {}
        self.ended: set[tuple[int, int]] = set()
        self.attempting: dict[int, Peer] = {}
        self.stops = 0

    def attempt(self, peer: Peer) -> None:
        assert self.attempting.get(peer.id) is not peer, "one attempt at a time"
        self.attempting[peer.id] = peer

    def begin_session(self, peer: Peer) -> None:
        assert peer.link is not None
        assert peer.id not in self.sessions, "a session begins when the one before has ended"
        self.sessions[peer.id] = peer.link.session

    def end_session(self, peer: Peer, reason: str) -> None:
        assert reason
        assert peer.link is None
        self.ended.add((peer.id, self.sessions.pop(peer.id)))

    def send(self, peer: Peer, envelope: node_pb2.Envelope) -> None:
        assert peer.link is not None, "nobody queues for a peer without a session"
        assert envelope.ByteSize() > 0

    def fatal(self, refusal: node_pb2.Refusal, detail: str) -> None:
        self.stops += 1

    def check(self, peer: Peer) -> None: ...
    def probe(self, asker: Peer, reference: int, target: NodeInfo) -> None: ...
    def reunite(self, member: Member) -> None: ...
    def close(self, stream: Stream, reason: str) -> None: ...
    def tell(self, event: Event, reason: str) -> None: ...


class Hostile:
    """One node, and all that others may do to it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.actions = Checker()
        self.peering = Peering(Membership(OWN), self.actions, Random(seed), Timings(5.0))
        self.now_s = 0.0
        self.streams = 0

    def node(self) -> NodeInfo:
        random, node_id = self.random, self.random.choice(IDS)
        name = "own" if random.random() < 0.05 else f"n{node_id}"
        return NodeInfo(
            node_id, name, "c", f"10.0.0.{node_id}:1", started_ms=random.choice([node_id] * 9 + [1])
        )

    def member(self) -> Member:
        states = [MemberState.ALIVE] * 5 + [MemberState.SUSPECT, MemberState.DEAD, MemberState.DEAD]
        state = MemberState.LEFT if self.random.random() < 0.02 else self.random.choice(states)
        return Member(self.node(), state, self.random.randrange(4))

    def hello(self) -> node_pb2.Hello:
        random = self.random
        members = [self.member() for _ in range(random.randrange(4))]
        hello = make_hello(Member(self.node(), MemberState.ALIVE, random.randrange(4)), members)
        match random.randrange(8):
            case 0:
                hello.node.name = random.choice(["", "\0", "x" * 99])
            case 1:
                hello.members.add()
            case 2:
                hello.refusal = random.choice(REFUSALS)
                hello.detail = "so it says"
            case 3:
                hello.protocol_min, hello.protocol_max = random.choice([(0, 0), (99, 100), (7, 2)])
            case _:
                pass
        known = [link.session for link in self.links()]
        hello.session.session = random.choice([0, 1, 2**64 - 1, *known])
        hello.session.proposed = random.choice([0, 7, 7, 8, random.getrandbits(63), *known])
        hello.session.received = random.choice([0, 0, 0, 1, 2**64 - 1])
        return hello

    def links(self) -> list[Link]:
        return [peer.link for peer in self.peering.peers() if peer.link is not None]

    def step(self) -> None:
        random, peering = self.random, self.peering
        self.now_s += random.choice([0.0, 0.01, 0.1, 1.0])
        peers = peering.peers()
        peer = random.choice(peers) if peers else None
        match random.randrange(12):
            case 0:
                peering.met(self.now_s, self.hello())
            case 1 | 2:
                self.streams += 1
                peering.accept(self.now_s, self.hello(), f"accepted {self.streams}")
            case 3:
                peering.take_answer(self.now_s, self.hello())
            case 4 | 5 if self.actions.attempting:
                self.conclude(*self.actions.attempting.popitem())
            case 6:
                peering.gossip(self.now_s, [self.member() for _ in range(random.randrange(3))])
            case 7 if peer is not None and peer.stream is not None:
                peering.ended(self.now_s, peer, peer.stream)
            case 8 if peer is not None:
                peering.probe(
                    peer, node_pb2.Probe(reference=random.getrandbits(64), node=random.getrandbits(64))
                )
                peering.probed(peer, 1, True)
            case 9:
                reply = node_pb2.ProbeReply(reference=random.randrange(5), reached=random.random() < 0.5)
                peering.probe_replied(self.now_s, reply)
            case 10 if peer is not None and random.random() < 0.2:
                peering.expel(self.now_s, peer, "nonsense")
            case _:
                peering.tick(self.now_s)

    def conclude(self, _: int, peer: Peer) -> None:
        """The attempt at a peer is over, one way or the other."""
        opened = None
        try:
            if self.peering.dials(peer) and self.random.random() < 0.7:
                offer, answer = self.peering.offer(peer), self.hello()
                if self.random.random() < 0.6:
                    answer.node.id, answer.node.name = peer.id, peer.info.name
                    answer.node.address, answer.node.started_ms = peer.info.address, peer.info.started_ms
                    said = self.random.choice([offer.session.proposed, offer.session.session, 3])
                    answer.session.session = said or offer.session.proposed
                self.streams += 1
                opened = self.peering.answered(self.now_s, peer, answer, f"dialed {self.streams}")
        finally:
            if opened is None:
                self.peering.attempt_failed(self.now_s, peer, gone=self.random.random() < 0.1)

    def check(self) -> None:
        sessions = {peer.id: peer.link.session for peer in self.peering.peers() if peer.link is not None}
        assert sessions == self.actions.sessions
        for peer in self.peering.peers():
            assert peer.link is not None or peer.stream is None, "a stream carries a session"
            member = self.peering.membership.get(peer.id)
            assert member is not None
            assert member.live, "whoever is dead or has left is no peer"
        assert self.peering.own.id not in {peer.id for peer in self.peering.peers()}
        assert self.peering.deadline_s() > self.now_s - 2.0, "what is due was done at the last tick"


@pytest.mark.parametrize("seed", range(150))
def test_sessions_begin_and_end_in_turn_whatever_peers_say(seed: int) -> None:
    hostile = Hostile(seed)
    refused = 0
    for _ in range(STEPS):
        try:
            hostile.step()
        except (InvalidError, RefusedError):
            refused += 1
        hostile.check()
        hostile.peering.tick(hostile.now_s)
    assert refused > 0
    assert hostile.streams > 0
