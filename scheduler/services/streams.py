"""What TCP and TLS streams have in common: connections behind cloned handles.

Owns time-outs, the turns of readers and writers, and how a guest's buffers are read and
filled. The connection itself, plain or encrypted, is a subclass of `Connection`.
"""

from __future__ import annotations

import struct
from abc import abstractmethod
from collections.abc import Awaitable
from typing import Final, cast, final

import trio

from luna.scheduler._handles import ProcessGoneError
from luna.scheduler.requests import Handler, Request
from luna.scheduler.resources import ResourceKind
from luna.scheduler.services.sockets import DONE, Handle, Shared, answer_when_ready, tell_error
from luna.scheduler.waiting import FOREVER

__all__ = ["MAX_READ_BYTES", "MAX_VECTORS", "MAX_WRITE_BYTES", "Connection", "Stream", "StreamHandlers"]

MAX_READ_BYTES: Final = 256 * 1024
"""bytes one read gives at most, whatever room the guest has: what the host allocates for it."""
MAX_WRITE_BYTES: Final = 256 * 1024
"""bytes one write takes at most: the host copies them, and a socket seldom takes more at once."""
MAX_VECTORS: Final = 1024
"""buffers that one write looks at, the first of those given: the system's own bound (IOV_MAX)."""

VECTOR = struct.Struct("<II")
ID_BYTES: Final = 8


class Connection(Shared):
    """A connection of any number of handles, which share its time-outs.

    Readers and writers each have their turn: the first to call is the first to be served.
    """

    def __init__(self) -> None:
        super().__init__()
        # Milliseconds as the guest gave them.
        self.read_timeout_ms = FOREVER
        self.write_timeout_ms = FOREVER
        self.peek_timeout_ms = FOREVER
        self.reading: Final = trio.Lock()
        self.writing: Final = trio.Lock()
        self._unread = b""

    @abstractmethod
    def receive_nowait(self, size: int) -> bytes:
        """Up to `size` bytes, none at the end. Raises BlockingIOError when none are there, OSError."""

    @abstractmethod
    def send_nowait(self, data: bytes) -> int:
        """Send a beginning of `data`; its size. Raises BlockingIOError when nothing is taken, OSError."""

    @abstractmethod
    async def wait_receivable(self) -> None:
        """Wait until `receive_nowait` may work. Raises ClosedResourceError."""

    @abstractmethod
    async def wait_sendable(self) -> None:
        """Wait until `send_nowait` may work. Raises ClosedResourceError."""

    def flush(self) -> Awaitable[None] | None:
        """What waits until nothing is held back and may raise OSError; None when nothing ever is."""
        return None

    def read_nowait(self, size: int) -> bytes:
        """`receive_nowait`, but first what was given back."""
        if self._unread:
            data, self._unread = self._unread[:size], self._unread[size:]
            return data
        return self.receive_nowait(size)

    def unread(self, data: bytes) -> None:
        """Give back what was read last: its reader died before it had it, and a clone may read on."""
        self._unread = data + self._unread

    def peek_unread(self, size: int) -> bytes:
        """What was given back, up to `size` bytes of it."""
        return self._unread[:size]


Stream = Handle[Connection]
"""A handle of a connection: the resource of kinds TCP_STREAM and TLS_STREAM."""


@final
class StreamHandlers:
    """Answers the host calls that TCP and TLS streams both have."""

    def __init__(self, kind: ResourceKind) -> None:
        self._kind = kind

    def connection(self, request: Request, id_: float) -> Connection:
        """The connection of a stream. Raises GuestTrap when the process has no such stream."""
        return cast("Stream", request.resource(self._kind, id_)).shared

    def add(self, request: Request, connection: Connection) -> int:
        """Give the process a stream of a connection, which is closed if it cannot have it; the id."""
        return request.add_resource(self._kind, Handle(connection))

    def drop(self, request: Request) -> None:
        """`drop_tcp_stream`, `drop_tls_stream`."""
        request.remove_resource(self._kind, request.args[0]).close()

    def clone(self, request: Request) -> int:
        """`clone_tcp_stream`, `clone_tls_stream`."""
        return self.add(request, self.connection(request, request.args[0]))

    def push(self, request: Request) -> int:
        """`push_tcp_stream`, `push_tls_stream`."""
        return request.push_resource(self._kind, request.args[0])

    def take(self, request: Request) -> int:
        """`take_tcp_stream`, `take_tls_stream`."""
        return request.take_resource(self._kind, request.args[0])

    def read(self, request: Request) -> int | Awaitable[int]:
        """`tcp_read`, `tls_read`."""
        id_, pointer, size, out = map(int, request.args)
        return self.read_within(request, id_, pointer, size, out)

    def read_within(
        self, request: Request, id_: int, pointer: int, size: int, out: int, timeout_ms: int | None = None
    ) -> int | Awaitable[int]:
        """Read into a guest's buffer; without `timeout_ms` that of the connection counts."""
        connection = self.connection(request, id_)
        size = checked_size(request, pointer, size, out)
        if size == 0:
            request.write_u64(out, 0)
            return DONE

        def deliver(data: bytes) -> int:
            try:
                request.write(pointer, data)
                request.write_u64(out, len(data))
            except ProcessGoneError:
                connection.unread(data)
                raise
            return DONE

        return answer_when_ready(
            request,
            out,
            connection.reading,
            lambda: connection.read_nowait(size),
            connection.wait_receivable,
            deliver,
            connection.read_timeout_ms if timeout_ms is None else timeout_ms,
        )

    def write_vectored(self, request: Request) -> int | Awaitable[int]:
        """`tcp_write_vectored`, `tls_write_vectored`."""
        id_, vectors, count, out = map(int, request.args)
        return self.write_within(request, id_, vectors, count, out)

    def write_within(
        self, request: Request, id_: int, vectors: int, count: int, out: int, timeout_ms: int | None = None
    ) -> int | Awaitable[int]:
        """Write a guest's buffers; without `timeout_ms` that of the connection counts."""
        connection = self.connection(request, id_)
        data = read_vectors(request, vectors, count)
        request.check(out, ID_BYTES)
        if not data:
            request.write_u64(out, 0)
            return DONE

        def deliver(sent: int) -> int:
            request.write_u64(out, sent)
            return DONE

        return answer_when_ready(
            request,
            out,
            connection.writing,
            lambda: connection.send_nowait(data),
            connection.wait_sendable,
            deliver,
            connection.write_timeout_ms if timeout_ms is None else timeout_ms,
        )

    def flush(self, request: Request) -> int | Awaitable[int]:
        """`tcp_flush`, `tls_flush`."""
        id_, out = map(int, request.args)
        connection = self.connection(request, id_)
        request.check(out, ID_BYTES)
        flushed = connection.flush()
        if flushed is None:
            request.write_u64(out, 0)
            return DONE
        return self._flush_later(request, out, flushed)

    @staticmethod
    async def _flush_later(request: Request, out: int, flushed: Awaitable[None]) -> int:
        try:
            await flushed
        except OSError as error:
            return tell_error(request, out, error)
        request.write_u64(out, 0)
        return DONE

    def setter(self, timeout: str) -> Handler:
        """The host call that sets one time-out: `read_timeout_ms` and so on."""

        def set_timeout(request: Request) -> None:
            id_, milliseconds = request.args
            setattr(self.connection(request, id_), timeout, int(milliseconds))

        return set_timeout

    def getter(self, timeout: str) -> Handler:
        """The host call that tells one time-out."""

        def get_timeout(request: Request) -> int:
            return cast("int", getattr(self.connection(request, request.args[0]), timeout))

        return get_timeout


def checked_size(request: Request, pointer: int, size: int, out: int) -> int:
    """How many bytes to read for a guest's buffer. Raises GuestTrap when it, or `out`, is out of bounds."""
    request.check(pointer, size)
    request.check(out, ID_BYTES)
    return min(size & 0xFFFF_FFFF, MAX_READ_BYTES)


def read_vectors(request: Request, vectors: int, count: int) -> bytes:
    """What a guest's first (pointer, length) pairs point to, up to MAX_WRITE_BYTES and MAX_VECTORS.

    Raises GuestTrap when the array or one of these buffers is out of bounds.
    """
    count &= 0xFFFF_FFFF
    request.check(vectors, count * VECTOR.size)
    parts = []
    room = MAX_WRITE_BYTES
    for pointer, size in VECTOR.iter_unpack(request.read(vectors, min(count, MAX_VECTORS) * VECTOR.size)):
        if size <= room:
            part = request.read(pointer, size)
        else:
            request.check(pointer, size)
            part = request.read(pointer, room)
        parts.append(part)
        room -= len(part)
    return b"".join(parts)
