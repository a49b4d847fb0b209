"""The standard input for guests: `fd_read` of descriptor 0, and `poll_oneoff` that waits for it.

All processes of a program share the one of the OS process that runs it; one of
them reads at a time, the others wait in the order they came.
"""

from __future__ import annotations

import math
import os
import struct
import time
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

# Source: WASI snapshot preview 1, witx: subscription (48 bytes), event (32 bytes).
CLOCK, READ = 0, 1
REALTIME: Final = 0
ABSOLUTE: Final = 1
_SUBSCRIPTION: Final = struct.Struct("<8sB7xI4xQ8xH6x")
_EVENT: Final = struct.Struct("<8s2xB5xQ8x")


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
        set_handler(WASI_NAMESPACE, "poll_oneoff", self._poll)

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

    async def _poll(self, request: Request) -> int:
        """Wait until there is something to read, or the first of the clocks waited for has come.

        The core has checked the addresses, and that nothing else is waited for.
        """
        subscriptions_at, events_at, count, count_out = map(int, request.args)
        clocks: list[tuple[float, bytes]] = []
        readers: list[bytes] = []
        for item in _SUBSCRIPTION.iter_unpack(request.read(subscriptions_at, count * _SUBSCRIPTION.size)):
            userdata, kind, clock, timeout_ns, flags = item
            if kind == CLOCK:
                clocks.append((_seconds_left(request, clock, timeout_ns, flags), userdata))
            else:
                readers.append(userdata)
        first = min((seconds for seconds, _ in clocks), default=math.inf)
        with trio.move_on_after(first) as timeout:
            async with self._turn:
                if not self._unread:
                    await _wait_for_input()
        if timeout.cancelled_caught:
            events = [(userdata, CLOCK, 0) for seconds, userdata in clocks if seconds <= first]
        else:
            events = [(userdata, READ, 1) for userdata in readers]
        request.write(events_at, b"".join(_EVENT.pack(*event) for event in events))
        request.write_u32(count_out, len(events))
        return SUCCESS


def _seconds_left(request: Request, clock: int, timeout_ns: int, flags: int) -> float:
    """Until a clock subscription's time; not before the time when it has passed."""
    if flags & ABSOLUTE:
        monotonic_ns = time.monotonic_ns() - request.native.wasi_start_ns
        timeout_ns -= time.time_ns() if clock == REALTIME else monotonic_ns
    return max(timeout_ns, 0) / 1e9


async def _wait_for_input() -> None:
    """Until a read gives something at once, be it that the input is at its end."""
    try:
        await trio.lowlevel.wait_readable(STDIN)
    except PermissionError:
        pass  # a file, which is always readable: the system refuses to wait for it


async def _read_input(size: int) -> bytes:
    """Up to that many bytes as soon as there are some; none at the end. Raises OSError."""
    await _wait_for_input()
    return os.read(STDIN, size)
