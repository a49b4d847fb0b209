"""The plots of the soak and the series they show."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from integration.soak.ledger import Ledger
from integration.soak.plots import Line, Span, nice_step, plot
from integration.soak.series import latency, rate

from .test_judge_others import IDLE


@pytest.mark.parametrize(("step", "nice"), [(0, 1), (0.03, 0.05), (1, 1), (1.1, 2), (3, 5), (70, 100)])
def test_steps_of_an_axis_are_round(step: float, nice: float) -> None:
    assert nice_step(step) == pytest.approx(nice)


def test_a_line_is_interrupted_where_there_was_no_sample() -> None:
    line = Line("a <b>", [(0.0, 1.0), (1.0, 2.0), (9.0, 3.0)])
    svg = ElementTree.fromstring(plot([line], [Span(2.0, 8.0, "a fault")], 10.0, str))
    [path] = svg.findall("path")
    assert path.attrib["d"].count("M") == 2
    assert [title.text for title in svg.iter("title")] == ["a fault", "a <b>"]


def test_a_rate_neither_falls_nor_jumps_when_a_peer_comes_or_goes() -> None:
    totals: list[dict[str, int]] = [{"b": 100, "c": 50}, {"b": 300}, {"b": 400, "c": 5}, {"b": 400, "c": 65}]
    samples = [replace(IDLE, time_s=second, bytes_sent=sent) for second, sent in enumerate(totals)]
    assert [value for _, value in rate("a", samples, lambda one: one.bytes_sent, 0.0).points] == [
        200,
        100,
        60,
    ]


def test_there_is_no_rate_across_a_restart() -> None:
    samples = [replace(IDLE, time_s=0.0), replace(IDLE, time_s=1.0, os_pid=2)]
    assert rate("a", samples, lambda one: one.bytes_sent, 0.0).points == []


def test_latency_is_the_median_and_the_worst_of_each_second() -> None:
    ledgers = [Ledger.read("it", [f"T 1500 9 {p50} {p99} 9999"]) for p50, p99 in ((1000, 2000), (3000, 8000))]
    assert latency(ledgers, 0.0) == [Line("p50", [(1.0, 2.0)]), Line("p99", [(1.0, 8.0)])]
