"""Containers as hosts: each on the network with faults, with nodes that come and go.

A host is a container that only keeps its network namespace, as the pods of Kubernetes do it: the containers
of its nodes share that, so the network outlives them. Owns these containers; those of test runs that are no
more are removed first.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..node_process import NodeProcess, NodeStarter
from .engine import EngineError, docker
from .network import PREFIX, Place
from .surroundings import ORDINARY, NotHereError, Surroundings

OWNER = "luna-test"
"""the label with the process id of the test run that a container belongs to"""

USER_ID = 7010
"""who runs a node in the image"""

START_TIMEOUT_S = 120.0
"""seconds for the engine to start or end a container: a fraction of one on a quiet machine"""

PAUSE_ATTEMPTS = 10
"""times that freezing a container is tried: on a machine under load one in some dozens fails"""


@dataclass
class ContainerNode(NodeProcess):
    """A node in a container. `process` is the `docker run` that tells what it writes, and ends with it."""

    container: str = ""

    @functools.cached_property
    def pid(self) -> int:
        """Of the node, as this machine sees it."""
        return int(docker("inspect", "--format", "{{.State.Pid}}", self.container))

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the node."""
        docker("kill", "--signal", str(int(number)), self.container, timeout_s=START_TIMEOUT_S)

    def pause(self) -> None:
        """Freeze it: it keeps its connections and answers nothing."""
        # The kernel freezes a cgroup only when no thread of it starts another one just then.
        for attempt in range(PAUSE_ATTEMPTS):
            try:
                docker("pause", self.container, timeout_s=START_TIMEOUT_S)
            except EngineError:
                if attempt == PAUSE_ATTEMPTS - 1:
                    raise
            else:
                return

    def resume(self) -> None:
        """Let it go on after `pause`."""
        docker("unpause", self.container, timeout_s=START_TIMEOUT_S)

    def inspect(self) -> str:
        """What the engine knows of its container, empty if that is no more."""
        return docker("inspect", self.container, check=False)


class ContainerHosts(NodeStarter):
    """Starts nodes in containers on hosts made by `place`, and ends what still runs."""

    def __init__(self, folder: Path, cluster: str, image: str) -> None:
        super().__init__(folder, cluster)
        self.image = image
        self._holders: dict[str, str] = {}
        self._numbers = itertools.count(1)
        _remove_abandoned()

    @contextlib.contextmanager
    def place(self, host: str) -> Iterator[Place]:
        """A container without a network, whose namespace is the host's."""
        name = self._name(host)
        entry = ["--entrypoint", "sleep"]
        docker("run", "--detach", "--network", "none", *self._usual(name), *entry, self.image, "infinity")
        self._holders[host] = name
        try:
            pid = docker("inspect", "--format", "{{.State.Pid}}", name).strip()
            yield Place(pid, ("nsenter", "--target", pid, "--net"))
        finally:
            docker("rm", "--force", "--volumes", name, timeout_s=START_TIMEOUT_S, check=False)

    def begin_on(self, host: str, *arguments: str, around: Surroundings = ORDINARY) -> NodeProcess:
        """Start a node on a host and do not wait for it. Raises NotHereError."""
        state = self.state(host)
        state.mkdir(parents=True, exist_ok=True)
        os.chown(state, USER_ID, USER_ID)
        container = self._name(host)
        command = [
            *("docker", "run", "--network", f"container:{self._holders[host]}", *self._usual(container)),
            *("--volume", f"{state}:/var/lib/luna/{host}"),
            *_options(host, around),
            *(around.image or self.image, "luna-node"),
        ]
        arguments = ("--state", f"/var/lib/luna/{host}", *arguments)
        node = self.launch(command, arguments, functools.partial(ContainerNode, container=container))
        node.socket = state / "control.sock"
        return node

    def modules(self, host: str, node: NodeProcess) -> Path:
        """Where that node keeps modules, also if that is a disk which only it sees."""
        return Path(f"/proc/{node.pid}/root/var/lib/luna/{host}/modules")

    def close(self) -> None:
        """End every node that still runs, the hosts themselves not."""
        for node in self._nodes:
            if isinstance(node, ContainerNode) and node.process.poll() is None:
                # Also of one that is paused, or ends just now.
                docker("rm", "--force", node.container, timeout_s=START_TIMEOUT_S, check=False)
                node.wait_exit(START_TIMEOUT_S)
        super().close()

    def _name(self, host: str) -> str:
        return f"{PREFIX}{os.getpid()}-{host}-{next(self._numbers)}"

    def _usual(self, name: str) -> list[str]:
        # Tests ask the nodes themselves; a health check is a Python of its own, every ten seconds.
        return ["--rm", "--no-healthcheck", "--name", name, "--label", f"{OWNER}={os.getpid()}"]


def _options(host: str, around: Surroundings) -> list[str]:
    """What `docker run` has to be told."""
    if around.clock is not None:
        raise NotHereError("the libfaketime of this machine does not suit the C library in the image")
    options: list[str] = []
    if around.memory_bytes is not None:
        options += ["--memory", str(around.memory_bytes), "--memory-swap", str(around.memory_bytes)]
    if around.modules_bytes is not None:
        options += ["--tmpfs", f"/var/lib/luna/{host}/modules:size={around.modules_bytes},mode=1777"]
    return options


def _remove_abandoned() -> None:
    """Remove the containers of test runs that are no more."""
    listed = docker(
        "ps", "--all", "--filter", f"label={OWNER}", "--format", f'{{{{.ID}}}} {{{{.Label "{OWNER}"}}}}'
    )
    for line in listed.splitlines():
        container, _, owner = line.partition(" ")
        if not Path("/proc", owner).exists():
            docker("rm", "--force", "--volumes", container, timeout_s=START_TIMEOUT_S, check=False)
