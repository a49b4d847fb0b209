"""Fixtures for the commands: an environment of their own, a node to ask, and a way to run a command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from luna.cli.luna import main
from luna.proto.run_directory import NodeRecord, prepare, run_directory, write_record

from .fake_control import ID_A, FakeControl, FakeServer


@dataclass(frozen=True)
class Outcome:
    """What a command did: compare the exit code first, then the whole output."""

    code: int
    stdout: str
    stderr: str


Luna = Callable[..., Outcome]
AddNode = Callable[..., NodeRecord]


@pytest.fixture(autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short empty directory as run directory and current one: nothing of the real user is seen."""
    directory = tmp_path_factory.mktemp("l")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    monkeypatch.setenv("XDG_CACHE_HOME", str(directory / "cache"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("LUNA_CONNECT", "LUNA_LOG", "RUST_LOG", "CARGO_MANIFEST_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """What a command sets up for its log ends with its test."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def luna(capfd: pytest.CaptureFixture[str]) -> Luna:
    """Runs `luna` with the given arguments in this process."""

    def run(*arguments: str) -> Outcome:
        capfd.readouterr()
        code = main(arguments)
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
def add_node(own_environment: Path) -> AddNode:
    """Writes the record of a node into the run directory."""

    def add(name: str, socket: Path | None = None, started_ms: int = 1) -> NodeRecord:
        directory = run_directory(os.environ, os.getuid())
        prepare(directory)
        path = socket or own_environment / f"{name}.sock"
        record = NodeRecord(name, ID_A, str(path), "127.0.0.1:7001", os.getpid(), started_ms)
        write_record(directory, record)
        return record

    return add


@pytest.fixture
def node(control: FakeControl, own_environment: Path, add_node: AddNode) -> Iterator[NodeRecord]:
    """A node `alpha` on this machine that answers as `control` says."""
    record = add_node("alpha")
    with FakeServer(control, f"unix:{record.socket}"):
        yield record
