"""Real `luna-node` processes on loopback, for tests: started, watched, and always ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from luna.proto import control_pb2, control_pb2_grpc

BIN = Path(sys.executable).parent
READY = re.compile(r"ready name=(\S+) id=([0-9]+) listen=(\S+)\n\Z")
READY_TIMEOUT_S = 60.0  # well under a second on a quiet machine
STOP_TIMEOUT_S = 15.0  # a node promises five


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 10.0) -> Any:
    """Poll until `condition()` is true and return its value; other processes decide when that is."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.02)


@dataclass
class NodeProcess:
    """One `luna-node start`; `name`, `id` and `address` are those of its ready line."""

    process: subprocess.Popen[str]
    log: Path
    environment: Mapping[str, str]
    name: str = ""
    id: int = 0
    address: str = ""
    socket: Path | None = None  # of a node whose address cannot be reached from here
    lines: list[str] = field(default_factory=list)
    _reader: threading.Thread | None = None

    def read_stdout(self) -> None:
        """Collect every line of stdout in the background."""

        def read() -> None:
            assert self.process.stdout is not None
            self.lines.extend(iter(self.process.stdout.readline, ""))

        self._reader = threading.Thread(target=read, daemon=True)
        self._reader.start()

    def wait_ready(self) -> None:
        """Wait for the ready line and take it apart."""
        wait_for(lambda: self.lines or self.process.poll() is not None, "the ready line", READY_TIMEOUT_S)
        assert self.lines, f"the node ended with {self.process.wait()}:\n{self.log.read_text()}"
        match = READY.match(self.lines[0])
        assert match is not None, self.lines[0]
        self.name, self.id, self.address = match[1], int(match[2]), match[3]

    def wait_exit(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Its exit code, once it has ended and all it said was read."""
        code = self.process.wait(timeout_s)
        if self._reader is not None:
            self._reader.join(timeout_s)
        return code

    @property
    def pid(self) -> int:
        """Of the operating system process."""
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; its exit code."""
        self.send(number)
        return self.wait_exit()

    def kill(self) -> None:
        """End it as a crash would."""
        self.send(signal.SIGKILL)
        self.wait_exit()

    def pause(self) -> None:
        """Freeze it: it keeps its connections and answers nothing."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self.send(signal.SIGCONT)

    def errors(self) -> str:
        """What it wrote on stderr so far."""
        return self.log.read_text()

    # --- the control service ----------------------------------------------------------------

    @contextlib.contextmanager
    def control(self) -> Iterator[Any]:
        """A stub of its control service, over TCP if that can be."""
        target = self.address if self.socket is None else f"unix:{self.socket}"
        options = (
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
        )  # a connection its own
        with grpc.insecure_channel(target, options=options) as channel:
            yield control_pb2_grpc.ControlStub(channel)  # type: ignore[no-untyped-call]

    def nodes(self) -> dict[str, control_pb2.NodeEntry]:
        """The live members it sees, by name."""
        with self.control() as stub:
            reply = stub.Nodes(control_pb2.NodesRequest(), timeout=10)
        return {entry.member.node.name: entry for entry in reply.nodes}

    def sees(self, *names: str) -> bool:
        """Whether it sees exactly these nodes, and has a session with each."""
        nodes = self.nodes()
        return set(nodes) == set(names) and all(entry.connected for entry in nodes.values())

    def luna(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run the `luna` command against this node."""
        return subprocess.run(
            [BIN / "luna", *arguments],
            env={
                **self.environment,
                "LUNA_CONNECT": self.address if self.socket is None else f"unix:{self.socket}",
            },
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def luna_json(self, *arguments: str) -> Any:
        """The `data` of what `luna ... --json` prints; it must succeed."""
        done = self.luna(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["data"]

    # --- what it holds ----------------------------------------------------------------------

    def threads(self) -> Counter[str]:
        """Its operating system threads, by the name that the system has for them."""
        tasks = Path(f"/proc/{self.pid}/task")
        names: Counter[str] = Counter()
        for task in tasks.iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                names[(task / "comm").read_text().strip()] += 1
        return names

    def resident_bytes(self) -> int:
        """Its memory that is in RAM."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def mappings(self) -> int:
        """Its mappings of memory."""
        return Path(f"/proc/{self.pid}/maps").read_text().count("\n")

    def files(self) -> int:
        """Its open file descriptors."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


class NodeStarter:
    """Starts nodes that share one private environment, and ends whatever still runs."""

    def __init__(self, folder: Path, cluster: str) -> None:
        self.folder = folder
        self.cluster = cluster
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("LUNA_")},
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
        }
        self._nodes: list[NodeProcess] = []

    def state(self, name: str) -> Path:
        """The state directory of a node of that name, or on a host of that name, as this machine sees it."""
        return self.folder / "state" / "luna" / name

    def begin(self, *arguments: str) -> NodeProcess:
        """Start `luna-node start` with just these arguments, and do not wait for it."""
        return self.launch([str(BIN / "luna-node")], arguments)

    def launch(
        self,
        command: Sequence[str],
        arguments: Sequence[str],
        make: Callable[[subprocess.Popen[str], Path, Mapping[str, str]], NodeProcess] = NodeProcess,
        environment: Mapping[str, str] | None = None,
    ) -> NodeProcess:
        """The same with another command, that runs a `luna-node` somewhere, and more of an environment."""
        log = self.folder / f"node-{len(self._nodes)}.log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [*command, "start", *arguments],
                env={**self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        node = make(process, log, self.environment)
        node.read_stdout()
        self._nodes.append(node)
        return node

    def arguments(self, name: str, *more: str, discovery: bool = False) -> list[str]:
        """The usual arguments: a free port, the test's own cluster, and no multicast unless asked for."""
        quiet: Sequence[str] = () if discovery else ("--no-discovery",)
        return ["--name", name, "--listen", "127.0.0.1:0", "--cluster", self.cluster, *quiet, *more]

    def start(self, name: str, *more: str, discovery: bool = False) -> NodeProcess:
        """Start a node with the usual arguments and wait until it is ready."""
        node = self.begin(*self.arguments(name, *more, discovery=discovery))
        node.wait_ready()
        return node

    def close(self) -> None:
        """End every node that still runs."""
        for node in self._nodes:
            if node.process.poll() is None:
                node.kill()
            if node.process.stdout is not None:
                node.wait_exit()
                node.process.stdout.close()
