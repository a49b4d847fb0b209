"""Reads of the standard input by guests: `fd_read` of descriptor 0.

All processes of a program share the one of the OS process that runs it; one of
them reads at a time, the others wait in the order they came.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Final, final

import trio

from luna.scheduler.hostcalls import WASI_NAMESPACE
from luna.scheduler.requests import GuestTrap, Request

__all__ = ["StandardInput"]

STDIN: Final = 0
MAX_READ_BYTES: Final = 64 * 1024
"""bytes of one read, as much as a pipe holds; the guest reads again for more."""
MAX_VECTORS: Final = 1024
"""buffers one read fills, as many as the system's readv takes."""
SUCCESS: Final = 0
IO_ERROR: Final = 29
"""errno of WASI: EIO."""
FAULT: Final = 21
"""errno of WASI: EFAULT."""
_VECTOR: Final = struct.Struct("<II")


@final
class StandardInput:
    """The standard input of this OS process, for guests."""

    def __init__(self) -> None:
        self._turn = trio.Lock()
        self._unread = b""
        """what was read for a process that had died meanwhile"""

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve these host calls."""
        set_handler(WASI_NAMESPACE, "fd_read", self._read)

    async def _read(self, request: Request) -> int:
        _, vectors_at, count, size_out = map(int, request.args)
        try:
            vectors = list(
                _VECTOR.iter_unpack(request.read(vectors_at, min(count & 0xFFFF_FFFF, MAX_VECTORS) * 8))
            )
            # A bad pointer is told before anything is read: what was would be lost.
            request.write_u32(size_out, 0)
            for pointer, size in vectors:
                request.check(pointer, size)
        except GuestTrap:
            return FAULT
        room = min(sum(size for _, size in vectors), MAX_READ_BYTES)
        if room == 0:
            return SUCCESS
        async with self._turn:
            try:
                data = self._unread or await _read_input(room)
            except OSError:
                return IO_ERROR
            self._unread = data  # until it has found its way
            given = memoryview(data)[:room]
            left = given
            for pointer, size in vectors:
                request.write(pointer, bytes(left[:size]))
                left = left[size:]
            request.write_u32(size_out, len(given))
            self._unread = data[room:]
        return SUCCESS


async def _read_input(size: int) -> bytes:
    """Up to that many bytes as soon as there are some; none at the end. Raises OSError."""
    try:
        await trio.lowlevel.wait_readable(STDIN)
    except PermissionError:
        pass  # a file, which is always readable: the system refuses to wait for it
    return os.read(STDIN, size)
