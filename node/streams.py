"""gRPC as this project uses it: its settings, channels, and the two ends of a session as streams of bytes.

Owns what is known about gRPC's quirks, so that the rest need not be. Lives in the asyncio thread. Knows
nothing of frames and peers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from luna.cluster.keeping import DEFAULT_TIMINGS, Timings
from luna.node.status import plain_reason
from luna.proto.limits import MAX_FRAME_BYTES, MIB

_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # missing in the published stubs

_MS = 1000

IDLE_CONNECTION_S = 15.0
"""seconds after which a server closes a connection that carries no call. Those to members are made anew in a
millisecond; and gRPC keeps for good one that was established just when its channel was given up, which a
network that is cut and healed leaves behind time and again."""

Options = tuple[tuple[str, int], ...]

# Slack above the limit of a frame: one that is only somewhat too large gets an error of ours, with a reason;
# gRPC ends the stream of a larger one without a word to this side.
_MESSAGE_SIZES: Options = (
    ("grpc.max_receive_message_length", MAX_FRAME_BYTES + MIB),
    ("grpc.max_send_message_length", -1),  # the list of a million processes is larger than any frame
)
_CHANNEL_OPTIONS: Options = (
    *_MESSAGE_SIZES,
    ("grpc.use_local_subchannel_pool", 1),  # else channels to one address share one connection
    ("grpc.enable_http_proxy", 0),  # a web proxy cannot carry this, and http_proxy is often set
    ("grpc.enable_retries", 0),  # a spawn that may have happened must not happen twice
)


def _keepalive(timings: Timings) -> Options:
    timeout_ms = int(timings.keepalive_timeout_s * _MS)
    return (
        ("grpc.keepalive_time_ms", int(timings.keepalive_interval_s * _MS)),
        ("grpc.keepalive_timeout_ms", timeout_ms),
        # Without it gRPC waits a minute for the answer to a ping, whatever the line above says.
        ("grpc.http2.ping_timeout_ms", timeout_ms),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )


LOCAL_SERVER_OPTIONS: Options = (
    *_MESSAGE_SIZES,
    ("grpc.http2.max_ping_strikes", 0),  # clients ask whether the node is frozen
)
"""The settings of the server on a unix socket. It pings nobody: the kernel closes the sockets of clients that
ended, and one that a busy machine keeps waiting is not to be cut off as a silent node is."""


def server_options(timings: Timings = DEFAULT_TIMINGS) -> Options:
    """The settings of the server for other nodes."""
    ping_ms = int(timings.keepalive_interval_s * _MS / 3)
    return (
        *_keepalive(timings),
        *_MESSAGE_SIZES,
        ("grpc.max_connection_idle_ms", int(IDLE_CONNECTION_S * _MS)),
        ("grpc.so_reuseport", 0),  # else two nodes share one port, and each gets some of the calls
        ("grpc.http2.min_ping_interval_without_data_ms", ping_ms),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", ping_ms),
        # Peers may be less patient than this node, and ping more often.
        ("grpc.http2.max_ping_strikes", 0),
    )


def open_channel(address: str, timings: Timings = DEFAULT_TIMINGS) -> Any:
    """A new channel to HOST:PORT, with a connection of its own."""
    # Untyped: the published stubs of grpc.aio demand the serializers that this code does without.
    return grpc.aio.insecure_channel(address, options=(*_keepalive(timings), *_CHANNEL_OPTIONS))


def is_cancelled() -> bool:
    """Whether a CancelledError means this task, and not a gRPC call whose channel was closed under it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class ClientStream:
    """The dialing end of a session; owns its channel."""

    def __init__(
        self, method: str, address: str, timings: Timings, on_close: Callable[[ClientStream], None]
    ) -> None:
        """Call `method` (/SERVICE/NAME) of the node at `address`; `on_close(self)` gives the channel back."""
        self._on_close = on_close
        self.channel = open_channel(address, timings)
        self._call = self.channel.stream_stream(method)()
        self._closed = False

    async def read(self) -> bytes | None:
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise ConnectionError(plain_reason(error.details() or error.code().name)) from None
        except asyncio.CancelledError:
            if not is_cancelled():
                raise ConnectionError("the stream was closed") from None
            raise
        return None if message is _EOF else message

    async def write(self, message: bytes) -> None:
        await _translated(self._call.write, message)

    async def finish(self) -> None:
        await _translated(self._call.done_writing)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._call.cancel()
            self._on_close(self)


class ServerStream:
    """The accepting end of a session; it ends when the handler that holds it returns."""

    def __init__(self, context: Any) -> None:
        self._context = context

    async def read(self) -> bytes | None:
        try:
            message = await self._context.read()
        except (grpc.aio.BaseError, grpc.RpcError) as error:
            raise ConnectionError(str(error) or "the stream broke") from None
        # gRPC reports a lost connection here as an end, too.
        return None if message is _EOF else message

    async def write(self, message: bytes) -> None:
        await _translated(self._context.write, message)

    async def finish(self) -> None:
        """Returning from the handler ends this direction; nothing to do before."""

    def close(self) -> None:
        """Returning from the handler closes the stream; nothing to do before."""


async def _translated(function: Callable[..., Awaitable[None]], *args: bytes) -> None:
    try:
        await function(*args)
    except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError) as error:
        raise ConnectionError(str(error) or "the stream broke") from None
