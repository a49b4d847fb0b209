"""Network calls of guests made for early Lunatic and for as-lunatic.

The calls are today's but for their time-outs: early guests give one with each call, in
32 bits with 0 for ever, and learn of its end by an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, final

from luna.scheduler.requests import Request
from luna.scheduler.services.dns import DnsHandlers
from luna.scheduler.services.sockets import DONE, tell_error
from luna.scheduler.services.tcp import TcpHandlers
from luna.scheduler.waiting import FOREVER, TIMED_OUT

__all__ = ["EarlyNetwork"]

_NAMESPACE: Final = "lunatic::networking"
_U32: Final = 0xFFFF_FFFF


@final
class EarlyNetwork:
    """Answers these calls by means of today's handlers."""

    def __init__(self, dns: DnsHandlers, tcp: TcpHandlers) -> None:
        self._dns = dns
        self._tcp = tcp
        self._streams = tcp.streams

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve these host calls."""
        for key, handler in {
            "resolve@0.6": self._resolve,
            "tcp_connect@0.6": self._connect,
            "tcp_read@0.6": self._read,
            "tcp_write_vectored@0.6": self._write,
            "local_addr@0.7": self._tcp.local_address,
            "set_peek_timeout@0.12": self._set_peek_timeout,
            "get_read_timeout@0.12": self._streams.getter("read_timeout_ms"),
            "get_peek_timeout@0.12": self._streams.getter("peek_timeout_ms"),
        }.items():
            set_handler(_NAMESPACE, key, handler)

    def _resolve(self, request: Request) -> int | Awaitable[int]:
        pointer, size, timeout_ms, out = map(int, request.args)
        answer = self._dns.resolve(request, pointer, size, _today(timeout_ms), out)
        return _with_error(request, out, answer, "Resolve")

    def _connect(self, request: Request) -> int | Awaitable[int]:
        *where, timeout_ms, out = map(int, request.args)
        answer = self._tcp.connect(request, where, _today(timeout_ms), out)
        return _with_error(request, out, answer, "Connect")

    def _read(self, request: Request) -> int | Awaitable[int]:
        id_, pointer, size, timeout_ms, out = map(int, request.args)
        answer = self._streams.read_within(request, id_, pointer, size, out, _today(timeout_ms))
        return _with_error(request, out, answer, "Read")

    def _write(self, request: Request) -> int | Awaitable[int]:
        id_, vectors, count, timeout_ms, out = map(int, request.args)
        answer = self._streams.write_within(request, id_, vectors, count, out, _today(timeout_ms))
        return _with_error(request, out, answer, "Write")

    def _set_peek_timeout(self, request: Request) -> int:
        self._streams.setter("peek_timeout_ms")(request)
        return DONE


def _today(timeout_ms: int) -> int:
    """A time-out as today's guests give it."""
    return timeout_ms & _U32 or FOREVER


def _with_error(request: Request, out: int, answer: int | Awaitable[int], what: str) -> int | Awaitable[int]:
    """The answer, or an error when its time has passed."""
    return answer if isinstance(answer, int) else _await_with_error(request, out, answer, what)


async def _await_with_error(request: Request, out: int, answer: Awaitable[int], what: str) -> int:
    code = await answer
    if code == TIMED_OUT:
        return tell_error(request, out, TimeoutError(f"{what} call timed out"))
    return code
