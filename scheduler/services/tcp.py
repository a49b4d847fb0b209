"""TCP listeners and streams of guests (`lunatic::networking`: tcp_*, and the time-outs of streams)."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, cast, final

import trio

from luna.scheduler.requests import Request
from luna.scheduler.resources import ResourceKind
from luna.scheduler.services.addresses import SocketAddress, add_addresses, read_address
from luna.scheduler.services.sockets import (
    DONE,
    accept_nowait,
    answer_when_ready,
    close_socket,
    connect,
    listen,
    tell_error,
)
from luna.scheduler.services.streams import ID_BYTES, Connection, StreamHandlers, checked_size
from luna.scheduler.waiting import TIMED_OUT

__all__ = ["TcpConnection", "TcpHandlers", "TcpListener"]


@final
class TcpConnection(Connection):
    """A plain connection."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._socket = sock

    def receive_nowait(self, size: int) -> bytes:
        return self._socket.recv(size)

    def send_nowait(self, data: bytes) -> int:
        return self._socket.send(data)

    async def wait_receivable(self) -> None:
        await trio.lowlevel.wait_readable(self._socket)

    async def wait_sendable(self) -> None:
        await trio.lowlevel.wait_writable(self._socket)

    def shut(self) -> None:
        close_socket(self._socket)

    def peek_nowait(self, size: int) -> bytes:
        """What the next read gives, up to `size` bytes, none at the end. Raises BlockingIOError, OSError."""
        return self.peek_unread(size) or self._socket.recv(size, socket.MSG_PEEK)

    def peer(self) -> SocketAddress:
        """Raises OSError."""
        return cast("SocketAddress", self._socket.getpeername())


@final
class TcpListener:
    """A listening socket: a resource of kind TCP_LISTENER."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.accepting: Final = trio.Lock()

    def close(self) -> None:
        """Refuse what was not accepted."""
        close_socket(self._socket)

    def accept_nowait(self) -> tuple[socket.socket, SocketAddress]:
        """The next connection and its peer. Raises BlockingIOError when none waits, OSError."""
        return accept_nowait(self._socket)

    async def wait_acceptable(self) -> None:
        """Wait until `accept_nowait` may work. Raises ClosedResourceError."""
        await trio.lowlevel.wait_readable(self._socket)

    def address(self) -> SocketAddress:
        """Raises OSError."""
        return cast("SocketAddress", self._socket.getsockname())


@final
class TcpHandlers:
    """Answers the host calls about TCP."""

    def __init__(self) -> None:
        self.streams: Final = StreamHandlers(ResourceKind.TCP_STREAM)

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve these host calls."""
        streams = self.streams
        for name, handler in {
            "tcp_bind": self._bind,
            "drop_tcp_listener": self._drop_listener,
            "tcp_local_addr": self.local_address,
            "tcp_accept": self._accept,
            "tcp_connect": self._connect,
            "drop_tcp_stream": streams.drop,
            "clone_tcp_stream": streams.clone,
            "tcp_peer_addr": self._peer_address,
            "tcp_write_vectored": streams.write_vectored,
            "tcp_peek": self._peek,
            "tcp_read": streams.read,
            "set_read_timeout": streams.setter("read_timeout_ms"),
            "set_write_timeout": streams.setter("write_timeout_ms"),
            "set_peek_timeout": streams.setter("peek_timeout_ms"),
            "get_read_timeout": streams.getter("read_timeout_ms"),
            "get_write_timeout": streams.getter("write_timeout_ms"),
            "get_peek_timeout": streams.getter("peek_timeout_ms"),
            "tcp_flush": streams.flush,
        }.items():
            set_handler("lunatic::networking", name, handler)
        set_handler("lunatic::message", "push_tcp_stream", streams.push)
        set_handler("lunatic::message", "take_tcp_stream", streams.take)

    @staticmethod
    def _listener(request: Request, id_: float) -> TcpListener:
        return cast("TcpListener", request.resource(ResourceKind.TCP_LISTENER, id_))

    def _bind(self, request: Request) -> int:
        *where, out = map(int, request.args)
        address = read_address(request, *where)
        request.check(out, ID_BYTES)
        try:
            listener = TcpListener(listen(address))
        except OSError as error:
            return tell_error(request, out, error)
        request.write_u64(out, request.add_resource(ResourceKind.TCP_LISTENER, listener))
        return DONE

    def _drop_listener(self, request: Request) -> None:
        request.remove_resource(ResourceKind.TCP_LISTENER, request.args[0]).close()

    def local_address(self, request: Request) -> int:
        """`tcp_local_addr`."""
        id_, out = map(int, request.args)
        listener = self._listener(request, id_)
        request.check(out, ID_BYTES)
        try:
            address = listener.address()
        except OSError as error:
            return tell_error(request, out, error)
        request.write_u64(out, add_addresses(request, address))
        return DONE

    def _accept(self, request: Request) -> int | Awaitable[int]:
        id_, out, peer_out = map(int, request.args)
        listener = self._listener(request, id_)
        request.check(out, ID_BYTES)
        request.write_u64(peer_out, 0)  # what stays there after an error

        def deliver(accepted: tuple[socket.socket, SocketAddress]) -> int:
            sock, peer = accepted
            request.write_u64(out, self.streams.add(request, TcpConnection(sock)))
            request.write_u64(peer_out, add_addresses(request, peer))
            return DONE

        return answer_when_ready(
            request, out, listener.accepting, listener.accept_nowait, listener.wait_acceptable, deliver
        )

    async def _connect(self, request: Request) -> int:
        *where, timeout_ms, out = map(int, request.args)
        return await self.connect(request, where, timeout_ms, out)

    async def connect(self, request: Request, where: Sequence[int], timeout_ms: int, out: int) -> int:
        """`tcp_connect` to the address that the arguments `where` give."""
        address = read_address(request, *where)
        request.check(out, ID_BYTES)
        try:
            sock = await connect(address, timeout_ms)
        except trio.TooSlowError:
            return TIMED_OUT
        except OSError as error:
            return tell_error(request, out, error)
        request.write_u64(out, self.streams.add(request, TcpConnection(sock)))
        return DONE

    def _peer_address(self, request: Request) -> int:
        id_, out = map(int, request.args)
        connection = self._connection(request, id_)
        request.check(out, ID_BYTES)
        try:
            address = connection.peer()
        except OSError as error:
            return tell_error(request, out, error)
        request.write_u64(out, add_addresses(request, address))
        return DONE

    def _peek(self, request: Request) -> int | Awaitable[int]:
        id_, pointer, size, out = map(int, request.args)
        connection = self._connection(request, id_)
        size = checked_size(request, pointer, size, out)
        if size == 0:
            request.write_u64(out, 0)
            return DONE

        def deliver(data: bytes) -> int:
            request.write(pointer, data)
            request.write_u64(out, len(data))
            return DONE

        return answer_when_ready(
            request,
            out,
            connection.reading,
            lambda: connection.peek_nowait(size),
            connection.wait_receivable,
            deliver,
            connection.peek_timeout_ms,
        )

    def _connection(self, request: Request, id_: float) -> TcpConnection:
        return cast("TcpConnection", self.streams.connection(request, id_))
