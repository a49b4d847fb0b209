"""TCP listeners and streams of guests (`lunatic::networking`: tcp_*, and the time-outs of streams)."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, cast, final

import trio

from luna.scheduler.requests import Request
from luna.scheduler.resources import ResourceKind
from luna.scheduler.services.addresses import SocketAddress, add_addresses, read_address
from luna.scheduler.services.sockets import (
    DONE,
    FAILED,
    accept_nowait,
    close_socket,
    connect,
    error_text,
    listen,
    tell_error,
    when_ready,
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

    async def peek(self, size: int, timeout_ms: int) -> bytes:
        """What the next read gives, up to `size` bytes, none at the end. Raises TooSlowError, OSError."""
        return await when_ready(self.reading, lambda: self._peek(size), self.wait_receivable, timeout_ms)

    def peer(self) -> SocketAddress:
        """Raises OSError."""
        return cast("SocketAddress", self._socket.getpeername())

    def _peek(self, size: int) -> bytes:
        return self.peek_unread(size) or self._socket.recv(size, socket.MSG_PEEK)


@final
class TcpListener:
    """A listening socket: a resource of kind TCP_LISTENER."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._turn = trio.Lock()

    def close(self) -> None:
        """Refuse what was not accepted."""
        close_socket(self._socket)

    async def accept(self) -> tuple[socket.socket, SocketAddress]:
        """The next connection and its peer. Raises OSError."""
        return await when_ready(self._turn, lambda: accept_nowait(self._socket), self._wait)

    def address(self) -> SocketAddress:
        """Raises OSError."""
        return cast("SocketAddress", self._socket.getsockname())

    async def _wait(self) -> None:
        await trio.lowlevel.wait_readable(self._socket)


@final
class TcpHandlers:
    """Answers the host calls about TCP."""

    def __init__(self) -> None:
        self._streams: Final = StreamHandlers(ResourceKind.TCP_STREAM)

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve these host calls."""
        streams = self._streams
        for name, handler in {
            "tcp_bind": self._bind,
            "drop_tcp_listener": self._drop_listener,
            "tcp_local_addr": self._local_address,
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

    async def _bind(self, request: Request) -> int:
        *where, out = map(int, request.args)
        address = read_address(request, *where)
        request.check(out, ID_BYTES)
        try:
            listener = TcpListener(listen(address))
        except OSError as error:
            return tell_error(request, out, error)
        request.write_u64(out, request.add_resource(ResourceKind.TCP_LISTENER, listener))
        return DONE

    async def _drop_listener(self, request: Request) -> None:
        request.remove_resource(ResourceKind.TCP_LISTENER, request.args[0]).close()

    async def _local_address(self, request: Request) -> int:
        id_, out = map(int, request.args)
        listener = self._listener(request, id_)
        request.check(out, ID_BYTES)
        try:
            address = listener.address()
        except OSError as error:
            return tell_error(request, out, error)
        request.write_u64(out, add_addresses(request, address))
        return DONE

    async def _accept(self, request: Request) -> int:
        id_, out, peer_out = map(int, request.args)
        listener = self._listener(request, id_)
        request.check(out, ID_BYTES)
        request.check(peer_out, ID_BYTES)
        try:
            sock, peer = await listener.accept()
        except OSError as error:
            request.write_u64(out, request.add_error(error_text(error)))
            request.write_u64(peer_out, 0)
            return FAILED
        request.write_u64(out, self._streams.add(request, TcpConnection(sock)))
        request.write_u64(peer_out, add_addresses(request, peer))
        return DONE

    async def _connect(self, request: Request) -> int:
        *where, timeout_ms, out = map(int, request.args)
        address = read_address(request, *where)
        request.check(out, ID_BYTES)
        try:
            sock = await connect(address, timeout_ms)
        except trio.TooSlowError:
            return TIMED_OUT
        except OSError as error:
            return tell_error(request, out, error)
        request.write_u64(out, self._streams.add(request, TcpConnection(sock)))
        return DONE

    async def _peer_address(self, request: Request) -> int:
        id_, out = map(int, request.args)
        connection = self._connection(request, id_)
        request.check(out, ID_BYTES)
        try:
            address = connection.peer()
        except OSError as error:
            return tell_error(request, out, error)
        request.write_u64(out, add_addresses(request, address))
        return DONE

    async def _peek(self, request: Request) -> int:
        id_, pointer, size, out = map(int, request.args)
        connection = self._connection(request, id_)
        size = checked_size(request, pointer, size, out)
        try:
            data = await connection.peek(size, connection.peek_timeout_ms) if size else b""
        except trio.TooSlowError:
            return TIMED_OUT
        except OSError as error:
            return tell_error(request, out, error)
        request.write(pointer, data)
        request.write_u64(out, len(data))
        return DONE

    def _connection(self, request: Request, id_: float) -> TcpConnection:
        return cast("TcpConnection", self._streams.connection(request, id_))
