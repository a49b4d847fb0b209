"""The control service: what `luna` asks of a node, on the unix socket and on TCP.

Owns the gRPC side: routing a request to the node it names, streams, and statuses with messages for
people. Lives in the asyncio thread; the work itself is `operations`' on trio. A request is carried at most
once from node to node, so two nodes that disagree about a name cannot send it round for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, NoReturn, TypeVar

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from luna.node.bridge import Bridge
from luna.node.operations import Operations, Route
from luna.node.status import LimitError, error_from_status, status_of
from luna.node.streams import is_cancelled
from luna.node.transport import SERVICE, Transport
from luna.proto import control_pb2, control_pb2_grpc
from luna.proto.errors import BrokenError, InternalError, InvalidError, LunaError
from luna.proto.limits import MAX_MODULE_BYTES

_log = structlog.get_logger(__name__)

CONTROL_SERVICE = "luna.v1.Control"

PROXY_TIMEOUT_S = 20.0
"""seconds for a request that another node answers at once; below the 30 s that the command itself waits."""

PROXY_SPAWN_TIMEOUT_S = 280.0
"""seconds for a spawn on another node, which ships and compiles a module; below the command's 300 s."""

OVERVIEW_TIMEOUT_S = 2.0
"""seconds that one node gets to add its part to an answer about all nodes."""

_CARRIED = "luna-carried"
"""Metadata key of a request that another node passed on."""

T = TypeVar("T")
_Context = Any  # grpc.aio.ServicerContext; the published stubs do not match what it is


class ControlService(control_pb2_grpc.ControlServicer):
    """The Control service of one node."""

    def __init__(self, bridge: Bridge, operations: Operations, transport: Transport) -> None:
        self._bridge = bridge
        self._operations = operations
        self._transport = transport

    # --- the node ---------------------------------------------------------------------------

    async def Status(self, request: control_pb2.StatusRequest, context: _Context) -> control_pb2.StatusReply:
        """See control.proto."""
        return await _answer(context, self._bridge.call_trio(self._operations.status))

    async def Nodes(self, request: control_pb2.NodesRequest, context: _Context) -> control_pb2.NodesReply:
        """See control.proto."""
        return await _answer(context, self._nodes())

    async def Join(self, request: control_pb2.JoinRequest, context: _Context) -> control_pb2.JoinReply:
        """See control.proto."""

        async def join() -> control_pb2.JoinReply:
            await self._bridge.call_trio(self._operations.join, request.address)
            return control_pb2.JoinReply(nodes=(await self._nodes()).nodes)

        return await _answer(context, join())

    async def Leave(self, request: control_pb2.LeaveRequest, context: _Context) -> control_pb2.LeaveReply:
        """See control.proto."""

        async def leave() -> control_pb2.LeaveReply:
            route = await self._bridge.call_trio(self._operations.route_node, request.node)
            if route.here:
                return await self._bridge.call_trio(self._operations.leave)
            return await self._carry(route, context, "Leave", request, control_pb2.LeaveReply)

        return await _answer(context, leave())

    # --- processes --------------------------------------------------------------------------

    async def SpawnProcess(
        self, requests: AsyncIterator[control_pb2.SpawnProcessRequest], context: _Context
    ) -> control_pb2.SpawnProcessReply:
        """See control.proto."""

        async def spawn() -> control_pb2.SpawnProcessReply:
            first = await anext(requests, None)
            if first is None or first.WhichOneof("part") != "spec":
                raise InvalidError("the first message of a spawn must hold its spec")
            route = await self._bridge.call_trio(self._operations.route_node, first.spec.node)
            if not route.here:
                return await self._carry(
                    route, context, "SpawnProcess", _prepend(first, requests), control_pb2.SpawnProcessReply
                )
            data = b"" if first.spec.module else await _collect(requests)
            return await self._bridge.call_trio(self._operations.spawn, first.spec, data)

        return await _answer(context, spawn())

    async def Ps(self, request: control_pb2.PsRequest, context: _Context) -> control_pb2.PsReply:
        """See control.proto."""

        async def ps() -> control_pb2.PsReply:
            if request.node:
                route = await self._bridge.call_trio(self._operations.route_node, request.node)
                if not route.here:
                    return await self._carry(route, context, "Ps", request, control_pb2.PsReply)
            reply = control_pb2.PsReply(processes=await self._bridge.call_trio(self._operations.ps))
            if request.node or _is_carried(context):
                return reply
            others = await self._bridge.call_trio(self._operations.others)
            parts = await asyncio.gather(
                *(self._ask(other, "Ps", control_pb2.PsRequest(node=other.name)) for other in others)
            )
            for other, part in zip(others, parts, strict=True):
                if part is None:
                    reply.unreachable.append(other.name)
                else:
                    reply.processes.extend(part.processes)
            return reply

        return await _answer(context, ps())

    async def KillProcess(
        self, request: control_pb2.KillProcessRequest, context: _Context
    ) -> control_pb2.KillProcessReply:
        """See control.proto."""

        async def kill() -> control_pb2.KillProcessReply:
            route, pid = await self._bridge.call_trio(self._operations.route_process, request.process)
            if route.here:
                return await self._bridge.call_trio(self._operations.kill, pid)
            return await self._carry(route, context, "KillProcess", request, control_pb2.KillProcessReply)

        return await _answer(context, kill())

    # Writes instead of yielding: a generator is left suspended when the client goes away during a write,
    # and the process's writers would wait for its follower until the garbage is collected.
    async def Logs(self, request: control_pb2.LogsRequest, context: _Context) -> None:
        """See control.proto."""

        async def logs() -> None:
            route, pid = await self._bridge.call_trio(self._operations.route_process, request.process)
            if route.here:
                await self._logs(pid, request.follow, context)
            else:
                await self._carry_stream(route, context, "Logs", request)

        await _answer(context, logs())

    async def _logs(self, pid: int, follow: bool, context: _Context) -> None:
        reader = await self._bridge.call_trio(self._operations.open_logs, pid, follow)
        if reader is not None:
            try:
                while True:
                    if is_cancelled():  # at the moment when a call finished, which then returns its result
                        raise asyncio.CancelledError
                    parts = await self._bridge.call_trio(self._operations.next_parts, reader, follow)
                    if not parts:
                        break
                    for part in parts:
                        await context.write(part)
            finally:
                self._bridge.post_to_trio(reader.close)
        status = await self._bridge.call_trio(self._operations.exit_of, pid, follow)
        if status is not None:
            await context.write(control_pb2.LogsReply(exit=status))

    async def Events(self, request: control_pb2.EventsRequest, context: _Context) -> None:
        """See control.proto."""

        async def events() -> None:
            route = await self._bridge.call_trio(self._operations.route_node, request.node)
            if route.here:
                await self._events(request.follow, context)
            else:
                await self._carry_stream(route, context, "Events", request)

        await _answer(context, events())

    async def _events(self, follow: bool, context: _Context) -> None:
        reader = await self._bridge.call_trio(self._operations.open_events)
        while (reply := await self._bridge.call_trio(self._operations.next_events, reader, follow)).events:
            if is_cancelled():
                raise asyncio.CancelledError
            await context.write(reply)

    # --- other nodes ------------------------------------------------------------------------

    async def _nodes(self) -> control_pb2.NodesReply:
        entries = await self._bridge.call_trio(self._operations.nodes)
        others = [entry for entry in entries if not entry.self]
        parts = await asyncio.gather(
            *(self._ask(_route_of(entry), "Status", control_pb2.StatusRequest()) for entry in others)
        )
        for entry, part in zip(others, parts, strict=True):
            entry.processes = 0 if part is None else part.processes
        return control_pb2.NodesReply(nodes=entries)

    def _stub(self, route: Route) -> Any:
        channel = self._transport.channel(route.address)
        return control_pb2_grpc.ControlStub(channel)  # type: ignore[no-untyped-call]

    async def _ask(self, route: Route, method: str, request: Any) -> Any:
        """The answer of another node, or None if there is none in OVERVIEW_TIMEOUT_S."""
        try:
            return await getattr(self._stub(route), method)(
                request, timeout=OVERVIEW_TIMEOUT_S, metadata=((_CARRIED, "1"),)
            )
        except grpc.aio.AioRpcError:
            return None
        except asyncio.CancelledError:
            if not is_cancelled():
                return None
            raise

    async def _carry(self, route: Route, context: _Context, method: str, request: Any, reply: type[T]) -> T:
        """Pass a request on to the node it names."""
        timeout_s = PROXY_SPAWN_TIMEOUT_S if method == "SpawnProcess" else PROXY_TIMEOUT_S
        _check_first_carry(route, context)
        call = getattr(self._stub(route), method)
        try:
            answer = await call(request, timeout=timeout_s, metadata=((_CARRIED, "1"),))
        except grpc.aio.AioRpcError as error:
            raise error_from_status(error.code(), error.details(), f"node {route.name}") from None
        except asyncio.CancelledError:
            if not is_cancelled():
                raise BrokenError(f"node {route.name} went away") from None
            raise
        assert isinstance(answer, reply)
        return answer

    async def _carry_stream(self, route: Route, context: _Context, method: str, request: Any) -> None:
        """Pass a request on to the node it names, and its answers back as they come."""
        _check_first_carry(route, context)
        call = getattr(self._stub(route), method)(request, metadata=((_CARRIED, "1"),))
        try:
            async for reply in call:
                await context.write(reply)
        except grpc.aio.AioRpcError as error:
            raise error_from_status(error.code(), error.details(), f"node {route.name}") from None
        except asyncio.CancelledError:
            if not is_cancelled():
                raise BrokenError(f"node {route.name} went away") from None
            raise
        finally:
            call.cancel()


def add_services(server: Any, control: ControlService) -> None:
    """Register the control service, the standard health service and reflection."""
    control_pb2_grpc.add_ControlServicer_to_server(control, server)  # type: ignore[no-untyped-call]
    checks = health.aio.HealthServicer()  # type: ignore[attr-defined]
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection(
        (SERVICE, CONTROL_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server
    )


async def _answer(context: _Context, work: Awaitable[T]) -> T:
    try:
        return await work
    except LunaError as error:
        await _abort(context, error)
    except Exception as error:
        if isinstance(error, grpc.aio.BaseError):  # the client went away, or this is an abort on its way
            raise
        _log.exception("internal error in the control service")
        await _abort(context, InternalError(f"internal error: {type(error).__name__}"))


async def _abort(context: _Context, error: LunaError) -> NoReturn:
    code, details = status_of(error)
    await context.abort(code, details)
    raise AssertionError("abort raises")


async def _collect(requests: AsyncIterator[control_pb2.SpawnProcessRequest]) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for request in requests:
        if request.WhichOneof("part") != "data":
            raise InvalidError("a spawn has one spec only")
        size += len(request.data)
        if size > MAX_MODULE_BYTES:
            raise LimitError(f"the module is larger than {MAX_MODULE_BYTES} bytes")
        parts.append(request.data)
    return b"".join(parts)


async def _prepend(
    first: control_pb2.SpawnProcessRequest, rest: AsyncIterator[control_pb2.SpawnProcessRequest]
) -> AsyncIterator[control_pb2.SpawnProcessRequest]:
    yield first
    async for request in rest:
        yield request


def _is_carried(context: _Context) -> bool:
    return any(key == _CARRIED for key, _ in context.invocation_metadata() or ())


def _check_first_carry(route: Route, context: _Context) -> None:
    if _is_carried(context):
        raise BrokenError(
            f"the request was sent to the wrong node: {route.name} is elsewhere", hint="try again"
        )


def _route_of(entry: control_pb2.NodeEntry) -> Route:
    return Route(False, entry.member.node.name, entry.member.node.address)
