"""What one test printed, up to a bound: its process, and those it started, each apart."""

from __future__ import annotations

from collections import deque
from typing import Final, final

from luna.proto.limits import KIB, MIB

__all__ = ["MAX_CAPTURED_BYTES", "Capture"]

MAX_CAPTURED_BYTES: Final = 16 * MIB
"""bytes of a test's own process, and as many of those it started, so that one that prints without end takes
neither all memory nor the place of the others' words. The oldest are given up: a panic comes last."""
MAX_STREAMS: Final = 10_000
"""processes of a test whose output is shown apart; what further ones print is under the last heading."""
PIECE_BYTES: Final = 4 * KIB
"""bytes up to which what one process prints in a row is kept in one piece"""
PIECE_COST: Final = 128
"""bytes of memory for each piece besides its text; counted, as text may come in single bytes"""


@final
class Capture:
    """The latest output of a test: stream 0 is its process, the next ones its descendants."""

    def __init__(self, test: int, max_bytes: int = MAX_CAPTURED_BYTES) -> None:
        """`test` is the pid of the test's process."""
        self._streams = {test: 0}
        self._own = _Latest(max_bytes)
        self._others = _Latest(max_bytes)

    def add(self, pid: int, data: bytes) -> None:
        """Take a piece of output of a process. Streams are counted in the order in which they begin."""
        stream = self._streams.get(pid)
        if stream is None:
            stream = min(len(self._streams), MAX_STREAMS)
            if stream < MAX_STREAMS:
                self._streams[pid] = stream
        (self._others if stream else self._own).add(stream, data)

    def content(self) -> bytes:
        """All that is kept, under headings if others than the test printed; a line says how much is lost."""
        lost = self._own.lost + self._others.lost
        first = f"[{lost} bytes of output are lost]\n".encode() if lost else b""
        own = self._own.joined().get(0, b"")
        others = self._others.joined()
        if not others:
            return first + own
        parts = [first]
        for stream, text in ((0, own), *sorted(others.items())):
            parts.append(f" --- process {stream} stdout ---\n".encode())
            parts.append(text if not text or text.endswith(b"\n") else text + b"\n")
        return b"".join(parts)

    def text(self) -> str:
        """What the test's own process printed, where what is no UTF-8 is replaced."""
        return self._own.joined().get(0, b"").decode(errors="replace")


class _Latest:
    """The latest output of some streams, in order."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pieces: deque[tuple[int, bytearray]] = deque()
        self._kept = 0
        self.lost = 0

    def add(self, stream: int, data: bytes) -> None:
        if self._pieces and self._pieces[-1][0] == stream and len(self._pieces[-1][1]) < PIECE_BYTES:
            self._pieces[-1][1].extend(data)
            self._kept += len(data)
        else:
            self._pieces.append((stream, bytearray(data)))
            self._kept += len(data) + PIECE_COST
        while self._kept > self._max_bytes:
            _, oldest = self._pieces.popleft()
            self._kept -= len(oldest) + PIECE_COST
            self.lost += len(oldest)

    def joined(self) -> dict[int, bytes]:
        """What is kept of each stream."""
        joined: dict[int, bytearray] = {}
        for stream, piece in self._pieces:
            joined.setdefault(stream, bytearray()).extend(piece)
        return {stream: bytes(text) for stream, text in joined.items()}
