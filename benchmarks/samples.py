"""Percentiles of samples, the way all systems here take them. Imports nothing, so that any child can."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["summary"]


def summary(samples_ns: Sequence[int]) -> dict[str, float]:
    """Rounds, median, 99th percentile and maximum by nearest rank. Raises ValueError without samples."""
    if not samples_ns:
        raise ValueError("no samples")
    ordered = sorted(samples_ns)

    def at(percent: int) -> int:
        return ordered[(len(ordered) * percent + 99) // 100 - 1]

    return {"rounds": len(ordered), "p50_ns": at(50), "p99_ns": at(99), "max_ns": ordered[-1]}
