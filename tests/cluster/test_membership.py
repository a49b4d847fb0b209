"""The membership table: its rules, one test each; then the laws of merging on random rumours."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from random import Random

import pytest

from luna.cluster.members import (
    MAX_INCARNATION,
    MAX_SUCCESSION,
    Event,
    EventKind,
    Member,
    MemberState,
    NodeInfo,
)
from luna.cluster.membership import Membership
from luna.proto.errors import ClosedError, InvalidError

ALIVE, SUSPECT, DEAD, LEFT = MemberState.ALIVE, MemberState.SUSPECT, MemberState.DEAD, MemberState.LEFT
OWN = NodeInfo(1, "own", "c", "10.0.0.1:1", started_ms=1000)
ALPHA = NodeInfo(2, "alpha", "c", "10.0.0.2:1", {"zone": "a"}, started_ms=2000)
BETA = NodeInfo(3, "beta", "c", "10.0.0.3:1", started_ms=3000)


def table(
    *rumours: Member, own: NodeInfo = OWN, max_members: int = 100, max_departed: int = 100
) -> Membership:
    membership = Membership(own, max_members=max_members, max_departed=max_departed)
    membership.merge_all(rumours)
    return membership


def kinds(events: list[Event]) -> list[EventKind]:
    return [event.kind for event in events]


def state_of(membership: Membership, node: NodeInfo) -> tuple[MemberState, int]:
    member = membership.get(node.id)
    assert member is not None
    return (member.state, member.incarnation)


# --- Alive ---


def test_a_new_table_is_a_cluster_of_one() -> None:
    membership = table()
    assert membership.own == Member(OWN, ALIVE, 0)
    assert membership.live() == [membership.own]
    assert membership.peers() == []


def test_a_malformed_own_node_is_invalid() -> None:
    with pytest.raises(InvalidError):
        Membership(replace(OWN, name="not a name"))


def test_alive_of_an_unknown_node_joins() -> None:
    membership = table()
    assert membership.merge(Member(ALPHA)) == [Event(EventKind.JOINED, Member(ALPHA))]
    assert membership.get(ALPHA.id) == Member(ALPHA)
    assert membership.peers() == [Member(ALPHA)]


def test_alive_heard_again_changes_nothing() -> None:
    assert table(Member(ALPHA)).merge(Member(ALPHA)) == []


def test_a_higher_incarnation_updates_address_and_labels() -> None:
    membership = table(Member(ALPHA))
    moved = Member(replace(ALPHA, address="10.0.0.9:1", labels={"zone": "b"}), ALIVE, 1)
    assert membership.merge(moved) == [Event(EventKind.UPDATED, moved, Member(ALPHA))]
    assert membership.get(ALPHA.id) == moved


def test_a_lower_incarnation_is_old_news() -> None:
    membership = table(Member(ALPHA, ALIVE, 5))
    assert membership.merge(Member(replace(ALPHA, address="10.0.0.9:1"), ALIVE, 4)) == []
    assert membership.merge(Member(ALPHA, SUSPECT, 4)) == []
    assert membership.get(ALPHA.id) == Member(ALPHA, ALIVE, 5)


def test_a_higher_incarnation_without_other_change_is_to_be_spread() -> None:
    """It refutes a suspicion that others may have heard of."""
    assert kinds(table(Member(ALPHA)).merge(Member(ALPHA, ALIVE, 1))) == [EventKind.UPDATED]


def test_a_node_of_another_cluster_is_refused() -> None:
    membership = table()
    assert kinds(membership.merge(Member(replace(ALPHA, cluster="d")))) == [EventKind.REFUSED]
    assert membership.get(ALPHA.id) is None
    assert membership.statistics().refused == 1


# --- Suspect ---


def test_suspect_of_the_same_incarnation_overrides_alive() -> None:
    membership = table(Member(ALPHA))
    assert kinds(membership.merge(Member(ALPHA, SUSPECT))) == [EventKind.SUSPECTED]
    assert state_of(membership, ALPHA) == (SUSPECT, 0)


def test_alive_of_the_same_incarnation_does_not_refute() -> None:
    membership = table(Member(ALPHA, SUSPECT))
    assert membership.merge(Member(ALPHA)) == []
    assert state_of(membership, ALPHA) == (SUSPECT, 0)


def test_suspect_is_refuted_by_higher_incarnation() -> None:
    membership = table(Member(ALPHA), Member(ALPHA, SUSPECT))
    assert kinds(membership.merge(Member(ALPHA, ALIVE, 1))) == [EventKind.RECOVERED]
    assert state_of(membership, ALPHA) == (ALIVE, 1)


def test_a_suspicion_of_a_higher_incarnation_starts_anew() -> None:
    membership = table(Member(ALPHA, SUSPECT))
    assert kinds(membership.merge(Member(ALPHA, SUSPECT, 1))) == [EventKind.SUSPECTED]


def test_a_node_first_heard_of_as_a_suspect_joins_and_is_suspected() -> None:
    assert kinds(table().merge(Member(ALPHA, SUSPECT))) == [EventKind.JOINED, EventKind.SUSPECTED]


def test_own_suspicion_has_the_known_incarnation() -> None:
    membership = table(Member(ALPHA, ALIVE, 7))
    assert membership.suspect(ALPHA.id) == [
        Event(EventKind.SUSPECTED, Member(ALPHA, SUSPECT, 7), Member(ALPHA, ALIVE, 7))
    ]
    assert membership.suspect(ALPHA.id) == []


# --- Dead and left ---


@pytest.mark.parametrize(("state", "kind"), [(DEAD, EventKind.DIED), (LEFT, EventKind.LEFT)])
@pytest.mark.parametrize("before", [ALIVE, SUSPECT])
def test_departure_is_told_once(before: MemberState, state: MemberState, kind: EventKind) -> None:
    membership = table(Member(ALPHA, before))
    assert kinds(membership.merge(Member(ALPHA, state))) == [kind]
    assert membership.merge(Member(ALPHA, state)) == []
    assert membership.peers() == []


def test_dead_of_a_lower_incarnation_is_old_news() -> None:
    membership = table(Member(ALPHA, ALIVE, 9))
    assert membership.merge(Member(ALPHA, DEAD, 8)) == []
    assert kinds(membership.merge(Member(ALPHA, DEAD, 9))) == [EventKind.DIED]


@pytest.mark.parametrize("rumour", [ALIVE, SUSPECT])
def test_the_dead_do_not_return_at_the_incarnation_at_which_they_died(rumour: MemberState) -> None:
    membership = table(Member(ALPHA), Member(ALPHA, DEAD, 3))
    for incarnation in (0, 3):
        assert membership.merge(Member(ALPHA, rumour, incarnation)) == []
    assert state_of(membership, ALPHA) == (DEAD, 3)
    assert membership.peers() == []


def test_who_was_declared_dead_and_raises_its_incarnation_joins_again() -> None:
    membership = table(Member(ALPHA), Member(ALPHA, DEAD, 3))
    returned = Member(ALPHA, ALIVE, 4)
    assert membership.merge(returned) == [Event(EventKind.JOINED, returned)]
    assert membership.peers() == [returned]
    assert membership.find("alpha") == returned
    assert membership.statistics().departed == 0
    assert kinds(membership.merge(Member(ALPHA, DEAD, 4))) == [EventKind.DIED], "and can die again"


def test_the_dead_may_return_as_suspects() -> None:
    membership = table(Member(ALPHA), Member(ALPHA, DEAD))
    assert kinds(membership.merge(Member(ALPHA, SUSPECT, 1))) == [EventKind.JOINED, EventKind.SUSPECTED]


def test_who_returns_to_a_full_table_is_refused_and_remembered_as_dead() -> None:
    membership = table(*many(3), max_members=4)
    membership.declare_dead(100)
    membership.merge(Member(ALPHA))
    assert kinds(membership.merge(Member(many(1)[0].node, ALIVE, 1))) == [EventKind.REFUSED]
    assert state_of(membership, many(1)[0].node) == (DEAD, 0)


@pytest.mark.parametrize("rumour", [ALIVE, SUSPECT, DEAD])
def test_who_left_never_returns_at_any_incarnation(rumour: MemberState) -> None:
    membership = table(Member(ALPHA), Member(ALPHA, LEFT, 3))
    assert membership.merge(Member(ALPHA, rumour, MAX_INCARNATION)) == []
    assert state_of(membership, ALPHA) == (LEFT, 3)
    assert membership.peers() == []


def test_the_incarnation_at_which_a_member_died_is_the_highest_heard_of() -> None:
    membership = table(Member(ALPHA), Member(ALPHA, DEAD, 1))
    assert membership.merge(Member(ALPHA, DEAD, 5)) == []
    assert state_of(membership, ALPHA) == (DEAD, 5)


def test_a_death_heard_before_the_life_prevents_the_join() -> None:
    membership = table()
    assert membership.merge(Member(ALPHA, DEAD)) == []
    assert membership.merge(Member(ALPHA)) == []
    assert membership.peers() == []


def test_left_is_the_last_word_and_not_a_second_departure() -> None:
    membership = table(Member(ALPHA), Member(ALPHA, DEAD))
    assert membership.merge(Member(ALPHA, LEFT)) == []
    assert state_of(membership, ALPHA) == (LEFT, 0)
    assert membership.merge(Member(ALPHA, DEAD)) == []
    assert state_of(membership, ALPHA) == (LEFT, 0)


def test_own_verdicts_depart_a_member_once() -> None:
    membership = table(Member(ALPHA), Member(BETA))
    assert kinds(membership.declare_dead(ALPHA.id)) == [EventKind.DIED]
    assert membership.declare_dead(ALPHA.id) == []
    assert membership.suspect(ALPHA.id) == []
    assert kinds(membership.mark_left(BETA.id)) == [EventKind.LEFT]
    assert membership.declare_dead(BETA.id) == []


def test_verdicts_about_unknown_nodes_and_about_itself_do_nothing() -> None:
    membership = table()
    for node_id in (99, OWN.id):
        assert membership.suspect(node_id) == []
        assert membership.declare_dead(node_id) == []
        assert membership.mark_left(node_id) == []
    assert membership.live() == [Member(OWN)]


# --- About this node itself ---


def test_a_suspicion_about_itself_is_refuted() -> None:
    membership = table()
    events = membership.merge(Member(OWN, SUSPECT, 0))
    assert events == [Event(EventKind.REFUTED, Member(OWN, ALIVE, 1), Member(OWN))]
    assert membership.own == Member(OWN, ALIVE, 1)
    assert membership.merge(Member(OWN, SUSPECT, 0)) == []


def test_a_refutation_outbids_whatever_incarnation_was_claimed() -> None:
    membership = table(Member(OWN, SUSPECT, 41))
    assert membership.own.incarnation == 42


def test_a_record_of_itself_that_it_never_published_is_outbid() -> None:
    membership = table()
    forged = Member(replace(OWN, address="10.6.6.6:1"), ALIVE, 5)
    assert kinds(membership.merge(forged)) == [EventKind.REFUTED]
    assert membership.own == Member(OWN, ALIVE, 6)


def test_the_incarnation_never_leaves_its_range() -> None:
    membership = table(Member(OWN, SUSPECT, MAX_INCARNATION))
    assert membership.own.incarnation == MAX_INCARNATION
    assert membership.update_own(labels={}).incarnation == MAX_INCARNATION


def test_its_own_echo_changes_nothing() -> None:
    assert table().merge(Member(OWN)) == []


def test_a_verdict_about_itself_is_refuted_as_a_suspicion_is() -> None:
    membership = table()
    events = membership.merge(Member(OWN, DEAD, 7))
    assert events == [Event(EventKind.REFUTED, Member(OWN, ALIVE, 8), Member(OWN))]
    assert membership.merge(Member(OWN, DEAD, 7)) == []


def test_a_verdict_that_is_told_in_a_refusal_is_refuted_once() -> None:
    membership = table()
    assert kinds(membership.refute(3)) == [EventKind.REFUTED]
    assert membership.own == Member(OWN, ALIVE, 4)
    assert membership.refute(3) == []


def test_it_learns_that_the_cluster_says_it_left_and_cannot_refute_that() -> None:
    membership = table()
    said = Member(OWN, LEFT)
    assert membership.merge(said) == [Event(EventKind.DECLARED_GONE, Member(OWN), said)]
    assert membership.own == Member(OWN), "what it does about it is its caller's part"


def test_an_earlier_node_with_its_id_keeps_the_id() -> None:
    other = replace(OWN, name="other", started_ms=OWN.started_ms - 1)
    assert kinds(table().merge(Member(other))) == [EventKind.ID_CONFLICT]


def test_a_later_node_with_its_id_is_ignored_at_any_incarnation() -> None:
    membership = table()
    assert (
        membership.merge(Member(replace(OWN, name="other", started_ms=OWN.started_ms + 1), SUSPECT, 99)) == []
    )
    assert membership.own == Member(OWN)


def test_of_two_nodes_with_one_id_everybody_keeps_the_earlier() -> None:
    later = replace(ALPHA, name="later", started_ms=ALPHA.started_ms + 1)
    membership = table(Member(later, ALIVE, 5))
    events = membership.merge(Member(ALPHA))
    assert kinds(events) == [EventKind.UPDATED]
    assert membership.merge(Member(later, ALIVE, 6)) == []
    assert membership.find("later") is None
    assert membership.find("alpha") == Member(ALPHA)


def test_leaving_is_final_and_deaf() -> None:
    membership = table(Member(ALPHA))
    assert membership.leave() == Member(OWN, LEFT, 0)
    assert membership.leave() == membership.own == Member(OWN, LEFT, 0)
    assert membership.live() == [Member(ALPHA)]
    assert membership.merge(Member(OWN, SUSPECT, 5)) == []
    assert membership.merge(Member(OWN, DEAD, 5)) == []
    assert membership.refute(5) == []
    with pytest.raises(ClosedError):
        membership.update_own(labels={})


def test_an_update_of_its_own_raises_the_incarnation() -> None:
    membership = table()
    updated = membership.update_own(address="10.0.0.1:2", labels={"zone": "b"})
    assert updated == membership.own
    assert updated == Member(replace(OWN, address="10.0.0.1:2", labels={"zone": "b"}), ALIVE, 1)
    with pytest.raises(InvalidError):
        membership.update_own(address="nowhere")
    assert membership.own == updated


# --- Names ---


def test_of_two_alive_members_of_one_name_the_later_started_must_go() -> None:
    twin = replace(ALPHA, id=9, started_ms=ALPHA.started_ms + 1)
    for first, second in permutations([ALPHA, twin]):
        membership = table(Member(first))
        events = membership.merge(Member(second))
        assert events == [
            Event(EventKind.JOINED, Member(second)),
            Event(EventKind.NAME_CONFLICT, Member(twin), Member(ALPHA)),
        ]
        assert membership.find("alpha") == Member(ALPHA)


def test_it_has_no_place_until_it_has_met_a_node_of_another_name() -> None:
    membership = table()
    assert membership.succeed() == []
    membership.merge(Member(replace(OWN, id=9, started_ms=OWN.started_ms + 1)))
    assert membership.succeed() == [], "that one must go, and knows nobody either"
    membership.merge(Member(ALPHA))
    event, conflict = membership.succeed()
    raised = Member(replace(OWN, succession=1), incarnation=1)
    assert event == Event(EventKind.UPDATED, raised, Member(OWN))
    assert (conflict.kind, conflict.member.node.id) == (EventKind.NAME_CONFLICT, 9)
    assert membership.own == event.member
    assert membership.succeed() == []


def test_it_takes_the_place_of_the_dead_of_its_name_and_of_no_others() -> None:
    dead = Member(replace(OWN, id=9, started_ms=1, succession=3), DEAD)
    left = Member(replace(OWN, id=8, started_ms=1, succession=7), LEFT)
    other = Member(replace(ALPHA, id=7, succession=9), DEAD)
    membership = table(Member(BETA), dead, left, other)
    assert kinds(membership.succeed()) == [EventKind.UPDATED]
    assert membership.own.node.succession == 4


def test_who_thaws_to_find_itself_replaced_must_go_and_takes_no_further_place() -> None:
    heir = Member(replace(OWN, id=9, started_ms=OWN.started_ms + 1, succession=2))
    membership = table(Member(ALPHA))
    membership.succeed()
    events = membership.merge(heir)
    assert events[-1] == Event(EventKind.NAME_CONFLICT, membership.own, heir)
    membership.merge(Member(replace(OWN, id=8, succession=5), DEAD))
    assert membership.succeed() == []


def test_a_place_taken_later_makes_a_conflict_that_was_decided_the_other_way_anew() -> None:
    former = Member(replace(ALPHA, succession=1))
    heir = Member(replace(ALPHA, id=9, started_ms=ALPHA.started_ms + 1))
    membership = table(former, heir)
    raised = Member(replace(heir.node, succession=2))
    assert membership.merge(raised)[-1] == Event(EventKind.NAME_CONFLICT, former, raised)
    assert membership.find("alpha") == raised


def test_a_verdict_on_a_record_of_before_does_not_hide_a_place() -> None:
    heir = table(Member(ALPHA))
    heir.succeed()
    other = table(Member(OWN, DEAD), own=ALPHA)
    assert other.merge(heir.own)
    assert other.get(OWN.id) == heir.own


def test_a_place_has_a_bound() -> None:
    membership = table(Member(ALPHA), Member(replace(OWN, id=9, succession=MAX_SUCCESSION), DEAD))
    membership.succeed()
    assert membership.own.node.succession == MAX_SUCCESSION


def test_it_learns_that_it_must_give_way_itself() -> None:
    earlier = replace(OWN, id=9, started_ms=OWN.started_ms - 1)
    events = table().merge(Member(earlier))
    assert events[-1] == Event(EventKind.NAME_CONFLICT, Member(OWN), Member(earlier))


def test_a_suspect_holds_its_name_only_when_it_recovers() -> None:
    twin = replace(ALPHA, id=9, started_ms=ALPHA.started_ms + 1)
    membership = table(Member(ALPHA, SUSPECT))
    assert kinds(membership.merge(Member(twin))) == [EventKind.JOINED]
    assert membership.find("alpha") == Member(twin)
    assert kinds(membership.merge(Member(ALPHA, ALIVE, 1))) == [EventKind.RECOVERED, EventKind.NAME_CONFLICT]
    assert membership.find("alpha") == Member(ALPHA, ALIVE, 1)


def test_a_conflict_is_told_once() -> None:
    twin = replace(ALPHA, id=9)
    membership = table(Member(ALPHA), Member(twin))
    assert kinds(membership.merge(Member(twin, ALIVE, 1))) == [EventKind.UPDATED]


def test_a_departed_member_frees_its_name() -> None:
    membership = table(Member(ALPHA), Member(ALPHA, DEAD))
    assert membership.find("alpha") is None
    assert kinds(membership.merge(Member(replace(ALPHA, id=9)))) == [EventKind.JOINED]


def test_it_finds_itself_by_name() -> None:
    assert table().find("own") == Member(OWN)
    assert table().find("nobody") is None


# --- Caps ---


def many(count: int, state: MemberState = ALIVE) -> list[Member]:
    return [Member(NodeInfo(100 + i, f"n{i}", "c", "10.0.0.1:1"), state) for i in range(count)]


def test_a_full_table_refuses_further_members_and_keeps_hearing_of_known_ones() -> None:
    membership = table(max_members=4)
    events = membership.merge_all(many(5))
    assert kinds(events) == [EventKind.JOINED] * 3 + [EventKind.REFUSED] * 2
    assert len(membership.live()) == 4
    assert kinds(membership.suspect(100)) == [EventKind.SUSPECTED]
    assert kinds(membership.declare_dead(100)) == [EventKind.DIED]
    assert kinds(membership.merge(many(5)[4])) == [EventKind.JOINED], "there is room again"


def test_the_departed_longest_ago_are_forgotten_first() -> None:
    membership = table(*many(6), max_departed=3)
    for node_id in (105, 100, 101, 102):
        membership.declare_dead(node_id)
    assert membership.get(105) is None
    assert [m.node.id for m in membership.snapshot() if not m.live] == [102, 101, 100]
    assert membership.statistics().departed == 3


def test_its_own_departure_is_never_forgotten() -> None:
    membership = table(max_departed=2)
    membership.leave()
    membership.merge_all(many(5, DEAD))
    assert membership.own == Member(OWN, LEFT)
    assert membership.statistics().departed == 2


def test_the_smallest_table_can_leave() -> None:
    membership = table(max_members=1, max_departed=1)
    assert kinds(membership.merge(Member(ALPHA))) == [EventKind.REFUSED]
    membership.leave()
    membership.merge(Member(ALPHA, DEAD))
    assert membership.own.state is LEFT


def test_a_snapshot_begins_with_this_node_and_holds_everything_once() -> None:
    membership = table(*many(3), Member(ALPHA), Member(ALPHA, DEAD))
    assert [m.node.id for m in membership.snapshot()] == [OWN.id, 100, 101, 102, ALPHA.id]
    membership.leave()
    assert [m.node.id for m in membership.snapshot()] == [OWN.id, 100, 101, 102, ALPHA.id]


def test_statistics_count_by_state() -> None:
    membership = table(*many(3), Member(ALPHA, DEAD), Member(BETA, SUSPECT))
    statistics = membership.statistics()
    assert (statistics.alive, statistics.suspect, statistics.departed) == (4, 1, 1)


# --- The laws of merging ---


def random_rumours(random: Random) -> list[Member]:
    """Rumours of few nodes with few incarnations, so that they contradict each other in every way."""
    rumours = []
    for _ in range(random.randint(2, 12)):
        node = random.choice([ALPHA, BETA])
        node = replace(
            node,
            name=random.choice([node.name, "other"]),
            address=random.choice([node.address, "10.0.0.8:1"]),
            labels=random.choice([{}, {"zone": "a"}, {"zone": "b"}]),
            started_ms=random.choice([node.started_ms, 1]),
        )
        rumours.append(Member(node, random.choice(list(MemberState)), random.randint(0, 2)))
    return rumours


def records(membership: Membership) -> dict[int, Member]:
    return {member.node.id: member for member in membership.snapshot()}


@pytest.mark.parametrize("seed", range(300))
def test_views_agree_whatever_the_order_repetition_and_grouping_of_rumours(seed: int) -> None:
    random = Random(seed)
    rumours = random_rumours(random)
    expected = records(table(*rumours))
    shuffled = random.sample(rumours, len(rumours)) + random.choices(rumours, k=5)
    assert records(table(*shuffled)) == expected
    middle = random.randrange(len(rumours))
    left, right = table(*rumours[:middle]), table(*rumours[middle:])
    left.merge_all(right.snapshot())
    assert records(left) == expected
    assert left.merge_all(list(expected.values())) == [], "merging again changes nothing"


@pytest.mark.parametrize("seed", range(300))
def test_events_tell_the_whole_story_of_the_live_members(seed: int) -> None:
    """Whoever follows the events alone knows who is live and who a suspect, and nobody returns who left."""
    membership, live = table(), {OWN.id: Member(OWN)}
    left: set[int] = set()
    for event in membership.merge_all(random_rumours(Random(seed))):
        node_id = event.member.node.id
        match event.kind:
            case EventKind.JOINED:
                assert node_id not in live
                assert node_id not in left
                live[node_id] = event.member
            case EventKind.SUSPECTED | EventKind.RECOVERED | EventKind.UPDATED:
                assert node_id in live
                live[node_id] = event.member
            case EventKind.DIED:
                del live[node_id]
            case EventKind.LEFT:
                del live[node_id]
                left.add(node_id)
    assert [live[node_id] for node_id in sorted(live)] == membership.live()
