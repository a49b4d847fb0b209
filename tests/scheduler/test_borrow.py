"""The thread that brings a small frame runs what it wakes, and neither gets lost in it nor loses anything."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from luna.proto import node_pb2
from luna.scheduler import ExitKind

from .lab import Lab, open_lab, wait_for
from .pump import A, B, pid

SESSION = 7
FOREIGN = pid(B, 1)
START = '(func (export "_start")'
ECHO = f"{START} (loop $again (call $send (call $receive) 5:i64 42:i64) (br $again)))"
"""Answers each message to the process whose id it holds."""


def frame(targets: Sequence[int], environment: int = 1) -> bytes:
    """A message from node B to each of these processes, with the id of its sender."""
    return node_pb2.Frame(
        envelopes=[
            node_pb2.Envelope(
                message=node_pb2.Message(
                    **{"from": FOREIGN},  # type: ignore[arg-type]
                    to=target,
                    environment=environment,
                    tag=1,
                    data=FOREIGN.to_bytes(8, "little"),
                )
            )
            for target in targets
        ]
    ).SerializeToString()


class Answers:
    """What a runtime has sent to node B so far."""

    def __init__(self, lab: Lab) -> None:
        self._peers = lab.runtime.peers
        self._count = 0

    def count(self) -> int:
        while (taken := self._peers.take_frame(B, SESSION, 1 << 18, b"")) is not None:
            self._count += len(node_pb2.Frame.FromString(taken).envelopes)
        return self._count

    async def wait(self, count: int) -> None:
        """Wait until it has sent so many."""
        await wait_for(lambda: self.count() == count)


async def parked(lab: Lab, count: int) -> None:
    """Wait until so many processes wait for a message: then all scheduler threads go to sleep."""
    await wait_for(lambda: [p.state for p in lab.runtime.processes()] == ["waiting"] * count)


@pytest.mark.parametrize("threads", [1, 2])
async def test_every_message_of_many_small_frames_is_answered(threads: int) -> None:
    async with open_lab(A, threads) as lab:
        lab.runtime.peers.add_peer(B, SESSION)
        answers = Answers(lab)
        targets = [await lab.spawn(ECHO) for _ in range(3)]
        sent = 0
        for number in range(600):
            chosen = targets[: number % 3 + 1]  # one is run here, of several all are handed on
            lab.runtime.peers.deliver(B, SESSION, frame(chosen), 0)
            sent += len(chosen)
            if number % 7 == 0:  # a quiet moment, so that all threads sleep
                await answers.wait(sent)
        await answers.wait(sent)
        for target in targets:
            lab.runtime.kill(target)
            await lab.wait_exit(target)


@pytest.mark.parametrize("threads", [1, 2])
async def test_a_guest_that_computes_without_end_gives_the_thread_back(threads: int) -> None:
    async with open_lab(A, threads) as lab:
        lab.runtime.peers.add_peer(B, SESSION)
        spin = await lab.spawn(f"{START} (drop (call $receive)) (loop $again (br $again)))")
        echo = await lab.spawn(ECHO)
        answers = Answers(lab)
        await parked(lab, 2)
        lab.runtime.peers.deliver(B, SESSION, frame([spin]), 0)  # returns
        lab.runtime.peers.deliver(B, SESSION, frame([echo]), 0)
        await answers.wait(1)
        for target in (spin, echo):
            lab.runtime.kill(target)
            assert (await lab.wait_exit(target)).kind is ExitKind.KILLED


async def test_a_runtime_stops_while_frames_come() -> None:
    async with open_lab(A) as lab:
        core, peers = lab.runtime._core, lab.runtime.peers
        peers.add_peer(B, SESSION)
        data = frame([await lab.spawn(ECHO)])

        def deliver() -> None:
            while core.running:
                peers.deliver(B, SESSION, data, 0)

        threads = [threading.Thread(target=deliver) for _ in range(2)]
        for thread in threads:
            thread.start()
        answers = Answers(lab)
        await wait_for(lambda: answers.count() > 100)
    for thread in threads:
        thread.join()
