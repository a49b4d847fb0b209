"""`luna kill`: kill a process, wherever it lives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import click

from luna.cli.app import App
from luna.cli.errors import ExitCode
from luna.cli.options import PROCESS, Verb, connect_option, json_option
from luna.cli.params import ProcessName
from luna.cli.result import NOTHING, Line, Result


@dataclass(frozen=True, slots=True)
class KillResult(Result):
    """Whether the process was alive when it was killed."""

    schema: ClassVar[str] = "luna.kill/1"
    pid: str
    was_alive: bool

    def data(self) -> dict[str, object]:
        """`pid` and `was_alive`."""
        return {"pid": self.pid, "was_alive": self.was_alive}

    def view(self) -> Line:
        """The pid, if it was killed."""
        return Line(f"killed {self.pid}") if self.was_alive else NOTHING

    def notes(self) -> tuple[str, ...]:
        """Said when there was nothing to kill."""
        return () if self.was_alive else (f"{self.pid} is not running",)

    @property
    def exit_code(self) -> int:
        """1 when there was nothing to kill."""
        return ExitCode.OK if self.was_alive else ExitCode.FAILED


@click.command("kill", cls=Verb)
@click.argument("pid", type=PROCESS)
@json_option
@connect_option
@click.pass_obj
def command(app: App, pid: ProcessName) -> KillResult:
    """Kill the process PID (SERIAL@NODE). It cannot refuse; processes linked to it are told."""
    with app.client() as client:
        return KillResult(pid.text, client.kill(pid).was_alive)
