"""Names of processes under schedules drawn from a seed; a failure names the seed that repeats it."""

from __future__ import annotations

import os

import pytest

from .names_world import World

SEEDS = int(os.environ.get("LUNA_SEEDS", "300"))
"""of each test; some seconds in all."""
STEPS = 150


@pytest.mark.parametrize("calm", [True, False], ids=["calm", "stormy"])
def test_a_name_has_one_holder_and_every_request_an_answer(calm: bool) -> None:
    for seed in range(SEEDS):
        world = World(seed, calm=calm)
        world.join()
        world.join()
        try:
            for _ in range(STEPS):
                world.step()
            world.settle()
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
