"""Process groups between nodes: each speaks for its own processes, and in the end all know the same."""

from __future__ import annotations

from collections import deque
from random import Random

import pytest

from luna.cluster import groups
from luna.cluster.groups import (
    ANNOUNCEMENT_BYTES,
    MEMBERSHIP_BYTES,
    Announcement,
    GroupExchange,
    Membership,
    Message,
    Received,
    Send,
)
from luna.proto.errors import InvalidError
from luna.proto.ids import make_pid
from luna.proto.limits import MAX_GROUP_NAME_BYTES

PEER, OTHER = 7, 9


def member(serial: int, name: str = "g", node: int = PEER, environment: int = 1) -> Membership:
    return Membership(environment, name, make_pid(node, serial))


def own(serial: int, name: str = "g") -> Membership:
    return member(serial, name, node=5)


def test_a_new_session_begins_with_all_that_is_so() -> None:
    exchange = GroupExchange()
    assert exchange.joined(own(1)) == []
    assert exchange.peer_up(PEER, [own(1), own(2)]) == [Send(PEER, Announcement((own(1), own(2))))]
    assert exchange.peer_up(OTHER, []) == []


def test_changes_go_to_every_peer() -> None:
    exchange = GroupExchange()
    for peer in (PEER, OTHER):
        exchange.peer_up(peer, [])
    assert exchange.joined(own(1)) == [Send(peer, Announcement((own(1),))) for peer in (PEER, OTHER)]


def test_the_next_announcement_waits_for_the_receipt_and_opposite_changes_cancel() -> None:
    exchange = GroupExchange()
    exchange.peer_up(PEER, [own(1)])
    assert exchange.joined(own(2)) == exchange.left(own(2)) == []  # never told
    assert exchange.left(own(1)) == exchange.joined(own(3)) == []
    assert exchange.received(PEER, Received()) == [Send(PEER, Announcement((own(3),), (own(1),)))]
    assert exchange.joined(own(1)) == exchange.left(own(1)) == []  # as the peer will believe anyway
    assert exchange.received(PEER, Received()) == []
    assert exchange.left(own(3)) == [Send(PEER, Announcement((), (own(3),)))]


def test_much_is_told_in_pieces() -> None:
    exchange = GroupExchange()
    name = "n" * (1000 - MEMBERSHIP_BYTES)
    sends = exchange.peer_up(PEER, [own(serial, name) for serial in range(1, 200)])
    told = 0
    while sends:
        (send,) = sends
        assert isinstance(send.message, Announcement)
        assert len(send.message.joined) <= ANNOUNCEMENT_BYTES // 1000
        told += len(send.message.joined)
        sends = exchange.received(PEER, Received())
    assert told == 199


def test_what_a_peer_told_is_known_until_its_session_ends() -> None:
    exchange = GroupExchange()
    exchange.peer_up(PEER, [])
    assert exchange.received(PEER, Announcement((member(1), member(2)))) == [Send(PEER, Received())]
    exchange.received(PEER, Announcement((), (member(1), member(3))))  # the last one is not known, as well
    exchange.peer_up(OTHER, [])
    exchange.received(OTHER, Announcement((member(1, node=OTHER), member(2, node=OTHER, environment=2))))
    assert list(exchange.members(1, "g")) == [make_pid(PEER, 2), make_pid(OTHER, 1)]
    exchange.peer_lost(PEER)
    exchange.peer_lost(PEER)
    assert list(exchange.members(1, "g")) == [make_pid(OTHER, 1)]
    assert exchange.received(PEER, Announcement((member(5),))) == []  # of the session that is over
    assert list(exchange.memberships()) == [member(1, node=OTHER), member(2, node=OTHER, environment=2)]


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        (Announcement((member(1, node=OTHER),)), "another node"),
        (Announcement((), (member(1, node=OTHER),)), "another node"),
        (Announcement((Membership(1, "g", PEER << 40),)), "another node"),
        (Announcement((member(1, "n" * (MAX_GROUP_NAME_BYTES + 1)),)), "255 bytes"),
        (Received(), "a receipt for group memberships that were not sent"),
    ],
)
def test_what_no_correct_node_sends_is_refused_and_changes_nothing(message: Message, wrong: str) -> None:
    exchange = GroupExchange()
    exchange.peer_up(PEER, [])
    exchange.received(PEER, Announcement((member(8),)))
    with pytest.raises(InvalidError, match=wrong):
        exchange.received(PEER, message)
    assert list(exchange.memberships()) == [member(8)]


def test_a_peer_cannot_have_more_memberships_than_a_node_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MAX_KNOWN", 3)
    exchange = GroupExchange()
    exchange.peer_up(PEER, [])
    exchange.received(PEER, Announcement(tuple(member(serial) for serial in (1, 2, 3))))
    with pytest.raises(InvalidError, match="more than 3"):
        exchange.received(PEER, Announcement((member(4),)))


# -- many nodes --------------------------------------------------------------------


class Stream:
    """One session of a pair: a queue each way, and who is in it."""

    def __init__(self) -> None:
        self.queues: dict[tuple[int, int], deque[Message]] = {}
        self.present: set[int] = set()


class Cluster:
    """Nodes that exchange memberships over sessions which begin and end as a seed says."""

    def __init__(self, seed: int, nodes: int = 4) -> None:
        self.random = Random(seed)
        self.nodes = {node: GroupExchange() for node in range(1, nodes + 1)}
        self.own: dict[int, set[Membership]] = {node: set() for node in self.nodes}
        self.streams: dict[tuple[int, int], Stream] = {}

    def pair(self) -> tuple[int, int]:
        one, other = sorted(self.random.sample(list(self.nodes), 2))
        return one, other

    def send(self, node: int, sends: list[Send]) -> None:
        for send in sends:
            stream = self.streams[min(node, send.peer), max(node, send.peer)]
            assert node in stream.present, "only who has a session sends in it"
            queue = stream.queues.setdefault((node, send.peer), deque())
            if isinstance(send.message, Announcement):
                assert not any(isinstance(message, Announcement) for message in queue), "one at a time"
            queue.append(send.message)

    def change(self) -> None:
        node = self.random.choice(list(self.nodes))
        membership = member(self.random.randint(1, 4), self.random.choice("ab"), node=node)
        if membership in self.own[node]:
            self.own[node].discard(membership)
            self.send(node, self.nodes[node].left(membership))
        else:
            self.own[node].add(membership)
            self.send(node, self.nodes[node].joined(membership))

    def lose(self) -> None:
        """A session ends on one side; the other learns later."""
        pair = self.pair()
        stream = self.streams.get(pair)
        if stream is not None:
            node = self.random.choice(pair)
            if node in stream.present:
                self.leave(pair, node)

    def leave(self, pair: tuple[int, int], node: int) -> None:
        self.streams[pair].present.discard(node)
        self.nodes[node].peer_lost(sum(pair) - node)

    def connect(self, pair: tuple[int, int]) -> None:
        """A new session begins, once nobody is in the last one any more."""
        stream = self.streams.get(pair)
        if stream is not None:
            for node in list(stream.present):
                self.leave(pair, node)
        self.streams[pair] = Stream()

    def enter(self, pair: tuple[int, int], node: int) -> None:
        stream = self.streams[pair]
        if node not in stream.present:
            stream.present.add(node)
            self.send(node, self.nodes[node].peer_up(sum(pair) - node, sorted(self.own[node])))

    def deliver(self) -> bool:
        waiting = [
            (pair, way, queue)
            for pair, stream in self.streams.items()
            for way, queue in stream.queues.items()
            if queue and way[1] in stream.present
        ]
        if not waiting:
            return False
        _, (sender, receiver), queue = self.random.choice(waiting)
        self.send(receiver, self.nodes[receiver].received(sender, queue.popleft()))
        return True

    def step(self) -> None:
        pair = self.pair()
        match self.random.choices(["change", "deliver", "lose", "connect", "enter"], [8, 12, 1, 1, 4])[0]:
            case "change":
                self.change()
            case "deliver":
                self.deliver()
            case "lose":
                self.lose()
            case "connect":
                self.connect(pair)
            case "enter" if pair in self.streams and self.fresh(pair):
                self.enter(pair, self.random.choice(pair))

    def fresh(self, pair: tuple[int, int]) -> bool:
        """Whether nobody has left this session: who has left enters only a new one."""
        stream = self.streams[pair]
        return all(way[0] in stream.present for way in stream.queues)

    def settle(self) -> None:
        """Everyone is connected with everyone, and all that was sent arrives."""
        for one in self.nodes:
            for other in self.nodes:
                if one < other:
                    if (one, other) not in self.streams or not self.fresh((one, other)):
                        self.connect((one, other))
                    self.enter((one, other), one)
                    self.enter((one, other), other)
        while self.deliver():
            pass


@pytest.mark.parametrize("seed", range(300))
def test_in_the_end_all_know_the_same(seed: int) -> None:
    cluster = Cluster(seed)
    for _ in range(400):
        cluster.step()
    cluster.settle()
    for node, exchange in cluster.nodes.items():
        others = set().union(*(own for other, own in cluster.own.items() if other != node))
        assert set(exchange.memberships()) == others
        for name in "ab":
            expected = {membership.pid for membership in others if membership.name == name}
            assert set(exchange.members(1, name)) == expected


@pytest.mark.parametrize("seed", range(20))
def test_what_is_kept_for_a_peer_that_takes_nothing_is_bounded(seed: int) -> None:
    cluster = Cluster(seed, nodes=2)
    cluster.connect((1, 2))
    cluster.enter((1, 2), 1)
    for _ in range(2000):
        cluster.change()
        # 8 memberships are possible: it misses as many at most, and wrongly believes as many.
        assert all(len(peer.news) <= 16 for peer in cluster.nodes[1]._peers.values())
