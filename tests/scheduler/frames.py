"""What a test that plays the other node needs: frames made and read with the generated protobuf classes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

from luna.proto import node_pb2


def envelope(signal: str, sender: int, target: int, **fields: Any) -> node_pb2.Envelope:
    """A signal by its name in luna.v1.Envelope."""
    message = getattr(node_pb2.Envelope(), signal)
    return node_pb2.Envelope(**{signal: type(message)(**{"from": sender, "to": target, **fields})})


def frame(*envelopes: node_pb2.Envelope) -> bytes:
    return node_pb2.Frame(envelopes=envelopes).SerializeToString()


def pieces(whole: bytes, sizes: Iterable[int]) -> Iterator[node_pb2.Envelope]:
    """An envelope cut into chunks of these sizes; what is left goes into the last."""
    start = 0
    for size in (*sizes, len(whole)):
        if start < len(whole):
            chunk = node_pb2.Chunk(total=0 if start else len(whole), data=whole[start : start + size])
            yield node_pb2.Envelope(chunk=chunk)
        start += size


class Reader:
    """Puts the envelopes of frames together again."""

    def __init__(self) -> None:
        self._partial = bytearray()
        self._total = 0
        self.chunks = 0

    def read(self, data: bytes) -> list[node_pb2.Envelope]:
        """The envelopes that are whole with this frame, in order."""
        parsed = node_pb2.Frame.FromString(data)
        # Not one byte that protobuf itself would not write, nor another order.
        assert parsed.SerializeToString() == data
        whole = []
        for each in parsed.envelopes:
            if each.WhichOneof("signal") != "chunk":
                whole.append(each)
                continue
            self.chunks += 1
            assert (each.chunk.total == 0) == (self._total > 0)
            assert each.chunk.data
            self._total = self._total or each.chunk.total
            self._partial += each.chunk.data
            assert len(self._partial) <= self._total
            if len(self._partial) == self._total:
                whole.append(node_pb2.Envelope.FromString(bytes(self._partial)))
                self._partial.clear()
                self._total = 0
        return whole

    @property
    def is_between(self) -> bool:
        """Whether no envelope is under way."""
        return self._total == 0


def mutated(rng: random.Random, data: bytes) -> bytes:
    """The bytes with some changed, gone, doubled or added."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        position = rng.randrange(len(out) + 1)
        match rng.randrange(5):
            case 0:
                out[position:position] = rng.randbytes(rng.randrange(1, 9))
            case 1:
                del out[position : position + rng.randrange(1, 9)]
            case 2 if out:
                out[position % len(out)] ^= 1 << rng.randrange(8)
            case 3 if out:
                out[position % len(out)] = rng.choice([0, 0x7F, 0x80, 0xFF])
            case _:
                out += out[position : position + 50]
    return bytes(out)
