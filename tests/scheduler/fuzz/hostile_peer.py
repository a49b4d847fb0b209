"""A peer that sends valid frames, frames with some bytes changed, and noise, to a runtime with processes.

What must hold: a valid frame is delivered, any other is delivered or refused with an InvalidError, the
runtime lives on, and its memory does not grow with what frames claim. The peer comes back with another
session after each refusal, as a real one would. The same seed gives the same frames.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio
from tests.scheduler.frames import envelope, frame, mutated, pieces
from tests.scheduler.lab import Lab
from tests.scheduler.pump import A, B, pid

from luna.proto import node_pb2
from luna.proto.errors import InvalidError
from luna.proto.limits import KIB, MIB

I64_MIN, I64_MAX = -(1 << 63), (1 << 63) - 1
TARGET: Final = pid(B, 0xFF_FFFF_FFFF)
"""what the guests link to: a process of the peer that there is not"""
SOURCE: Final = f"""
    (func (export "_start")
      (process.die_when_link_dies 0:i32)
      (loop $again
        (loop $more (br_if $more (i32.ne (call $receive_any 0:i64) 9027:i32)))
        (process.link 1:i64 {TARGET}:i64)
        (process.monitor {TARGET}:i64)
        (call $send {TARGET}:i64 0:i64 1:i64)
        (drop (process.exists {TARGET}:i64))
        (br $again)))"""
BATCH: Final = 200
"""frames between two looks at what the runtime sends"""
GROWTH_BYTES: Final = 96 * MIB
"""of the OS process: far below what a single frame can claim to bring"""
PAGE_BYTES: Final = 4 * KIB
MEMORY_TELLS: Final = "ASAN_OPTIONS" not in os.environ
"""whether what is freed goes back: sanitizers keep it"""


@dataclass
class Tally:
    """What became of the frames."""

    accepted: int = 0
    refused: int = 0


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def random_envelopes(rng: random.Random, targets: list[int]) -> Iterator[node_pb2.Envelope]:
    """Valid signals of every kind, mostly to living processes."""

    def number() -> int:
        return rng.choice([0, 1, 127, 128, I64_MAX, I64_MIN, rng.getrandbits(63)])

    while True:
        to = {"sender": rng.choice([TARGET, pid(B, rng.randrange(1, 5))]), "target": rng.choice(targets)}
        environment = rng.choice([1, 1, 1, 0, (1 << 64) - 1])
        data = rng.randbytes(rng.choice([0, 5, 300]))
        yield rng.choice([
            envelope("message", **to, environment=environment, tag=number(), data=data),
            envelope("link", **to, environment=environment, tag=number(), death_tag=number()),
            envelope("unlink", **to),
            envelope("link_died", **to, tag=number(), kind=rng.randrange(6)),
            envelope("monitor", **to, environment=environment),
            envelope("stop_monitoring", **to),
            envelope("process_died", **to, kind=rng.randrange(6)),
            envelope("exists", **to, environment=environment, reference=abs(number())),
            envelope("exists_reply", **to, reference=rng.randrange(20), alive=bool(rng.getrandbits(1))),
            node_pb2.Envelope(gossip=node_pb2.Gossip()),
        ])  # fmt: skip


def random_frames(rng: random.Random, targets: list[int]) -> Iterator[tuple[bytes, bool]]:
    """Frames, and whether they are as a correct peer sends them."""
    singles = random_envelopes(rng, targets)
    while True:
        envelopes = [next(singles) for _ in range(rng.randrange(1, 5))]
        if rng.random() < 0.3:
            message = envelope(
                "message", TARGET, rng.choice(targets), environment=1, data=rng.randbytes(rng.randrange(3000))
            )
            envelopes += pieces(message.SerializeToString(), [rng.randrange(1, 2000) for _ in range(4)])
        data = frame(*envelopes)
        draw = rng.random()
        if draw < 0.1:
            yield data, True
        elif draw < 0.2:
            yield rng.randbytes(rng.randrange(200)), False
        elif draw < 0.3:
            claim = node_pb2.Chunk(total=rng.choice([1, 256 * MIB, 1 << 63]), data=rng.randbytes(5))
            yield data + frame(node_pb2.Envelope(chunk=claim)), False
        else:
            yield mutated(rng, data), False


async def send_hostile_frames(lab: Lab, seed: int, batches: int) -> Tally:
    """Send BATCH times `batches` frames to a runtime of node A; raises AssertionError for harm."""
    rng = random.Random(seed)
    peers = lab.runtime.peers
    session = 1
    peers.add_peer(B, session)
    module = await lab.load(SOURCE)
    targets = [await lab.spawn(module) for _ in range(4)] + [pid(A, 1 << 30)]
    frames = random_frames(rng, targets)
    tally = Tally()
    resident = resident_bytes()
    for _ in range(batches):
        for _ in range(BATCH):
            data, is_valid = next(frames)
            try:
                peers.deliver(B, session, data, 0)
                tally.accepted += 1
            except InvalidError:
                assert not is_valid, data.hex()
                tally.refused += 1
            if not is_valid:
                session += 1
                peers.add_peer(B, session)
        for index in range(4):
            if not lab.runtime.exists(targets[index]):  # it was killed, or its node went down
                targets[index] = await lab.spawn(module)
        while (out := peers.take_frame(B, session, 1 << 20, b"")) is not None:
            node_pb2.Frame.FromString(out)
        await trio.lowlevel.checkpoint()
        assert not MEMORY_TELLS or resident_bytes() - resident < GROWTH_BYTES
    return tally
