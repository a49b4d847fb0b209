"""The plan of faults of the soak."""

from __future__ import annotations

import pytest
from integration.soak.faults import DURATION_S, HEALING_S, QUIET_S, Kind, plan

NODES = ("a", "b", "c")


def test_a_seed_decides_everything() -> None:
    assert plan(7, NODES, 600) == plan(7, NODES, 600)
    assert plan(7, NODES, 600) != plan(8, NODES, 600)


@pytest.mark.parametrize("seed", range(20))
def test_a_longer_soak_begins_as_a_shorter_one(seed: int) -> None:
    short = plan(seed, NODES, 60)
    assert plan(seed, NODES, 600)[: len(short)] == short


@pytest.mark.parametrize("seed", range(20))
def test_every_kind_comes_before_one_comes_again(seed: int) -> None:
    kinds = [fault.kind for fault in plan(seed, NODES, 600)]
    for start in range(0, len(kinds) - len(Kind) + 1, len(Kind)):
        assert set(kinds[start : start + len(Kind)]) == set(Kind)


@pytest.mark.parametrize("seed", range(20))
def test_faults_are_as_long_as_their_kind_and_strike_nodes_of_the_cluster(seed: int) -> None:
    faults = plan(seed, NODES, 600)
    planned_s = sum(fault.quiet_s + fault.duration_s + HEALING_S for fault in faults)
    assert 580 < planned_s <= 600
    for fault in faults:
        assert DURATION_S[fault.kind][0] <= fault.duration_s <= DURATION_S[fault.kind][1]
        assert QUIET_S[0] <= fault.quiet_s <= QUIET_S[1]
        assert len(set(fault.nodes)) == len(fault.nodes)
        assert set(fault.nodes) <= set(NODES)


def test_every_node_is_killed_sooner_or_later() -> None:
    assert {fault.nodes for fault in plan(1, NODES, 3600) if fault.kind is Kind.KILL} == {
        ("a",),
        ("b",),
        ("c",),
    }


def test_the_shortest_soak_has_one_fault() -> None:
    assert len(plan(1, NODES, 1)) == 1
