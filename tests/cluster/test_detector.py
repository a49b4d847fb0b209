"""The detector's arithmetic, by tables, and its choices, by seeds."""

from __future__ import annotations

from random import Random

import pytest

from luna.cluster.detector import (
    DetectorConfig,
    ProbeOrder,
    choose_indirect_probers,
    suspicion_timeout_s,
    verdict_deadline,
)


@pytest.mark.parametrize(
    ("members", "scale"),
    [(0, 1.0), (1, 1.0), (5, 1.0), (10, 1.0), (50, 1.69897), (100, 2.0), (500, 2.69897), (1000, 3.0)],
)
def test_suspicion_lasts_longer_in_larger_clusters(members: int, scale: float) -> None:
    """memberlist's own table for its formula, in units of multiplier x interval."""
    config = DetectorConfig(probe_interval_s=1.5, suspicion_multiplier=3.0)
    assert suspicion_timeout_s(members, config) == pytest.approx(4.5 * scale, rel=1e-5)


def test_the_verdict_comes_when_the_suspicion_has_run_out() -> None:
    assert verdict_deadline(100.0, 100) == 100.0 + suspicion_timeout_s(100)


def test_indirect_probers_are_others_each_once() -> None:
    members = set(range(1, 11))
    for seed in range(50):
        chosen = choose_indirect_probers(Random(seed), members, target=3, own=7, count=3)
        assert len(set(chosen)) == 3
        assert set(chosen) <= members - {3, 7}


def test_every_other_member_is_chosen_sooner_or_later() -> None:
    random = Random(1)
    chosen = {
        node_id
        for _ in range(100)
        for node_id in choose_indirect_probers(random, range(1, 7), target=1, own=2, count=2)
    }
    assert chosen == {3, 4, 5, 6}


@pytest.mark.parametrize(("members", "expected"), [([1, 2], []), ([1, 2, 3], [3]), ([], [])])
def test_with_few_members_there_are_few_probers(members: list[int], expected: list[int]) -> None:
    assert choose_indirect_probers(Random(0), members, target=1, own=2, count=3) == expected


def test_everybody_is_probed_once_a_round_in_changing_order() -> None:
    order = ProbeOrder(Random(3))
    members = [1, 2, 3, 4, 5, 6]
    rounds = [[order.next(members) for _ in members] for _ in range(5)]
    assert all(sorted(one for one in a_round if one) == members for a_round in rounds)
    assert len({tuple(a_round) for a_round in rounds}) > 1


def test_a_member_that_is_gone_is_not_probed_and_a_new_one_soon_is() -> None:
    order = ProbeOrder(Random(3))
    order.next([1, 2, 3])
    probed = [order.next([2, 3, 4]) for _ in range(5)]
    assert 1 not in probed
    assert {2, 3, 4} == set(probed)


def test_nobody_is_probed_in_a_cluster_of_one() -> None:
    order = ProbeOrder(Random(3))
    order.next([1])
    assert order.next([]) is None
