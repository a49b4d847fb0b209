"""Host names to addresses (`lunatic::networking`: resolve, resolve_next, drop_dns_iterator).

Owns how `host:port` is read and the threads that ask the system's resolver.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Awaitable, Callable
from typing import Final, cast, final

import trio

from luna.scheduler.requests import Request
from luna.scheduler.resources import ResourceKind
from luna.scheduler.services.addresses import AddressIterator, SocketAddress, add_addresses, write_address
from luna.scheduler.services.sockets import DONE, tell_error
from luna.scheduler.waiting import TIMED_OUT, seconds_of

__all__ = ["MAX_LOOKUPS", "MAX_NAME_BYTES", "DnsHandlers", "Resolver"]

MAX_LOOKUPS: Final = 32
"""threads that ask the resolver at the same time, further lookups wait: one that nobody answers
keeps its thread for the resolver's own time-out, some seconds, even when the guest has given up."""
MAX_NAME_BYTES: Final = 1024
"""bytes of `host:port`; a name of DNS has at most 253, and this much is repeated in error texts."""
MAX_PORT: Final = 0xFFFF
MAX_SCOPE_ID: Final = 0xFFFF_FFFF

EXHAUSTED: Final = 1
ID_BYTES: Final = 8

_NUMERIC_V4 = re.compile(r"(\d+\.\d+\.\d+\.\d+):(\d{1,5})", re.ASCII)
_NUMERIC_V6 = re.compile(r"\[([0-9a-fA-F:.]+)(?:%(\d{1,10}))?\]:(\d{1,5})", re.ASCII)
_PORT = re.compile(r"\+?\d+", re.ASCII)


@final
class Resolver:
    """The system's resolver, asked in a bounded number of threads."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(MAX_LOOKUPS)

    async def look_up(self, host: str, port: int) -> list[SocketAddress]:
        """The addresses of a host, with a port. Raises OSError. Cancelling leaves the thread to its end."""
        if "\0" in host:
            raise OSError("a host name has no zero bytes")
        try:
            # As bytes, or Python would insist on its own idea of host names.
            found = await trio.to_thread.run_sync(
                lambda: socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM),
                abandon_on_cancel=True,
                limiter=self._limiter,
            )
        except socket.gaierror as error:
            raise OSError(f"failed to lookup address information: {error.strerror}: {host!r}") from None
        return [cast("SocketAddress", address) for *_, address in found]


@final
class DnsHandlers:
    """Answers the host calls about names and address iterators."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve these host calls."""
        set_handler("lunatic::networking", "resolve", self._resolve)
        set_handler("lunatic::networking", "drop_dns_iterator", self._drop)
        set_handler("lunatic::networking", "resolve_next", self._next)

    def _resolve(self, request: Request) -> int | Awaitable[int]:
        pointer, size, timeout_ms, out = map(int, request.args)
        return self.resolve(request, pointer, size, timeout_ms, out)

    def resolve(
        self, request: Request, pointer: int, size: int, timeout_ms: int, out: int
    ) -> int | Awaitable[int]:
        """`resolve` of the `size` bytes at `pointer`, whose iterator goes to `out`."""
        request.check(pointer, size)
        request.check(out, ID_BYTES)
        if size & 0xFFFF_FFFF > MAX_NAME_BYTES:
            return tell_error(request, out, OSError(f"a host name has at most {MAX_NAME_BYTES} bytes"))
        text = request.read_text(pointer, size)
        numeric = numeric_address(text)
        if numeric is not None:
            request.write_u64(out, add_addresses(request, numeric))
            return DONE
        return self._resolve_later(request, text, timeout_ms, out)

    async def _resolve_later(self, request: Request, text: str, timeout_ms: int, out: int) -> int:
        try:
            with trio.fail_after(seconds_of(timeout_ms)):
                addresses = await self._resolver.look_up(*split_port(text))
        except trio.TooSlowError:
            request.write_u64(out, 0)
            return TIMED_OUT
        except OSError as error:
            return tell_error(request, out, error)
        request.write_u64(out, add_addresses(request, *addresses))
        return DONE

    def _drop(self, request: Request) -> None:
        request.remove_resource(ResourceKind.DNS_ITERATOR, request.args[0]).close()

    def _next(self, request: Request) -> int:
        id_, kind, octets, port, flow_info, scope_id = map(int, request.args)
        iterator = cast("AddressIterator", request.resource(ResourceKind.DNS_ITERATOR, id_))
        address = iterator.next()
        if address is None:
            return EXHAUSTED
        write_address(request, address, kind, octets, port, flow_info, scope_id)
        return DONE


def numeric_address(text: str) -> SocketAddress | None:
    """The address that `1.2.3.4:80` or `[::1%2]:80` is; None for anything else."""
    scope_id = "0"
    if match := _NUMERIC_V4.fullmatch(text):
        family, (host, port) = socket.AF_INET, match.groups()
    elif match := _NUMERIC_V6.fullmatch(text):
        family, (host, scope_id, port) = socket.AF_INET6, match.groups("0")
    else:
        return None
    if int(port) > MAX_PORT or int(scope_id) > MAX_SCOPE_ID:
        return None
    try:
        host = socket.inet_ntop(family, socket.inet_pton(family, host))
    except OSError:
        return None
    return (host, int(port)) if family == socket.AF_INET else (host, int(port), 0, int(scope_id))


def split_port(text: str) -> tuple[str, int]:
    """Host and port of `host:port`. Raises OSError."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise OSError(f"invalid socket address: {text!r} is not of the form host:port")
    if not _PORT.fullmatch(port) or len(port) > 20 or int(port) > MAX_PORT:
        raise OSError(f"invalid port value: {port!r} is not a number from 0 to {MAX_PORT}")
    return host, int(port)
