"""What a benchmark is, and what comes out of one: plain values, no measuring.

A benchmark has measures, and probes that find their values: one for Luna, one for each floor, perhaps one
for Erlang. A probe that does not know a measure leaves it out.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, final

if TYPE_CHECKING:
    from benchmarks.lab import Lab
    from benchmarks.session import Session

__all__ = ["Benchmark", "BenchmarkError", "Figure", "Measure", "Probe", "Result", "Unit", "Values", "on"]

Unit = Literal["ns", "us", "ms", "s", "/s", "MB/s", "KiB", "MiB", ""]

SECONDS: Final[Mapping[Unit, float]] = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}

Values = dict[str, float]
"""The values of one run of a probe, by the key of the measure, each in its measure's unit."""

Probe = Callable[["Lab"], Values]


class BenchmarkError(Exception):
    """A measurement could not be made. The text says which step failed and how."""


@final
@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a benchmark."""

    key: str
    title: str
    unit: Unit
    expected: str = ""
    """what a first version is expected to reach, as text; empty: nothing was stated."""


@final
@dataclass(frozen=True, slots=True)
class Benchmark:
    """One thing that is measured: on Luna, on floors, and in Erlang where there is a counterpart."""

    name: str
    group: Literal["local", "remote"]
    measures: tuple[Measure, ...]
    luna: Probe
    floors: Mapping[str, Probe]
    """what the machine does without a runtime, by a short name."""
    erlang: Probe | None
    slow: bool = False
    """left out unless it is asked for."""

    @property
    def about(self) -> str:
        """What is measured and how, in one sentence: how the docstring of Luna's probe begins."""
        text = " ".join((self.luna.__doc__ or "").split())
        return text.partition(". ")[0].rstrip(".")


@final
@dataclass(frozen=True, slots=True)
class Figure:
    """The samples of one measure on one system, in its unit; never empty."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def least(self) -> float:
        return min(self.samples)

    @property
    def most(self) -> float:
        return max(self.samples)


@final
@dataclass(slots=True)
class Result:
    """What the runs of one benchmark gave. `runs` is by system: "luna", "erlang", or "floor: NAME"."""

    benchmark: Benchmark
    runs: dict[str, list[Values]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """why a system has no figures, one line each."""

    def add(self, system: str, values: Values) -> None:
        """Keep one run. Raises BenchmarkError for a value that no measure is declared for."""
        unknown = set(values) - {measure.key for measure in self.benchmark.measures}
        if unknown:
            raise BenchmarkError(f"{self.benchmark.name} has no measure {', '.join(sorted(unknown))}")
        self.runs.setdefault(system, []).append(values)

    def figure(self, system: str, key: str) -> Figure | None:
        """The samples of a measure on a system; None if it was not measured there."""
        samples = tuple(values[key] for values in self.runs.get(system, []) if key in values)
        return Figure(samples) if samples else None

    def floors(self, key: str) -> dict[str, Figure]:
        """The samples of a measure on each floor that has it, by the floor's name."""
        found = {name: self.figure(f"floor: {name}", key) for name in self.benchmark.floors}
        return {name: figure for name, figure in found.items() if figure is not None}


def per_item(elapsed_ns: float, count: int, unit: Unit) -> float:
    """The time of one of `count` items in `unit`, or with "/s" how many there are in a second."""
    if elapsed_ns <= 0 or count <= 0:
        raise ValueError(f"{count} items in {elapsed_ns} ns")
    if unit == "/s":
        return count / (elapsed_ns * 1e-9)
    return elapsed_ns * 1e-9 / count / SECONDS[unit]


def next_count(count: int, elapsed_ns: float, target_ns: float, most: int) -> int | None:
    """How many items to try next so that they take about `target_ns`; None when `count` was enough.

    Grows at most twentyfold at a time, since the first items are the slowest.
    """
    if elapsed_ns >= target_ns / 3 or count >= most:
        return None
    grown = count * min(20.0, target_ns / max(elapsed_ns, 1.0))
    return min(most, max(count + 1, int(grown)))


def on(
    open_session: Callable[[Lab], AbstractContextManager[Session]], measure: Callable[[Session, Lab], Values]
) -> Probe:
    """The probe that makes a measurement in a session of its own, opened for each run."""

    def probe(lab: Lab) -> Values:
        with open_session(lab) as session:
            return measure(session, lab)

    probe.__doc__ = measure.__doc__
    return probe


def find_benchmarks(all_of_them: Sequence[Benchmark], names: Sequence[str], slow: bool) -> list[Benchmark]:
    """Those to run: the named ones, a name may be a group's; else all, slow ones only with `slow`.

    Raises BenchmarkError for a name that is neither a benchmark's nor a group's.
    """
    known = {benchmark.name for benchmark in all_of_them} | {benchmark.group for benchmark in all_of_them}
    for name in names:
        if name not in known:
            raise BenchmarkError(f"there is no benchmark {name}; --list shows them")
    if not names:
        return [benchmark for benchmark in all_of_them if slow or not benchmark.slow]
    return [
        benchmark
        for benchmark in all_of_them
        if benchmark.name in names or (benchmark.group in names and (slow or not benchmark.slow))
    ]
