"""What a node holds after the work that it did not hold before. Pure: two samples in, findings out.

Both are taken of an idle cluster: before, when a little of each kind of work has been done and has ended;
after, when all of it has ended. A node that was started again meanwhile is held to what its predecessor had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from luna.node.bridge import BLOCKING_THREADS
from luna.proto.limits import MIB

from .figures import Figures
from .judge import Finding

NO_LEAK = "nothing leaks"

MEMORY_BOUND_BYTES = 64 * MIB
"""bytes of resident memory more than before: what the allocators of C and Python keep after a peak, and the
logs of ended processes, which are bounded. It does not grow with the length of a soak, as a leak would."""

MAPPINGS_BOUND = 64
"""mappings of memory more than before: arenas that allocators opened at a peak; a process that leaked would
cost one at least, and thousands were started"""

THREADS_BOUND = BLOCKING_THREADS
"""threads more than before: those that a node starts when it looks up several addresses at once, and keeps. A
leak would be one for each connection or process."""

EXACT_HELD = ("stores", "futures", "stacks", "signals", "requests", "timers")
"""what the native core must not hold without a process"""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a node, before and after, and how much more it may be."""

    name: str
    before: int
    after: int
    bound: int

    @property
    def is_leak(self) -> bool:
        """Whether more is left than may be."""
        return self.after > self.before + self.bound


def compare(before: Figures, after: Figures) -> list[Row]:
    """Every figure that could show a leak."""
    return [
        Row("resident bytes", before.resident_bytes, after.resident_bytes, MEMORY_BOUND_BYTES),
        Row("memory mappings", before.mappings, after.mappings, MAPPINGS_BOUND),
        Row("file descriptors", before.files, after.files, 0),
        Row("threads", sum(before.threads.values()), sum(after.threads.values()), THREADS_BOUND),
        Row("processes", before.processes, after.processes, 0),
        Row("queued bytes", before.queued_bytes, after.queued_bytes, 0),
        Row("compiled modules", before.held["modules"], after.held["modules"], 0),
        Row("configs", before.held["configs"], after.held["configs"], 0),
        *(Row(kind, before.held[kind], after.held[kind], 0) for kind in EXACT_HELD),
    ]


def is_at_rest(figures: Figures) -> bool:
    """Whether nothing runs, waits or is on its way on a node."""
    nothing = (figures.processes, figures.queued_bytes, *(figures.held[kind] for kind in EXACT_HELD))
    return not any(nothing)


def has_settled(before: Figures, after: Figures) -> bool:
    """Whether a node is at rest and holds no more than before."""
    return is_at_rest(after) and not any(row.is_leak for row in compare(before, after))


def judge_leaks(name: str, before: Figures, after: Figures) -> Iterator[Finding]:
    """Everything that leaked on a node."""
    for row in compare(before, after):
        if row.is_leak:
            change = f"{row.before} before, {row.after} after, at most {row.bound} more allowed"
            if row.name == "threads":
                more = Counter(after.threads) - Counter(before.threads)
                change += f"; more of {', '.join(f'{name} ({count})' for name, count in more.items())}"
            yield Finding(NO_LEAK, f"{name}: {row.name} {change}")
