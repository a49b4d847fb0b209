"""The cluster of docker-compose.yml under a project of its own, for tests: brought up, asked, removed.

Everything goes through the command line that users have; containers are found by the labels that every
version of compose gives them.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from .engine import EngineError, compose_command, docker, run
from .image import ROOT

FILE: Final = ROOT / "integration" / "docker-compose.yml"
PREFIX: Final = "luna-test-"
LABEL: Final = "com.docker.compose"

COMPOSE_TIMEOUT_S: Final = 180.0
"""seconds for bringing up or removing some containers; a few on a quiet machine"""
ASK_TIMEOUT_S: Final = 120.0
"""seconds for a `luna` command in a container of its own; under two on a quiet machine"""


class Cluster:
    """One project. Made by `open_project` only."""

    def __init__(self, project: str, environment: Mapping[str, str]) -> None:
        self.project = project
        self.environment = environment

    def command(self, *arguments: str) -> list[str]:
        """The command line that has compose do something with this project; for `environment`."""
        return [*compose_command(), "--project-name", self.project, "--file", str(FILE), *arguments]

    def compose(self, *arguments: str, timeout_s: float = COMPOSE_TIMEOUT_S) -> str:
        """Have compose do something; what it wrote on stdout. Raises EngineError if it fails."""
        return run(self.command(*arguments), env=self.environment, timeout_s=timeout_s).stdout

    def up(self, *more: str) -> None:
        """Bring up what the file says, in the background."""
        self.compose("up", "--detach", *more)

    def luna(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `luna` in the service `cli`; it may fail."""
        command = self.command("run", "--rm", "-T", "cli", *arguments)
        return run(command, env=self.environment, timeout_s=ASK_TIMEOUT_S, check=False)

    def luna_json(self, *arguments: str) -> Any:
        """The `data` of what `luna ... --json` prints in the service `cli`; it must succeed."""
        done = self.luna(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["data"]

    def container(self, number: int, service: str = "node") -> str:
        """The id of a container, whether it runs or not."""
        [found] = self._containers(f"{LABEL}.service={service}", f"{LABEL}.container-number={number}")
        return found

    def nodes(self, running: bool = False) -> list[str]:
        """The ids of the containers of nodes, of all or of those that run."""
        return self._containers(f"{LABEL}.service=node", f"{LABEL}.oneoff=False", running=running)

    def sees(self, container: str, *names: str) -> bool:
        """Whether the node in a container sees exactly these nodes, and has a session with each."""
        try:
            done = run(["docker", "exec", container, "luna", "nodes", "--json"])
        except EngineError:
            return False  # it is not ready yet
        members = json.loads(done.stdout)["data"]["nodes"]
        connected = all(member["connected"] or member["self"] for member in members)
        return connected and {member["name"] for member in members} == set(names)

    def formed(self, count: int) -> bool:
        """Whether `count` nodes run and each sees all of them."""
        names = [f"node-{number}" for number in range(1, count + 1)]
        running = self.nodes(running=True)
        return len(running) == count and all(self.sees(container, *names) for container in running)

    def logs(self) -> str:
        """What all containers wrote so far."""
        return self.compose("logs", "--no-color")

    def _containers(self, *labels: str, running: bool = False) -> list[str]:
        scope = () if running else ("--all",)
        return _find("ps", *scope, *_filters(f"{LABEL}.project={self.project}", *labels))


def is_running(container: str) -> bool:
    """Whether a container runs; a paused one does."""
    return inspect(container, "{{.State.Running}}") == "true"


def is_healthy(container: str) -> bool:
    """Whether the check of a container's health found it well."""
    return inspect(container, "{{.State.Health.Status}}") == "healthy"


def inspect(container: str, what: str) -> str:
    """One fact about a container, by a template of the engine's `inspect`."""
    return docker("container", "inspect", "--format", what, container).strip()


@contextlib.contextmanager
def open_project(image: str, **settings: str) -> Iterator[Cluster]:
    """A project that nobody else uses and that runs nothing yet; all of it is removed at the end.

    `settings` are variables of the compose file. What test runs left that did not come to their end goes
    first.
    """
    _remove_abandoned()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LUNA_", "COMPOSE_"))}
    # Port 0: any that is free.
    environment = {**kept, "LUNA_IMAGE": image, "PROMETHEUS_PORT": "0", **settings}
    cluster = Cluster(f"{PREFIX}{os.getpid()}-{secrets.token_hex(3)}", environment)
    try:
        yield cluster
    finally:
        _remove(cluster.project)


def _remove_abandoned() -> None:
    names = _find("ps", "--all", *_filters(f"{LABEL}.project"), form=f'{{{{.Label "{LABEL}.project"}}}}')
    for project in set(names):
        owner = project.removeprefix(PREFIX).partition("-")[0]
        if project.startswith(PREFIX) and owner.isdigit() and not Path(f"/proc/{owner}").exists():
            _remove(project)


def _remove(project: str) -> None:
    """By labels and not by `compose down`, which spares what its file, or a profile, does not name."""
    mine = _filters(f"{LABEL}.project={project}")
    for kind, list_them, remove in (
        ("container", ("ps", "--all"), ("rm", "--force", "--volumes")),
        ("network", ("network", "ls"), ("network", "rm")),
        ("volume", ("volume", "ls"), ("volume", "rm", "--force")),
    ):
        form = "{{.Name}}" if kind == "volume" else "{{.ID}}"
        if found := _find(*list_them, *mine, form=form):
            docker(*remove, *found, timeout_s=COMPOSE_TIMEOUT_S)


def _find(*command: str, form: str = "{{.ID}}") -> list[str]:
    return docker(*command, "--format", form).split()


def _filters(*labels: str) -> list[str]:
    return [part for label in labels for part in ("--filter", f"label={label}")]
