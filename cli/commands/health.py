"""`luna health`: whether a node serves, by the standard health service of gRPC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import click

from luna.cli.app import App
from luna.cli.errors import ExitCode
from luna.cli.options import Verb, connect_option, json_option
from luna.cli.result import Line, Result

SERVING = "SERVING"


@dataclass(frozen=True, slots=True)
class HealthResult(Result):
    """What a node says of itself."""

    schema: ClassVar[str] = "luna.health/1"
    status: str

    def data(self) -> dict[str, object]:
        """`status`: as grpc.health.v1 names it."""
        return {"status": self.status}

    def view(self) -> Line:
        """One word."""
        return Line(self.status)

    @property
    def exit_code(self) -> int:
        """Success only for a node that serves."""
        return ExitCode.OK if self.status == SERVING else ExitCode.FAILED


@click.command("health", cls=Verb)
@json_option
@connect_option
@click.pass_obj
def command(app: App) -> HealthResult:
    """Tell whether the node that is asked serves, by its standard health service (grpc.health.v1).

    The exit code is 0 if it does, so that whatever watches nodes can run this command.
    """
    with app.client() as client:
        return HealthResult(client.health())
