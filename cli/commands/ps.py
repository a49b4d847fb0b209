"""`luna ps`: the processes of one node or of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import click

from luna.cli.app import App
from luna.cli.options import NODE_NAME, Verb, connect_option, json_option
from luna.cli.result import Column, Result, Table
from luna.cli.text import bytes_text, duration_text
from luna.proto.ids import format_pid, node_of

if TYPE_CHECKING:
    from luna.proto.control_pb2 import ProcessEntry

_COLUMNS = (
    Column("PID"),
    Column("MODULE"),
    Column("ENTRY"),
    Column("STATE"),
    Column("MESSAGES", number=True),
    Column("MEMORY", number=True),
    Column("PARENT"),
    Column("AGE", number=True),
)


@dataclass(frozen=True, slots=True)
class PsResult(Result):
    """Processes, and the names of nodes that did not say theirs."""

    schema: ClassVar[str] = "luna.ps/1"
    processes: tuple[ProcessEntry, ...]
    unreachable: tuple[str, ...]

    def data(self) -> dict[str, object]:
        """`processes`, one object each, and `unreachable`."""
        names = self._node_names()
        return {
            "processes": [
                {
                    "pid": pid_text(entry),
                    "absolute_pid": str(entry.process.pid),
                    "node": entry.process.node,
                    "module": entry.module,
                    "entry": entry.entry,
                    "state": entry.state,
                    "messages": entry.messages,
                    "memory_bytes": entry.memory_bytes,
                    "parent": _parent(entry, names) or None,
                    "age_ms": entry.age_ms,
                }
                for entry in self._sorted()
            ],
            "unreachable": list(self.unreachable),
        }

    def view(self) -> Table:
        """A table, one process a line, by node and age."""
        names = self._node_names()
        return Table(
            _COLUMNS,
            tuple(
                (
                    pid_text(entry),
                    entry.module,
                    entry.entry,
                    entry.state,
                    str(entry.messages),
                    bytes_text(entry.memory_bytes),
                    _parent(entry, names),
                    duration_text(entry.age_ms),
                )
                for entry in self._sorted()
            ),
            empty="no processes",
        )

    def notes(self) -> tuple[str, ...]:
        """The nodes whose processes are missing."""
        return tuple(f"node {name} did not answer; its processes are not listed" for name in self.unreachable)

    def _sorted(self) -> list[ProcessEntry]:
        return sorted(self.processes, key=lambda entry: (entry.process.node, entry.process.serial))

    def _node_names(self) -> dict[int, str]:
        return {node_of(entry.process.pid): entry.process.node for entry in self.processes}


def pid_text(entry: ProcessEntry) -> str:
    """The pid as people write it."""
    return f"{entry.process.serial}@{entry.process.node}"


def _parent(entry: ProcessEntry, node_names: Mapping[int, str]) -> str:
    """SERIAL@NODE of the parent, its absolute pid if its node is not listed, nothing if it has none."""
    if not entry.parent:
        return ""
    name = node_names.get(node_of(entry.parent))
    return format_pid(entry.parent, name) if name else str(entry.parent)


@click.command("ps", cls=Verb)
@click.option(
    "--node", default="", metavar="NAME", type=NODE_NAME, help="Only this node (default: every node)."
)
@json_option
@connect_option
@click.pass_obj
def command(app: App, node: str) -> PsResult:
    """List processes, of every node or of one."""
    with app.client() as client:
        reply = client.ps(node)
        return PsResult(tuple(reply.processes), tuple(reply.unreachable))
