"""Placement: by name, by labels, by load."""

from __future__ import annotations

import pytest

from luna.cluster.members import Member, MemberState, NodeInfo
from luna.cluster.placement import Placement, candidates, place
from luna.proto.errors import NotFoundError


def member(node_id: int, name: str, state: MemberState = MemberState.ALIVE, **labels: str) -> Member:
    return Member(NodeInfo(node_id, name, "c", "h:1", labels, started_ms=node_id), state)


ALPHA = member(1, "alpha", zone="a", disk="ssd")
BETA = member(2, "beta", zone="b", disk="ssd")
GAMMA = member(3, "gamma", zone="b")
ALL = [GAMMA, BETA, ALPHA]


def test_without_wishes_the_first_by_name_is_used() -> None:
    assert place(ALL, Placement()) == ALPHA


def test_a_name_is_exact() -> None:
    assert place(ALL, Placement("beta")) == BETA
    with pytest.raises(NotFoundError):
        place(ALL, Placement("Beta"))


def test_all_labels_must_match() -> None:
    assert candidates(ALL, Placement(labels={"zone": "b"})) == [BETA, GAMMA]
    assert place(ALL, Placement(labels={"zone": "b", "disk": "ssd"})) == BETA


def test_a_name_with_labels_it_lacks_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="node named alpha with zone=b"):
        place(ALL, Placement("alpha", {"zone": "b"}))


def test_the_least_loaded_that_fits_is_used() -> None:
    loads = {1: 0.0, 2: 5.0, 3: 4.0}
    assert place(ALL, Placement(labels={"zone": "b"}), loads) == GAMMA


def test_equal_loads_are_decided_by_name() -> None:
    assert place(ALL, Placement(), {1: 2.0, 2: 2.0, 3: 2.0}) == ALPHA


def test_a_node_that_has_not_reported_counts_as_unloaded() -> None:
    assert place(ALL, Placement(), {1: 1.0, 2: 1.0}) == GAMMA


def test_a_suspect_is_used_only_if_nobody_else_fits() -> None:
    suspect = member(3, "gamma", MemberState.SUSPECT, zone="c")
    assert place([suspect, BETA], Placement(), {2: 100.0}) == BETA
    assert place([suspect, BETA], Placement(labels={"zone": "c"})) == suspect


@pytest.mark.parametrize("state", [MemberState.DEAD, MemberState.LEFT])
def test_the_departed_are_never_used(state: MemberState) -> None:
    with pytest.raises(NotFoundError):
        place([member(1, "alpha", state)], Placement("alpha"))


def test_of_two_members_of_one_name_the_one_that_stays_is_used() -> None:
    twins = [member(9, "alpha"), ALPHA]
    assert place(twins, Placement("alpha"), {1: 100.0}) == ALPHA


def test_the_hint_lists_live_nodes_but_not_hundreds() -> None:
    with pytest.raises(NotFoundError) as caught:
        place([*ALL, member(4, "gone", MemberState.DEAD)], Placement("delta"))
    assert caught.value.hint == "live nodes: alpha, beta, gamma"
    with pytest.raises(NotFoundError) as caught:
        place([member(i, f"n{i:03}") for i in range(1, 300)], Placement("delta"))
    assert caught.value.hint is not None
    assert caught.value.hint.endswith("n008, ...")
