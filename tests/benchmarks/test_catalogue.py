"""What is true of every benchmark, and of what it assumes of other parts."""

from __future__ import annotations

import re

import pytest
from benchmarks.lab import SOURCES
from benchmarks.local import LOCAL
from benchmarks.model import Benchmark
from benchmarks.remote import LARGE, REMOTE, SMALL, SMALL_ENVELOPE_BYTES

from luna.proto import node_pb2
from luna.proto.ids import make_pid
from luna.proto.limits import TARGET_FRAME_BYTES

ALL = (*LOCAL, *REMOTE)
REQUEST = re.compile(r'"((?:remote_|tcp_)\w+)"')


def test_names_are_unique_and_no_groups() -> None:
    names = [benchmark.name for benchmark in ALL]
    assert len(set(names)) == len(names)
    assert not set(names) & {"local", "remote"}


@pytest.mark.parametrize("benchmark", ALL, ids=lambda benchmark: benchmark.name)
def test_every_benchmark_says_what_it_measures(benchmark: Benchmark) -> None:
    assert len(benchmark.about) > 20
    keys = [measure.key for measure in benchmark.measures]
    assert keys
    assert len(set(keys)) == len(keys)


def test_groups_are_where_they_belong() -> None:
    assert {benchmark.group for benchmark in LOCAL} == {"local"}
    assert {benchmark.group for benchmark in REMOTE} == {"remote"}


def test_every_benchmark_has_an_erlang_counterpart() -> None:
    assert [benchmark.name for benchmark in ALL if benchmark.erlang is None] == []


def test_remote_requests_are_known_to_erlang_and_the_floors() -> None:
    asked = set(REQUEST.findall((SOURCES / "remote.py").read_text()))
    assert len(asked) >= 6
    erlang = (SOURCES / "erlang" / "luna_bench.erl").read_text()
    floors = (SOURCES / "native" / "floors.c").read_text()
    for name in asked:
        assert (f"measure({name}," in erlang) if name.startswith("remote_") else (f'"{name}"' in floors)


def test_floors_of_small_messages_know_their_size_on_the_wire() -> None:
    def frame_of(count: int) -> int:
        message = node_pb2.Message(to=make_pid(7, 1), environment=1, data=bytes(SMALL))
        setattr(message, "from", make_pid(8, 1))
        return node_pb2.Frame(envelopes=[node_pb2.Envelope(message=message)] * count).ByteSize()

    assert frame_of(2) - frame_of(1) == SMALL_ENVELOPE_BYTES


def test_floors_of_large_messages_fill_whole_frames() -> None:
    assert TARGET_FRAME_BYTES % LARGE == 0
