"""`luna status`: the state of the node that is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import click

from luna.cli.app import App
from luna.cli.nodes_view import labels_text, node_data
from luna.cli.options import Verb, connect_option, json_option
from luna.cli.result import Facts, Result
from luna.cli.text import bytes_text, duration_text

if TYPE_CHECKING:
    from luna.proto.control_pb2 import StatusReply


@dataclass(frozen=True, slots=True)
class StatusResult(Result):
    """The state of one node."""

    schema: ClassVar[str] = "luna.status/1"
    reply: StatusReply

    def data(self) -> dict[str, object]:
        """`node`, and its numbers."""
        return {
            "node": node_data(self.reply.node),
            "version": self.reply.version,
            "processes": self.reply.processes,
            "uptime_ms": self.reply.uptime_ms,
            "scheduler_threads": self.reply.scheduler_threads,
            "resident_bytes": self.reply.resident_bytes,
            "os_pid": self.reply.os_pid,
        }

    def view(self) -> Facts:
        """One fact a line."""
        reply, node = self.reply, self.reply.node
        return Facts(
            (
                ("name", node.name),
                ("id", str(node.id)),
                ("cluster", node.cluster),
                ("address", node.address),
                ("labels", labels_text(node)),
                ("version", reply.version),
                ("uptime", duration_text(reply.uptime_ms)),
                ("processes", str(reply.processes)),
                ("threads", str(reply.scheduler_threads)),
                ("memory", bytes_text(reply.resident_bytes)),
                ("os pid", str(reply.os_pid)),
            )
        )


@click.command("status", cls=Verb)
@json_option
@connect_option
@click.pass_obj
def command(app: App) -> StatusResult:
    """Show the state of the node that is asked."""
    with app.client() as client:
        return StatusResult(client.status())
