"""Network namespaces as hosts: processes of this machine, each with a network of its own."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from ..node_process import BIN, NodeProcess, NodeStarter
from .network import PREFIX, Place, namespace
from .surroundings import (
    MEMORY_CGROUPS,
    ORDINARY,
    NotHereError,
    Surroundings,
    why_no_memory_cgroups,
    why_no_private_mounts,
)


class NamespaceHosts(NodeStarter):
    """Starts nodes on hosts made by `place`, and ends what still runs."""

    def __init__(self, folder: Path, cluster: str) -> None:
        super().__init__(folder, cluster)
        self._places: dict[str, Place] = {}
        self._groups: list[Path] = []
        self._numbers = itertools.count(1)

    @contextlib.contextmanager
    def place(self, host: str) -> Iterator[Place]:
        """A namespace of this machine."""
        with namespace(host) as place:
            self._places[host] = place
            yield place

    def begin_on(self, host: str, *arguments: str, around: Surroundings = ORDINARY) -> NodeProcess:
        """Start a node on a host and do not wait for it. Raises NotHereError."""
        if around.image is not None:
            raise NotHereError("another release of Luna is another image, which takes a container engine")
        state = self.state(host)
        command = [
            *self._with_memory(around.memory_bytes),  # before the namespace, in which no cgroup can be seen
            *self._places[host].enter,
            *_with_disk(state / "modules", around.modules_bytes),
            str(BIN / "luna-node"),
        ]
        node = self.launch(command, ("--state", str(state), *arguments), environment=around.environment())
        node.socket = state / "control.sock"
        return node

    def modules(self, host: str, node: NodeProcess) -> Path:
        """Where that node keeps modules, also if that is a disk which only it sees."""
        return Path(f"/proc/{node.pid}/root{self.state(host)}/modules")

    def close(self) -> None:
        """End every node that still runs, and remove what was made for it."""
        super().close()
        for group in self._groups:
            group.rmdir()
        self._groups.clear()

    def _with_memory(self, limit: int | None) -> list[str]:
        """What to put before a command so that it has no more memory."""
        if limit is None:
            return []
        if (reason := why_no_memory_cgroups()) is not None:
            raise NotHereError(reason)
        group = MEMORY_CGROUPS / f"{PREFIX}{os.getpid()}-{next(self._numbers)}"
        group.mkdir()
        self._groups.append(group)
        (group / "memory.limit_in_bytes").write_text(str(limit))
        return _after(f"echo $$ > {group}/cgroup.procs")


def _with_disk(folder: Path, size: int | None) -> list[str]:
    """What to put before a command so that it has a disk of that size at `folder`, which nobody else sees."""
    if size is None:
        return []
    if (reason := why_no_private_mounts()) is not None:
        raise NotHereError(reason)
    folder.mkdir(parents=True, exist_ok=True)
    return ["unshare", "--mount", *_after(f"mount -t tmpfs -o size={size} none {folder}")]


def _after(step: str) -> list[str]:
    return ["sh", "-c", f'{step} && exec "$0" "$@"']
