"""The TLS protocol over bytes, and the handshake that begins it.

A session turns what a program says into records and back; it knows no socket. Its
computing releases Python's global lock, and that of a handshake runs in a worker thread.
"""

from __future__ import annotations

import socket
import ssl
from typing import Final, final

import trio

from luna.scheduler.services.sockets import error_text
from luna.scheduler.services.threads import compute
from luna.scheduler.services.tls_context import tls_error_text

__all__ = ["RECEIVE_BYTES", "TlsSession", "handshake"]

RECEIVE_BYTES: Final = 64 * 1024
"""bytes taken from a socket at once: four full records. What a guest has not read of them waits in memory."""


@final
class TlsSession:
    """One side of a connection: OpenSSL between two buffers."""

    def __init__(self, context: ssl.SSLContext, server_name: str | None = None) -> None:
        """With `server_name` the client's side, which asks for that server; else the server's."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_name is None,
            # As bytes, or Python would insist on its own idea of host names.
            server_hostname=None if server_name is None else server_name.encode(),
        )

    def feed(self, records: bytes) -> None:
        """What came from the peer."""
        self._incoming.write(records)

    def take(self) -> bytes:
        """What is to go to the peer, nothing left out."""
        return self._outgoing.read()

    def handshake(self) -> bool:
        """Go on with the handshake; whether it is done. Raises OSError when it failed."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise OSError(tls_error_text(error)) from None
        return True

    def encrypt(self, data: memoryview) -> int:
        """Make records of data, all of it; the size. Raises OSError after a fatal error."""
        try:
            return self._object.write(data)
        except ssl.SSLError as error:
            raise OSError(tls_error_text(error)) from None

    def decrypt(self, size: int) -> bytes | None:
        """Up to `size` bytes of one record; none at the peer's close_notify, None when more must be fed.

        Raises OSError after a fatal error.
        """
        try:
            return self._object.read(size)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as error:
            raise OSError(tls_error_text(error)) from None

    def say_goodbye(self) -> None:
        """Make the record close_notify: nothing more will be encrypted."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            pass  # it would like the peer's own close_notify


async def handshake(sock: socket.socket, session: TlsSession, threads: trio.CapacityLimiter) -> None:
    """Shake hands over a non-blocking socket, which stays the caller's. Raises OSError when that fails."""
    try:
        await _shake_hands(sock, session, threads)
    except OSError as error:
        try:
            sock.send(session.take())  # the alert that tells the peer why, if there is room
        except OSError:
            pass
        raise OSError(f"TLS handshake failed: {error_text(error)}") from None


async def _shake_hands(sock: socket.socket, session: TlsSession, threads: trio.CapacityLimiter) -> None:
    while True:
        done = await compute(threads, session.handshake)
        await _send_all(sock, session.take())
        if done:
            return
        records = await _receive(sock)
        if not records:
            raise OSError("the peer closed the connection")
        session.feed(records)


async def _send_all(sock: socket.socket, data: bytes) -> None:
    while data:
        try:
            data = data[sock.send(data) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)


async def _receive(sock: socket.socket) -> bytes:
    while True:
        try:
            return sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
