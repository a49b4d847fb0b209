"""What is shown: the table for people and the JSON document. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.table import Table

from benchmarks.model import Figure, Result, Unit

__all__ = ["SCHEMA", "document", "format_figure", "format_value", "table"]

SCHEMA: Final = "luna.bench/1"
"""Version of the JSON document; a new number when a key goes away or changes its meaning."""
NOTHING: Final = "-"


def format_value(value: float) -> str:
    """Three significant digits; thousands as k, millions as M: 0.432, 12.1, 850, 43.2k, 5.71M."""
    for limit, divisor, suffix in ((999_500, 1e6, "M"), (9_995, 1e3, "k"), (0, 1.0, "")):
        if abs(value) >= limit:
            value, digits = value / divisor, suffix
            break
    if abs(value) >= 99.95:
        return f"{value:.0f}{digits}"
    if abs(value) >= 9.995:
        return f"{value:.1f}{digits}"
    return f"{value:.2f}{digits}" if abs(value) >= 0.9995 or value == 0 else f"{value:.3g}{digits}"


def format_figure(figure: Figure | None, unit: Unit) -> str:
    """The median with its unit, and the range when there is one: `43.2k/s (39.0k-45.1k)`."""
    if figure is None:
        return NOTHING
    space = "" if unit in ("", "/s") else " "
    text = f"{format_value(figure.median)}{space}{unit}"
    if len(figure.samples) > 1 and figure.least != figure.most:
        text += f" ({format_value(figure.least)}-{format_value(figure.most)})"
    return text


def table(results: Sequence[Result]) -> Table:
    """One row for each measure; benchmarks apart by a line."""
    made = Table("measure", "Luna", "floor", "Erlang", "expected", title="Luna, its floor, and Erlang")
    for result in results:
        for measure in result.benchmark.measures:
            floors = result.floors(measure.key)
            made.add_row(
                measure.title,
                format_figure(result.figure("luna", measure.key), measure.unit),
                "\n".join(f"{name} {format_figure(figure, measure.unit)}" for name, figure in floors.items())
                or NOTHING,
                format_figure(result.figure("erlang", measure.key), measure.unit),
                measure.expected,
            )
        made.add_section()
    return made


def document(
    results: Sequence[Result],
    machine: Mapping[str, Any],
    versions: Mapping[str, str],
    options: Mapping[str, Any],
    started: str,
) -> dict[str, Any]:
    """Everything measured, with all samples. `started` is a time in ISO 8601."""
    return {
        "schema": SCHEMA,
        "data": {
            "started": started,
            "machine": dict(machine),
            "versions": dict(versions),
            "options": dict(options),
            "benchmarks": [_benchmark(result) for result in results],
        },
    }


def _benchmark(result: Result) -> dict[str, Any]:
    return {
        "name": result.benchmark.name,
        "group": result.benchmark.group,
        "about": result.benchmark.about,
        "problems": list(result.problems),
        "measures": [
            {
                "key": measure.key,
                "title": measure.title,
                "unit": measure.unit,
                "expected": measure.expected,
                "luna": _figure(result.figure("luna", measure.key)),
                "floors": {name: _figure(figure) for name, figure in result.floors(measure.key).items()},
                "erlang": _figure(result.figure("erlang", measure.key)),
            }
            for measure in result.benchmark.measures
        ],
    }


def _figure(figure: Figure | None) -> dict[str, Any] | None:
    if figure is None:
        return None
    return {
        "median": figure.median,
        "min": figure.least,
        "max": figure.most,
        "samples": list(figure.samples),
    }
