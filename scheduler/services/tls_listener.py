"""Listeners for encrypted connections: sockets and the handshakes of who has come.

Handshakes begin when the guest accepts, several at a time, so that a peer that says
nothing holds up no other one; what they came to waits for the next call.
"""

from __future__ import annotations

import socket
import ssl
from collections import deque
from typing import Final, cast, final

import trio

from luna.scheduler.services.addresses import SocketAddress
from luna.scheduler.services.background import Background
from luna.scheduler.services.sockets import accept_nowait, close_socket
from luna.scheduler.services.tls_connection import TlsConnection
from luna.scheduler.services.tls_session import TlsSession, handshake

__all__ = ["HANDSHAKE_TIMEOUT_S", "MAX_HANDSHAKES", "TlsListener"]

HANDSHAKE_TIMEOUT_S: Final = 10.0
"""seconds a client has to shake hands with a listener: a few round trips, and some packets lost."""
MAX_HANDSHAKES: Final = 64
"""connections of one listener that shake hands, or have done so and wait for the guest; more stay in the
system's queue."""


@final
class TlsListener:
    """A listening socket with its identity: a resource of kind TLS_LISTENER."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        background: Background,
        threads: trio.CapacityLimiter,
    ) -> None:
        self._socket = sock
        self._context = context
        self._background = background
        self._threads = threads
        self._shaking: set[trio.CancelScope] = set()
        self._finished: deque[tuple[TlsConnection, SocketAddress] | OSError] = deque()
        self._wait: trio.CancelScope | None = None  # of the call that waits for a client
        self._closed = False
        self.accepting: Final = trio.Lock()

    def close(self) -> None:
        """Refuse whom the guest has not accepted."""
        self._closed = True
        close_socket(self._socket)
        for scope in self._shaking:
            scope.cancel()
        while self._finished:
            result = self._finished.popleft()
            if not isinstance(result, OSError):
                result[0].shut()

    def address(self) -> SocketAddress:
        """Raises OSError."""
        return cast("SocketAddress", self._socket.getsockname())

    def accept_nowait(self) -> tuple[TlsConnection, SocketAddress]:
        """The next connection and its peer. Raises BlockingIOError when none waits, OSError.

        OSError of a handshake is about that client only.
        """
        self._begin_handshakes()
        if not self._finished:
            raise BlockingIOError
        result = self._finished.popleft()
        if isinstance(result, OSError):
            raise result
        return result

    async def wait_acceptable(self) -> None:
        """Wait until `accept_nowait` may work. Raises ClosedResourceError."""
        with trio.CancelScope() as self._wait:  # which a handshake that ends cancels
            if self._has_room():
                await trio.lowlevel.wait_readable(self._socket)
            else:
                await trio.sleep_forever()

    def _has_room(self) -> bool:
        return len(self._shaking) + len(self._finished) < MAX_HANDSHAKES

    def _begin_handshakes(self) -> None:
        while self._has_room():
            try:
                sock, peer = accept_nowait(self._socket)
            except BlockingIOError:
                return
            except OSError as error:
                self._finished.append(error)
                return
            scope = trio.CancelScope()
            if self._background.start("TLS handshake", self._shake_hands, sock, peer, scope):
                self._shaking.add(scope)
            else:
                sock.close()

    async def _shake_hands(self, sock: socket.socket, peer: SocketAddress, scope: trio.CancelScope) -> None:
        result: tuple[TlsConnection, SocketAddress] | OSError | None = None
        scope.deadline = trio.current_time() + HANDSHAKE_TIMEOUT_S
        try:
            with scope:
                session = TlsSession(self._context)
                await handshake(sock, session, self._threads)
                result = TlsConnection(sock, session, self._background), peer
            if result is None:
                result = OSError(f"TLS handshake failed: not done in {HANDSHAKE_TIMEOUT_S:g} s")
        except OSError as error:
            result = error
        finally:
            self._shaking.remove(scope)
            if not isinstance(result, tuple):
                close_socket(sock)
        if not self._closed:
            self._finished.append(result)
            if self._wait is not None:
                self._wait.cancel()
        elif isinstance(result, tuple):
            result[0].shut()
