"""Two runtimes connected in memory: the frames of one are delivered to the other, as a transport would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from luna.proto.limits import TARGET_FRAME_BYTES

from .lab import Lab, open_lab

A: Final = 0x0A0A0A
B: Final = 0x7FFFFF
"""node ids of the two runtimes; the second is the largest there is"""


def pid(node_id: int, serial: int) -> int:
    return node_id << 40 | serial


class Pump:
    """Carries frames between two runtimes until it is closed; `hold` stops it for a while."""

    def __init__(self, a: Lab, b: Lab) -> None:
        self.a, self.b = a, b
        self._open = trio.Event()
        self._open.set()
        self.frames = 0

    def hold(self) -> None:
        self._open = trio.Event()

    def release(self) -> None:
        self._open.set()

    async def carry(self, source: Lab, target: Lab) -> None:
        """Deliver everything that `source` queues for `target`, in order."""
        origin, destination = source.runtime.node_id, target.runtime.node_id
        peers = source.runtime.peers
        while True:
            await trio.lowlevel.wait_readable(peers.outgoing_fd)
            await self._open.wait()
            if destination not in peers.take_ready():
                continue
            while (frame := peers.take_frame(destination, 1, TARGET_FRAME_BYTES, b"")) is not None:
                target.runtime.peers.deliver(origin, 1, frame, 0)
                self.frames += 1
                await trio.lowlevel.checkpoint()
                await self._open.wait()

    def disconnect(self) -> None:
        """Each declares the other down."""
        self.a.runtime.peers.remove_peer(self.b.runtime.node_id)
        self.b.runtime.peers.remove_peer(self.a.runtime.node_id)


@asynccontextmanager
async def open_pump() -> AsyncIterator[Pump]:
    """Two runtimes that know each other, nodes A and B."""
    # Stacks are counted for the whole OS process: only when both are gone must none be left.
    async with open_lab(A, held=()) as a, open_lab(B, held=("stacks",)) as b:
        a.runtime.peers.add_peer(B, 1)
        b.runtime.peers.add_peer(A, 1)
        pump = Pump(a, b)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump.carry, a, b)
            nursery.start_soon(pump.carry, b, a)
            yield pump
            nursery.cancel_scope.cancel()
