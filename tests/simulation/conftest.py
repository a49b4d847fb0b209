"""Options of the simulations: `pytest tests/simulation --seed N` replays one, `--seeds N` runs more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .conversions import remembered_conversions

SEEDS = 2000
"""random simulations of a test run"""

BATCHES = 20
"""tests they are spread over"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="run this random simulation alone, and print what happens")
    parser.addoption(
        "--seeds", type=int, default=SEEDS, help=f"how many random simulations (default {SEEDS})"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seeds" not in metafunc.fixturenames:
        return
    # Without this folder among the arguments the options are unknown.
    seed = metafunc.config.getoption("seed", None)
    count = metafunc.config.getoption("seeds", SEEDS)
    ranges = [range(first, count, BATCHES) for first in range(min(BATCHES, count))]
    if seed is not None:
        ranges = [range(seed, seed + 1)]
    metafunc.parametrize("seeds", ranges, ids=[f"{seeds[0]}" for seeds in ranges])


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    with remembered_conversions():
        yield
