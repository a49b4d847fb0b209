"""Percentiles by nearest rank."""

from __future__ import annotations

import pytest
from benchmarks.samples import summary


def test_percentiles_are_samples_of_nearest_rank() -> None:
    assert summary(range(1, 101)) == {"rounds": 100, "p50_ns": 50, "p99_ns": 99, "max_ns": 100}


def test_order_of_samples_does_not_matter() -> None:
    assert summary([3, 1, 2]) == summary([1, 2, 3]) == {"rounds": 3, "p50_ns": 2, "p99_ns": 3, "max_ns": 3}


def test_one_sample_is_every_percentile() -> None:
    assert summary([7]) == {"rounds": 1, "p50_ns": 7, "p99_ns": 7, "max_ns": 7}


def test_no_samples_have_no_summary() -> None:
    with pytest.raises(ValueError, match="no samples"):
        summary([])
