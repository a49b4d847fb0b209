"""The judge of children, timers and names, and the comparison of figures, given what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from integration.soak.figures import Figures
from integration.soak.judge import NO_LOSS, ORDER, TOLD_ONCE
from integration.soak.judge_others import (
    NAMES,
    SPAWNS,
    TIMERS,
    judge_holders,
    judge_names,
    judge_nursery,
    judge_timers,
)
from integration.soak.leaks import (
    EXACT_HELD,
    MEMORY_BOUND_BYTES,
    THREADS_BOUND,
    compare,
    has_settled,
    judge_leaks,
)
from integration.soak.ledger import Ledger, Pair


def ledger(*lines: str) -> Ledger:
    """As a process writes it, all at one time."""
    return Ledger.read("it", [f"{line[0]} 1000{line[1:]}" for line in lines])


# born, refused, greeted, ended, links, lost, strange
@pytest.mark.parametrize(
    ("counts", "is_crashing", "promises"),
    [
        ("9 1 9 9 0 0 0", False, []),
        ("9 1 9 9 9 0 0", True, []),
        ("9 0 7 9 9 2 0", True, []),
        ("9 0 9 9 8 0 0", True, [TOLD_ONCE]),
        ("9 0 9 8 0 0 0", False, [TOLD_ONCE]),
        ("9 0 9 10 0 0 1", False, [SPAWNS, TOLD_ONCE]),
        ("9 0 8 9 0 0 0", False, [NO_LOSS]),
        ("9 0 10 9 0 0 0", False, [NO_LOSS]),
    ],
)
def test_children(counts: str, is_crashing: bool, promises: list[str]) -> None:
    found = judge_nursery(ledger(f"C {counts}", "E 9"), is_crashing=is_crashing)
    assert [finding.promise for finding in found] == promises


HALF, OTHER_HALF, ALL = 0x5555, 0xAAAA, 0xFFFF


@pytest.mark.parametrize(
    ("came", "told", "promises"),
    [
        ([f"W 1 {OTHER_HALF} 0"], False, []),
        ([f"W 1 {OTHER_HALF & 0xFF} 0", f"W 1 {OTHER_HALF & 0xFF00} 0"], False, []),
        ([f"W 1 {OTHER_HALF & ~2} 0"], False, [NO_LOSS]),
        ([f"W 1 {OTHER_HALF & ~2} 0"], True, []),
        ([f"W 1 {ALL} 0"], True, [TIMERS]),
        ([f"W 1 {OTHER_HALF} 2"], True, [ORDER]),
        ([f"W 1 {OTHER_HALF} 0", "W 1 2 0"], True, [ORDER]),
        ([f"W 1 {OTHER_HALF} 0", "W 2 1 0"], False, [TIMERS]),
    ],
)
def test_timers(came: list[str], told: bool, promises: list[str]) -> None:
    source = ledger(f"R 1 {HALF}", *(["D 1"] if told else []), "E 1")
    found = judge_timers(Pair("timers", source, ledger(*came, "E 1")))
    assert [finding.promise for finding in found] == promises


def test_names() -> None:
    assert list(judge_names(ledger("N 90 0", "E 0"))) == []
    assert [finding.promise for finding in judge_names(ledger("N 90 1", "E 0"))] == [NAMES]


def test_a_name_that_stands_for_two_processes() -> None:
    one, other = ledger("H 1 7", "H 2 0", "E 0"), ledger("H 1 8", "H 2 0", "E 0")
    assert list(judge_holders([one, one])) == []
    [finding] = judge_holders([one, other])
    assert "shared name 1 stands for 7 by it, 8 by it" in finding.text


IDLE = Figures(
    time_s=0.0,
    os_pid=1,
    resident_bytes=1 << 27,
    mappings=700,
    files=32,
    threads={"luna-node": 14, "event_engine": 4},
    processes=0,
    queued_bytes=0,
    held={**dict.fromkeys(EXACT_HELD, 0), "modules": 1, "configs": 2},
    messages_sent=0,
    processes_spawned=0,
    bytes_sent={},
)


def test_what_is_as_before_is_no_leak() -> None:
    assert has_settled(IDLE, IDLE)
    assert list(judge_leaks("a", IDLE, IDLE)) == []


@pytest.mark.parametrize(
    "after",
    [
        replace(IDLE, threads={**IDLE.threads, "event_engine": 5 + THREADS_BOUND}),
        replace(IDLE, processes=1),
        replace(IDLE, queued_bytes=1),
        replace(IDLE, files=100),
        replace(IDLE, mappings=2000),
        replace(IDLE, resident_bytes=IDLE.resident_bytes + MEMORY_BOUND_BYTES + 1),
        replace(IDLE, held={**IDLE.held, "stacks": 1}),
        replace(IDLE, held={**IDLE.held, "modules": 2}),
        replace(IDLE, held={**IDLE.held, "configs": 4}),
    ],
)
def test_whatever_leaked_is_found(after: Figures) -> None:
    assert not has_settled(IDLE, after)
    assert len(list(judge_leaks("a", IDLE, after))) == 1
    assert sum(row.is_leak for row in compare(IDLE, after)) == 1
