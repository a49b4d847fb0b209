"""The promises hold whatever goes wrong, at random: thousands of seeds, each replayed by its number."""

from __future__ import annotations

import pytest

from .faults import simulate
from .promises import Violation


def test_every_promise_holds_and_the_cluster_heals(seeds: range, pytestconfig: pytest.Config) -> None:
    alone = pytestconfig.getoption("seed", None) is not None
    for seed in seeds:
        try:
            simulate(seed, trace=alone)
        except Violation as violation:
            pytest.fail(f"{violation}\nreplay it: python -m tests.simulation {seed} --trace", pytrace=alone)


def test_a_seed_gives_one_run() -> None:
    runs = [simulate(7) for _ in range(2)]
    assert runs[0].events == runs[1].events
    assert runs[0].counts == runs[1].counts
    assert runs[0].messages == runs[1].messages > 100
