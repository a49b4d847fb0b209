"""The arithmetic of failure detection: when a silent member is suspected, and when it is declared dead.

Pure functions of times that are passed in, in seconds of any one clock; whoever drives them owns the
clock, the probes and the membership table. Today that is the simulation in tests/cluster, which holds the
membership rules to suspicion and refutation; `luna.node` keeps a session with every other node, judges by
those alone and suspects nobody. This decides for the probing to come, when not all are connected.

One probe: ping the next member of a `ProbeOrder`. No answer within `probe_timeout_s`: ask
`indirect_probers` to ping it. No answer by the end of the probe interval: suspect it. Not refuted by
`verdict_deadline`: declare it dead.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """The knobs of the detector.

    A member that freezes is found, on average, after 1.6 probe intervals (somebody's probe hits it), one
    more (that probe fails), and the suspicion timeout. With the defaults and up to ten members that is
    1.6 + 1 + 2 = 4.6 s; it grows with the logarithm of their number beyond.
    """

    probe_interval_s: float = 1.0
    """Time from one probe of a node to its next; smaller finds failures earlier and costs messages."""

    probe_timeout_s: float = 0.5
    """Wait for the answer to a direct ping before others are asked: a generous round-trip time."""

    indirect_probers: int = 3
    """Members asked to ping in our stead, so that one bad path is not taken for a dead node."""

    suspicion_multiplier: float = 2.0
    """Probe intervals that a suspect gets to refute: suspicion and refutation must cross the cluster."""


DEFAULT_DETECTOR = DetectorConfig()


def suspicion_timeout_s(members: int, config: DetectorConfig = DEFAULT_DETECTOR) -> float:
    """Seconds a suspect has to refute in a cluster of `members`, by memberlist's formula.

    multiplier x max(1, log10(members)) x probe interval: rumours need logarithmic time to reach everyone.
    """
    scale = max(1.0, math.log10(max(1, members)))
    return config.suspicion_multiplier * scale * config.probe_interval_s


def verdict_deadline(suspected_at_s: float, members: int, config: DetectorConfig = DEFAULT_DETECTOR) -> float:
    """When a member suspected at `suspected_at_s` is declared dead unless it refuted before."""
    return suspected_at_s + suspicion_timeout_s(members, config)


def choose_indirect_probers(
    random: Random, members: Collection[int], target: int, own: int, count: int
) -> list[int]:
    """At most `count` of the node ids `members`, at random, to ping `target` for the node `own`."""
    candidates = sorted(set(members) - {target, own})
    return random.sample(candidates, min(count, len(candidates)))


class ProbeOrder:
    """Whom to probe next: everyone once in random order, then again in another.

    So a dead member is probed within twice as many intervals as there are members, which independent
    random choice could not promise.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._round: list[int] = []

    def next(self, members: Sequence[int]) -> int | None:
        """The next node id of `members` to probe; None if there is none. Ids that are gone are skipped."""
        current = set(members)
        for _ in range(2):  # the rest of this round, then a new one
            while self._round:
                node_id = self._round.pop()
                if node_id in current:
                    return node_id
            self._round = sorted(current)
            self._random.shuffle(self._round)
        return None
