"""`luna leave`: make a node leave its cluster and stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import click

from luna.cli.app import App
from luna.cli.nodes_view import node_data
from luna.cli.options import NODE_NAME, Verb, connect_option, json_option
from luna.cli.result import Line, Result

if TYPE_CHECKING:
    from luna.proto.node_pb2 import NodeInfo


@dataclass(frozen=True, slots=True)
class LeaveResult(Result):
    """The node that left."""

    schema: ClassVar[str] = "luna.leave/1"
    node: NodeInfo

    def data(self) -> dict[str, object]:
        """`node`: the one that left."""
        return {"node": node_data(self.node)}

    def view(self) -> Line:
        """One line."""
        return Line(f"{self.node.name} left the cluster {self.node.cluster} and stops")


@click.command("leave", cls=Verb)
@click.argument("node", required=False, default="", type=NODE_NAME)
@json_option
@connect_option
@click.pass_obj
def command(app: App, node: str) -> LeaveResult:
    """Make NODE leave its cluster and stop (default: the node that is asked).

    Its processes end with it, and links and monitors of other nodes fire.
    """
    with app.client() as client:
        return LeaveResult(client.leave(node).node)
