"""`luna join`: join a running node to the cluster of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import click

from luna.cli.app import App
from luna.cli.nodes_view import entry_data, nodes_table
from luna.cli.options import ADDRESS, Verb, connect_option, json_option
from luna.cli.result import Result, Table

if TYPE_CHECKING:
    from luna.proto.control_pb2 import NodeEntry


@dataclass(frozen=True, slots=True)
class JoinResult(Result):
    """The members of the cluster after joining it through `address`."""

    schema: ClassVar[str] = "luna.join/1"
    address: str
    entries: tuple[NodeEntry, ...]

    def data(self) -> dict[str, object]:
        """`address`, and `nodes` as in `luna nodes`."""
        return {"address": self.address, "nodes": [entry_data(entry) for entry in self.entries]}

    def view(self) -> Table:
        """The members, as `luna nodes` shows them."""
        return nodes_table(self.entries)


@click.command("join", cls=Verb)
@click.argument("address", metavar="HOST:PORT", type=ADDRESS)
@json_option
@connect_option
@click.pass_obj
def command(app: App, address: str) -> JoinResult:
    """Join the node to the cluster of the node that listens at HOST:PORT, and list its members."""
    with app.client() as client:
        return JoinResult(address, tuple(client.join(address).nodes))
