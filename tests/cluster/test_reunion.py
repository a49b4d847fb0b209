"""Whom of the dead to try again, and when."""

from __future__ import annotations

import pytest

from luna.cluster import reunion
from luna.cluster.members import Member, MemberState, NodeInfo
from luna.cluster.membership import Membership
from luna.cluster.reunion import DOUBTFUL_INTERVAL_S, KEEP_TRYING_S, REUNION_INTERVAL_S, Reunion

OWN = NodeInfo(1, "own", "c", "10.0.0.1:1")


def table(*states: MemberState) -> Membership:
    """Members 2, 3, ... in these states."""
    membership = Membership(OWN)
    for node_id, state in enumerate(states, 2):
        membership.merge(Member(NodeInfo(node_id, f"n{node_id}", "c", "10.0.0.2:1"), state))
    return membership


def tried(
    reunion: Reunion, membership: Membership, times: int, expelled: set[int] | None = None
) -> list[int]:
    ids = []
    for _ in range(times):
        member = reunion.tick(reunion.deadline_s, membership, expelled or set())
        if member is not None:
            ids.append(member.node.id)
    return ids


def test_nobody_died_nobody_is_tried() -> None:
    reunion = Reunion()
    assert reunion.deadline_s == float("inf")
    assert reunion.tick(100.0, table(), set()) is None


def test_the_dead_are_tried_one_at_a_time_and_in_turn_the_latest_first() -> None:
    reunion, membership = Reunion(), table(*[MemberState.DEAD] * 3)
    for node_id in (2, 3, 4):
        reunion.remember(10.0, node_id)
    assert reunion.deadline_s == 10.0 + REUNION_INTERVAL_S
    assert reunion.tick(10.0 + REUNION_INTERVAL_S - 0.01, membership, set()) is None
    assert tried(reunion, membership, 7) == [4, 3, 2, 4, 3, 2, 4]
    assert reunion.deadline_s == 10.0 + 8 * REUNION_INTERVAL_S


def test_who_is_back_is_not_tried() -> None:
    reunion, membership = Reunion(), table(MemberState.DEAD, MemberState.DEAD)
    reunion.remember(0.0, 2)
    reunion.remember(0.0, 3)
    reunion.forget(2)
    assert tried(reunion, membership, 2) == [3, 3]
    reunion.forget(3)
    assert reunion.deadline_s == float("inf")


@pytest.mark.parametrize("state", [MemberState.ALIVE, MemberState.LEFT])
def test_only_the_dead_are_tried(state: MemberState) -> None:
    reunion, membership = Reunion(), table(state)
    reunion.remember(0.0, 2)
    reunion.remember(0.0, 99)  # forgotten by the table
    assert tried(reunion, membership, 1) == []
    assert reunion.deadline_s == float("inf"), "and they are asked about once"


def test_who_was_expelled_is_not_tried() -> None:
    reunion, membership = Reunion(), table(MemberState.DEAD)
    reunion.remember(0.0, 2)
    assert tried(reunion, membership, 1, {2}) == []


def test_a_dead_member_is_not_tried_for_ever() -> None:
    reunion, membership = Reunion(), table(MemberState.DEAD)
    reunion.remember(0.0, 2)
    assert reunion.tick(KEEP_TRYING_S, membership, set()) is not None
    assert reunion.tick(KEEP_TRYING_S + REUNION_INTERVAL_S, membership, set()) is None
    assert reunion.deadline_s == float("inf")


def test_who_died_longest_ago_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reunion, "MAX_REMEMBERED", 2)
    dead = Reunion()
    for node_id in (2, 3, 4):
        dead.remember(float(node_id), node_id)
    assert tried(dead, table(*[MemberState.DEAD] * 3), 3) == [4, 3, 4]


def test_whose_address_refuses_connections_is_tried_less_often() -> None:
    reunion, membership = Reunion(), table(MemberState.DEAD, MemberState.DEAD)
    reunion.remember(0.0, 2)
    reunion.remember(0.0, 3)
    reunion.doubt(0.0, 3)
    tries = int(DOUBTFUL_INTERVAL_S / REUNION_INTERVAL_S)
    assert tried(reunion, membership, tries + 1) == [2] * (tries - 1) + [3, 2]
