"""Two real nodes on loopback as a session, driven through the control service of the first.

The names of the requests are those of the Erlang counterpart. Times are taken by guests where single round
trips count, else here, around a run long enough for the few milliseconds of control calls not to matter.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import grpc

from benchmarks.lab import GUESTS, Lab
from benchmarks.model import BenchmarkError
from benchmarks.session import Answer, ProcessSession, open_process
from luna.node.convert import config_to_proto
from luna.proto import control_pb2, control_pb2_grpc, node_pb2
from luna.scheduler import ProcessConfig

__all__ = ["NodePair", "open_node", "open_pair"]

READY: Final = re.compile(r"ready name=(\S+) id=(\d+) listen=(\S+)$")
CALL_TIMEOUT_S: Final = 150.0
JOIN_TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.01
LUNA_NODE: Final = str(Path(sys.executable).parent / "luna-node")


class Node:
    """One `luna-node start` that is ready."""

    def __init__(self, session: ProcessSession, ready_line: str) -> None:
        match = READY.match(ready_line.strip())
        if match is None:
            raise BenchmarkError(f"luna-node said {ready_line!r} where its ready line was expected")
        self.process: Final = session.process
        self.name, self.id, self.address = match[1], int(match[2]), match[3]


@contextmanager
def open_node(lab: Lab, name: str, *arguments: str) -> Iterator[Node]:
    """A node of a name, with state of its own; it is stopped with the block."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("LUNA_")},
        "XDG_STATE_HOME": str(lab.folder / "state"),
        "XDG_RUNTIME_DIR": str(lab.folder / "run"),
    }
    command = [LUNA_NODE, "start", "--name", name, "--listen", "127.0.0.1:0", "--no-discovery", *arguments]
    with open_process(command, f"node {name}", lab.log(f"node-{name}"), environment=environment) as session:
        try:
            yield Node(session, session.read_line("start"))
        finally:
            # A node does not end with its stdin; one that was frozen goes on first.
            if session.process.poll() is None:
                session.process.send_signal(signal.SIGCONT)
                session.process.send_signal(signal.SIGTERM)


class NodePair:
    """Two connected nodes; requests run on the first, with their counterparts on the second."""

    def __init__(self, here: Node, there: Node, control: Any) -> None:
        self._here = here
        self._there = there
        self._control = control
        self._loaded: set[str] = set()
        self._watcher = 0
        self.peer_os_pid: Final = there.process.pid
        self._requests: dict[str, Callable[..., Answer]] = {
            "remote_pingpong": self._pingpong,
            "remote_oneway": self._oneway,
            "remote_spawn": self._spawn_many,
            "remote_death": self._death,
        }

    def ask(self, name: str, *numbers: int) -> Answer:
        """The answer to one request. Raises BenchmarkError."""
        try:
            return self._requests[name](*numbers)
        except grpc.RpcError as error:
            raise BenchmarkError(f"{name}: {error.code().name}: {error.details()}") from error

    def begin_watch(self) -> None:
        """Let a process of the first node watch one of the second."""
        watched = self._spawn(self._there, "bench", "park")
        self._watcher = self._spawn(self._here, "bench", "watch", watched)
        self._until_waiting(self._watcher)

    def wait_noticed(self) -> int:
        """The wall clock's time, in ns, when the watcher has ended."""
        self._finish(self._watcher)
        return time.time_ns()

    # ---- requests ----

    def _pingpong(self, rounds: int, size: int) -> Answer:
        echo = self._spawn(self._there, "latency", "echo")
        summary = self._finish(self._spawn(self._here, "latency", "ping_sized", echo, rounds, size))
        self._kill(echo)
        return _parse(summary)

    def _oneway(self, count: int, size: int) -> Answer:
        sink = self._spawn(self._there, "bench", "sink")
        began = time.perf_counter_ns()
        self._finish(self._spawn(self._here, "bench", "flood", sink, count, size))
        elapsed_ns = time.perf_counter_ns() - began
        self._kill(sink)
        return {"elapsed_ns": elapsed_ns}

    def _spawn_many(self, count: int, spawners: int) -> Answer:
        began = time.perf_counter_ns()
        self._finish(
            self._spawn(self._here, "bench", "spawn_on_by", self._there.id, count // spawners, spawners)
        )
        return {"elapsed_ns": time.perf_counter_ns() - began}

    def _death(self, rounds: int) -> Answer:
        return _parse(self._finish(self._spawn(self._here, "latency", "death", self._there.id, rounds)))

    # ---- control calls ----

    def _spawn(self, node: Node, guest: str, entry: str, *numbers: int) -> int:
        """The pid of a new process; the first one of a guest carries its bytes along."""
        data = (GUESTS / f"{guest}.wasm").read_bytes()
        known = f"{node.name} {guest}" in self._loaded
        spec = control_pb2.SpawnSpec(
            node=node.name,
            module_name=guest,
            entry=entry,
            params=[node_pb2.Param(i64=number) for number in numbers],
            config=config_to_proto(ProcessConfig.program()),
            module=hashlib.sha256(data).digest() if known else b"",
        )
        parts = [control_pb2.SpawnProcessRequest(spec=spec)]
        if not known:
            parts.append(control_pb2.SpawnProcessRequest(data=data))
        self._loaded.add(f"{node.name} {guest}")
        reply = self._control.SpawnProcess(iter(parts), timeout=CALL_TIMEOUT_S)
        return int(reply.process.pid)

    def _finish(self, pid: int) -> bytes:
        """What the process printed, once it has ended well. Raises BenchmarkError if it failed."""
        request = control_pb2.LogsRequest(process=control_pb2.ProcessRef(pid=pid), follow=True)
        printed = b""
        for reply in self._control.Logs(request, timeout=CALL_TIMEOUT_S):
            printed += reply.stdout
            if reply.WhichOneof("part") == "exit" and reply.exit.code != 0:
                raise BenchmarkError(f"a guest on node {self._here.name} failed: {reply.exit.reason}")
        return printed

    def _kill(self, pid: int) -> None:
        request = control_pb2.KillProcessRequest(process=control_pb2.ProcessRef(pid=pid))
        self._control.KillProcess(request, timeout=CALL_TIMEOUT_S)

    def _until_waiting(self, pid: int) -> None:
        """Return when the process waits for a message."""

        def state() -> str:
            entries = self._control.Ps(control_pb2.PsRequest(node=self._here.name), timeout=CALL_TIMEOUT_S)
            return next((str(entry.state) for entry in entries.processes if entry.process.pid == pid), "gone")

        while (now := state()) != "waiting":
            if now == "gone":
                raise BenchmarkError(f"process {pid} ended before anything happened")
            time.sleep(POLL_S)

    def wait_connected(self) -> None:
        """Return when the nodes have a session. Raises BenchmarkError after JOIN_TIMEOUT_S."""
        deadline = time.monotonic() + JOIN_TIMEOUT_S
        while time.monotonic() < deadline:
            reply = self._control.Nodes(control_pb2.NodesRequest(), timeout=CALL_TIMEOUT_S)
            if len(reply.nodes) == 2 and all(entry.connected for entry in reply.nodes):
                return
            time.sleep(POLL_S)
        raise BenchmarkError(f"the two nodes were not connected within {JOIN_TIMEOUT_S:.0f} s")


@contextmanager
def open_pair(lab: Lab) -> Iterator[NodePair]:
    """Two fresh nodes in a cluster of their own."""
    with ExitStack() as stack:
        cluster = ("--cluster", f"bench-{secrets.token_hex(4)}")
        here = stack.enter_context(open_node(lab, "here", *cluster))
        there = stack.enter_context(open_node(lab, "there", *cluster, "--join", here.address))
        options = (("grpc.enable_http_proxy", 0),)
        channel = stack.enter_context(grpc.insecure_channel(here.address, options=options))
        pair = NodePair(here, there, control_pb2_grpc.ControlStub(channel))  # type: ignore[no-untyped-call]
        pair.wait_connected()
        yield pair


def _parse(summary: bytes) -> dict[str, float]:
    try:
        parsed: dict[str, float] = json.loads(summary)
    except ValueError as error:
        raise BenchmarkError(f"a guest printed {summary!r} where its summary was expected") from error
    return parsed
