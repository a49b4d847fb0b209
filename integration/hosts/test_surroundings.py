"""A node with a full disk, too little memory, or a wrong clock; and the others, who must not care."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import grpc
import pytest

from luna.proto.limits import MIB

from ..node_process import NodeProcess, wait_for
from .fault_cluster import PATIENCE_S, FaultCluster, spawn
from .surroundings import Surroundings
from .test_cluster import hold, wait_holder

pytestmark = pytest.mark.timeout(300)

DISK_BYTES = 24 * MIB
MODULE_BYTES = 8 * MIB
"""bytes that a module is made larger by, so that few fit the disk"""

NODE_MEMORY_BYTES = 448 * MIB
"""bytes for a node that has some 100 MiB of its own"""

HOG_MIB = 32
HOUR_MS = 3_600_000


# --- disk ------------------------------------------------------------------------------------


def fill(folder: Path) -> Path:
    """Take all the space there is on a disk, by one file."""
    filler = folder / "filler"
    block = bytes(64 * 1024)
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(block)
        except OSError:
            return filler


def on_disk(folder: Path) -> int:
    """How many large modules a disk holds."""
    return sum(path.stat().st_size > MODULE_BYTES for path in folder.iterdir() if path.name != "filler")


def spread(node: NodeProcess, target: NodeProcess, padding: int) -> dict[str, int]:
    """Start a process of a module nobody has seen, from one node on another; the figures."""
    return spawn(node, "spread", target.id, padding=padding).wait(bool, "the answer to a spawn")


def test_a_full_disk_stops_neither_the_node_nor_spawns_on_it(cluster: FaultCluster) -> None:
    a = cluster.start_one("a")
    b = cluster.start_one("b", around=Surroundings(modules_bytes=DISK_BYTES))
    cluster.start_one("c")
    cluster.wait_complete()
    assert spread(a, b, MODULE_BYTES) == {"status": 0, "node": b.id}
    flows = [cluster.flow("a", "b"), cluster.flow("b", "c")]
    watches = cluster.watches("a", "b", "c")
    filler = fill(cluster.hosts.modules("b", b))
    stored = on_disk(filler.parent)
    assert spread(a, b, MODULE_BYTES + 1) == {"status": 0, "node": b.id}
    wait_for(lambda: "kept in memory only" in b.errors(), "the log to say so", PATIENCE_S)
    assert on_disk(filler.parent) == stored
    for flow in flows:
        flow.wait_more()
    filler.unlink()
    assert spread(a, b, MODULE_BYTES + 2) == {"status": 0, "node": b.id}
    assert on_disk(filler.parent) == stored + 1
    for flow in flows:
        flow.finish()
    for watch in watches.values():
        watch.check(0)


# --- memory ----------------------------------------------------------------------------------


def test_a_node_that_the_kernel_ends_for_its_memory_is_told_of_once(cluster: FaultCluster) -> None:
    cluster.start_one("a")
    b = cluster.start_one("b", around=Surroundings(memory_bytes=NODE_MEMORY_BYTES))
    cluster.start_one("c")
    cluster.wait_complete()
    watches = cluster.watches("a", "b", "c")
    kept = cluster.flow("a", "c")
    while b.process.poll() is None:
        with contextlib.suppress(grpc.RpcError):  # it ends in the middle of that
            spawn(b, "hog", HOG_MIB, memory=2 * HOG_MIB * MIB)
    assert b.wait_exit() in (-signal.SIGKILL, 128 + signal.SIGKILL)
    cluster.wait_gone("b", "a", "c")
    left = {pair: watch for pair, watch in watches.items() if pair[0] != "b"}
    for (_, other), watch in left.items():
        if other == "b":
            watch.wait_told()
    again = cluster.start_one("b")
    assert again.id != b.id
    cluster.wait_complete()
    for (_, other), watch in left.items():
        watch.check(1 if other == "b" else 0)
    cluster.flow("a", "b").finish()
    kept.finish()


# --- clocks ----------------------------------------------------------------------------------


def test_nodes_whose_clocks_disagree_are_one_cluster(namespace_cluster: FaultCluster) -> None:
    cluster = namespace_cluster
    a = cluster.start_one("a")
    b = cluster.start_one("b", around=Surroundings(clock="-3h"))
    c = cluster.start_one("c", around=Surroundings(clock="+40d"))
    cluster.wait_complete()
    watches = cluster.watches("a", "b", "c")
    flows = [cluster.flow(one, other) for one, other in watches]
    started = {name: entry.member.node.started_ms for name, entry in a.nodes().items()}
    assert started["a"] - started["b"] > 2 * HOUR_MS
    assert started["c"] - started["a"] > 39 * 24 * HOUR_MS
    held = hold(c)
    wait_holder([a, b, c], held.pid)
    b.pause()
    cluster.wait_gone("b", "a", "c")
    b.resume()
    cluster.wait_complete()
    for (one, other), watch in watches.items():
        if "b" in (one, other):
            watch.wait_told()
    for flow in flows:
        if "b" not in flow.name:
            flow.finish()
    for (one, other), watch in watches.items():
        watch.check(1 if "b" in (one, other) else 0)
    cluster.flow("a", "b").finish()
    wait_holder([a, b, c], held.pid)


def test_a_second_node_of_a_name_is_turned_away_though_its_clock_says_that_it_was_first(
    namespace_cluster: FaultCluster,
) -> None:
    cluster = namespace_cluster
    cluster.start("a", "b")
    address = cluster.nodes["a"].address
    second = cluster.hosts.begin_on(
        "c",
        *("--name", "b", "--listen", f"{cluster.network.address('c')}:7010", "--join", address),
        *("--cluster", cluster.hosts.cluster, "--no-discovery", "--insecure"),
        around=Surroundings(clock="-3h"),
    )
    assert second.wait_exit(PATIENCE_S) == 1
    assert "the name b is taken" in second.errors()
    assert cluster.nodes["a"].sees("a", "b")
