"""Units, run lengths, and which benchmarks are chosen."""

from __future__ import annotations

import pytest
from benchmarks.lab import Lab
from benchmarks.model import (
    Benchmark,
    BenchmarkError,
    Figure,
    Measure,
    Result,
    Unit,
    Values,
    find_benchmarks,
    next_count,
    per_item,
)


def probe(lab: Lab) -> Values:
    """What it is about, in a
    sentence. And more."""
    raise AssertionError("nothing is measured in these tests")


def benchmark(name: str, group: str = "local", slow: bool = False) -> Benchmark:
    assert group in ("local", "remote")
    measures = (Measure("a", "first", "us"), Measure("b", "second", "/s"))
    place = "local" if group == "local" else "remote"
    return Benchmark(name, place, measures, probe, {"bare": probe}, None, slow=slow)  # type: ignore[arg-type]


ALL = [benchmark("x"), benchmark("y", "remote"), benchmark("z", "remote", slow=True)]


@pytest.mark.parametrize(
    ("unit", "expected"), [("/s", 500_000.0), ("us", 2.0), ("ms", 0.002), ("ns", 2000.0), ("s", 2e-6)]
)
def test_time_of_an_item_is_in_the_unit_of_its_measure(unit: Unit, expected: float) -> None:
    assert per_item(2e6, 1000, unit) == pytest.approx(expected)


@pytest.mark.parametrize(("elapsed_ns", "count"), [(0, 1), (1, 0), (-1, 1)])
def test_no_time_or_no_items_is_no_rate(elapsed_ns: float, count: int) -> None:
    with pytest.raises(ValueError, match="items in"):
        per_item(elapsed_ns, count, "/s")


def test_a_run_of_about_the_target_is_enough() -> None:
    assert next_count(100, 400e6, 600e6, 1000) is None


def test_a_short_run_is_repeated_with_as_many_items_as_fill_the_target() -> None:
    assert next_count(100, 100e6, 600e6, 10_000) == 600


def test_a_run_grows_at_most_twentyfold() -> None:
    assert next_count(100, 1, 600e6, 1_000_000) == 2000


def test_a_run_has_no_more_items_than_allowed() -> None:
    assert next_count(100, 1e6, 600e6, 150) == 150
    assert next_count(150, 1e6, 600e6, 150) is None


def test_every_repetition_has_more_items_so_that_it_ends() -> None:
    assert next_count(1, 199e6, 600e6, 10) == 3
    count, tries = 1, 0
    while (more := next_count(count, 1, 600e6, 10**9)) is not None:
        assert more > count
        count, tries = more, tries + 1
    assert tries < 10


def test_without_names_all_but_the_slow_ones_run() -> None:
    assert [one.name for one in find_benchmarks(ALL, [], slow=False)] == ["x", "y"]
    assert [one.name for one in find_benchmarks(ALL, [], slow=True)] == ["x", "y", "z"]


def test_a_slow_one_runs_when_it_is_named() -> None:
    assert [one.name for one in find_benchmarks(ALL, ["z"], slow=False)] == ["z"]


def test_a_group_is_a_name_for_its_benchmarks() -> None:
    assert [one.name for one in find_benchmarks(ALL, ["remote"], slow=False)] == ["y"]
    assert [one.name for one in find_benchmarks(ALL, ["remote", "x"], slow=True)] == ["x", "y", "z"]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="no benchmark q"):
        find_benchmarks(ALL, ["q"], slow=False)


def test_what_a_benchmark_is_about_is_the_first_sentence_of_its_probe() -> None:
    assert ALL[0].about == "What it is about, in a sentence"


def test_a_figure_is_the_median_with_its_range() -> None:
    figure = Figure((3.0, 1.0, 2.0, 10.0))
    assert (figure.median, figure.least, figure.most) == (2.5, 1.0, 10.0)


def test_a_result_collects_the_runs_of_each_system() -> None:
    result = Result(ALL[0])
    result.add("luna", {"a": 1.0, "b": 2.0})
    result.add("luna", {"a": 3.0})
    result.add("floor: bare", {"a": 0.5})
    assert result.figure("luna", "a") == Figure((1.0, 3.0))
    assert result.figure("luna", "b") == Figure((2.0,))
    assert result.figure("erlang", "a") is None
    assert result.floors("a") == {"bare": Figure((0.5,))}
    assert result.floors("b") == {}


def test_a_value_without_a_measure_is_a_mistake_of_the_probe() -> None:
    with pytest.raises(BenchmarkError, match="no measure c"):
        Result(ALL[0]).add("luna", {"c": 1.0})
