"""The table of verbs, and the group that loads a verb's module only when it is needed.

Owns which verbs exist, their order and sections in the help, and what is said about a verb that does not.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from importlib import import_module
from typing import Final

import click

from luna.cli.app import App


@dataclass(frozen=True, slots=True)
class VerbInfo:
    """One verb: `changes` says whether it changes anything, `section` where the help lists it."""

    name: str
    section: str
    changes: bool
    summary: str


VERBS: tuple[VerbInfo, ...] = (
    VerbInfo("run", "Programs", True, "Run a program here, without a cluster, and exit with its exit code."),
    VerbInfo("init", "Programs", True, "Make `luna run` the runner of a cargo project."),
    VerbInfo("spawn", "Programs", True, "Start a process on a node and print its pid."),
    VerbInfo("ps", "Programs", False, "List processes."),
    VerbInfo("logs", "Programs", False, "Show what a process wrote."),
    VerbInfo("kill", "Programs", True, "Kill a process."),
    VerbInfo("nodes", "Cluster", False, "List the nodes of the cluster."),
    VerbInfo("status", "Cluster", False, "Show the state of one node."),
    VerbInfo("health", "Cluster", False, "Tell whether a node serves."),
    VerbInfo("events", "Cluster", False, "Show what happened in the cluster."),
    VerbInfo("join", "Cluster", True, "Join a node to the cluster of another."),
    VerbInfo("leave", "Cluster", True, "Make a node leave its cluster and stop."),
)
SECTIONS = ("Programs", "Cluster")
IMPLIED_RUN: Final = re.compile(r"--(?:dir|bench)(?:=|\Z)|[^-].*\.wasm|[^-].*\.wat\Z")
"""how a command line begins that is one of `run` without the word; the runner of a cargo project may be just
`luna`"""


class LunaGroup(click.Group):
    """The `luna` command: verbs come from the table, each from its own module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of the table."""
        return [verb.name for verb in VERBS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb; imports its module."""
        if all(verb.name != cmd_name for verb in VERBS):
            return None
        command = import_module(f"luna.cli.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does, with the verb `run` put before a program or its options."""
        if args and IMPLIED_RUN.match(args[0]):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; one that does not exist is answered with the nearest that does."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            if "--json" in args:
                ctx.ensure_object(App).output.json = True
            raise click.UsageError(f"there is no command {name!r}{_suggestion(name)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs by section, from the table alone."""
        for section in SECTIONS:
            with formatter.section(section):
                formatter.write_dl([(verb.name, verb.summary) for verb in VERBS if verb.section == section])


def _suggestion(name: str) -> str:
    if name.endswith((".wasm", ".wat")):
        return f"; did you mean `luna run {name}`?"
    near = difflib.get_close_matches(name, [verb.name for verb in VERBS], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
