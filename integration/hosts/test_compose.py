"""The cluster of docker-compose.yml keeps what docs/compose.md says of it."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from typing import Any

import pytest
from integration.node_process import wait_for

from .compose import Cluster, inspect, is_healthy, is_running
from .engine import docker, run

pytestmark = pytest.mark.timeout(600, func_only=True)  # but the image is built before the first test

WAIT_S = 180.0
"""seconds; each wait ends in a few on a quiet machine"""

HELLO = "build/guests/hello.wasm"


def wait_formed(project: Cluster, count: int) -> None:
    wait_for(lambda: project.formed(count), f"{count} nodes that see each other", WAIT_S)


def ids(project: Cluster) -> dict[str, int]:
    """The node ids by their names, as the service `cli` tells them."""
    return {node["name"]: node["id"] for node in project.luna_json("nodes")["nodes"]}


def log_of(container: str) -> str:
    done = run(["docker", "logs", container])
    return done.stdout + done.stderr


def test_three_nodes_find_each_other_and_run_programs_and_more_can_be_added(project: Cluster) -> None:
    project.up()
    wait_formed(project, 3)
    wait_for(lambda: all(map(is_healthy, project.nodes())), "healthy nodes", WAIT_S)
    assert set(ids(project)) == {"node-1", "node-2", "node-3"}

    for number in (1, 2, 3):
        done = project.luna("spawn", "--node", f"node-{number}", "--follow", HELLO)
        assert done.returncode == 0, done.stderr
        assert f"@node-{number}" in done.stderr
        assert 'the child says "hello, world"' in done.stdout

    project.up("--scale", "node=5")
    wait_formed(project, 5)
    project.up("--scale", "node=2")
    wait_formed(project, 2)


def test_prometheus_scrapes_every_node(project: Cluster) -> None:
    project.up()
    wait_formed(project, 3)
    address = project.compose("port", "metrics", "9090").strip()

    def ask(query: str) -> list[Any]:
        with urllib.request.urlopen(f"http://{address}/api/v1/query?query={query}", timeout=30) as answer:
            found = json.load(answer)["data"]["result"]
        assert isinstance(found, list)
        return found

    wait_for(lambda: _quietly(lambda: len(ask("up==1")) == 3), "three nodes that are scraped", WAIT_S)
    wait_for(lambda: len(ask("luna_node_peers==2")) == 3, "what they measure", WAIT_S)


def _quietly(condition: Any) -> bool:
    try:
        return bool(condition())
    except OSError:
        return False  # it does not listen yet


def test_stopping_is_leaving(project: Cluster) -> None:
    project.up()
    wait_formed(project, 3)
    leaver, witness = project.container(2), project.container(1)
    docker("stop", leaver, timeout_s=WAIT_S)
    assert inspect(leaver, "{{.State.ExitCode}}") == "0"
    wait_for(lambda: project.sees(witness, "node-1", "node-3"), "two nodes", WAIT_S)
    events = json.loads(docker("exec", witness, "luna", "events", "--json"))["data"]["events"]
    kinds = [event["kind"] for event in events if event["node"] == "node-2"]
    assert "left" in kinds, events
    assert "died" not in kinds, events

    project.compose("stop")
    assert [inspect(container, "{{.State.ExitCode}}") for container in project.nodes()] == ["0"] * 3
    assert all("SIGTERM received" in log_of(container) for container in project.nodes())


def test_ctrl_c_stops_all_nodes_cleanly(project: Cluster) -> None:
    with subprocess.Popen(
        project.command("up"),
        env=project.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as compose:
        try:
            wait_formed(project, 3)
            compose.send_signal(signal.SIGINT)
            compose.wait(WAIT_S)
        finally:
            compose.kill()
    assert [inspect(container, "{{.State.ExitCode}}") for container in project.nodes()] == ["0"] * 3
    assert all("SIGTERM received" in log_of(container) for container in project.nodes())


def test_a_node_that_crashes_is_started_again_and_one_that_was_asked_to_leave_is_not(
    project: Cluster,
) -> None:
    project.up()
    wait_formed(project, 3)
    before = ids(project)
    victim = project.container(2)
    pid = json.loads(docker("exec", victim, "luna", "status", "--json"))["data"]["os_pid"]
    run(["docker", "exec", victim, "sh", "-c", f"kill -9 {pid}"], check=False)
    wait_for(lambda: int(inspect(victim, "{{.RestartCount}}")) > 0, "a restart", WAIT_S)
    wait_formed(project, 3)
    after = ids(project)
    assert {name for name in before if before[name] != after[name]} == {"node-2"}

    done = project.luna("leave", "node-3")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: not is_running(project.container(3)), "the end of node-3", WAIT_S)
    wait_formed(project, 2)
    assert inspect(project.container(3), "{{.State.ExitCode}} {{.RestartCount}}") == "0 0"


def test_a_killed_node_is_missed_and_comes_back_under_its_name(project: Cluster) -> None:
    project.up()
    wait_formed(project, 3)
    before = ids(project)
    docker("kill", project.container(2))
    wait_for(lambda: project.sees(project.container(1), "node-1", "node-3"), "two nodes", WAIT_S)
    project.up()
    wait_formed(project, 3)
    assert {name for name, number in ids(project).items() if number != before[name]} == {"node-2"}


def test_modules_survive_down_and_up_and_are_gone_after_down_with_volumes(project: Cluster) -> None:
    def kept() -> list[str]:
        found = docker(
            "exec", project.container(2), "sh", "-c", "cd /var/lib/luna && find . -path './node-2/*' -type f"
        )
        return sorted(path for path in found.split() if "/modules/" in path or "/cache/" in path)

    project.up()
    wait_formed(project, 3)
    assert project.luna("spawn", "--node", "node-2", "--follow", HELLO).returncode == 0
    first = kept()
    assert any("/modules/" in path for path in first)
    assert any("/cache/" in path for path in first)

    project.compose("down")
    project.up()
    wait_formed(project, 3)
    assert set(first) <= set(kept())

    project.compose("down", "--volumes")
    project.up()
    wait_formed(project, 3)
    assert not any("/modules/" in path for path in kept())


@pytest.mark.parametrize("is_taken", [False, True], ids=["address free", "address taken"])
def test_a_node_that_loses_its_network_is_given_up_and_comes_back_with_it(
    project: Cluster, is_taken: bool
) -> None:
    project.up()
    wait_formed(project, 3)
    before = ids(project)
    # The others dial the one with the highest id: they have to learn its address if it gets another one.
    name = max(before, key=lambda name: before[name])
    others = sorted(set(before) - {name})
    cut_off, witness = (project.container(int(node[-1])) for node in (name, others[0]))
    [network] = json.loads(inspect(cut_off, "{{json .NetworkSettings.Networks}}"))
    docker("network", "disconnect", network, cut_off)
    wait_for(lambda: project.sees(witness, *others), "two nodes", WAIT_S)
    wait_for(lambda: project.sees(cut_off, name), "one node that is alone", WAIT_S)
    if is_taken:  # engines give the lowest free address first
        project.compose("run", "--detach", "--entrypoint", "sleep", "cli", "infinity")
    docker("network", "connect", network, cut_off)
    wait_formed(project, 3)
    assert ids(project) == before
    address = inspect(cut_off, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    members = project.luna_json("nodes")["nodes"]
    assert [member["address"] for member in members if member["name"] == name] == [f"{address}:7010"]


def test_a_paused_node_is_given_up_and_comes_back_when_it_goes_on(project: Cluster) -> None:
    project.up()
    wait_formed(project, 3)
    before = ids(project)
    paused, witness = project.container(3), project.container(1)
    docker("pause", paused)
    wait_for(lambda: project.sees(witness, "node-1", "node-2"), "two nodes", WAIT_S)
    docker("unpause", paused)
    wait_formed(project, 3)
    assert ids(project) == before
