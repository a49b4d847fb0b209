"""Encrypted connections: records of a session over a socket.

What was encrypted must reach the socket whole and in order, whoever dies or gives up
meanwhile. So no host call ever waits with a record half sent: what the socket does not
take, at most one record, a background task sends, and the next write waits for that.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable
from typing import Final, final

import trio

from luna.scheduler.services.background import Background
from luna.scheduler.services.sockets import close_socket
from luna.scheduler.services.streams import Connection
from luna.scheduler.services.tls_session import RECEIVE_BYTES, TlsSession

__all__ = ["LINGER_S", "TlsConnection"]

RECORD_BYTES: Final = 16 * 1024
"""bytes of guests in one record, the most that TLS allows."""
MAX_UNSENT_BYTES: Final = 64 * 1024
"""bytes of records that wait for the socket while more is read: a peer can ask for answers of the protocol
itself (new keys) and not take them. The record of a write is in this as well."""
LINGER_S: Final = 10.0
"""seconds that a dropped connection still has to send its last record, to a peer that does not read it;
with a plain connection that is the system's part."""

_TRUNCATED: Final = (
    "peer closed connection without sending TLS close_notify: what was read may not be all it had to say"
)


@final
class TlsConnection(Connection):
    """An encrypted connection, its handshake done."""

    def __init__(self, sock: socket.socket, session: TlsSession, background: Background) -> None:
        super().__init__()
        self._socket = sock
        self._session = session
        self._background = background
        self._unsent = bytearray()
        self._sending: trio.CancelScope | None = None  # of the task that sends what is unsent
        self._sent = trio.Event()  # when that task has ended
        self._broken: OSError | None = None  # why nothing can be sent any more
        self._end: OSError | bool = False  # nothing more comes: the peer said so, or an error did
        self._shut = False

    # -- reading --------------------------------------------------------------------

    def receive_nowait(self, size: int) -> bytes:
        data = self._decrypt(size)
        # Once, whatever comes: a peer that sends nothing but records of the protocol holds up nobody else.
        if not data and not self._end:
            if len(self._unsent) > MAX_UNSENT_BYTES:
                raise BlockingIOError
            records = self._socket.recv(RECEIVE_BYTES)
            if records:
                self._session.feed(records)
                data = self._decrypt(size)
            else:
                self._end = OSError(_TRUNCATED)
        if data:
            return data
        if not self._end:
            raise BlockingIOError
        if isinstance(self._end, OSError):
            raise _again(self._end)
        return b""

    async def wait_receivable(self) -> None:
        if len(self._unsent) > MAX_UNSENT_BYTES:
            await self._sent.wait()
        else:
            await trio.lowlevel.wait_readable(self._socket)

    def _decrypt(self, size: int) -> bytes:
        """What is there of up to `size` bytes; notes the end."""
        parts: list[bytes] = []
        while size and not self._end:
            try:
                part = self._session.decrypt(size)
            except OSError as error:
                self._end = error
                break
            if part is None:
                break
            if not part:
                self._end = True
            parts.append(part)
            size -= len(part)
        try:
            self._push()  # an alert, or an answer to new keys
        except OSError:
            pass  # the next write says so
        return b"".join(parts)

    # -- writing --------------------------------------------------------------------

    def send_nowait(self, data: bytes) -> int:
        if self._broken is not None:
            raise _again(self._broken)
        if self._sending is not None:
            raise BlockingIOError
        sent = 0
        view = memoryview(data)
        while sent < len(data) and self._sending is None:
            try:
                size = self._session.encrypt(view[sent : sent + RECORD_BYTES])
                self._push()
            except OSError:
                if not sent:
                    raise
                break  # the next write says so
            sent += size
        return sent

    async def wait_sendable(self) -> None:
        if self._sending is not None:
            await self._sent.wait()
        else:
            await trio.lowlevel.checkpoint()

    def flush(self) -> Awaitable[None] | None:
        return None if self._sending is None and self._broken is None else self._flush()

    async def _flush(self) -> None:
        await self.wait_sendable()
        if self._broken is not None:
            raise _again(self._broken)

    def _push(self) -> None:
        """Send the session's records, or have the rest sent. Raises OSError when that is impossible."""
        self._unsent += self._session.take()
        if self._broken is not None:
            self._unsent.clear()
        elif self._sending is None and self._unsent:
            self._send_unsent()
            if self._unsent:
                scope = trio.CancelScope()
                self._sent = trio.Event()
                if self._background.start("send a TLS record", self._send_rest, scope):
                    self._sending = scope

    def _send_unsent(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError as error:
            self._broken = error
            self._unsent.clear()
            raise

    async def _send_rest(self, scope: trio.CancelScope) -> None:
        try:
            with scope:
                while self._unsent:
                    await trio.lowlevel.wait_writable(self._socket)
                    self._send_unsent()
        except OSError:
            pass  # the next write says so
        finally:
            self._sending = None
            self._sent.set()
            if self._shut:
                self._close()

    # -- closing --------------------------------------------------------------------

    def shut(self) -> None:
        """Say goodbye, and close when what was written is sent."""
        self._shut = True
        self._session.say_goodbye()
        try:
            self._push()
        except OSError:
            pass  # the peer is gone
        if self._sending is None:
            self._close()
        else:
            self._sending.deadline = trio.current_time() + LINGER_S

    def _close(self) -> None:
        # With unread records in it, session tickets for one, the system would reset the connection, and the
        # peer could lose what it has not read yet.
        try:
            self._socket.recv(RECEIVE_BYTES)
        except OSError:
            pass
        close_socket(self._socket)


def _again(error: OSError) -> OSError:
    """The same error, without the places where it was raised before."""
    return OSError(*error.args)
