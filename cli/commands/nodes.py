"""`luna nodes`: the members of the cluster, as the node that is asked sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import click

from luna.cli.app import App
from luna.cli.nodes_view import entry_data, nodes_table
from luna.cli.options import Verb, connect_option, json_option
from luna.cli.result import Result, Table

if TYPE_CHECKING:
    from luna.proto.control_pb2 import NodeEntry


@dataclass(frozen=True, slots=True)
class NodesResult(Result):
    """The members of the cluster."""

    schema: ClassVar[str] = "luna.nodes/1"
    entries: tuple[NodeEntry, ...]

    def data(self) -> dict[str, object]:
        """`nodes`: one object each."""
        return {"nodes": [entry_data(entry) for entry in self.entries]}

    def view(self) -> Table:
        """A table, one member a line."""
        return nodes_table(self.entries)


@click.command("nodes", cls=Verb)
@json_option
@connect_option
@click.pass_obj
def command(app: App) -> NodesResult:
    """List the nodes of the cluster. A star marks the node that was asked."""
    with app.client() as client:
        return NodesResult(tuple(client.nodes().nodes))
