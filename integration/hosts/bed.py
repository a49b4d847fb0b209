"""What the hosts of the tests are: containers where an engine answers, else namespaces, else there are none.

Owns the choice, and what is kept of a cluster whose test failed.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..node_process import NodeProcess
from . import engine, network
from .base import ensure_base
from .containers import ContainerHosts, ContainerNode
from .fault_cluster import HOSTS, FaultCluster
from .image import ensure_image
from .namespaces import NamespaceHosts

CONTAINERS, NAMESPACES = "containers", "namespaces"

FAILURES = Path(__file__).parents[2] / "build" / "integration"
"""where the logs of a failed test are kept, in a folder of its name"""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which hosts there are, none with an empty `kind`; `lacking` tells what is not here for better ones."""

    kind: str
    lacking: tuple[str, ...] = ()


def choose(wanted: str | None, why_no_network: str | None, why_no_engine: Callable[[], str | None]) -> Choice:
    """The hosts for tests: those `wanted`, or else the most real ones that can be had."""
    if why_no_network is not None:
        return Choice("", (why_no_network,))
    if wanted == NAMESPACES:
        return Choice(NAMESPACES)
    reason = why_no_engine()
    if reason is None:
        return Choice(CONTAINERS)
    return Choice("" if wanted == CONTAINERS else NAMESPACES, (reason,))


def choose_here(wanted: str | None) -> Choice:
    """The same for this machine."""
    return choose(wanted, network.why_not(), why_no_containers)


@functools.cache
def why_no_containers() -> str | None:
    """Why the image of Luna cannot be had here, or None. Looks for a base once, and makes one if need be."""
    if (reason := engine.why_not()) is not None:
        return reason
    try:
        ensure_base()
    except engine.EngineError as error:
        return str(error)
    return None


@functools.cache
def image_of_this_run() -> str:
    """Luna's image, built once, whatever changes in the working tree meanwhile. Raises EngineError."""
    return ensure_image()


@contextlib.contextmanager
def open_cluster(kind: str, names: Sequence[str] = HOSTS, seed: int = 1) -> Iterator[FaultCluster]:
    """A network of hosts without nodes yet, on hosts of that kind; all of it is removed at the end.

    `seed` decides which packets a bad network loses. Builds the image if need be. Raises EngineError.
    """
    folder = Path(tempfile.mkdtemp(prefix="luna-"))  # short: the path of a unix socket is
    name = f"test-{secrets.token_hex(6)}"
    hosts: ContainerHosts | NamespaceHosts
    if kind == CONTAINERS:
        hosts = ContainerHosts(folder, name, image_of_this_run())
    else:
        hosts = NamespaceHosts(folder, name)
    try:
        with network.open_network(names, seed, hosts.place) as net:
            try:
                yield FaultCluster(hosts, net)
            finally:
                hosts.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep_evidence(cluster: FaultCluster, test: str) -> Path:
    """Write down what is known of the nodes of a failed test; the folder."""
    folder = FAILURES / "".join(letter if letter.isalnum() else "-" for letter in test)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, node in enumerate(cluster.everybody, start=1):
        name = f"{number}-{node.name or 'unnamed'}"
        (folder / f"{name}.log").write_text("".join(node.lines) + node.errors())
        (folder / f"{name}.txt").write_text(_facts(node))
    return folder


def _facts(node: NodeProcess) -> str:
    code = node.process.poll()
    if code is not None:
        return f"ended with {code}\n"
    parts = [node.inspect()] if isinstance(node, ContainerNode) else []
    for command in ("nodes", "ps"):
        try:
            done = node.luna(command, timeout_s=10.0)
            parts.append(f"$ luna {command}\n{done.stdout}{done.stderr}")
        except subprocess.TimeoutExpired:
            parts.append(f"$ luna {command}\nno answer in 10 s\n")
    return "\n".join(parts)
