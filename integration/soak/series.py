"""What the plots of a soak show: series over time out of samples and ledgers. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from luna.proto.limits import MIB

from .figures import Figures
from .ledger import Kind, Ledger
from .plots import Line, Point

LONGEST_STEP_S = 4.0
"""seconds between two samples above which their rate means nothing: the node was frozen or away"""


def rate(name: str, samples: Sequence[Figures], total: Callable[[Figures], float], begin_s: float) -> Line:
    """How much a total of a node grows each second; not across a restart."""
    points: list[Point] = []
    for one, other in pairwise(samples):
        step_s = other.time_s - one.time_s
        if one.os_pid == other.os_pid and 0 < step_s <= LONGEST_STEP_S:
            points.append((other.time_s - begin_s, (total(other) - total(one)) / step_s))
    return Line(name, points)


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
            [(float(second), sorted(values)[len(values) // 2]) for second, values in sorted(medians.items())],
        ),
        Line("p99", [(float(second), value) for second, value in sorted(worst.items())]),
    ]
