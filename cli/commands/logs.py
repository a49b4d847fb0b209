"""`luna logs`: what a process wrote, or writes until it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import click

from luna.cli.app import App
from luna.cli.errors import ExitCode
from luna.cli.following import Transcript, receive, shell_code
from luna.cli.options import PROCESS, Verb, connect_option, json_option
from luna.cli.params import ProcessName
from luna.cli.result import NOTHING, Line, Result


@dataclass(frozen=True, slots=True)
class LogsResult(Result):
    """What was received. In text mode it was passed on already."""

    schema: ClassVar[str] = "luna.logs/1"
    pid: str
    transcript: Transcript
    followed: bool
    interrupted: bool

    def data(self) -> Mapping[str, object]:
        """`pid`, `output`, `dropped_bytes` and `exit`."""
        return {"pid": self.pid, **self.transcript.data()}

    def view(self) -> Line:
        """Nothing more than was passed on."""
        return NOTHING

    def notes(self) -> tuple[str, ...]:
        """What is missing, and why a followed process died, or that it goes on."""
        lost = self.transcript.remarks()
        if self.interrupted:
            return (*lost, f"stopped following; {self.pid} goes on")
        remark = self.transcript.exit.remark() if self.followed and self.transcript.exit else None
        return lost if remark is None else (*lost, f"{self.pid}: {remark}")

    @property
    def exit_code(self) -> int:
        """That of the process if it was followed to its end."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        return (
            shell_code(self.transcript.exit.code) if self.followed and self.transcript.exit else ExitCode.OK
        )


@click.command("logs", cls=Verb)
@click.argument("pid", type=PROCESS)
@click.option(
    "-f", "--follow", is_flag=True, help="Go on until the process ends, and exit with its exit code."
)
@json_option
@connect_option
@click.pass_obj
def command(app: App, pid: ProcessName, follow: bool) -> LogsResult:
    """Show what the process PID (SERIAL@NODE) wrote: its stdout on stdout, its stderr on stderr.

    A node keeps the latest output of every process, and of those that ended most recently.
    """
    transcript = Transcript()
    interrupted = False
    with app.client() as client:
        try:
            receive(client, pid, follow, app.output, transcript)
        except KeyboardInterrupt:
            interrupted = True
    return LogsResult(pid.text, transcript, follow, interrupted)
