"""Which faults happen when, and to whom: decided from a seed before anything runs. Pure.

Every kind comes once before one comes again, in an order of the seed's; between two faults the cluster heals.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """What is done to nodes or to the network; the value is for people."""

    KILL = "kill -9 and restart"
    LEAVE = "leave and rejoin"
    PAUSE_SHORT = "short pause"
    PAUSE_LONG = "long pause"
    PARTITION_SHORT = "short partition"
    PARTITION_LONG = "long partition"
    CUT_ONE_WAY = "one-way cut"
    RESET = "connections reset"
    DEGRADE = "delay and loss"


DURATION_S = {
    Kind.KILL: (0.5, 2.0),
    Kind.LEAVE: (0.5, 2.0),
    Kind.PAUSE_SHORT: (0.5, 1.5),
    Kind.PAUSE_LONG: (6.5, 8.5),
    Kind.PARTITION_SHORT: (0.5, 1.5),
    Kind.PARTITION_LONG: (6.5, 8.5),
    Kind.CUT_ONE_WAY: (6.5, 8.5),
    Kind.RESET: (0.5, 1.5),
    Kind.DEGRADE: (3.0, 6.0),
}
"""seconds, from and to. A peer that answers nothing is given up after 5: short faults are well below that,
long ones well above. A node that ended stays away for that long; resets are repeated for that long."""

QUIET_S = (0.5, 2.0)
"""seconds without a fault, from and to, after the cluster is whole again"""

HEALING_S = 1.5
"""seconds it takes, by experience, until the cluster is whole again after a fault; only for the plan"""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: after so much quiet, for so long, to `nodes`.

    That is the node; of RESET and CUT_ONE_WAY two, from one to the other; of partitions the one that is cut
    off from the rest; of DEGRADE none.
    """

    quiet_s: float
    kind: Kind
    duration_s: float
    nodes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind} {' to '.join(self.nodes)}".strip()


def plan(seed: int, nodes: Sequence[str], seconds: float) -> list[Fault]:
    """The faults for a soak of that length, at least one."""
    faults: list[Fault] = []
    left = seconds
    for fault in _endless(random.Random(seed), nodes):
        left -= fault.quiet_s + fault.duration_s + HEALING_S
        if faults and left < 0:
            return faults
        faults.append(fault)
    raise AssertionError("there is always another fault")


def _endless(chance: random.Random, nodes: Sequence[str]) -> Iterator[Fault]:
    while True:
        kinds = list(Kind)
        chance.shuffle(kinds)
        for kind in kinds:
            quiet_s = round(chance.uniform(*QUIET_S), 1)
            duration_s = round(chance.uniform(*DURATION_S[kind]), 1)
            yield Fault(quiet_s, kind, duration_s, tuple(chance.sample(list(nodes), _how_many(kind))))


def _how_many(kind: Kind) -> int:
    if kind is Kind.DEGRADE:
        return 0
    return 2 if kind in (Kind.RESET, Kind.CUT_ONE_WAY) else 1
