"""Sessions with child processes: what they answer, and how they fail."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks.model import BenchmarkError
from benchmarks.session import Answer, open_process, rate

ANSWERS = """
import json, sys
for line in sys.stdin:
    name, *numbers = line.split()
    if name == "fail":
        sys.exit("the child says why")
    print("no json" if name == "nonsense" else json.dumps({"sum": sum(map(int, numbers))}), flush=True)
"""


def command(code: str = ANSWERS) -> list[str]:
    return [sys.executable, "-c", code]


def test_requests_are_answered_in_turn(tmp_path: Path) -> None:
    with open_process(command(), "child", tmp_path / "log") as session:
        assert session.ask("add", 1, 2) == {"sum": 3}
        assert session.ask("add", 4) == {"sum": 4}
    assert session.process.returncode == 0


def test_a_child_that_ends_is_an_error_with_what_it_said(tmp_path: Path) -> None:
    with (
        pytest.raises(BenchmarkError, match=r"child: fail 1: ended with 1, no answer\nthe child says why"),
        open_process(command(), "child", tmp_path / "log") as session,
    ):
        session.ask("fail", 1)
    assert session.process.returncode == 1


def test_an_answer_that_is_no_json_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(BenchmarkError, match="nonsense: answered 'no json"),
        open_process(command(), "child", tmp_path / "log") as session,
    ):
        session.ask("nonsense")


def test_a_child_that_does_not_answer_in_time_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.session.ANSWER_TIMEOUT_S", 0.05)
    silent = command("import time; time.sleep(3600)")
    with (
        pytest.raises(BenchmarkError, match="ended with -9"),
        open_process(silent, "child", tmp_path / "log") as session,
    ):
        session.ask("add", 1)


def test_a_child_that_does_not_end_with_its_input_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.session.STOP_TIMEOUT_S", 0.05)
    with open_process(command("import time; time.sleep(3600)"), "child", tmp_path / "log") as session:
        pass
    assert session.process.returncode == -9


class Steady:
    """A session in which each item takes the same time, after a start."""

    def __init__(self, start_ns: int, item_ns: int) -> None:
        self.asked: list[Sequence[int]] = []
        self._start_ns = start_ns
        self._item_ns = item_ns

    def ask(self, name: str, *numbers: int) -> Answer:
        self.asked.append(numbers)
        return {"elapsed_ns": self._start_ns + self._item_ns * numbers[0]}


def test_a_rate_is_that_of_the_last_and_longest_run() -> None:
    session = Steady(1_000_000, 1000)
    assert rate(session, "x", lambda count: (count, 7), "us") == pytest.approx(1.0, rel=0.01)
    counts = [numbers[0] for numbers in session.asked]
    assert counts == sorted(counts)
    assert 200_000 <= counts[-1] <= 1_000_000
    assert {numbers[1] for numbers in session.asked} == {7}


def test_a_rate_counts_the_items_of_a_run() -> None:
    assert rate(Steady(0, 1000), "x", lambda n: (n,), "ns", items=lambda n: n * 10) == pytest.approx(100.0)


def test_a_slow_system_is_asked_once() -> None:
    session = Steady(0, 1_000_000_000)
    rate(session, "x", lambda count: (count,), "us")
    assert len(session.asked) == 1


def test_a_rate_keeps_to_the_most_items() -> None:
    session = Steady(0, 10)
    rate(session, "x", lambda count: (count,), "us", most=500)
    assert session.asked[-1] == (500,)
