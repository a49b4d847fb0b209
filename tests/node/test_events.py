"""The ring of events: what is kept, what readers get, and what they are told when they lag."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from luna.cluster.members import NodeInfo
from luna.node import events as module
from luna.node.bridge import open_bridge
from luna.node.events import MAX_BATCH, EventKind, Events
from luna.proto.limits import MAX_DETAIL_LENGTH

from .whole_node import PATIENCE_S, connect, open_whole_node

BETA = NodeInfo(7, "beta", "test", "127.0.0.1:9", started_ms=1)


def test_a_reader_gets_what_happened_in_order() -> None:
    events = Events()
    events.publish(EventKind.JOINED, BETA, "at 127.0.0.1:9")
    events.publish(EventKind.REFUSED, detail="x" * 5000)
    lost, (first, second) = events.reader().receive_nowait()
    assert lost == 0
    assert (first.sequence, first.kind, first.node, first.node_id) == (1, "joined", "beta", 7)
    assert (second.node, second.node_id, second.detail) == ("", 0, "x" * MAX_DETAIL_LENGTH)
    assert second.time_ms >= first.time_ms > 0


def test_the_oldest_are_forgotten_and_a_slow_reader_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EVENTS", 5)
    events = Events()
    events.publish(EventKind.UP)
    reader = events.reader()
    assert len(reader.receive_nowait()[1]) == 1
    for _ in range(12):
        events.publish(EventKind.DOWN)
    lost, batch = reader.receive_nowait()
    assert (lost, [event.sequence for event in batch]) == (7, [9, 10, 11, 12, 13])
    assert reader.receive_nowait() == (0, [])
    # Who comes later begins with the oldest there is, and has lost nothing.
    assert events.reader().receive_nowait()[0] == 0


def test_many_come_in_batches() -> None:
    events = Events()
    for _ in range(2 * MAX_BATCH + 1):
        events.publish(EventKind.UP)
    reader = events.reader()
    assert [len(reader.receive_nowait()[1]) for _ in range(4)] == [MAX_BATCH, MAX_BATCH, 1, 0]


async def test_a_follower_waits_for_the_next_event() -> None:
    events = Events()
    reader = events.reader()
    seen: list[str] = []

    async def follow() -> None:
        for _ in range(2):
            seen.extend(event.kind for event in (await reader.receive())[1])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        assert seen == []
        events.publish(EventKind.UP)
        await trio.testing.wait_all_tasks_blocked()
        assert seen == ["up"]
        events.publish(EventKind.DOWN)
    assert seen == ["up", "down"]


async def test_a_node_publishes_what_it_sees_of_another(tmp_path: Path) -> None:
    async with open_bridge() as bridge, open_whole_node(bridge, 5, "a", tmp_path) as a:
        async with open_whole_node(bridge, 7, "b", tmp_path) as b:
            await connect(a, b)
        with trio.fail_after(PATIENCE_S):
            reader, kinds = a.events.reader(), set[str]()
            while not kinds >= {"died", "down"}:
                _, batch = await reader.receive()
                kinds.update(event.kind for event in batch if event.node == "b")
    assert kinds >= {"joined", "up", "interrupted"}
