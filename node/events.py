"""What happened in the cluster lately, as this node sees it: a bounded ring, and readers that follow it.

Owns the ring. Whoever notices something publishes it; who reads it (`luna events`) holds nobody up, since the
ring is all that is kept: a reader that lags behind it is told how many events it has lost. Lives on trio.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import final

import trio

from luna.cluster.members import NodeInfo
from luna.proto.limits import MAX_DETAIL_LENGTH

MAX_EVENTS = 1000
"""events in the ring: hours of a calm cluster, the whole story of a bad minute; under 2 MB."""

MAX_BATCH = 100
"""events that a reader gets at once: some 100 KiB at most, far below the 4 MiB of one message."""


class EventKind(StrEnum):
    """What happened; the words are those of `luna events`. New ones may come."""

    JOINED = "joined"
    """A node became a member."""
    UP = "up"
    """A session with it began: from now on signals get there."""
    INTERRUPTED = "interrupted"
    """The connection to it was lost; the session waits for another."""
    RESUMED = "resumed"
    """The session goes on with a new connection; nothing was lost."""
    SUSPECTED = "suspected"
    """It does not answer somebody."""
    RECOVERED = "recovered"
    """It does after all."""
    DOWN = "down"
    """The session with it is over: links and monitors across have fired."""
    LEFT = "left"
    """It left the cluster."""
    DIED = "died"
    """It was declared dead."""
    REFUSED = "refused"
    """A node was turned away."""
    NAME_CONFLICT = "name_conflict"
    """Two nodes have one name; the one named here has to go."""
    NAME_CLASH = "name_clash"
    """Two processes had one name, as after a healed partition; one of them was killed."""


@final
@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """One thing that happened. `sequence` counts from 1; `time_ms` since 1970; `node` may be empty."""

    sequence: int
    time_ms: int
    kind: EventKind
    node: str
    node_id: int
    detail: str


@final
class Events:
    """The latest events of one node."""

    def __init__(self) -> None:
        self._ring: deque[ClusterEvent] = deque(maxlen=MAX_EVENTS)
        self._count = 0
        self._published = trio.Event()

    def publish(self, kind: EventKind, node: NodeInfo | None = None, detail: str = "") -> None:
        """Something happened, to `node` if one is concerned. Never blocks."""
        self._count += 1
        name, node_id = ("", 0) if node is None else (node.name, node.id)
        now_ms = time.time_ns() // 1_000_000
        detail = detail[:MAX_DETAIL_LENGTH]
        self._ring.append(ClusterEvent(self._count, now_ms, kind, name, node_id, detail))
        self._published.set()
        self._published = trio.Event()

    def reader(self) -> EventReader:
        """A reader that begins with the oldest event there is."""
        return EventReader(self)

    def after(self, sequence: int) -> list[ClusterEvent]:
        """Up to MAX_BATCH events behind `sequence`, oldest first."""
        skipped = max(0, sequence - (self._count - len(self._ring)))
        return list(islice(self._ring, skipped, skipped + MAX_BATCH))

    async def wait_after(self, sequence: int) -> None:
        """Wait until there are events behind `sequence`."""
        await trio.lowlevel.checkpoint()
        while self._count <= sequence:
            await self._published.wait()


@final
class EventReader:
    """One who reads along, at its own pace."""

    def __init__(self, events: Events) -> None:
        self._events = events
        oldest = events.after(0)
        self._read = oldest[0].sequence - 1 if oldest else 0

    def receive_nowait(self) -> tuple[int, list[ClusterEvent]]:
        """(how many were lost before these, the next ones); none at the end of what there is."""
        batch = self._events.after(self._read)
        if not batch:
            return 0, []
        lost = batch[0].sequence - self._read - 1
        self._read = batch[-1].sequence
        return lost, batch

    async def receive(self) -> tuple[int, list[ClusterEvent]]:
        """The same, once there are some. Cancelling it loses nothing."""
        await self._events.wait_after(self._read)
        return self.receive_nowait()
