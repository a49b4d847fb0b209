"""A control service with canned answers behind a real gRPC server: what the commands are tested against."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any, NoReturn

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from luna.proto import control_pb2 as pb
from luna.proto import control_pb2_grpc, node_pb2

ID_A, ID_B = 11, 4_000_000
ALPHA = node_pb2.NodeInfo(
    id=ID_A,
    name="alpha",
    cluster="test",
    address="127.0.0.1:7001",
    labels={"zone": "z1", "disk": "ssd"},
    started_ms=1000,
)
BETA = node_pb2.NodeInfo(id=ID_B, name="beta", cluster="test", address="127.0.0.1:7002", started_ms=2000)


def pid(node_id: int, serial: int) -> int:
    return node_id << 40 | serial


def ref(serial: int, node: str = "alpha") -> pb.ProcessRef:
    return pb.ProcessRef(pid=pid({"alpha": ID_A, "beta": ID_B}[node], serial), serial=serial, node=node)


def entries() -> list[pb.NodeEntry]:
    """Both members, the later name first: order is the client's business."""
    return [
        pb.NodeEntry(
            member=node_pb2.Member(node=BETA, state=node_pb2.SUSPECT, incarnation=3),
            connected=True,
            processes=0,
        ),
        pb.NodeEntry(
            member=node_pb2.Member(node=ALPHA, state=node_pb2.ALIVE, incarnation=1), self=True, processes=2
        ),
    ]


class FakeControl(control_pb2_grpc.ControlServicer):
    """Answers from its attributes, which a test may set; `requests` holds what it was asked.

    `modules` are the hashes of those it holds. `failures` maps a method to the status it fails with. Every
    process wrote `output` and ended as `exit` says; with `exit` None it lives, and who follows it waits until
    `release` is set. So does Status if `hangs` is set.
    """

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.modules: set[bytes] = set()
        self.failures: dict[str, tuple[grpc.StatusCode, str]] = {}
        self.nodes = entries()
        self.processes = [
            pb.ProcessEntry(
                process=ref(7, "beta"),
                module="ring.wasm",
                entry="link",
                state="waiting",
                messages=2,
                memory_bytes=65_536,
                parent=pid(ID_A, 1),
                age_ms=61_000,
            ),
            pb.ProcessEntry(
                process=ref(1),
                module="hello.wasm",
                entry="_start",
                state="running",
                memory_bytes=131_072,
                age_ms=250,
            ),
        ]
        self.unreachable: list[str] = []
        self.alive = True
        self.hangs = False
        self.output: list[pb.LogsReply] = [
            pb.LogsReply(stdout=b"one\n"),
            pb.LogsReply(stderr=b"careful\n"),
            pb.LogsReply(stdout=b"two\n"),
        ]
        self.exit: pb.ProcessExit | None = pb.ProcessExit(
            kind=node_pb2.EXIT_FAILURE, code=3, reason="exited with code 3"
        )
        self.events = [
            pb.EventsReply(
                events=[
                    pb.ClusterEvent(
                        sequence=1,
                        time_ms=1_700_000_000_123,
                        kind="joined",
                        node="beta",
                        node_id=ID_B,
                        detail="at 127.0.0.1:7002",
                    ),
                    pb.ClusterEvent(sequence=2, time_ms=1_700_000_001_000, kind="refused", detail="evil: no"),
                ]
            ),
            pb.EventsReply(
                events=[
                    pb.ClusterEvent(
                        sequence=7, time_ms=1_700_000_002_000, kind="up", node="beta", node_id=ID_B
                    )
                ],
                lost=4,
            ),
        ]
        self.following = threading.Event()
        self.release = threading.Event()
        self.cancelled = threading.Event()

    def Status(self, request: pb.StatusRequest, context: grpc.ServicerContext) -> pb.StatusReply:
        self._enter("Status", request, context)
        if self.hangs:
            self._wait(context)
        return pb.StatusReply(
            node=ALPHA,
            version="0.1.0",
            processes=2,
            uptime_ms=7_260_000,
            scheduler_threads=2,
            resident_bytes=52_428_800,
            os_pid=4321,
        )

    def Nodes(self, request: pb.NodesRequest, context: grpc.ServicerContext) -> pb.NodesReply:
        self._enter("Nodes", request, context)
        return pb.NodesReply(nodes=self.nodes)

    def Join(self, request: pb.JoinRequest, context: grpc.ServicerContext) -> pb.JoinReply:
        self._enter("Join", request, context)
        return pb.JoinReply(nodes=self.nodes)

    def Leave(self, request: pb.LeaveRequest, context: grpc.ServicerContext) -> pb.LeaveReply:
        self._enter("Leave", request, context)
        return pb.LeaveReply(node=BETA if request.node == "beta" else ALPHA)

    def SpawnProcess(
        self, request_iterator: Iterator[pb.SpawnProcessRequest], context: grpc.ServicerContext
    ) -> pb.SpawnProcessReply:
        parts = list(request_iterator)
        self._enter("SpawnProcess", parts, context)
        if parts[0].spec.module and parts[0].spec.module not in self.modules:
            _abort(context, grpc.StatusCode.NOT_FOUND, "this node does not hold the module")
        return pb.SpawnProcessReply(process=ref(9, parts[0].spec.node or "alpha"))

    def Ps(self, request: pb.PsRequest, context: grpc.ServicerContext) -> pb.PsReply:
        self._enter("Ps", request, context)
        return pb.PsReply(processes=self.processes, unreachable=self.unreachable)

    def KillProcess(
        self, request: pb.KillProcessRequest, context: grpc.ServicerContext
    ) -> pb.KillProcessReply:
        self._enter("KillProcess", request, context)
        return pb.KillProcessReply(was_alive=self.alive)

    def Logs(self, request: pb.LogsRequest, context: grpc.ServicerContext) -> Iterator[pb.LogsReply]:
        self._enter("Logs", request, context)
        yield from self.output
        if request.follow and self.exit is None:
            self._wait(context)
        if self.exit is not None:
            yield pb.LogsReply(exit=self.exit)

    def Events(self, request: pb.EventsRequest, context: grpc.ServicerContext) -> Iterator[pb.EventsReply]:
        self._enter("Events", request, context)
        yield from self.events
        if request.follow:
            self._wait(context)

    def _wait(self, context: grpc.ServicerContext) -> None:
        for event in (self.cancelled, self.release):
            if not context.add_callback(event.set):  # the client has left already
                event.set()
        self.following.set()
        self.release.wait()

    def _enter(self, method: str, request: Any, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        if method in self.failures:
            _abort(context, *self.failures[method])


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, details: str) -> NoReturn:
    context.abort(code, details)
    raise AssertionError("abort raises")


class FakeServer:
    """Serves a FakeControl on `target` (gRPC syntax) while its `with` block runs."""

    def __init__(self, control: FakeControl, target: str) -> None:
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        control_pb2_grpc.add_ControlServicer_to_server(control, self._server)  # type: ignore[no-untyped-call]
        self.health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        self.port = self._server.add_insecure_port(target)
        self._control = control

    def __enter__(self) -> FakeServer:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._control.release.set()
        self._server.stop(grace=None).wait()
