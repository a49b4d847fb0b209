"""The client side of the control service: one connection to one node, used by one command.

Synchronous gRPC: a command does one thing at a time. Owns the requests, their deadlines, and the mapping from
gRPC statuses to the error tree. Never prints.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

# gRPC's own log lines on stderr say nothing our errors do not; set before it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc

from luna.cli.call_thread import CallThread
from luna.cli.errors import NoNodeError
from luna.cli.target import Target
from luna.proto import control_pb2, control_pb2_grpc
from luna.proto.errors import BrokenError, InternalError, InvalidError, LunaError, NotFoundError, RefusedError
from luna.proto.limits import CONNECT_TIMEOUT_S, KIB, MIB

if TYPE_CHECKING:
    from luna.cli.params import ProcessName

REQUEST_TIMEOUT_S = 30.0
"""seconds; a node answers at once, or waits for another node that it declares dead within 5 s."""

HEALTH_TIMEOUT_S = 10.0
"""seconds; the answer needs no work at all, and one that comes later is as bad as none."""

SPAWN_TIMEOUT_S = 300.0
"""seconds for shipping and compiling a module: the largest allowed ones take minutes on a small machine."""

MAX_REPLY_BYTES = 256 * MIB
"""bytes of one reply; `ps` of a node with a million processes is about 100 MiB."""

MAX_DETAILS_BYTES = 64 * KIB
"""bytes of trailers, which carry the text of an error: gRPC's own 8 KiB are few for a list of imports."""

KEEPALIVE_MS = 10_000
"""milliseconds between pings while output is followed, and to wait for an answer: finds a frozen node."""

_Reply = TypeVar("_Reply")

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
    ("grpc.max_metadata_size", MAX_DETAILS_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_DETAILS_BYTES),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_MS),
    ("grpc.http2.ping_timeout_ms", KEEPALIVE_MS),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),  # a web proxy cannot carry this, and http_proxy is often set
    ("grpc.enable_retries", 0),  # a spawn that may have happened must not happen twice
)


class Client:
    """A connection to the control service of `target`; connects on entering its `with` block.

    After a KeyboardInterrupt out of a request it can only be left.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._thread = CallThread(target.grpc_target(), _OPTIONS)

    def __enter__(self) -> Self:
        _probe(self._target)
        self._thread.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.__exit__(kind, error, traceback)

    def status(self) -> control_pb2.StatusReply:
        """The state of the node that is asked."""
        return self._call("Status", control_pb2.StatusRequest(), control_pb2.StatusReply)

    def health(self) -> str:
        """What the standard health service says of the whole node: SERVING, NOT_SERVING, ..."""
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        def work(channel: grpc.Channel) -> object:
            check = health_pb2_grpc.HealthStub(channel).Check
            request = health_pb2.HealthCheckRequest()
            return self._thread.track(check.future(request, timeout=HEALTH_TIMEOUT_S)).result()

        reply = self._run(work)
        assert isinstance(reply, health_pb2.HealthCheckResponse)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))

    def nodes(self) -> control_pb2.NodesReply:
        """The members of the cluster as the node sees them."""
        return self._call("Nodes", control_pb2.NodesRequest(), control_pb2.NodesReply)

    def join(self, address: str) -> control_pb2.JoinReply:
        """Have the node join the cluster of the node at `address` (HOST:PORT)."""
        return self._call("Join", control_pb2.JoinRequest(address=address), control_pb2.JoinReply)

    def leave(self, node: str) -> control_pb2.LeaveReply:
        """Have the node named `node`, or the one asked if empty, leave the cluster."""
        return self._call("Leave", control_pb2.LeaveRequest(node=node), control_pb2.LeaveReply)

    def spawn(self, parts: Iterable[control_pb2.SpawnProcessRequest]) -> control_pb2.SpawnProcessReply:
        """Start a process; `parts` are the spec and then the chunks of the module.

        Raises NotFoundError if the node, or the module whose hash stands for the chunks, is unknown.
        """
        return self._call("SpawnProcess", iter(parts), control_pb2.SpawnProcessReply, SPAWN_TIMEOUT_S)

    def ps(self, node: str) -> control_pb2.PsReply:
        """The processes of the node named `node`, of every node if empty."""
        return self._call("Ps", control_pb2.PsRequest(node=node), control_pb2.PsReply)

    def kill(self, process: ProcessName) -> control_pb2.KillProcessReply:
        """Kill a process."""
        request = control_pb2.KillProcessRequest(process=process_ref(process))
        return self._call("KillProcess", request, control_pb2.KillProcessReply)

    def logs(self, process: ProcessName, follow: bool) -> Iterator[control_pb2.LogsReply]:
        """What a process wrote, part by part; with `follow` until it ends, without a deadline.

        Leaving the client ends the request.
        """
        request = control_pb2.LogsRequest(process=process_ref(process), follow=follow)
        yield from self._stream("Logs", request, control_pb2.LogsReply, follow)

    def events(self, node: str, follow: bool) -> Iterator[control_pb2.EventsReply]:
        """What happened, as the node named `node`, or the one asked if empty, saw it; `follow`: without end.

        Leaving the client ends the request.
        """
        request = control_pb2.EventsRequest(node=node, follow=follow)
        yield from self._stream("Events", request, control_pb2.EventsReply, follow)

    def _stream(self, method: str, request: object, kind: type[_Reply], follow: bool) -> Iterator[_Reply]:
        timeout_s = None if follow else REQUEST_TIMEOUT_S
        call: Any = self._run(
            lambda channel: self._thread.track(getattr(_stub(channel), method)(request, timeout=timeout_s))
        )
        # One part is asked for at a time: when our reader is slow, the node waits and nothing piles up here.
        while (reply := self._run(lambda _: next(call, None))) is not None:
            assert isinstance(reply, kind)
            yield reply

    def _call(
        self, method: str, request: object, kind: type[_Reply], timeout_s: float = REQUEST_TIMEOUT_S
    ) -> _Reply:
        def work(channel: grpc.Channel) -> object:
            return self._thread.track(
                getattr(_stub(channel), method).future(request, timeout=timeout_s)
            ).result()

        reply = self._run(work)
        assert isinstance(reply, kind)
        return reply

    def _run(self, work: Callable[[grpc.Channel], object]) -> object:
        try:
            return self._thread.run(work)
        except grpc.RpcError as error:
            raise self._error(error) from error

    def _error(self, error: Any) -> LunaError:
        return error_of(error.code(), error.details() or "", self._target.text)


def _stub(channel: grpc.Channel) -> Any:
    return control_pb2_grpc.ControlStub(channel)  # type: ignore[no-untyped-call]


def process_ref(process: ProcessName) -> control_pb2.ProcessRef:
    """The process as the control service names it."""
    return control_pb2.ProcessRef(pid=process.pid, serial=process.serial, node=process.node)


def error_of(code: grpc.StatusCode, details: str, target: str) -> LunaError:
    """The error behind a gRPC status of the node `target`.

    A node writes the message first and, on lines that begin with `hint: `, what to try.
    """
    lines = details.splitlines()
    message = "\n".join(line for line in lines if not line.startswith("hint: ")) or code.name
    hint = " ".join(line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")) or None
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            return NoNodeError(f"{message} (asked {target})", hint=hint)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return NoNodeError(
                f"{target} did not answer in time", hint="it may be overloaded or stopped; try again"
            )
        case grpc.StatusCode.NOT_FOUND:
            return NotFoundError(message, hint=hint)
        case grpc.StatusCode.INVALID_ARGUMENT:
            return InvalidError(message, hint=hint)
        case (
            grpc.StatusCode.FAILED_PRECONDITION
            | grpc.StatusCode.PERMISSION_DENIED
            | grpc.StatusCode.ALREADY_EXISTS
        ):
            return RefusedError(message, hint=hint)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return RefusedError(message, hint=hint)
        case grpc.StatusCode.UNIMPLEMENTED:
            return RefusedError(
                f"{target} does not know this request", hint="is it a Luna node of the same version?"
            )
        case grpc.StatusCode.CANCELLED | grpc.StatusCode.ABORTED:
            return BrokenError(f"{target} broke off the request: {message}", hint=hint)
        case _:
            return InternalError(f"{target} failed: {message}", hint=hint)


def _probe(target: Target) -> None:
    """Connect once and hang up: the kernel's reason beats gRPC's, and comes at once, not after retries."""
    try:
        if target.path is not None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(CONNECT_TIMEOUT_S)
                probe.connect(target.path)
        else:
            assert target.address is not None
            socket.create_connection(target.address, timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, UnicodeError) as error:
        reason = (
            (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        )
        raise NoNodeError(
            f"no node answers at {target.text}: {reason}",
            hint="start one with `luna-node start`, or check --connect and LUNA_CONNECT",
        ) from error
