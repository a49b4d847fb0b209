"""What one test printed, up to a bound."""

from __future__ import annotations

from collections import deque
from typing import Final, final

from luna.proto.limits import MIB

__all__ = ["MAX_CAPTURED_BYTES", "Capture"]

MAX_CAPTURED_BYTES: Final = 16 * MIB
"""bytes of one test, so that one that prints without end does not take all memory. The oldest are given up:
a panic comes last."""


@final
class Capture:
    """The latest output of a test and all processes it started, in the order in which it was printed."""

    def __init__(self, max_bytes: int = MAX_CAPTURED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._parts: deque[bytes] = deque()
        self._kept = 0
        self._lost = 0

    def add(self, data: bytes) -> None:
        """Take a piece of output."""
        self._parts.append(data)
        self._kept += len(data)
        while self._kept > self._max_bytes:
            oldest = self._parts.popleft()
            self._kept -= len(oldest)
            self._lost += len(oldest)

    def content(self) -> bytes:
        """All that is kept; a line says how much is lost."""
        lost = f"[{self._lost} bytes of output are lost]\n".encode() if self._lost else b""
        return lost + b"".join(self._parts)

    def text(self) -> str:
        """The same as text, where what is no UTF-8 is replaced."""
        return b"".join(self._parts).decode(errors="replace")
