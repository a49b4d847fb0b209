"""What the plots of a soak show: series over time out of samples and ledgers. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median

from luna.proto.limits import MIB

from .figures import Figures
from .ledger import Kind, Ledger
from .plots import Line, Point

LONGEST_STEP_S = 4.0
"""seconds between two samples above which their rate means nothing: the node was frozen or away"""


def rate(
    name: str, samples: Sequence[Figures], total: Callable[[Figures], Mapping[str, float]], begin_s: float
) -> Line:
    """How much totals of a node grow each second, together; not across a restart.

    Totals about a peer begin anew with a new one of that name, and are not there in between.
    """
    points: list[Point] = []
    for one, other in pairwise(samples):
        step_s = other.time_s - one.time_s
        if one.os_pid == other.os_pid and 0 < step_s <= LONGEST_STEP_S:
            points.append((other.time_s - begin_s, _growth(total(one), total(other)) / step_s))
    return Line(name, points)


def _growth(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    return sum(max(0.0, value - before[name]) for name, value in after.items() if name in before)


def memory(name: str, samples: Sequence[Figures], begin_s: float) -> Line:
    """Resident memory in MiB."""
    return Line(name, [(sample.time_s - begin_s, sample.resident_bytes / MIB) for sample in samples])


def latency(ledgers: Iterable[Ledger], begin_s: float) -> list[Line]:
    """Round trips of all chats in milliseconds: the median of each second's medians, and the worst p99."""
    medians: dict[int, list[float]] = defaultdict(list)
    worst: dict[int, float] = defaultdict(float)
    for ledger in ledgers:
        for entry in ledger.of(Kind.TIMES):
            _, p50_us, p99_us, _ = entry.numbers
            second = int(entry.time_ms / 1000 - begin_s)
            medians[second].append(p50_us / 1000)
            worst[second] = max(worst[second], p99_us / 1000)
    return [
        Line(
            "p50",
            [(float(second), median(values)) for second, values in sorted(medians.items())],
        ),
        Line("p99", [(float(second), value) for second, value in sorted(worst.items())]),
    ]
