"""One node among its peers: who is dialed, which session a stream carries, how streams and sessions end."""

from __future__ import annotations

from random import Random

import pytest

from luna.cluster.keeping import REMIND_DELAY_S
from luna.cluster.link_layer import Link
from luna.cluster.members import Member, MemberState
from luna.cluster.membership import Membership
from luna.cluster.peer import Opened
from luna.cluster.peering import Peering
from luna.proto import node_pb2
from luna.proto.errors import InvalidError, RefusedError

from .peering_lab import Node, Recorder, connect, connected

# --- meeting ---


def test_the_node_with_the_lower_id_dials_at_once_and_the_other_reminds_it_later() -> None:
    low, high = Node(1), Node(2)
    low.knows(high)
    high.knows(low)
    assert low.peering.dials(low.peer(high))
    assert low.actions.take() == [("attempt", 2)]
    assert high.actions.take() == []
    assert high.peering.deadline_s() == high.now_s + REMIND_DELAY_S
    high.peering.tick(high.now_s + REMIND_DELAY_S)
    assert high.actions.take() == [("attempt", 1)]


def test_who_is_met_says_whom_it_knows_and_learns_whom_the_other_knows() -> None:
    a, b, c, d = (Node(node_id) for node_id in range(1, 5))
    a.knows(c)
    b.knows(d)
    assert a.peering.take_answer(0.0, b.peering.met(0.0, a.peering.hello())) is None
    for node in (a, b):
        assert {member.node.id for member in node.peering.membership.live()} == {1, 2, 3, 4}


def test_who_is_turned_away_learns_nothing_and_is_not_taken_in() -> None:
    a, b = Node(1), Node(2)
    b.knows(Node(3))
    hello = a.peering.hello()
    hello.node.cluster = "another"
    answer = b.peering.met(0.0, hello)
    assert answer.refusal == node_pb2.OTHER_CLUSTER
    assert not answer.members
    assert b.peering.peer(1) is None
    refused = a.peering.take_answer(0.0, answer)
    assert refused is not None
    assert a.peering.peers() == []


@pytest.mark.parametrize("field", ["node", "members"])
def test_a_malformed_hello_is_invalid_and_changes_nothing(field: str) -> None:
    a, b = Node(1), Node(2)
    hello = a.peering.hello()
    if field == "node":
        hello.node.name = "\0"
    else:
        hello.members.add()
    with pytest.raises(InvalidError):
        b.peering.met(0.0, hello)
    with pytest.raises(InvalidError):
        b.peering.take_answer(0.0, hello)
    assert b.peering.peers() == []


# --- which session a stream carries ---


def test_both_sides_begin_the_session_that_was_proposed() -> None:
    low, high = Node(1), Node(2)
    low.knows(high)
    proposed = low.peering.offer(low.peer(high)).session.proposed
    connect(low, high)
    assert low.session(high) == high.session(low) == proposed
    assert ("begin", 2, proposed) in low.actions.take()
    assert ("begin", 1, proposed) in high.actions.take()


def test_the_same_session_is_proposed_until_it_is_answered() -> None:
    low, high = Node(1), Node(2)
    low.knows(high)
    offers = [low.peering.offer(low.peer(high)) for _ in range(3)]
    assert len({offer.session.proposed for offer in offers}) == 1
    high.peering.accept(0.0, offers[0], "lost")
    high.peer(low).link.sent(high.peer(low).link.next_head() + b"x")  # type: ignore[union-attr]
    high.actions.take()
    answer, opened = high.peering.accept(0.0, offers[1], "second")
    assert high.actions.take() == [("close", "lost")], "and the session that began goes on"
    assert opened is not None
    assert len(opened.resend) == 1, "with what was sent in it"
    assert low.peering.answered(0.0, low.peer(high), answer, "second") is not None
    assert low.peering.offer(low.peer(high)).session.proposed != offers[0].session.proposed


def test_a_broken_stream_is_followed_by_one_that_resumes_the_session() -> None:
    low, high = connected()
    session = low.session(high)
    link, other = low.peer(high).link, high.peer(low).link
    assert isinstance(link, Link)
    assert isinstance(other, Link)
    frames = [link.next_head() + bytes([i]) for i in range(1)]
    link.sent(frames[0])
    second = link.next_head() + b"2"
    link.sent(second)
    other.receive(frames[0])
    low.break_stream(high)
    assert low.actions.take() == [("attempt", 2)]
    high.break_stream(low)
    assert high.actions.take() == [("check", 1)]
    answer, there = high.peering.accept(0.0, low.peering.offer(low.peer(high)), "far")
    here = low.peering.answered(0.0, low.peer(high), answer, "near")
    assert here == Opened(link, [second])
    assert there == Opened(other, [])
    assert low.session(high) == high.session(low) == session
    assert low.actions.take() == high.actions.take() == []


def test_a_stream_replaces_the_one_before() -> None:
    low, high = connected()
    low.break_stream(high)  # the other side has not noticed
    connect(low, high)
    assert ("close", "2<1") in high.actions.take()


def test_a_session_that_ended_on_the_side_that_dials_ends_on_the_other_before_the_next_begins() -> None:
    low, high = connected()
    low.peering._end_session(0.0, low.peer(high), "a verdict")
    assert low.actions.take() == [("close", "1>2"), ("end", 2)]
    connect(low, high)
    assert high.actions.take() == [("close", "2<1"), ("end", 1), ("begin", 1, low.session(high))]


def test_a_session_that_ended_on_the_side_that_waits_ends_on_the_other_before_the_next_begins() -> None:
    low, high = connected()
    low.break_stream(high)
    high.peering._end_session(0.0, high.peer(low), "a verdict")
    low.actions.take()
    connect(low, high)
    assert low.actions.take() == [("end", 2), ("begin", 2, high.session(low))]


def test_an_answer_that_goes_on_with_a_session_that_ended_meanwhile_is_of_no_use() -> None:
    low, high = connected()
    session = low.session(high)
    low.break_stream(high)
    answer, _ = high.peering.accept(0.0, low.peering.offer(low.peer(high)), "far")
    assert answer.session.session == session
    low.peering._end_session(0.0, low.peer(high), "a verdict")
    assert low.peering.answered(0.0, low.peer(high), answer, "near") is None
    assert low.session(high) == 0
    connect(low, high)
    assert low.session(high) == high.session(low) != session


def test_an_answer_to_a_peer_that_was_given_up_meanwhile_is_of_no_use() -> None:
    low, high = Node(1), Node(2)
    low.knows(high)
    peer = low.peer(high)
    answer, _ = high.peering.accept(0.0, low.peering.offer(peer), "far")
    low.peering._declare_dead(0.0, peer, "a verdict")
    assert low.peering.answered(0.0, peer, answer, "near") is None


def test_an_offer_that_claims_less_than_was_acknowledged_is_invalid_and_changes_nothing() -> None:
    low, high = connected()
    link = high.peer(low).link
    assert link is not None
    link.sent(link.next_head())
    old = low.peering.offer(low.peer(high))
    link.resume(1)
    with pytest.raises(InvalidError):
        high.peering.accept(0.0, old, "stale")
    assert high.peer(low).stream == "2<1"


def test_an_answer_that_claims_to_have_frames_of_a_new_session_is_invalid_and_begins_none() -> None:
    low, high = Node(1), Node(2)
    low.knows(high)
    answer, _ = high.peering.accept(0.0, low.peering.offer(low.peer(high)), "far")
    answer.session.received = 1
    with pytest.raises(InvalidError):
        low.peering.answered(0.0, low.peer(high), answer, "near")
    assert low.session(high) == 0
    assert low.actions.take() == [("attempt", 2)]


def test_the_side_that_has_to_wait_may_not_dial() -> None:
    low, high = Node(1), Node(2)
    high.knows(low)
    with pytest.raises(InvalidError):
        low.peering.accept(0.0, high.peering.offer(high.peer(low)), "s")


def test_an_offer_has_to_propose_a_session() -> None:
    low, high = Node(1), Node(2)
    low.knows(high)
    hello = low.peering.offer(low.peer(high))
    hello.session.proposed = 0
    with pytest.raises(InvalidError):
        high.peering.accept(0.0, hello, "s")


def test_an_offer_is_turned_away_as_a_hello_is() -> None:
    low, high = Node(1), Node(2)
    low.knows(high)
    high.peering.gossip(0.0, [Member(low.info, MemberState.DEAD, 3)])
    answer, opened = high.peering.accept(0.0, low.peering.offer(low.peer(high)), "s")
    assert opened is None
    assert (answer.refusal, answer.incarnation) == (node_pb2.DECLARED_DEAD, 3)


def test_there_is_no_room_for_a_peer_beyond_the_table() -> None:
    low, high = Node(1), Node(2)
    low.knows(high)
    membership = Membership(high.info, max_members=1)
    full = Peering(membership, Recorder(), Random(1))
    with pytest.raises(RefusedError):
        full.accept(0.0, low.peering.offer(low.peer(high)), "s")


# --- ends of streams ---


def test_the_end_of_a_stream_that_was_replaced_means_nothing() -> None:
    low, high = connected()
    low.peering.ended(0.0, low.peer(high), "an earlier one")
    low.peering.said_goodbye(0.0, low.peer(high), "an earlier one", "bye")
    assert low.actions.take() == []
    assert low.peer(high).stream is not None


def test_a_goodbye_ends_the_session_and_is_final() -> None:
    low, high = connected()
    stream = low.peer(high).stream
    assert stream is not None
    low.peering.said_goodbye(0.0, low.peer(high), stream, "bye")
    assert low.actions.take() == [("close", "1>2"), ("end", 2)]
    assert low.state_of(high) == (MemberState.LEFT, 1)
    assert low.peering.met(0.0, high.peering.hello()).refusal == node_pb2.EXPELLED


def test_who_sent_nonsense_is_expelled_and_stays_so_at_any_incarnation() -> None:
    low, high = connected()
    low.peering.expel(0.0, low.peer(high), "nonsense")
    assert low.actions.take() == [("close", "1>2"), ("end", 2)]
    high.peering.membership.refute(99)
    answer = low.peering.met(0.0, high.peering.hello())
    assert answer.refusal == node_pb2.EXPELLED
    assert "nonsense" in answer.detail
    low.knows(high)
    assert low.peering.peer(2) is None


def test_a_refused_connection_after_a_broken_stream_is_a_death() -> None:
    low, high = connected()
    peer = low.peer(high)
    low.break_stream(high)
    low.peering.attempt_failed(low.now_s, peer, gone=True)
    assert low.actions.take() == [("attempt", 2), ("end", 2)]
    assert low.state_of(high) == (MemberState.DEAD, 1)
    low.peering.attempt_failed(low.now_s, peer, gone=True)
    low.peering.gone(low.now_s, peer)
    assert low.actions.take() == []


def test_another_node_at_the_address_of_a_peer_is_its_death() -> None:
    low, high = connected()
    low.break_stream(high)
    answer = Node(3).peering.met(0.0, low.peering.hello())
    assert low.peering.answered(0.0, low.peer(high), answer, "s") is None
    assert low.state_of(high) == (MemberState.DEAD, 1)
    assert ("end", 2) in low.actions.take()
