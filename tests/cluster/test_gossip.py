"""The rumour queue: newest record per node, least told first, a bounded number of tellings."""

from __future__ import annotations

import pytest

from luna.cluster.gossip import Rumours, retransmit_limit
from luna.cluster.members import Member, MemberState, NodeInfo


def member(node_id: int, incarnation: int = 0) -> Member:
    return Member(NodeInfo(node_id, f"n{node_id}", "c", "h:1"), MemberState.ALIVE, incarnation)


@pytest.mark.parametrize(
    ("members", "limit"), [(0, 0), (1, 3), (9, 3), (10, 6), (99, 6), (100, 9), (999, 9), (4096, 12)]
)
def test_a_rumour_is_told_a_logarithmic_number_of_times(members: int, limit: int) -> None:
    assert retransmit_limit(members, multiplier=3) == limit


def test_a_rumour_is_told_as_often_as_the_limit_says_and_then_forgotten() -> None:
    rumours = Rumours()
    rumours.add(member(1))
    told = 0
    while rumours.take(members=5):
        told += 1
    assert told == retransmit_limit(5)
    assert len(rumours) == 0


def test_a_newer_record_replaces_the_older_and_is_told_from_the_start() -> None:
    rumours = Rumours()
    rumours.add(member(1, 0))
    rumours.take(members=5)
    rumours.add(member(1, 1))
    assert len(rumours) == 1
    told = [rumours.take(members=5) for _ in range(retransmit_limit(5))]
    assert told == [[member(1, 1)]] * retransmit_limit(5)
    assert rumours.take(members=5) == []


def test_the_least_told_go_first_then_the_newest() -> None:
    rumours = Rumours()
    for node_id in (1, 2, 3):
        rumours.add(member(node_id))
    assert rumours.take(5, max_rumours=2) == [member(3), member(2)]
    assert rumours.take(5, max_rumours=2) == [member(1), member(3)]
    rumours.add(member(4))
    assert rumours.take(5, max_rumours=1) == [member(4)]


def test_a_full_queue_drops_the_most_told() -> None:
    rumours = Rumours(max_rumours=3)
    for node_id in (1, 2, 3):
        rumours.add(member(node_id))
    rumours.take(5, max_rumours=1)  # tells 3
    rumours.add(member(4))
    assert len(rumours) == 3
    assert {m.node.id for m in rumours.take(5)} == {1, 2, 4}
