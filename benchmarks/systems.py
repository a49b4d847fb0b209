"""The systems of one machine as sessions: Luna's runtime, the floors, gRPC alone, Erlang.

Each opener starts fresh operating system processes and ends them with its block. What is between two nodes of
Luna is in `benchmarks.cluster`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.lab import GUESTS, ROOT, Lab
from benchmarks.model import BenchmarkError
from benchmarks.session import ProcessSession, open_process, stop_process

__all__ = [
    "PYTHON",
    "erlang_command",
    "open_erlang",
    "open_erlang_pair",
    "open_floors",
    "open_grpc",
    "open_luna",
]

PYTHON: Final = (sys.executable, "-m")
PROCESS_LIMIT: Final = "2000000"
"""processes of an Erlang node: room for the million."""


@contextmanager
def open_luna(lab: Lab) -> Iterator[ProcessSession]:
    """A runtime in a process of its own."""
    # Where `python -m benchmarks` was started, `-m` finds this package.
    command = [*PYTHON, "benchmarks.worker", str(GUESTS)]
    with open_process(command, "Luna", lab.log("luna"), environment=_environment()) as session:
        _expect_ready(session)
        yield session


@contextmanager
def open_floors(lab: Lab) -> Iterator[ProcessSession]:
    """The floors' program."""
    with open_process([lab.floors], "floors", lab.log("floors")) as session:
        yield session


@contextmanager
def open_grpc(lab: Lab) -> Iterator[ProcessSession]:
    """Two processes with a bare gRPC stream between them."""
    server = [*PYTHON, "benchmarks.grpc_echo", "serve"]
    environment = _environment()
    with open_process(server, "gRPC server", lab.log("grpc-server"), environment=environment) as serving:
        address = _expect_ready(serving)
        client = [*PYTHON, "benchmarks.grpc_echo", "measure", address]
        with open_process(client, "gRPC client", lab.log("grpc-client"), environment=environment) as session:
            _expect_ready(session)
            yield session


def erlang_command(lab: Lab, *more: str) -> list[str | Path]:
    """A command for an Erlang node that knows the counterparts. Raises BenchmarkError without Erlang."""
    if lab.erlang is None:
        raise BenchmarkError("erl is not installed")
    return ["erl", "-noshell", "+P", PROCESS_LIMIT, "-pa", lab.erlang, *more]


@contextmanager
def open_erlang(lab: Lab) -> Iterator[ProcessSession]:
    """An Erlang node of its own, not distributed."""
    command = erlang_command(lab, "-run", "luna_bench", "main")
    with open_process(command, "Erlang", lab.log("erlang")) as session:
        _expect_ready(session)
        yield session


class ErlangPair(ProcessSession):
    """A session with one of two connected Erlang nodes; `peer_os_pid` is the other."""

    peer_os_pid: int = 0

    def begin_watch(self) -> None:
        """Let the node watch a process of its peer."""
        self.ask("remote_watch", 1)

    def wait_noticed(self) -> int:
        """The wall clock's time, in ns, when the node knew that the peer is gone."""
        return int(self.read_answer("remote_watch")["noticed_ns"])


@contextmanager
def open_erlang_pair(lab: Lab) -> Iterator[ErlangPair]:
    """Two Erlang nodes on loopback, with a port mapper of their own."""
    with _port_mapper() as environment:
        tag = secrets.token_hex(4)
        here, there = f"here{tag}@127.0.0.1", f"there{tag}@127.0.0.1"
        common = (
            "-setcookie",
            tag,
            "-kernel",
            "inet_dist_use_interface",
            "{127,0,0,1}",
            "-start_epmd",
            "false",
        )
        peer = erlang_command(lab, "-name", there, *common, "-run", "luna_bench", "peer")
        with open_process(peer, "Erlang peer", lab.log("erlang-peer"), environment=environment) as serving:
            os_pid = int(_expect_ready(serving))
            command = erlang_command(
                lab, "-name", here, *common, "-peer", there, "-run", "luna_bench", "main"
            )
            with open_process(command, "Erlang", lab.log("erlang"), environment=environment) as session:
                _expect_ready(session)
                pair = ErlangPair(session.process, "Erlang", lab.log("erlang"))
                pair.peer_os_pid = os_pid
                yield pair


@contextmanager
def _port_mapper() -> Iterator[dict[str, str]]:
    """An epmd on a free loopback port, in the environment for the nodes that are to use it."""
    epmd = shutil.which("epmd")
    if epmd is None:
        raise BenchmarkError("epmd, Erlang's port mapper, is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "ERL_EPMD_PORT": str(port), "ERL_EPMD_ADDRESS": "127.0.0.1"}
    process = subprocess.Popen([epmd], env=environment, text=True)
    try:
        yield environment
    finally:
        process.terminate()
        stop_process(process)


def _environment() -> dict[str, str]:
    """Ours, with the modules of this package found from any working directory."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}


def _expect_ready(session: ProcessSession) -> str:
    """What a child says behind `ready`."""
    word, _, rest = session.read_line("start").strip().partition(" ")
    if word != "ready":
        raise BenchmarkError(f"a child said {word!r} where it was expected to be ready")
    return rest
