"""Which hosts the tests of faults get."""

from __future__ import annotations

import pytest
from integration.hosts.bed import CONTAINERS, NAMESPACES, Choice, choose

NO_NETWORK, NO_ENGINE = "namespaces need root", "no container engine answers"


@pytest.mark.parametrize(
    ("wanted", "no_network", "no_engine", "chosen"),
    [
        (None, None, None, Choice(CONTAINERS)),
        (None, None, NO_ENGINE, Choice(NAMESPACES, (NO_ENGINE,))),
        (None, NO_NETWORK, None, Choice("", (NO_NETWORK,))),
        (NAMESPACES, None, None, Choice(NAMESPACES)),
        (NAMESPACES, NO_NETWORK, None, Choice("", (NO_NETWORK,))),
        (CONTAINERS, None, None, Choice(CONTAINERS)),
        (CONTAINERS, None, NO_ENGINE, Choice("", (NO_ENGINE,))),
    ],
)
def test_hosts_are_the_most_real_ones_there_are(
    wanted: str | None, no_network: str | None, no_engine: str | None, chosen: Choice
) -> None:
    assert choose(wanted, no_network, lambda: no_engine) == chosen
