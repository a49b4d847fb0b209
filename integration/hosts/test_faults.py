"""The promises between nodes while connections break, the network splits, and nodes freeze and die.

Every scenario checks the same: messages arrive in order and once, none is missing unless death notices were
sent, and each link and monitor across a pair of nodes fires exactly once when the pair is given up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from luna.proto.limits import MIB

from ..node_process import NodeProcess, wait_for
from .fault_cluster import HOSTS, PATIENCE_S, FaultCluster, Flow, Watch, spawn

_log = logging.getLogger(__name__)

pytestmark = pytest.mark.timeout(300)

MODULE_BYTES = 64 * MIB
"""bytes of a module that is on its way for long enough to be broken off."""

SHORT_S = 1.5
"""seconds of a partition that a session must outlive; the verdict takes five."""

FORGIVEN_S = 6.0
"""seconds of a freeze, which is over the time-out that nodes have if not told otherwise."""


def has_reset(cluster: FaultCluster, before: int) -> bool:
    return cluster.network.switch.resets > before


def both_ways(cluster: FaultCluster, one: str, other: str) -> list[Flow]:
    return [cluster.flow(one, other), cluster.flow(other, one)]


def under_load(cluster: FaultCluster, one: str, other: str) -> list[Flow]:
    """As many messages as will go, both ways: small ones, some of a page, and large ones."""
    return [
        cluster.flow(source, target, size=size, burst=100, pause_ms=0)
        for source, target in ((one, other), (other, one))
        for size in (100, 4000, 60_000)
    ]


def check_nothing_lost(flows: list[Flow], watches: dict[tuple[str, str], Watch]) -> None:
    """The sessions have lived on: every message came, nobody was told of a death."""
    for flow in flows:
        flow.wait_more()
    sent = [(flow.name, flow.finish()) for flow in flows]
    for watch in watches.values():
        watch.check(0)
    _log.info("all arrived: %s", sent)


def check_told_once(watches: dict[tuple[str, str], Watch], given_up: Callable[[str, str], bool]) -> None:
    """Wait for the notices of the pairs that were given up; no other pair has any, and none has two."""
    for (one, other), watch in watches.items():
        if given_up(one, other):
            watch.wait_told()
    for (one, other), watch in watches.items():
        watch.check(1 if given_up(one, other) else 0)


def check_sessions_anew(cluster: FaultCluster, *pairs: tuple[str, str]) -> None:
    """Messages flow both ways between these nodes, as if nothing had been."""
    flows = [flow for one, other in pairs for flow in both_ways(cluster, one, other)]
    for flow in flows:
        flow.finish()


# --- short faults: nobody notices ------------------------------------------------------------


def test_connections_reset_in_mid_stream_lose_and_repeat_nothing(cluster: FaultCluster) -> None:
    cluster.start("a", "b")
    watches = cluster.watches("a", "b")
    flows = under_load(cluster, "a", "b")
    for _ in range(5):
        before = cluster.network.switch.resets
        assert cluster.network.reset("a", "b") >= 1
        wait_for(partial(has_reset, cluster, before), "a reset", PATIENCE_S)
        for flow in flows:
            flow.wait_more()
    check_nothing_lost(flows, watches)
    cluster.wait_complete()


def test_a_short_partition_loses_and_repeats_nothing(cluster: FaultCluster) -> None:
    cluster.start("a", "b")
    watches = cluster.watches("a", "b")
    flows = under_load(cluster, "a", "b")
    for _ in range(2):
        cluster.network.cut(("a", "b"))
        time.sleep(SHORT_S)  # the fault itself
        cluster.network.heal()
        for flow in flows:
            flow.wait_more()
    check_nothing_lost(flows, watches)
    cluster.wait_complete()


def test_a_bad_network_loses_and_repeats_nothing(cluster: FaultCluster) -> None:
    """With every fifth packet lost, a pair may be given up; then by the rules."""
    cluster.start("a", "b")
    watches = cluster.watches("a", "b")
    flows = both_ways(cluster, "a", "b")
    cluster.network.degrade(delay_s=0.05, loss=0.2)
    time.sleep(5.0)  # the fault itself
    cluster.network.heal()
    cluster.wait_complete()
    told = [sum(watch.watcher.figures().values()) for watch in watches.values()]
    if any(told):
        _log.info("the pair was given up")
        check_told_once(watches, lambda one, other: True)
        for flow in flows:
            assert flow.collector.figures()["repeats"] == 0
        check_sessions_anew(cluster, ("a", "b"))
    else:
        check_nothing_lost(flows, watches)


def test_a_module_arrives_though_its_transfer_is_broken(cluster: FaultCluster) -> None:
    a, b = cluster.start("a", "b")
    folder = cluster.hosts.state("b") / "modules"
    cluster.network.degrade(delay_s=0.05)
    spread = spawn(a, "spread", b.id, padding=MODULE_BYTES)
    wait_for(lambda: spread.figures() or size_of_partial(folder) > MIB, "a transfer", PATIENCE_S)
    broken = not spread.figures()
    cluster.network.reset("a", "b")
    assert spread.wait(bool, "the spawn") == {"status": 0, "node": b.id}
    assert [path.stat().st_size > MODULE_BYTES for path in folder.iterdir()] == [True]
    assert not broken or "a module transfer broke and goes on" in b.errors()


def size_of_partial(folder: Path) -> int:
    try:
        return max((path.stat().st_size for path in folder.glob("*.partial")), default=0)
    except FileNotFoundError:  # it was finished meanwhile
        return 0


# --- nodes that die and freeze ---------------------------------------------------------------


def test_a_killed_node_is_told_of_once_and_at_once(cluster: FaultCluster) -> None:
    cluster.start("a", "b", "c")
    watches = cluster.watches("a", "b", "c")
    flow = cluster.flow("a", "b")
    lost = cluster.flow("a", "c")
    cluster.nodes["c"].kill()
    _log.info("gone after %.3f s", cluster.wait_gone("c", "a", "b"))
    left = {pair: watch for pair, watch in watches.items() if pair[0] != "c"}
    check_told_once(left, lambda one, other: other == "c")
    flow.finish()
    spawn(lost.sender.node, "stop", lost.sender.pid)  # sending to the dead is silent, and ends
    lost.sender.wait(lambda figures: "sent" in figures, "the end of what sent to the dead node")
    check_told_once(left, lambda one, other: other == "c")


def test_a_node_started_again_under_its_name_is_a_new_one(cluster: FaultCluster) -> None:
    cluster.start("a", "b", "c")
    watches = cluster.watches("a", "b", "c")
    former = cluster.nodes["c"]
    former.kill()
    assert cluster.start_one("c").id != former.id
    cluster.wait_complete()
    left = {pair: watch for pair, watch in watches.items() if pair[0] != "c"}
    check_told_once(left, lambda one, other: other == "c")
    check_sessions_anew(cluster, ("a", "c"), ("b", "c"))
    check_told_once(left, lambda one, other: other == "c")


def test_a_node_that_is_frozen_for_less_than_the_timeout_is_missed_by_nobody(cluster: FaultCluster) -> None:
    cluster.start("a", "b", "c", more=("--node-timeout", "60"))
    watches = cluster.watches("a", "b", "c")
    flows = [*both_ways(cluster, "a", "c"), *both_ways(cluster, "b", "c")]
    frozen = cluster.nodes["c"]
    frozen.pause()
    time.sleep(FORGIVEN_S)  # the fault itself
    frozen.resume()
    check_nothing_lost(flows, watches)
    cluster.wait_complete()


def test_a_frozen_node_is_given_up_once_and_comes_back_when_it_thaws(cluster: FaultCluster) -> None:
    cluster.start("a", "b", "c")
    watches = cluster.watches("a", "b", "c")
    flow = cluster.flow("a", "b")
    crossing = both_ways(cluster, "a", "c")
    frozen = cluster.nodes["c"]
    ids = {name: node.id for name, node in cluster.nodes.items()}
    frozen.pause()
    _log.info("gone after %.1f s", cluster.wait_gone("c", "a", "b"))
    for observer in ("a", "b"):
        watches[observer, "c"].wait_told()
    frozen.resume()
    check_told_once(watches, lambda one, other: "c" in (one, other))
    cluster.wait_complete()
    assert {name: entry.member.node.id for name, entry in frozen.nodes().items()} == ids
    check_sessions_anew(cluster, ("a", "c"), ("b", "c"))
    for old in crossing:
        assert old.collector.figures()["repeats"] == 0
    check_told_once(watches, lambda one, other: "c" in (one, other))
    flow.finish()


# --- partitions ------------------------------------------------------------------------------


def test_a_cluster_split_in_two_is_whole_again_when_the_network_is(cluster: FaultCluster) -> None:
    cluster.start(*HOSTS)
    watches = cluster.watches(*HOSTS)
    halves = {"a": 1, "b": 1, "c": 2, "d": 2}
    inner = [cluster.flow("a", "b"), cluster.flow("d", "c")]
    cluster.network.split("ab", "cd")
    for name in HOSTS:
        for other in HOSTS:
            if halves[name] != halves[other]:
                cluster.wait_gone(other, name)
    check_told_once(watches, lambda one, other: halves[one] != halves[other])
    cluster.network.heal()
    cluster.wait_complete()
    check_sessions_anew(cluster, ("a", "c"), ("d", "b"))
    check_told_once(watches, lambda one, other: halves[one] != halves[other])
    for flow in inner:
        flow.finish()


@pytest.mark.parametrize("one_way", [True, False], ids=["one way", "both ways"])
def test_two_nodes_that_do_not_reach_each_other_keep_those_that_reach_both(
    cluster: FaultCluster, one_way: bool
) -> None:
    cluster.start("a", "b", "c")
    watches = cluster.watches("a", "b", "c")
    kept = [*both_ways(cluster, "a", "c"), *both_ways(cluster, "b", "c")]
    if one_way:
        cluster.network.cut_one_way("a", "b")
    else:
        cluster.network.cut(("a", "b"))
    for pair in (("a", "b"), ("b", "a")):
        watches[pair].wait_told()
    check_told_once(watches, lambda one, other: "c" not in (one, other))
    for flow in kept:
        flow.wait_more()
    cluster.network.heal()
    cluster.wait_complete()
    check_sessions_anew(cluster, ("a", "b"))
    for flow in kept:
        flow.finish()
    check_told_once(watches, lambda one, other: "c" not in (one, other))


def test_partitions_leave_no_connections_behind(cluster: FaultCluster) -> None:
    nodes = cluster.start("a", "b")
    before = [node.files() for node in nodes]
    for _ in range(3):
        cluster.network.cut(("a", "b"))
        cluster.wait_gone("b", "a")
        time.sleep(SHORT_S)  # attempts to meet again, which begin in vain
        cluster.network.heal()
        cluster.wait_complete()
    for node, files in zip(nodes, before, strict=True):
        wait_for(partial(has_files, node, files), f"{node.name} with no more than {files} files", PATIENCE_S)


def has_files(node: NodeProcess, most: int) -> bool:
    return node.files() <= most


# --- peers that do not read ------------------------------------------------------------------

STUCK_BYTES = 192 * MIB
"""bytes that a node may need more while a peer does not read: its queue, frames that are not acknowledged,
and what allocators keep; without a bound it would be gigabytes."""

STUCK_SAMPLES = 8
"""how often the figures are taken, each for RATE_S: well over the time in which a connection is given up."""

RATE_S = 1.5


def test_a_peer_that_does_not_read_delays_nobody_else_and_costs_bounded_memory(
    cluster: FaultCluster,
) -> None:
    a, _, c = cluster.start("a", "b", "c", more=("--node-timeout", "60"))  # nobody is given up
    memory = a.resident_bytes()
    watches = cluster.watches("a", "b", "c")
    to_c = [cluster.flow("a", "c", size=16384, burst=100, pause_ms=0) for _ in range(4)]
    to_b = cluster.flow("a", "b", size=200, burst=100, pause_ms=1)
    usual = rate(to_b)
    c.pause()
    meanwhile, most = [], 0
    for _ in range(STUCK_SAMPLES):
        meanwhile.append(rate(to_b))
        most = max(most, a.resident_bytes())
    c.resume()
    _log.info(
        "messages/s elsewhere: %.0f usually, %.0f to %.0f meanwhile; memory %d MiB, at most %d MiB more",
        *(usual, min(meanwhile), max(meanwhile), memory // MIB, (most - memory) // MIB),
    )
    assert most - memory < STUCK_BYTES
    assert max(meanwhile) > usual / 10  # the order of magnitude; other programs may have the machine at times
    check_nothing_lost([to_b, *to_c], watches)


def rate(flow: Flow) -> float:
    """Messages a second that arrive just now."""
    begin, before = time.monotonic(), flow.received()
    time.sleep(RATE_S)
    return (flow.received() - before) / (time.monotonic() - begin)
