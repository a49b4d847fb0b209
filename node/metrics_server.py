"""A small HTTP server for one page: GET /metrics.

HTTP itself is h11's part. Everything a client can hold is bounded: how many there are, how
long each may take, how much it may send. One request for each connection; what a client does
wrong ends its connection and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import h11
import structlog
import trio
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from luna.node.config import Address
from luna.proto.errors import BrokenError

MAX_CLIENTS: Final = 32
"""connections at once; one more is closed at once, since a collector comes again anyway."""
MAX_HEAD_BYTES: Final = 16 * 1024
"""bytes of a request's first line and headers"""
REQUEST_TIMEOUT_S: Final = 10.0
"""seconds a client may take for its request"""
RESPONSE_TIMEOUT_S: Final = 30.0
"""seconds for making the page and until the client has taken it"""
RECEIVE_BYTES: Final = 4096
"""bytes taken from a client at a time"""

PATH: Final = b"/metrics"
PLAIN: Final = "text/plain; charset=utf-8"

Render = Callable[[], Awaitable[bytes]]
_log = structlog.get_logger(__name__)


async def start_metrics_server(nursery: trio.Nursery, address: Address, render: Render) -> Address:
    """Serve the page that `render` makes at `address` until the nursery is cancelled; where it is served.

    Raises BrokenError when the address cannot be listened on.
    """
    try:
        listeners = await trio.open_tcp_listeners(address.port, host=address.host)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label of the host's name is too long
        raise BrokenError(
            f"cannot serve metrics on {address}: {getattr(error, 'strerror', None) or error}",
            hint="choose another --metrics address, or port 0 for any free port",
        ) from None
    server = _Server(render)
    await nursery.start(trio.serve_listeners, server.serve, listeners)
    name = listeners[0].socket.getsockname()
    served = Address(name[0], name[1])
    _log.info("serving metrics", url=f"http://{served}{PATH.decode()}")
    return served


@dataclass(frozen=True, slots=True)
class _Page:
    status: int
    body: bytes
    content_type: str = PLAIN
    headers: tuple[tuple[str, str], ...] = ()


class _Server:
    def __init__(self, render: Render) -> None:
        self._render = render
        self._clients = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer one client. Only cancellation gets out."""
        async with stream:
            if self._clients >= MAX_CLIENTS:
                return
            self._clients += 1
            try:
                await self._answer(stream)
            except (trio.BrokenResourceError, trio.TooSlowError):
                pass  # the client has gone, or is too slow to wait for
            except Exception:
                _log.exception("serving metrics failed")
            finally:
                self._clients -= 1

    async def _answer(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        is_head = False
        try:
            with trio.fail_after(REQUEST_TIMEOUT_S):
                request = await _read_request(connection, stream)
            if request is None:
                return
            is_head = request.method == b"HEAD"
        except h11.RemoteProtocolError as error:
            page = _Page(error.error_status_hint, b"this is no request\n")
        else:
            with trio.fail_after(RESPONSE_TIMEOUT_S):
                page = await self._respond(request)
        with trio.fail_after(RESPONSE_TIMEOUT_S):
            await stream.send_all(_encode(connection, page, with_body=not is_head))
            await stream.send_eof()

    async def _respond(self, request: h11.Request) -> _Page:
        if request.target.partition(b"?")[0] != PATH:
            return _Page(404, b"the only page is " + PATH + b"\n")
        if request.method not in (b"GET", b"HEAD"):
            return _Page(405, b"only GET and HEAD are served\n", headers=(("Allow", "GET, HEAD"),))
        return _Page(200, await self._render(), CONTENT_TYPE_PLAIN_0_0_4)


async def _read_request(connection: h11.Connection, stream: trio.SocketStream) -> h11.Request | None:
    """The head of a request; None if the client closes first. Raises h11.RemoteProtocolError."""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(RECEIVE_BYTES))
        else:
            return event if isinstance(event, h11.Request) else None


def _encode(connection: h11.Connection, page: _Page, *, with_body: bool) -> bytes:
    headers = [
        ("Content-Type", page.content_type),
        ("Content-Length", str(len(page.body))),
        ("Connection", "close"),
        *page.headers,
    ]
    data = connection.send(h11.Response(status_code=page.status, headers=headers)) or b""
    return data + page.body if with_body else data
