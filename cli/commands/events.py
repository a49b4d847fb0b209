"""`luna events`: what happened in the cluster, as one node saw it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

import click

from luna.cli.app import App
from luna.cli.errors import ExitCode
from luna.cli.options import Verb, connect_option, json_option
from luna.cli.result import Column, Result, Table

if TYPE_CHECKING:
    from luna.proto.control_pb2 import ClusterEvent

_KIND_WIDTH = 13  # of the longest kind, for lines that have no table around them


@dataclass(frozen=True, slots=True)
class EventsResult(Result):
    """Some events, oldest first; `lost` of those before them."""

    schema: ClassVar[str] = "luna.events/1"
    events: tuple[ClusterEvent, ...]
    lost: int

    def data(self) -> Mapping[str, object]:
        """`events`, one object each, and `lost`."""
        return {"events": [_event_data(event) for event in self.events], "lost": self.lost}

    def view(self) -> Table:
        """A table, one event a line."""
        columns = (Column("TIME"), Column("EVENT"), Column("NODE"), Column("DETAIL"))
        rows = tuple(
            (_time_text(event.time_ms), event.kind, event.node, event.detail) for event in self.events
        )
        return Table(columns, rows, empty="nothing has happened yet")

    def notes(self) -> tuple[str, ...]:
        """What is missing."""
        return (_lost_text(self.lost),) if self.lost else ()


@click.command("events", cls=Verb)
@click.option(
    "--node", metavar="NAME", default="", help="As this node saw it. Default: the one that is asked."
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@json_option
@connect_option
@click.pass_obj
def command(app: App, node: str, follow: bool) -> Result | ExitCode:
    """Show what happened in the cluster lately: nodes that came and went, connections that broke.

    A node keeps its latest 1000 events.
    """
    if follow:
        return _follow(app, node)
    with app.client() as client:
        replies = list(client.events(node, follow=False))
    events = tuple(event for reply in replies for event in reply.events)
    return EventsResult(events, sum(reply.lost for reply in replies))


def _follow(app: App, node: str) -> ExitCode:
    from luna.proto.errors import BrokenError

    with app.client() as client:
        try:
            for reply in client.events(node, follow=True):
                if reply.lost:
                    app.output.note(_lost_text(reply.lost))
                lost = reply.lost
                for event in reply.events:
                    app.output.part(EventsResult((event,), lost), _line(event))
                    lost = 0
        except KeyboardInterrupt:
            return ExitCode.INTERRUPTED
    raise BrokenError("the node stopped sending events")


def _event_data(event: ClusterEvent) -> dict[str, object]:
    return {
        "sequence": event.sequence,
        "time_ms": event.time_ms,
        "kind": event.kind,
        "node": event.node or None,
        "node_id": event.node_id or None,
        "detail": event.detail,
    }


def _line(event: ClusterEvent) -> str:
    texts = (_time_text(event.time_ms), event.kind.ljust(_KIND_WIDTH), event.node or "-", event.detail)
    return "  ".join(texts).rstrip()


def _time_text(time_ms: int) -> str:
    seconds, milliseconds = divmod(min(time_ms, _LAST_MS), 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def _lost_text(count: int) -> str:
    return f"{count} events are lost: more happened than was read"


_LAST_MS = 253_402_300_799_999  # 31 December 9999: what a date can be made of
