"""Everyday life of a cluster on hosts of their own: spawns, messages, links, monitors, names, logs."""

from __future__ import annotations

import itertools
from functools import partial

import pytest

from luna.proto.ids import serial_of

from ..node_process import NodeProcess, wait_for
from .fault_cluster import GUEST, PATIENCE_S, FaultCluster, Process, Watch, spawn

pytestmark = pytest.mark.timeout(300)

NAMES = ("a", "b", "c")


def pairs() -> list[tuple[str, str]]:
    return list(itertools.permutations(NAMES, 2))


def holder(node: NodeProcess) -> int | None:
    """Who holds the name, as this node has it."""
    found = spawn(node, "find").wait(bool, f"{node.name} to look the name up")
    return found["process"] if found["status"] == 0 else None


def wait_holder(nodes: list[NodeProcess], process: int | None) -> None:
    """Wait until all of these nodes say that this process holds the name, or that nobody does."""
    for node in nodes:
        wait_for(partial(is_holder, node, process), f"{node.name} finds {process}", PATIENCE_S)


def is_holder(node: NodeProcess, process: int | None) -> bool:
    return holder(node) == process


def hold(node: NodeProcess) -> Process:
    process = spawn(node, "holder")
    process.wait(bool, "the name to be had")
    return process


def test_processes_are_spawned_and_talk_and_watch_between_all_hosts(cluster: FaultCluster) -> None:
    cluster.start(*NAMES)
    nodes = cluster.nodes
    for one, other in pairs():
        spread = spawn(nodes[one], "spread", nodes[other].id)
        assert spread.wait(bool, f"a spawn from {one} on {other}") == {"status": 0, "node": nodes[other].id}
    flows = [cluster.flow(one, other) for one, other in pairs()]
    watches = [(one, other, Watch(nodes[one], spawn(nodes[other], "collector"))) for one, other in pairs()]
    for flow in flows:
        flow.finish()
    for _, _, watch in watches:
        watch.check(0)
    for one, other, watch in watches:
        killed = nodes[one].luna("kill", f"{serial_of(watch.watched.pid)}@{other}")
        assert killed.returncode == 0, killed.stderr
        watch.wait_told()
    for _, _, watch in watches:
        watch.check(1)


def test_programs_are_started_listed_and_read_from_any_host(cluster: FaultCluster) -> None:
    cluster.start(*NAMES)
    for one, other in pairs():
        started = cluster.nodes[one].luna("spawn", "--node", other, "--entry", "holder", str(GUEST))
        assert started.returncode == 0, started.stderr
        process = started.stdout.strip()
        assert process.endswith(f"@{other}")
        for name in NAMES:
            node = cluster.nodes[name]
            wait_for(partial(has_written, node, process), f"{name} reads what {process} wrote", PATIENCE_S)
            assert process in {entry["pid"] for entry in node.luna_json("ps")["processes"]}


def has_written(node: NodeProcess, process: str) -> bool:
    return node.luna("logs", process).stdout == "holding=1\n"


def test_a_name_has_one_holder_and_is_free_when_its_host_is_lost(cluster: FaultCluster) -> None:
    a, b, c = cluster.start(*NAMES)
    held = hold(c)
    wait_holder([a, b, c], held.pid)
    c.kill()
    wait_holder([a, b], None)
    again = hold(a)
    wait_holder([a, b], again.pid)
    c = cluster.start_one("c")
    cluster.wait_complete()
    wait_holder([c], again.pid)


def test_of_two_holders_on_the_sides_of_a_partition_the_earlier_one_stays(cluster: FaultCluster) -> None:
    a, b, c = cluster.start(*NAMES)
    cluster.network.split("ab", "c")
    cluster.wait_gone("c", "a", "b")
    cluster.wait_gone("a", "c")
    cluster.wait_gone("b", "c")
    first = hold(a)
    second = hold(c)
    wait_holder([b], first.pid)
    cluster.network.heal()
    cluster.wait_complete()
    wait_holder([a, b, c], first.pid)
    wait_for(partial(is_gone, c, second), "the end of the later holder", PATIENCE_S)
    wait_for(lambda: "registered earlier on another node" in c.errors(), "the log to say why", PATIENCE_S)


def is_gone(node: NodeProcess, process: Process) -> bool:
    return process.pid not in {entry["absolute_pid"] for entry in node.luna_json("ps")["processes"]}
