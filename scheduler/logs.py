"""Reading what a process prints."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Self, final

import trio

from luna.proto.errors import WouldBlockError
from luna.scheduler._handles import NativeOutput

__all__ = ["LogChunk", "LogReader"]


@final
@dataclass(frozen=True, slots=True)
class LogChunk:
    """A piece of output, at least a byte."""

    stream: int
    """1 stdout, 2 stderr."""
    pid: int
    """who printed it: the process, or one of its descendants"""
    data: bytes
    dropped: int
    """bytes lost to the bound of the buffer since the chunk before."""


@final
class LogReader:
    """Reads a process's output from its beginning. For one task.

    A follower holds up the writers when it lags: close it when it reads no more.
    """

    def __init__(self, output: NativeOutput, waiting: dict[int, set[trio.Event]], pid: int) -> None:
        self._output = output
        self._waiting = waiting  # of all readers of the runtime; an entry only while one waits
        self._pid = pid
        self._position = 0
        self._text = 0  # bytes from the beginning, read or lost
        self._chunks: deque[LogChunk] = deque()
        self._closed = False

    def close(self) -> None:
        """Read no more; what follows is not waited for. Idempotent."""
        self._output.unfollow()
        self._closed = True
        self._chunks.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def receive_nowait(self) -> LogChunk:
        """The next chunk. Raises WouldBlockError when there is none yet, trio.EndOfChannel at the end."""
        if not self._chunks and not self._closed:
            records, self._position, dropped, self._closed = self._output.read(self._position)
            # What the log gave up beyond the text this reader had got to is lost to it.
            lost = max(0, dropped - self._text)
            self._text += lost + sum(len(data) for _, _, data in records)
            for stream, writer, data in records:
                self._chunks.append(LogChunk(stream, writer, data, lost))
                lost = 0
        if self._chunks:
            return self._chunks.popleft()
        if self._closed:
            raise trio.EndOfChannel
        raise WouldBlockError("nothing printed yet")

    async def receive(self) -> LogChunk:
        """The next chunk, when there is one. Raises trio.EndOfChannel when the process is dead."""
        await trio.lowlevel.checkpoint()
        while True:
            # Before the look, so that an event between it and the wait is not lost.
            written = trio.Event()
            waiting = self._waiting.setdefault(self._pid, set())
            waiting.add(written)
            try:
                return self.receive_nowait()
            except WouldBlockError:
                await written.wait()
            finally:
                waiting.discard(written)
                if not waiting and self._waiting.get(self._pid) is waiting:
                    del self._waiting[self._pid]
