"""The name a node gets in a container. The script is real; what it asks the system is answered here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "integration" / "hosts" / "entrypoint.sh"
ADDRESS = "172.18.0.4"


@pytest.fixture
def container(tmp_path: Path) -> Path:
    """A folder of commands as a container has them, which knows its address but has no name yet."""
    add(tmp_path, "hostname", f'[ "$*" = -i ] && echo "{ADDRESS} 172.19.0.9"')
    add(tmp_path, "getent", "exit 2")
    add(tmp_path, "luna-node", 'printf "%s\\n" luna-node "$@"')
    add(tmp_path, "luna", 'printf "%s\\n" luna "$@"')
    return tmp_path


def add(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def called(container: Path, name: str) -> None:
    """Have the DNS server know the container's address under a name."""
    add(container, "getent", f'[ "$*" = "-s hosts:dns hosts {ADDRESS}" ] && echo "{ADDRESS}   {name}"')


def run(container: Path, *command: str) -> list[str]:
    """What the script becomes."""
    done = subprocess.run(
        [SCRIPT, *command],
        env={"PATH": f"{container}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("luna-node-2.luna_default", "node-2"),
        ("luna_node_2.luna_default", "node-2"),
        ("my-own_project-node-12.net", "node-12"),
        ("node-1", "node-1"),
    ],
)
def test_a_node_is_called_as_its_container(container: Path, name: str, node: str) -> None:
    called(container, name)
    command = ["luna-node", "start", "--insecure"]
    assert run(container, *command) == [*command, "--name", node]


@pytest.mark.parametrize(
    "name", ["luna_node_run_4f5a0b.luna_default", "eager_curie.net", "database", "-", "2"]
)
def test_another_name_is_left_to_luna(container: Path, name: str) -> None:
    called(container, name)
    assert run(container, "luna-node", "start") == ["luna-node", "start"]


def test_without_a_dns_server_that_knows_it_the_name_is_left_to_luna(container: Path) -> None:
    assert run(container, "luna-node", "start") == ["luna-node", "start"]


def test_without_an_address_the_name_is_left_to_luna(container: Path) -> None:
    called(container, "luna-node-2")
    add(container, "hostname", "exit 1")
    assert run(container, "luna-node", "start") == ["luna-node", "start"]


@pytest.mark.parametrize("option", [("--name", "mine"), ("--name=mine",)])
def test_a_name_that_is_given_stays(container: Path, option: tuple[str, ...]) -> None:
    called(container, "luna-node-2")
    command = ["luna-node", "start", *option, "--insecure"]
    assert run(container, *command) == command


@pytest.mark.parametrize(
    "command", [("luna", "start"), ("luna-node", "--help"), ("luna", "nodes", "two words")]
)
def test_other_commands_run_as_they_are(container: Path, command: tuple[str, ...]) -> None:
    called(container, "luna-node-2")
    assert run(container, *command) == list(command)


def test_the_exit_code_is_that_of_the_command(container: Path) -> None:
    add(container, "luna", "exit 3")
    done = subprocess.run(
        [SCRIPT, "luna"], env={"PATH": f"{container}:/usr/bin:/bin"}, timeout=30, check=False
    )
    assert done.returncode == 3
