"""One node among its peers: what each verdict brings about, who stops, who is asked, what is told to whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from luna.cluster.members import Member, MemberState, NodeInfo
from luna.cluster.peering import GOSSIP_FANOUT, MAX_PROBING, PROBERS
from luna.cluster.reunion import REUNION_INTERVAL_S
from luna.cluster.wire import gossip_to_proto, make_hello
from luna.proto import node_pb2
from luna.proto.version import PROTOCOL_MAX

from .peering_lab import TIMINGS, Node, connect, connected, mesh

# --- verdicts ---


def test_a_verdict_of_others_ends_the_session_of_who_has_no_stream() -> None:
    low, high = connected()
    low.break_stream(high)
    low.actions.take()
    low.peering.gossip(0.0, [high.record(MemberState.DEAD)])
    assert low.actions.take() == [("end", 2)]
    assert low.peering.peer(2) is None


def test_a_verdict_about_who_has_an_open_stream_is_passed_on_to_it_alone() -> None:
    low, high = connected()
    verdict = high.record(MemberState.DEAD)
    low.actions.gossip()
    low.peering.gossip(0.0, [verdict])
    assert low.actions.take() == []
    assert low.actions.gossip() == {2: [verdict]}
    assert low.state_of(high) == (MemberState.ALIVE, 1)


def test_an_old_verdict_about_who_has_an_open_stream_is_not_passed_on() -> None:
    low, high = connected()
    low.peering.gossip(0.0, [high.record(later=1)])
    low.actions.gossip()
    low.peering.gossip(0.0, [high.record(MemberState.DEAD)])
    assert low.actions.gossip() == {}


def test_who_hears_of_its_own_death_raises_its_incarnation_and_tells_all() -> None:
    nodes = mesh(12)
    node = nodes[0]
    back = node.record(later=1)
    node.peering.gossip(0.0, [node.record(MemberState.DEAD)])
    assert node.actions.gossip() == {other.id: [back] for other in nodes[1:]}
    assert node.actions.take() == [], "and keeps its sessions"


def test_who_is_told_in_a_refusal_that_it_is_dead_takes_the_consequences_and_asks_again() -> None:
    low, high = connected()
    low.break_stream(high)
    high.peering._declare_dead(0.0, high.peer(low), "a verdict")
    low.actions.take()
    peer = low.peer(high)
    answer, _ = high.peering.accept(0.0, low.peering.offer(peer), "far")
    assert low.peering.answered(low.now_s, peer, answer, "near") is None
    assert low.actions.take() == [("end", 2)]
    low.peering.attempt_failed(low.now_s, peer, gone=False)
    assert low.actions.take() == [("attempt", 2)], "at once"
    connect(low, high)
    assert low.session(high) == high.session(low) != 0
    assert high.state_of(low) == (MemberState.ALIVE, 2)


def test_an_old_refusal_does_not_end_the_session_that_followed_it() -> None:
    low, high = connected()
    old = make_hello(Member(high.info))
    old.refusal, old.incarnation, old.detail = node_pb2.DECLARED_DEAD, 0, "dead"
    low.peering.membership.refute(0)
    assert low.peering.take_answer(0.0, old) is not None
    assert low.actions.take() == []


def test_both_sides_of_a_mutual_verdict_are_members_again_with_a_new_session() -> None:
    low, high = connected()
    for node, other in ((low, high), (high, low)):
        node.break_stream(other)
        node.peering._declare_dead(0.0, node.peer(other), "a verdict")
    for _ in range(2):
        low.peering.take_answer(0.0, high.peering.met(0.0, low.peering.hello(2)))
    assert low.state_of(high)[0] is high.state_of(low)[0] is MemberState.ALIVE
    connect(low, high)
    assert low.session(high) == high.session(low) != 0


def test_a_node_that_moved_tells_all_and_is_dialed_at_its_new_address_at_once() -> None:
    low, high, other = mesh(3)
    high.peering.moved(high.now_s, "10.0.0.99:1")
    told = high.actions.gossip()
    assert {(node_id, member.node.address) for node_id, [member] in told.items()} == {
        (low.id, "10.0.0.99:1"),
        (other.id, "10.0.0.99:1"),
    }
    low.break_stream(high)
    low.peering.attempt_failed(low.now_s, low.peer(high), gone=False)
    low.actions.take()
    low.peering.gossip(low.now_s, told[low.id])
    low.peering.tick(low.now_s)
    assert low.actions.take() == [("attempt", high.id)]
    assert low.peer(high).info.address == "10.0.0.99:1"


def test_a_node_that_moved_is_heard_of_by_who_has_no_connection_to_it_when_it_reminds_it() -> None:
    low, high = connected()
    low.break_stream(high)
    high.break_stream(low)
    high.actions.take()
    high.peering.moved(high.now_s, "10.0.0.99:1")
    high.peering.tick(high.now_s)
    assert ("attempt", low.id) in high.actions.take()
    low.peering.met(low.now_s, high.peering.hello(low.id))
    assert low.peer(high).info.address == "10.0.0.99:1"


def test_a_node_that_is_leaving_does_not_move() -> None:
    low, _ = connected()
    low.peering.leave()
    low.peering.moved(low.now_s, "10.0.0.99:1")
    assert low.info.address == low.peering.own.address


def test_the_dead_are_met_again_from_time_to_time() -> None:
    low, high = connected()
    low.break_stream(high)
    low.peering._declare_dead(low.now_s, low.peer(high), "a verdict")
    low.actions.take()
    assert low.peering.deadline_s() == low.now_s + REUNION_INTERVAL_S
    low.peering.tick(low.now_s + REUNION_INTERVAL_S)
    assert low.actions.take() == [("reunite", 2)]
    low.peering.replaced(2)
    assert low.peering.deadline_s() == float("inf")


def test_a_member_that_returns_is_dialed_and_no_more_met_as_one_of_the_dead() -> None:
    low, high = connected()
    low.break_stream(high)
    low.peering._declare_dead(low.now_s, low.peer(high), "a verdict")
    low.actions.take()
    low.peering.gossip(low.now_s, [high.record(later=1)])
    assert low.actions.take() == [("attempt", 2)]
    low.peering.tick(low.now_s + REUNION_INTERVAL_S)
    assert ("reunite", 2) not in low.actions.take()


@pytest.mark.parametrize("refusal", [node_pb2.ID_TAKEN, node_pb2.EXPELLED])
def test_who_has_no_place_in_the_cluster_stops(refusal: node_pb2.Refusal) -> None:
    low, high = Node(1), Node(2)
    low.knows(high)
    low.actions.take()
    answer = make_hello(Member(high.info))
    answer.refusal, answer.detail = refusal, "no place"
    assert not low.peering.heard(0.0, low.peer(high), answer)
    assert low.actions.take() == [("fatal", refusal)]


def test_a_name_that_a_peer_takes_for_taken_is_asked_for_again() -> None:
    low, high = Node(1), Node(2)
    low.knows(high)
    low.actions.take()
    answer = make_hello(Member(high.info))
    answer.refusal, answer.detail = node_pb2.NAME_TAKEN, "by a predecessor, of whose end it has not heard"
    assert not low.peering.heard(0.0, low.peer(high), answer)
    assert low.actions.take() == []


def test_who_asks_for_a_name_it_lost_is_told_who_has_it_and_goes() -> None:
    low, high, third = mesh(3)
    high.knows(low)
    heir = Member(replace(low.info, id=9, address="10.0.0.9:1", succession=2))
    high.peering.gossip(0.0, [Member(low.peering.own, MemberState.DEAD), heir])
    refuted = make_hello(Member(low.peering.own, MemberState.ALIVE, 1))
    answer = high.peering.met(0.0, refuted)
    assert answer.refusal == node_pb2.NAME_TAKEN
    assert [member.node.id for member in answer.members] == [9]
    low.actions.take()
    low.peering.take_answer(0.0, answer)
    assert ("fatal", node_pb2.NAME_TAKEN) in low.actions.take()
    assert third.peering.own.succession == 1


def test_a_newcomer_that_is_told_who_has_its_name_goes_on_asking() -> None:
    low, high = Node(1), Node(2)
    low.knows(high)
    low.actions.take()
    answer = make_hello(Member(high.info), [Member(replace(low.info, id=9, succession=1))])
    answer.refusal, answer.detail = node_pb2.NAME_TAKEN, "by its predecessor"
    assert not low.peering.heard(0.0, low.peer(high), answer)
    assert low.actions.take() == []


def test_who_finds_its_namesake_dead_takes_its_place() -> None:
    node = mesh(3)[0]
    namesake = Member(replace(node.info, id=9, started_ms=0, succession=1))
    node.peering.membership.merge(namesake)
    node.peering._act(0.0, node.peering.membership.declare_dead(9), "nobody reaches it")
    assert node.peering.own.succession == 2


def test_a_member_of_its_own_name_and_address_is_the_dead_predecessor_of_a_node() -> None:
    new = Node(5)
    old = Member(replace(new.info, id=4, started_ms=new.info.started_ms - 1))
    new.peering.gossip(0.0, [old])
    assert ("fatal", node_pb2.NAME_TAKEN) not in new.actions.take()
    known = new.peering.membership.get(4)
    assert known is not None
    assert known.state is MemberState.DEAD


def test_a_peer_that_asks_for_probes_without_end_gets_so_many_at_a_time() -> None:
    low, high = connected()
    third = Node(3)
    low.knows(third)
    low.actions.take()
    asker = low.peer(high)
    for reference in range(MAX_PROBING + 10):
        low.peering.probe(asker, node_pb2.Probe(reference=reference, node=3))
    assert len(low.actions.take()) == MAX_PROBING
    low.peering.probed(asker, 0, True)
    low.actions.take()
    low.peering.probe(asker, node_pb2.Probe(reference=99, node=3))
    assert len(low.actions.take()) == 1


@pytest.mark.parametrize("newest", [PROTOCOL_MAX, PROTOCOL_MAX + 3])
def test_two_nodes_use_the_newest_protocol_that_both_speak(newest: int) -> None:
    low, high = Node(1), Node(2)
    low.knows(high)
    offer = low.peering.offer(low.peer(high))
    offer.protocol_max = newest
    _, opened = high.peering.accept(high.now_s, offer, object())
    assert opened is not None
    assert high.peer(low).protocol == PROTOCOL_MAX


def test_a_hello_that_is_turned_away_is_not_welcome() -> None:
    low, high = Node(1), Node(2)
    hello = low.peering.hello()
    hello.session.proposed = 7
    assert high.peering.welcomes(hello)
    hello.node.cluster = "another"
    assert not high.peering.welcomes(hello)


def test_who_hears_that_it_has_left_stops() -> None:
    node = Node(1)
    node.peering.gossip(0.0, [Member(node.info, MemberState.LEFT)])
    assert node.actions.take() == [("fatal", node_pb2.EXPELLED)]


def test_of_two_nodes_with_one_name_the_later_stops() -> None:
    node = Node(2)
    earlier = NodeInfo(1, "n2", "c", "10.0.0.1:1", started_ms=1)
    node.peering.gossip(0.0, [Member(earlier)])
    assert ("fatal", node_pb2.NAME_TAKEN) in node.actions.take()


# --- second opinions ---


def lonely(nodes: list[Node]) -> tuple[Node, Node]:
    """The first node loses its stream to the last, and it is time to ask."""
    node, target = nodes[0], nodes[-1]
    node.break_stream(target)
    node.now_s += TIMINGS.ask_after_s
    node.peering.tick(node.now_s)
    return node, target


def test_some_others_are_asked_whether_they_reach_a_peer() -> None:
    nodes = mesh(8)
    node, target = lonely(nodes)
    asked = [
        (node_id, envelope.probe) for node_id, envelope in node.actions.sent if envelope.HasField("probe")
    ]
    assert len({node_id for node_id, _ in asked}) == PROBERS
    assert target.id not in {node_id for node_id, _ in asked}
    assert {probe.node for _, probe in asked} == {target.id}


@pytest.mark.parametrize("reached", [True, False])
def test_the_verdict_is_about_the_pair_if_others_reach_the_peer_and_about_the_member_if_not(
    reached: bool,
) -> None:
    node, target = lonely(mesh(3))
    (probe,) = [envelope.probe for _, envelope in node.actions.sent if envelope.HasField("probe")]
    node.peering.probe_replied(node.now_s, node_pb2.ProbeReply(reference=probe.reference, reached=reached))
    node.peering.tick(node.now_s + TIMINGS.window_s)
    assert node.state_of(target)[0] is (MemberState.ALIVE if reached else MemberState.DEAD)


def test_an_answer_to_an_earlier_question_comes_too_late() -> None:
    node, target = lonely(mesh(3))
    (probe,) = [envelope.probe for _, envelope in node.actions.sent if envelope.HasField("probe")]
    node.peer(target).question += 1
    node.peering.probe_replied(node.now_s, node_pb2.ProbeReply(reference=probe.reference, reached=True))
    node.peering.tick(node.now_s + TIMINGS.window_s)
    assert node.state_of(target)[0] is MemberState.DEAD


def test_who_is_asked_meets_the_member_and_says_whether_it_answered() -> None:
    _, prober, target = mesh(3)
    asker = prober.peering.peer(1)
    assert asker is not None
    prober.peering.probe(asker, node_pb2.Probe(reference=7, node=target.id))
    assert prober.actions.take() == [("probe", 1, 7, target.id)]
    prober.peering.probed(asker, 7, True)
    (reply,) = [
        envelope.probe_reply for _, envelope in prober.actions.sent if envelope.HasField("probe_reply")
    ]
    assert (reply.reference, reply.reached) == (7, True)


def test_nobody_probes_itself_or_whom_it_does_not_know() -> None:
    low, high = connected()
    for node_id in (low.id, 99):
        low.peering.probe(low.peer(high), node_pb2.Probe(reference=1, node=node_id))
    assert low.actions.take() == []


# --- gossip ---


def test_what_a_node_finds_out_itself_is_told_to_all() -> None:
    nodes = mesh(12)
    node, target = nodes[0], nodes[-1]
    node.break_stream(target)
    node.peering.attempt_failed(node.now_s, node.peer(target), gone=True)
    assert set(node.actions.gossip()) == {other.id for other in nodes[1:-1]}


def test_what_a_node_hears_is_told_to_a_few_and_at_once() -> None:
    nodes = mesh(12)
    node = nodes[0]
    news = [Member(NodeInfo(50 + i, f"new{i}", "c", "10.0.1.1:1")) for i in range(5)]
    node.peering.gossip(node.now_s, news)
    assert len(node.actions.sent) == GOSSIP_FANOUT
    assert all(told == news for told in node.actions.gossip().values())
    node.peering.gossip(node.now_s, news)
    assert node.actions.gossip() == {}, "what is known is no news"


def test_gossip_about_hundreds_fits_into_envelopes() -> None:
    low, _high = connected()
    low.actions.gossip()
    news = [Member(NodeInfo(50 + i, f"new{i}", "c", "10.0.1.1:1")) for i in range(200)]
    low.peering.gossip(low.now_s, news)
    sizes = [len(envelope.gossip.members) for _, envelope in low.actions.sent]
    assert sum(sizes) == 200
    assert max(sizes) == 64


# --- leaving ---


def test_who_leaves_dials_judges_and_obeys_nobody() -> None:
    low, high = connected()
    low.knows(Node(3))
    low.actions.take()
    low.peering.leave()
    assert low.peering.deadline_s() == float("inf")
    low.break_stream(high)
    low.peering.tick(low.now_s + 100.0)
    low.knows(Node(4))
    answer = make_hello(Member(high.info))
    answer.refusal, answer.detail = node_pb2.EXPELLED, "it left"
    assert not low.peering.heard(low.now_s, low.peer(high), answer)
    assert low.actions.take() == []
    assert gossip_to_proto([low.peering.membership.own]).members[0].state == node_pb2.LEFT
