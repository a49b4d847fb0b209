"""Clusters of real nodes on a network with faults, and traffic between them whose every message counts.

Owns how tests of faults start nodes, make processes talk across them, and learn what became of it.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from luna.proto import control_pb2, node_pb2
from luna.proto.limits import MIB, MODULE_CHUNK_BYTES

from ..node_process import NodeProcess, wait_for
from .network import Network
from .surroundings import ORDINARY, Surroundings

GUEST = Path(__file__).parents[2] / "build" / "guests" / "faults.wasm"
HOSTS = ("a", "b", "c", "d")
PORT = 7010

PATIENCE_S = 60.0
"""seconds a test waits for what should take some at most: this machine may be busy."""

CALL_TIMEOUT_S = 30.0
MEMORY_BYTES = 16 * MIB  # of a process
_FIGURE = re.compile(r"(\w+)=(\d+)")


class Process:
    """A process of the guest, somewhere; `figures` is what it printed last."""

    def __init__(self, node: NodeProcess, pid: int) -> None:
        self.node = node
        self.pid = pid

    def figures(self) -> dict[str, int]:
        """The numbers of its last whole line, by name; empty before the first one."""
        request = control_pb2.LogsRequest(process=control_pb2.ProcessRef(pid=self.pid))
        with self.node.control() as stub:
            text = b"".join(part.stdout for part in stub.Logs(request, timeout=CALL_TIMEOUT_S)).decode()
        lines = text.split("\n")[:-1]
        return {name: int(number) for name, number in _FIGURE.findall(lines[-1])} if lines else {}

    def wait(self, condition: Callable[[dict[str, int]], object], what: str) -> dict[str, int]:
        """Wait until `condition(figures)` holds; the figures."""
        seen: dict[str, int] = {}

        def holds() -> bool:
            seen.update(self.figures())
            return bool(seen) and bool(condition(seen))

        try:
            wait_for(holds, what, PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {seen}") from None
        return seen


class Flow:
    """Numbered messages from one node to another, from now on."""

    def __init__(
        self, source: NodeProcess, target: NodeProcess, *, size: int, burst: int, pause_ms: int
    ) -> None:
        self.name = f"{source.name} -> {target.name}"
        self.collector = spawn(target, "collector")
        self.sender = spawn(source, "sender", self.collector.pid, size, burst, pause_ms)

    def received(self) -> int:
        """Messages that have arrived."""
        return self.collector.figures().get("received", 0)

    def wait_more(self, count: int = 50) -> int:
        """Wait until so many more have arrived; how many there are."""
        before = self.received()
        return self.collector.wait(
            lambda figures: figures["received"] >= before + count, f"more messages {self.name}"
        )["received"]

    def check_order(self) -> dict[str, int]:
        """No gap and no repetition so far; the figures."""
        figures = self.collector.figures()
        assert figures.get("gaps", 0) == figures.get("repeats", 0) == 0, (self.name, figures)
        return figures

    def finish(self) -> int:
        """Stop it. All that was sent has arrived once and in order; how much that was."""
        spawn(self.sender.node, "stop", self.sender.pid)
        sent = self.sender.wait(lambda figures: "sent" in figures, f"the end of {self.name}")["sent"]
        self.collector.wait(lambda figures: figures["finished"], f"the last message {self.name}")
        figures = self.check_order()
        assert (figures["received"], figures["finished"]) == (sent, 1), (self.name, sent, figures)
        return sent


class Watch:
    """A process on one node that is linked to one on another and monitors it."""

    def __init__(self, node: NodeProcess, watched: Process) -> None:
        self.name = f"{node.name} watching {watched.node.name}"
        self.watched = watched
        self.watcher = spawn(node, "watcher", watched.pid)
        self.watcher.wait(lambda figures: True, f"{self.name} to begin")

    def wait_told(self) -> None:
        """Wait until link and monitor have fired."""
        self.watcher.wait(lambda figures: figures["links"] and figures["monitors"], f"{self.name} being told")

    def check(self, times: int) -> None:
        """Link and monitor have each fired so often, so far."""
        assert self.watcher.figures() == {"links": times, "monitors": times}, self.name


class Hosts(Protocol):
    """Where nodes run: what it takes to start one on a host of the network."""

    cluster: str

    def begin_on(self, host: str, *arguments: str, around: Surroundings = ORDINARY) -> NodeProcess:
        """Start `luna-node start` with these arguments and do not wait for it. Raises NotHereError."""

    def state(self, host: str) -> Path:
        """The state directory of the node on a host."""

    def modules(self, host: str, node: NodeProcess) -> Path:
        """Where that node keeps modules, also if that is a disk which only it sees."""


class FaultCluster:
    """Nodes of one test, each on a host of its name."""

    def __init__(self, hosts: Hosts, network: Network) -> None:
        self.hosts = hosts
        self.network = network
        self.nodes: dict[str, NodeProcess] = {}
        self.everybody: list[NodeProcess] = []
        """all that were ever started"""

    def start(
        self, *names: str, more: Sequence[str] = (), around: Surroundings = ORDINARY
    ) -> list[NodeProcess]:
        """Start nodes, each joining those before it, and wait until all know each other."""
        for name in names:
            self.start_one(name, *more, around=around)
        self.wait_complete()
        return [self.nodes[name] for name in names]

    def start_one(
        self, name: str, *more: str, called: str | None = None, around: Surroundings = ORDINARY
    ) -> NodeProcess:
        """Start a node, again if need be, with everyone who runs to join; wait until it is ready.

        It is `called` like its host unless told otherwise.
        """
        join = [
            argument
            for other, node in self.nodes.items()
            if other != name and node.process.poll() is None
            for argument in ("--join", node.address)
        ]
        node = self.hosts.begin_on(
            name,
            *("--name", called or name, "--listen", f"{self.network.address(name)}:{PORT}"),
            *("--cluster", self.hosts.cluster, "--no-discovery", "--insecure", "--threads", "2"),
            *join,
            *more,
            around=around,
        )
        self.everybody.append(node)
        node.wait_ready()
        self.nodes[name] = node
        return node

    def wait_complete(self, *names: str) -> None:
        """Wait until each of these nodes, or of all, sees just these, connected."""
        members = names or tuple(self.nodes)
        for name in members:
            wait_for(partial(self.nodes[name].sees, *members), f"{name} sees {members}", PATIENCE_S)

    def wait_gone(self, gone: str, *observers: str) -> float:
        """Wait until these nodes do not list another one any more; the seconds that took."""
        begin = time.monotonic()
        for name in observers:
            wait_for(partial(self._lacks, name, gone), f"{name} lost {gone}", PATIENCE_S)
        return time.monotonic() - begin

    def _lacks(self, observer: str, name: str) -> bool:
        return name not in self.nodes[observer].nodes()

    def flow(self, source: str, target: str, *, size: int = 200, burst: int = 5, pause_ms: int = 5) -> Flow:
        """Have messages flow; waits for the first ones."""
        flow = Flow(self.nodes[source], self.nodes[target], size=size, burst=burst, pause_ms=pause_ms)
        flow.wait_more()
        return flow

    def watches(self, *names: str) -> dict[tuple[str, str], Watch]:
        """For each pair of these nodes, both ways, (observer, observed): a watch on a process of its own."""
        return {
            (one, other): Watch(self.nodes[one], spawn(self.nodes[other], "collector"))
            for one in names
            for other in names
            if one != other
        }


def spawn(
    node: NodeProcess,
    entry: str,
    *params: int,
    padding: int = 0,
    memory: int = MEMORY_BYTES,
    guest: Path = GUEST,
) -> Process:
    """Start a function of a guest on a node; `padding` makes the module larger by so many bytes.

    `memory`: bytes the process may have at most.
    """
    spec = control_pb2.SpawnSpec(
        module_name=guest.name,
        entry=entry,
        params=[node_pb2.Param(i64=param) for param in params],
        config=node_pb2.ProcessConfig(
            max_memory_bytes=memory,
            can_compile_modules=True,
            can_create_configs=True,
            can_spawn_processes=True,
        ),
    )

    def request() -> Any:
        yield control_pb2.SpawnProcessRequest(spec=spec)
        data = guest.read_bytes() + (_custom_section(padding) if padding else b"")
        for start in range(0, len(data), MODULE_CHUNK_BYTES):
            yield control_pb2.SpawnProcessRequest(data=data[start : start + MODULE_CHUNK_BYTES])

    with node.control() as stub:
        reply = stub.SpawnProcess(request(), timeout=CALL_TIMEOUT_S)
    return Process(node, reply.process.pid)


def _custom_section(size: int) -> bytes:
    """What WebAssembly runtimes skip: an id of 0, its length, a name of one byte, and anything."""
    content = b"\x01x" + random.Random(size).randbytes(size)
    length = bytearray()
    rest = len(content)
    while rest >= 0x80:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    return b"\0" + bytes((*length, rest)) + content
