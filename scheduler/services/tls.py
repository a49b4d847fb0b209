"""TLS listeners and streams of guests (`lunatic::networking`: tls_*)."""

from __future__ import annotations

import ipaddress
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Final, cast, final

import trio

from luna.scheduler.requests import GuestTrap, Request
from luna.scheduler.resources import ResourceKind
from luna.scheduler.services.addresses import SocketAddress, add_addresses, read_address
from luna.scheduler.services.background import Background
from luna.scheduler.services.dns import Resolver
from luna.scheduler.services.pem import MAX_PEM_BYTES
from luna.scheduler.services.sockets import DONE, answer_when_ready, close_socket, connect, listen, tell_error
from luna.scheduler.services.streams import ID_BYTES, StreamHandlers
from luna.scheduler.services.threads import compute
from luna.scheduler.services.tls_connection import TlsConnection
from luna.scheduler.services.tls_context import (
    check_server_name,
    client_context,
    public_context,
    server_context,
)
from luna.scheduler.services.tls_listener import TlsListener
from luna.scheduler.services.tls_session import TlsSession, handshake
from luna.scheduler.waiting import TIMED_OUT, seconds_of

__all__ = ["MAX_AUTHORITIES", "MAX_THREADS", "TlsHandlers"]

MAX_THREADS: Final = 8
"""threads that compute for handshakes at the same time; one takes about a millisecond of it."""
MAX_AUTHORITIES: Final = 256
"""authorities one connection can be told to trust: more than the public ones are."""
MAX_LIST_BYTES: Final = 1024 * 1024
"""bytes of PEM in one list of authorities; the public ones have a quarter of it."""
MAX_HOST_BYTES: Final = 1024
"""bytes of a host name; DNS has at most 253, and this much is repeated in error texts."""

SLICE = struct.Struct("<II")


@final
class TlsHandlers:
    """Answers the host calls about TLS."""

    def __init__(self, resolver: Resolver, background: Background) -> None:
        self._resolver = resolver
        self._background = background
        self._streams: Final = StreamHandlers(ResourceKind.TLS_STREAM)
        self._threads: Final = trio.CapacityLimiter(MAX_THREADS)
        self._public: ssl.SSLContext | None = None

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve these host calls."""
        streams = self._streams
        for name, handler in {
            "tls_bind": self._bind,
            "drop_tls_listener": self._drop_listener,
            "tls_local_addr": self._local_address,
            "tls_accept": self._accept,
            "tls_connect": self._connect,
            "drop_tls_stream": streams.drop,
            "clone_tls_stream": streams.clone,
            "tls_write_vectored": streams.write_vectored,
            "tls_read": streams.read,
            "set_tls_read_timeout": streams.setter("read_timeout_ms"),
            "set_tls_write_timeout": streams.setter("write_timeout_ms"),
            "get_tls_read_timeout": streams.getter("read_timeout_ms"),
            "get_tls_write_timeout": streams.getter("write_timeout_ms"),
            "tls_flush": streams.flush,
        }.items():
            set_handler("lunatic::networking", name, handler)
        set_handler("lunatic::message", "push_tls_stream", streams.push)
        set_handler("lunatic::message", "take_tls_stream", streams.take)

    # -- listeners ------------------------------------------------------------------

    async def _bind(self, request: Request) -> int:
        *where, out, certificate_at, certificate_size, key_at, key_size = map(int, request.args)
        address = read_address(request, *where)
        request.check(out, ID_BYTES)
        certificate = _read_pem(request, certificate_at, certificate_size)
        key = _read_pem(request, key_at, key_size)
        try:
            context = await compute(self._threads, server_context, certificate, key)
            listener = TlsListener(listen(address), context, self._background, self._threads)
        except ValueError as error:
            raise GuestTrap(f"{request.full_name}: {error}") from None
        except OSError as error:
            return tell_error(request, out, error)
        request.write_u64(out, request.add_resource(ResourceKind.TLS_LISTENER, listener))
        return DONE

    @staticmethod
    def _listener(request: Request, id_: float) -> TlsListener:
        return cast("TlsListener", request.resource(ResourceKind.TLS_LISTENER, id_))

    def _drop_listener(self, request: Request) -> None:
        request.remove_resource(ResourceKind.TLS_LISTENER, request.args[0]).close()

    def _local_address(self, request: Request) -> int:
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

        def deliver(accepted: tuple[TlsConnection, SocketAddress]) -> int:
            connection, peer = accepted
            request.write_u64(out, self._streams.add(request, connection))
            request.write_u64(peer_out, add_addresses(request, peer))
            return DONE

        return answer_when_ready(
            request, out, listener.accepting, listener.accept_nowait, listener.wait_acceptable, deliver
        )

    # -- connecting -----------------------------------------------------------------

    async def _connect(self, request: Request) -> int:
        host_at, host_size, port, timeout_ms, out, authorities_at, count = map(int, request.args)
        host = _read_host(request, host_at, host_size)
        request.check(out, ID_BYTES)
        count &= 0xFFFF_FFFF
        if count:  # else the pointer means nothing
            request.check(authorities_at, count * SLICE.size)
        try:
            authorities = _read_authorities(request, authorities_at, count) if count else []
            with trio.fail_after(seconds_of(timeout_ms)):
                context = await self._client_context(authorities)
                connection = await self._dial(host, port & 0xFFFF, context)
        except trio.TooSlowError:
            return TIMED_OUT
        except OSError as error:
            return tell_error(request, out, error)
        request.write_u64(out, self._streams.add(request, connection))
        return DONE

    async def _client_context(self, authorities: list[tuple[bytes, ...]]) -> ssl.SSLContext:
        """Raises OSError."""
        if authorities:
            try:
                return await compute(self._threads, client_context, authorities)
            except ValueError as error:
                raise OSError(f"the list of authorities cannot be used: {error}") from None
        if self._public is None:
            self._public = await compute(self._threads, public_context)
        return self._public

    async def _dial(self, host: str, port: int, context: ssl.SSLContext) -> TlsConnection:
        """Connect to the first address of a host that takes the connection. Raises OSError."""
        problem = OSError(f"failed to lookup address information: {host!r} has no addresses")
        for address in await self._addresses(host, port):
            try:
                sock = await connect(address)
            except OSError as error:
                problem = error
                continue
            session = TlsSession(context, check_server_name(host))
            try:
                await handshake(sock, session, self._threads)
            except BaseException:
                close_socket(sock)
                raise
            return TlsConnection(sock, session, self._background)
        raise problem

    async def _addresses(self, host: str, port: int) -> list[SocketAddress]:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return await self._resolver.look_up(host, port)
        return [(host, port) if address.version == 4 else (host, port, 0, 0)]


def _read_pem(request: Request, pointer: int, size: int) -> bytes:
    request.check(pointer, size)
    if size & 0xFFFF_FFFF > MAX_PEM_BYTES:
        raise GuestTrap(f"{request.full_name}: a PEM text has at most {MAX_PEM_BYTES} bytes")
    return request.read(pointer, size)


def _read_host(request: Request, pointer: int, size: int) -> str:
    """Raises GuestTrap for what is no name of a server, before anything is asked or connected."""
    request.check(pointer, size)
    if size & 0xFFFF_FFFF > MAX_HOST_BYTES:
        raise GuestTrap(f"{request.full_name}: a host name has at most {MAX_HOST_BYTES} bytes")
    host = request.read_text(pointer, size)
    try:
        check_server_name(host)
    except ValueError as error:
        raise GuestTrap(f"{request.full_name}: {error}") from None
    return host


def _read_authorities(request: Request, pointer: int, count: int) -> list[tuple[bytes, ...]]:
    """What a list of PEM texts can mean, for each entry the likelier text first. Raises OSError."""
    if count > MAX_AUTHORITIES:
        raise OSError(f"a list of authorities has at most {MAX_AUTHORITIES} entries, not {count}")
    entries = []
    room = MAX_LIST_BYTES
    for index, (first, second) in enumerate(SLICE.iter_unpack(request.read(pointer, count * SLICE.size))):
        # Lunatic reads an entry as (pointer, length), but its guest library writes (length, pointer). Either
        # way the text ends at the sum of the two. The tighter one is likelier, and the wider one may hold
        # other certificates, which the guest never meant; it is right for a text below its own length.
        tight, wide = sorted((first, second))
        try:
            texts = [request.read(wide, tight)] if tight <= MAX_PEM_BYTES else []
            texts += [request.read(tight, wide)] if wide <= MAX_PEM_BYTES else []
        except GuestTrap:
            raise OSError(f"authority {index} of the list lies outside the guest's memory") from None
        room -= sum(map(len, texts))
        if room < 0:
            raise OSError(f"a list of authorities has at most {MAX_LIST_BYTES} bytes of PEM")
        entries.append(tuple(texts))
    return entries
