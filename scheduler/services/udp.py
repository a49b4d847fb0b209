"""UDP sockets of guests (`lunatic::networking`: udp_*)."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Final, cast, final

import trio

from luna.scheduler._handles import ProcessGoneError
from luna.scheduler.requests import GuestTrap, Request
from luna.scheduler.resources import ResourceKind
from luna.scheduler.services.addresses import SocketAddress, add_addresses, family_of, read_address
from luna.scheduler.services.sockets import (
    DONE,
    Handle,
    Shared,
    answer_when_ready,
    close_socket,
    error_text,
    open_socket,
    tell_error,
)

__all__ = ["MAX_DATAGRAM_BYTES", "UdpHandlers", "UdpSocket"]

MAX_DATAGRAM_BYTES: Final = 65536
"""bytes the host makes room for; no datagram has as many, and the system refuses to send them."""

NOT_CONNECTED, OTHER_ERROR = 1, 2
ID_BYTES: Final = 8

Datagram = tuple[bytes, SocketAddress]


@final
class UdpSocket(Shared):
    """A bound socket of any number of handles. Who receives first is served first."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._socket = sock
        self.receiving: Final = trio.Lock()
        self.sending: Final = trio.Lock()
        self._unread: Datagram | None = None

    def shut(self) -> None:
        """Give up the descriptor."""
        close_socket(self._socket)

    def receive_nowait(self, size: int) -> Datagram:
        """The next datagram, cut off after `size` bytes, and its sender. Raises BlockingIOError, OSError."""
        if self._unread is not None:
            (data, sender), self._unread = self._unread, None
            return data[:size], sender
        return self._socket.recvfrom(size)

    def unread(self, datagram: Datagram) -> None:
        """Give back what was received last: its receiver died before it had it, a clone may have it."""
        self._unread = datagram

    def send_nowait(self, data: bytes) -> int:
        """Send to the connected peer; the size. Raises BlockingIOError, OSError."""
        return self._socket.send(data)

    def send_to_nowait(self, data: bytes, address: SocketAddress) -> int:
        """Send to an address; the size. Raises BlockingIOError, OSError."""
        return self._socket.sendto(data, self._of_family(address))

    async def wait_receivable(self) -> None:
        """Wait until `receive_nowait` may work. Raises ClosedResourceError."""
        await trio.lowlevel.wait_readable(self._socket)

    async def wait_sendable(self) -> None:
        """Wait until sending may work. Raises ClosedResourceError."""
        await trio.lowlevel.wait_writable(self._socket)

    def connect(self, address: SocketAddress) -> None:
        """Fix the peer. Raises OSError."""
        self._socket.connect(self._of_family(address))

    def address(self) -> SocketAddress:
        """Raises OSError."""
        return cast("SocketAddress", self._socket.getsockname())

    def peer(self) -> SocketAddress:
        """Raises OSError, ENOTCONN without a peer."""
        return cast("SocketAddress", self._socket.getpeername())

    def option(self, level: int, name: int) -> int:
        """An option of the system. Raises OSError."""
        return self._socket.getsockopt(level, name)

    def set_option(self, level: int, name: int, value: int) -> None:
        """Set an option of the system. Raises OSError."""
        self._socket.setsockopt(level, name, value)

    def _of_family(self, address: SocketAddress) -> SocketAddress:
        """An address as a socket of this family takes it, which Python is stricter about than Linux."""
        if family_of(address) == self._socket.family:
            return address
        if self._socket.family == socket.AF_INET6:
            return f"::ffff:{address[0]}", address[1], 0, 0
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))


@final
class UdpHandlers:
    """Answers the host calls about UDP."""

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve these host calls."""
        for name, handler in {
            "udp_bind": self._bind,
            "udp_local_addr": self._local_address,
            "udp_peer_addr": self._peer_address,
            "drop_udp_socket": self._drop,
            "udp_receive": self._receive,
            "udp_receive_from": self._receive_from,
            "udp_connect": self._connect,
            "clone_udp_socket": self._clone,
            "set_udp_socket_broadcast": self._set_broadcast,
            "get_udp_socket_broadcast": self._get_broadcast,
            "set_udp_socket_ttl": self._set_ttl,
            "get_udp_socket_ttl": self._get_ttl,
            "udp_send_to": self._send_to,
            "udp_send": self._send,
        }.items():
            set_handler("lunatic::networking", name, handler)
        set_handler("lunatic::message", "push_udp_socket", self._push)
        set_handler("lunatic::message", "take_udp_socket", self._pull)

    @staticmethod
    def _socket(request: Request, id_: float) -> UdpSocket:
        return cast("Handle[UdpSocket]", request.resource(ResourceKind.UDP_SOCKET, id_)).shared

    @staticmethod
    def _add(request: Request, shared: UdpSocket) -> int:
        return request.add_resource(ResourceKind.UDP_SOCKET, Handle(shared))

    def _bind(self, request: Request) -> int:
        *where, out = map(int, request.args)
        address = read_address(request, *where)
        request.check(out, ID_BYTES)
        try:
            sock = open_socket(family_of(address), socket.SOCK_DGRAM)
            try:
                sock.bind(address)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            return tell_error(request, out, error)
        request.write_u64(out, self._add(request, UdpSocket(sock)))
        return DONE

    def _local_address(self, request: Request) -> int:
        id_, out = map(int, request.args)
        shared = self._socket(request, id_)
        request.check(out, ID_BYTES)
        try:
            address = shared.address()
        except OSError as error:
            return tell_error(request, out, error)
        request.write_u64(out, add_addresses(request, address))
        return DONE

    def _peer_address(self, request: Request) -> int:
        id_, out = map(int, request.args)
        shared = self._socket(request, id_)
        request.check(out, ID_BYTES)
        try:
            address = shared.peer()
        except OSError as error:
            tell_error(request, out, error)
            return NOT_CONNECTED if error.errno == errno.ENOTCONN else OTHER_ERROR
        request.write_u64(out, add_addresses(request, address))
        return DONE

    def _drop(self, request: Request) -> None:
        request.remove_resource(ResourceKind.UDP_SOCKET, request.args[0]).close()

    def _clone(self, request: Request) -> int:
        return self._add(request, self._socket(request, request.args[0]))

    def _push(self, request: Request) -> int:
        return request.push_resource(ResourceKind.UDP_SOCKET, request.args[0])

    def _pull(self, request: Request) -> int:
        return request.take_resource(ResourceKind.UDP_SOCKET, request.args[0])

    def _receive(self, request: Request) -> int | Awaitable[int]:
        id_, pointer, size, out = map(int, request.args)
        return self._receive_into(request, self._socket(request, id_), pointer, size, out)

    def _receive_from(self, request: Request) -> int | Awaitable[int]:
        id_, pointer, size, out, sender_out = map(int, request.args)
        shared = self._socket(request, id_)
        request.check(sender_out, ID_BYTES)
        return self._receive_into(request, shared, pointer, size, out, sender_out)

    @staticmethod
    def _receive_into(
        request: Request,
        shared: UdpSocket,
        pointer: int,
        size: int,
        out: int,
        sender_out: int | None = None,
    ) -> int | Awaitable[int]:
        request.check(pointer, size)
        request.check(out, ID_BYTES)
        room = min(size & 0xFFFF_FFFF, MAX_DATAGRAM_BYTES)

        def deliver(datagram: Datagram) -> int:
            data, sender = datagram
            try:
                request.write(pointer, data)
                request.write_u64(out, len(data))
                if sender_out is not None:
                    request.write_u64(sender_out, add_addresses(request, sender))
            except ProcessGoneError:
                shared.unread(datagram)
                raise
            return DONE

        return answer_when_ready(
            request,
            out,
            shared.receiving,
            lambda: shared.receive_nowait(room),
            shared.wait_receivable,
            deliver,
        )

    def _connect(self, request: Request) -> int:
        # Nothing is waited for, so that its time-out never passes.
        id_, *where, _, out = map(int, request.args)
        shared = self._socket(request, id_)
        address = read_address(request, *where)
        request.check(out, ID_BYTES)
        try:
            shared.connect(address)
        except OSError as error:
            return tell_error(request, out, error)
        request.write_u64(out, 0)
        return DONE

    def _send(self, request: Request) -> int | Awaitable[int]:
        id_, pointer, size, out = map(int, request.args)
        shared = self._socket(request, id_)
        data = read_datagram(request, pointer, size)
        return self._send_by(request, shared, lambda: shared.send_nowait(data), out)

    def _send_to(self, request: Request) -> int | Awaitable[int]:
        id_, pointer, size, *where, out = map(int, request.args)
        shared = self._socket(request, id_)
        data = read_datagram(request, pointer, size)
        address = read_address(request, *where)
        return self._send_by(request, shared, lambda: shared.send_to_nowait(data, address), out)

    @staticmethod
    def _send_by(
        request: Request, shared: UdpSocket, attempt: Callable[[], int], out: int
    ) -> int | Awaitable[int]:
        request.check(out, ID_BYTES)

        def deliver(sent: int) -> int:
            request.write_u64(out, sent)
            return DONE

        return answer_when_ready(request, out, shared.sending, attempt, shared.wait_sendable, deliver)

    def _set_broadcast(self, request: Request) -> None:
        id_, allowed = request.args
        self._set(request, id_, socket.SOL_SOCKET, socket.SO_BROADCAST, int(allowed != 0))

    def _get_broadcast(self, request: Request) -> int:
        return int(self._get(request, request.args[0], socket.SOL_SOCKET, socket.SO_BROADCAST) != 0)

    def _set_ttl(self, request: Request) -> None:
        id_, hops = request.args
        self._set(request, id_, socket.IPPROTO_IP, socket.IP_TTL, int(hops))

    def _get_ttl(self, request: Request) -> int:
        return self._get(request, request.args[0], socket.IPPROTO_IP, socket.IP_TTL)

    def _set(self, request: Request, id_: float, level: int, name: int, value: int) -> None:
        try:
            self._socket(request, id_).set_option(level, name, value)
        except OSError as error:
            raise GuestTrap(f"{request.full_name}: {error_text(error)}") from None

    def _get(self, request: Request, id_: float, level: int, name: int) -> int:
        try:
            return self._socket(request, id_).option(level, name)
        except OSError as error:
            raise GuestTrap(f"{request.full_name}: {error_text(error)}") from None


def read_datagram(request: Request, pointer: int, size: int) -> bytes:
    """What to send; of more than fits a datagram so much that the system refuses it.

    Raises GuestTrap out of bounds.
    """
    request.check(pointer, size)
    return request.read(pointer, min(size & 0xFFFF_FFFF, MAX_DATAGRAM_BYTES))
