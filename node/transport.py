"""gRPC between nodes: the server, the channels, and the calls of the Node service but for modules.

Owns every socket of a node. Lives in the asyncio thread. It carries requests to and from the trio side
(`PeerHandlers`) and never decides who may be a peer.

A session has a connection of its own, so that a module transfer or a control request never delays a
signal; and each attempt to open one has a new channel, since gRPC waits a second before it reconnects an
old one.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError

from luna.cluster.keeping import DEFAULT_TIMINGS, Timings
from luna.node.bridge import Bridge
from luna.node.config import Address
from luna.node.session import EndKind, Gateway, HandOver, Session, SessionEnd, read_hello
from luna.node.status import error_from_status, status_of
from luna.node.streams import LOCAL_SERVER_OPTIONS, ClientStream, ServerStream, open_channel, server_options
from luna.proto import node_pb2
from luna.proto.errors import BrokenError, InvalidError, LunaError
from luna.proto.limits import (
    CONNECT_TIMEOUT_S,
    MAX_CONTROL_MESSAGE_BYTES,
)

_log = structlog.get_logger(__name__)

SERVICE = "luna.v1.Node"

MAX_CHANNELS = 64
"""channels kept for control requests to other nodes; the least used one closes."""

SERVER_STOP_GRACE_S = 0.5
"""seconds that open calls get when the server stops; sessions have said goodbye before."""


class PeerHandlers(Protocol):
    """The trio side of the Node service; every method runs as a trio task."""

    async def meet(self, hello: node_pb2.Hello) -> node_pb2.Hello:
        """Answer a Meet. Raises InvalidError for a malformed Hello."""

    async def accept(self, hello: node_pb2.Hello, session: Session) -> node_pb2.Hello:
        """The answer to a peer that dialed: with a refusal, or after `session.carry`."""

    async def ended(self, session: Session, end: SessionEnd) -> None:
        """An accepted session has ended."""


class FrameSource(Gateway, Protocol):
    """What this module needs of `luna.scheduler`'s PeerGateway, above what a session needs."""

    @property
    def outgoing_fd(self) -> int: ...
    def take_ready(self) -> list[int]: ...


class Transport:
    """The gRPC side of one node: `bind`, `start`, `stop`. Its methods run in the asyncio thread."""

    def __init__(self, bridge: Bridge, gateway: FrameSource, timings: Timings = DEFAULT_TIMINGS) -> None:
        self._bridge = bridge
        self._timings = timings
        self._gateway = gateway
        self._handlers: PeerHandlers | None = None
        self._hand_over: HandOver = _drop_envelopes
        self._servers: tuple[grpc.aio.Server, ...] = ()
        self._watching = False
        self._sessions: dict[int, Session] = {}
        self._channels: dict[str, Any] = {}
        self._dialed: set[ClientStream] = set()  # open ones, whether their session runs yet or not
        self._closing: set[asyncio.Task[Any]] = set()

    # --- the servers ------------------------------------------------------------------------

    async def bind(self, host: str, ports: Sequence[int], control_socket: Path) -> int:
        """Take the first free one of `ports` (0: any) of `host`, and the unix `control_socket`, mode 0600.

        Nothing is served before `start`. Returns the TCP port. Raises BrokenError with the system's reason if
        no address can be had.
        """
        problem = BrokenError("no port to listen on was given")
        for port in ports:
            address = Address(host, port)
            try:
                await asyncio.get_running_loop().run_in_executor(None, _probe, address)
                server = grpc.aio.server(options=server_options(self._timings))
                bound = server.add_insecure_port(str(address))
            except (OSError, RuntimeError) as error:
                problem = _cannot_listen(address, error)
                continue
            local = grpc.aio.server(options=LOCAL_SERVER_OPTIONS)
            try:
                local.add_insecure_port(f"unix:{control_socket}")
                # Its directory is 0700 already, so nobody got in before.
                control_socket.chmod(0o600)  # noqa: ASYNC240  # one system call on a local file
            except (OSError, RuntimeError) as error:
                raise BrokenError(f"cannot listen on the control socket {control_socket}: {error}") from None
            self._servers = (server, local)
            return bound
        raise problem

    async def start(
        self,
        handlers: PeerHandlers,
        hand_over: HandOver,
        add_services: Callable[[grpc.aio.Server], None],
    ) -> None:
        """Serve from now on; `add_services` registers whatever else a server offers."""
        assert self._servers, "bind comes first"
        self._handlers = handlers
        self._hand_over = hand_over
        methods = {
            "Meet": grpc.unary_unary_rpc_method_handler(self._on_meet),
            "Session": grpc.stream_stream_rpc_method_handler(self._on_session),
        }
        for server in self._servers:
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
            add_services(server)
            await server.start()
        asyncio.get_running_loop().add_reader(self._gateway.outgoing_fd, self._wake_sessions)
        self._watching = True

    async def stop(self) -> None:
        """Close everything: open calls get SERVER_STOP_GRACE_S. Also after a failed or missing `start`."""
        if self._watching:
            asyncio.get_running_loop().remove_reader(self._gateway.outgoing_fd)
            self._watching = False
        for session in list(self._sessions.values()):
            session.close("the node stops")
        for stream in list(self._dialed):
            stream.close()
        await asyncio.gather(*(server.stop(SERVER_STOP_GRACE_S) for server in self._servers))
        channels, self._channels = list(self._channels.values()), {}
        for channel in channels:
            self._close_channel(channel)
        if self._closing:
            await asyncio.wait(self._closing)

    @property
    def _trio_side(self) -> PeerHandlers:
        assert self._handlers is not None, "nothing is served before start"
        return self._handlers

    # --- sessions ---------------------------------------------------------------------------

    def _wake_sessions(self) -> None:
        for node_id in self._gateway.take_ready():
            session = self._sessions.get(node_id)
            if session is not None:  # a peer without one takes what is queued when it gets one
                session.wake()

    async def goodbye(self, reason: str) -> None:
        """Say goodbye on every stream and wait for their ends, at most about FLUSH_TIMEOUT_S."""
        for session in list(self._sessions.values()):
            session.say_goodbye(reason)
        await asyncio.gather(*(session.wait_ended() for session in self._sessions.values()))

    async def dial(
        self, address: str, peer_id: int, hello: node_pb2.Hello, timeout_s: float
    ) -> tuple[Session, node_pb2.Hello]:
        """Open a stream, say `hello` and hear the answer, which the caller judges; then it calls
        `Session.carry` and `run`, or `Session.close`.

        Raises BrokenError if nobody answers in `timeout_s`, InvalidError if the answer is malformed.
        """
        stream = ClientStream(f"/{SERVICE}/Session", address, self._timings, self._stream_closed)
        self._dialed.add(stream)
        try:
            async with asyncio.timeout(timeout_s):
                await stream.write(node_pb2.Frame(hello=hello).SerializeToString())
                answer = read_hello(await stream.read())
        except (TimeoutError, ConnectionError) as error:
            stream.close()
            raise BrokenError(f"{address} does not answer: {str(error) or 'timeout'}") from None
        except BaseException:
            stream.close()
            raise
        return Session(peer_id, stream, self._gateway, self._hand_over), answer

    async def run(self, session: Session) -> SessionEnd:
        """Pump a stream that was dialed until it ends."""
        return await self._pump(session)

    async def end(self, session: Session, reason: str) -> None:
        """Close a stream and wait until it touches its link no more."""
        session.close(reason)
        await session.wait_ended()

    async def _pump(self, session: Session) -> SessionEnd:
        self._sessions[session.peer_id] = session
        try:
            return await session.run()
        finally:
            if self._sessions.get(session.peer_id) is session:
                del self._sessions[session.peer_id]

    async def _on_session(self, _: object, context: Any) -> None:
        stream = ServerStream(context)
        try:
            session, answer = await self._receive_session(stream)
        except ConnectionError:
            return
        except LunaError as error:
            # Without its traceback, whose frames hold what a stranger sent until the next full collection.
            problem = error.with_traceback(None)
        else:
            await self._serve_session(session, answer, stream, context)
            return
        _log.warning("a session was turned away", peer=context.peer(), reason=problem.message)
        await context.abort(*status_of(problem))

    async def _receive_session(self, stream: ServerStream) -> tuple[Session, node_pb2.Hello]:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                hello = read_hello(await stream.read())
        except TimeoutError:
            raise InvalidError(f"no Hello came in {CONNECT_TIMEOUT_S:.0f} s") from None
        session = Session(hello.node.id, stream, self._gateway, self._hand_over)
        return session, await self._bridge.call_trio(self._trio_side.accept, hello, session)

    async def _serve_session(
        self, session: Session, answer: node_pb2.Hello, stream: ServerStream, context: Any
    ) -> None:
        end = SessionEnd(EndKind.BROKEN, "the connection was lost")
        accepted = not answer.refusal
        try:
            await stream.write(node_pb2.Frame(hello=answer).SerializeToString())
            if accepted:
                end = await self._pump(session)
        except ConnectionError as error:
            end = SessionEnd(EndKind.BROKEN, str(error))
        finally:
            session.discard()
            if accepted:
                # Also when this handler is cancelled, which is how gRPC reports some lost connections: a task
                # of its own is not.
                self._bridge.spawn_asyncio(self._report_end, session, end)
        if end.kind is EndKind.INVALID:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, end.detail)

    async def _report_end(self, session: Session, end: SessionEnd) -> None:
        with contextlib.suppress(LunaError):  # the node is stopping
            await self._bridge.call_trio(self._trio_side.ended, session, end)

    # --- Meet -------------------------------------------------------------------------------

    async def meet(
        self, address: str, hello: node_pb2.Hello, timeout_s: float = CONNECT_TIMEOUT_S
    ) -> node_pb2.Hello:
        """Exchange Hello with the node at `address`.

        Raises BrokenError if nobody answers in `timeout_s`, InvalidError if it is not a node.
        """
        async with open_channel(address, self._timings) as channel:
            call = channel.unary_unary(f"/{SERVICE}/Meet")
            try:
                answer = await call(hello.SerializeToString(), timeout=timeout_s)
            except grpc.aio.AioRpcError as error:
                raise error_from_status(error.code(), error.details(), address) from None
        return _parse_hello(answer)

    async def _on_meet(self, request: bytes, context: Any) -> bytes:
        try:
            answer = await self._bridge.call_trio(self._trio_side.meet, _parse_hello(request))
        except LunaError as error:
            problem = error.with_traceback(None)  # as above
        else:
            return answer.SerializeToString()
        del request
        await context.abort(*status_of(problem))
        raise AssertionError("abort raises")

    # --- channels for everything but sessions -----------------------------------------------

    def channel(self, address: str) -> Any:
        """A channel to another node, kept and shared; not for sessions."""
        channel = self._channels.pop(address, None)
        if channel is None:
            channel = open_channel(address, self._timings)
            if len(self._channels) >= MAX_CHANNELS:
                oldest = self._channels.pop(next(iter(self._channels)))
                self._close_channel(oldest)
        self._channels[address] = channel  # the latest used last
        return channel

    def drop_channel(self, address: str) -> None:
        """Close the shared channel to a node that is gone."""
        channel = self._channels.pop(address, None)
        if channel is not None:
            self._close_channel(channel)

    def _stream_closed(self, stream: ClientStream) -> None:
        self._dialed.discard(stream)
        self._close_channel(stream.channel)

    def _close_channel(self, channel: Any) -> None:
        task = self._bridge.spawn_asyncio(channel.close)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _probe(address: Address) -> None:
    # gRPC keeps the system's reason to itself; this raises it.
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, where = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(where)
        probe.listen(1)  # two sockets with SO_REUSEADDR may bind one port, but only one may listen


def _cannot_listen(address: Address, error: OSError | RuntimeError) -> BrokenError:
    reason = error.strerror if isinstance(error, OSError) else "the address is not free"
    return BrokenError(
        f"cannot listen on {address}: {reason or error}",
        hint="choose another address with --listen HOST:PORT",
    )


def _drop_envelopes(peer_id: int, session: int, envelopes: list[bytes], done: Callable[[], None]) -> None:
    done()


def _parse_hello(data: bytes) -> node_pb2.Hello:
    if len(data) > MAX_CONTROL_MESSAGE_BYTES:
        raise InvalidError(f"a Hello of {len(data)} bytes is too large")
    try:
        return node_pb2.Hello.FromString(data)
    except DecodeError:
        raise InvalidError("what came is not the Hello of a node") from None
