"""The table and the JSON document."""

from __future__ import annotations

import io
import json

import pytest
from benchmarks.lab import Lab
from benchmarks.model import Benchmark, Figure, Measure, Result, Unit, Values
from benchmarks.report import SCHEMA, document, format_figure, format_value, table
from rich.console import Console


def probe(lab: Lab) -> Values:
    """Counts things. Slowly."""
    raise AssertionError("nothing is measured in these tests")


@pytest.fixture
def results() -> list[Result]:
    measures = (Measure("rate", "things counted", "/s", ">= 50k"), Measure("time", "one thing", "us"))
    result = Result(Benchmark("things", "local", measures, probe, {"bare": probe, "raw": probe}, probe))
    for rate in (40_000.0, 52_340.0, 60_000.0):
        result.add("luna", {"rate": rate, "time": 1e6 / rate})
    result.add("floor: bare", {"rate": 7_000_000.0})
    result.problems.append("erlang: it is out")
    return [result]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (0.00256, "0.00256"),
        (0.43, "0.43"),
        (0.9999, "1.00"),
        (5.714, "5.71"),
        (9.999, "10.0"),
        (12.06, "12.1"),
        (99.96, "100"),
        (850.4, "850"),
        (9_994.0, "9994"),
        (9_996.0, "10.0k"),
        (52_340.0, "52.3k"),
        (999_499.0, "999k"),
        (999_600.0, "1.00M"),
        (5_714_000.0, "5.71M"),
        (-12.06, "-12.1"),
    ],
)
def test_values_have_three_significant_digits(value: float, text: str) -> None:
    assert format_value(value) == text


@pytest.mark.parametrize(
    ("samples", "unit", "text"),
    [
        ((1.0,), "us", "1.00 us"),
        ((1.0, 2.0, 4.0), "us", "2.00 us (1.00-4.00)"),
        ((52_340.0,), "/s", "52.3k/s"),
        ((7.0, 7.0), "KiB", "7.00 KiB"),
        ((100_000.0,), "", "100k"),
    ],
)
def test_a_figure_shows_its_unit_and_its_range_if_it_has_one(
    samples: tuple[float, ...], unit: Unit, text: str
) -> None:
    assert format_figure(Figure(samples), unit) == text


def test_nothing_measured_shows_as_a_dash() -> None:
    assert format_figure(None, "us") == "-"


def test_the_table_has_systems_side_by_side(results: list[Result]) -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(table(results))
    assert isinstance(console.file, io.StringIO)
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in console.file.getvalue().splitlines()
        if "│" in line
    ]
    assert rows == [
        ["things counted", "52.3k/s (40.0k-60.0k)", "bare 7.00M/s", "-", ">= 50k"],
        ["one thing", "19.1 us (16.7-25.0)", "-", "-", ""],
    ]


def test_the_document_has_every_sample_and_is_json(results: list[Result]) -> None:
    made = document(results, {"cores": 2}, {"python": "3.11"}, {"repeat": 3}, "2026-01-02T03:04:05+00:00")
    assert json.loads(json.dumps(made)) == made
    assert made["schema"] == SCHEMA == "luna.bench/1"
    assert set(made["data"]) == {"started", "machine", "versions", "options", "benchmarks"}
    (one,) = made["data"]["benchmarks"]
    assert set(one) == {"name", "group", "about", "problems", "measures"}
    assert (one["name"], one["about"], one["problems"]) == ("things", "Counts things", ["erlang: it is out"])
    assert one["measures"][0] == {
        "key": "rate",
        "title": "things counted",
        "unit": "/s",
        "expected": ">= 50k",
        "luna": {
            "median": 52_340.0,
            "min": 40_000.0,
            "max": 60_000.0,
            "samples": [40_000.0, 52_340.0, 60_000.0],
        },
        "floors": {"bare": {"median": 7e6, "min": 7e6, "max": 7e6, "samples": [7e6]}},
        "erlang": None,
    }
