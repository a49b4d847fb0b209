"""The image: what is in it, what is not, and that a container of it says truly how it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from integration.node_process import wait_for

from .compose import inspect, is_healthy, is_running
from .engine import docker, run, size_bytes

pytestmark = pytest.mark.timeout(300, func_only=True)  # but the image is built before the first test

MAX_IMAGE_BYTES = 250_000_000
"""bytes; half of it is Debian with Python, most of the rest wasmtime, gRPC and cryptography"""

WAIT_S = 120.0
"""seconds; each wait ends in a few on a quiet machine"""

StartContainer = Callable[..., str]


def inside(image: str, script: str) -> str:
    """What a shell script says in a container of the image."""
    return docker("run", "--rm", "--entrypoint", "sh", image, "-c", script)


def test_it_is_small_and_holds_no_compiler_no_installer_and_no_tests(image: str) -> None:
    assert size_bytes(image) < MAX_IMAGE_BYTES
    tools = "for name in cc gcc g++ ld make cython pip pytest; do command -v $name; done; true"
    assert inside(image, tools) == ""
    assert inside(image, "cd /opt/luna && find . -name '*.pyx' -o -name 'test_*.py' -o -name '_tests'") == ""


def test_it_runs_as_a_user_who_may_write_nothing_but_its_data(image: str) -> None:
    assert inside(image, "id -u").strip() != "0"
    assert inside(image, "find /opt /usr /etc /var/lib -writable -not -type l 2>/dev/null; true").split() == [
        "/var/lib/luna"
    ]


def test_both_commands_are_on_the_path_and_the_labels_tell_their_version(image: str) -> None:
    version = docker(
        "image", "inspect", "--format", '{{index .Config.Labels "org.opencontainers.image.version"}}', image
    )
    assert inside(image, "luna --version") == f"luna {version.strip()}\n"
    assert inside(image, "luna-node --version").startswith("luna-node")


def test_a_container_alone_is_a_healthy_node_on_loopback_that_stops_cleanly(
    start_container: StartContainer,
) -> None:
    container = start_container("--hostname", "alpha", "--health-interval", "1s")
    wait_for(lambda: is_healthy(container), "a healthy node", WAIT_S)
    line = docker("exec", container, "luna", "nodes").splitlines()[1]
    assert line.split()[:2] == ["alpha", "*"]
    assert "127.0.0.1:7010" in line

    docker("stop", container, timeout_s=WAIT_S)
    assert inspect(container, "{{.State.ExitCode}}") == "0"
    assert "SIGTERM received" in run(["docker", "logs", container]).stderr


def test_a_node_that_hangs_is_not_healthy(start_container: StartContainer) -> None:
    container = start_container(
        *("--health-interval", "1s", "--health-timeout", "5s", "--health-retries", "2"),
        *("--health-start-period", "0s"),
    )
    wait_for(lambda: is_healthy(container), "a healthy node", WAIT_S)
    docker("kill", "--signal", "STOP", container)
    wait_for(
        lambda: inspect(container, "{{.State.Health.Status}}") == "unhealthy", "an unhealthy node", WAIT_S
    )
    assert is_running(container)
    docker("kill", "--signal", "CONT", container)
    wait_for(lambda: is_healthy(container), "a node that is healthy again", WAIT_S)
