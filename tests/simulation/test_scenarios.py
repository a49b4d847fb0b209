"""Named scenarios: the faults that the distribution was designed for, one by one."""

from __future__ import annotations

import pytest

from luna.cluster.keeping import DEFAULT_TIMINGS
from luna.cluster.members import EventKind, MemberState

from .cluster import Cluster, sides_of
from .faults import Faults, never
from .network import address_of
from .node import SimulatedNode
from .streams import Dial
from .world import World

TIMEOUT_S = DEFAULT_TIMINGS.node_timeout_s
HEALED_S = 20.0


def cluster_of(hosts: int, seed: int = 1, *, pause_s: float = 0.1) -> Cluster:
    cluster = Cluster(seed, hosts, rejoins=False, pause_s=pause_s)
    cluster.start_all()
    cluster.world.run_for(3.0)
    cluster.world.promises.events.clear()
    return cluster


def block(world: World, paths: list[tuple[int, int]]) -> None:
    for path in paths:
        world.network.block(*path)


def unblock(world: World, paths: list[tuple[int, int]]) -> None:
    for path in paths:
        world.network.unblock(*path)


def live_hosts(cluster: Cluster, host: int) -> set[str]:
    return {member.node.name for member in cluster.nodes[host].membership.live()}


def ids(cluster: Cluster) -> set[int]:
    return {node.id for node in cluster.nodes.values()}


@pytest.mark.parametrize("seed", range(5))
def test_halves_of_a_partition_go_on_alone_and_are_one_cluster_again_without_any_restart(seed: int) -> None:
    cluster = cluster_of(4, seed)
    before = ids(cluster)
    paths = sides_of(cluster.hosts, [0, 1])
    block(cluster.world, paths)
    cluster.world.run_for(2 * TIMEOUT_S)
    assert live_hosts(cluster, 0) == live_hosts(cluster, 1) == {"host0", "host1"}
    assert live_hosts(cluster, 2) == live_hosts(cluster, 3) == {"host2", "host3"}
    unblock(cluster.world, paths)
    cluster.rest(HEALED_S)
    assert ids(cluster) == before


@pytest.mark.parametrize("seed", range(5))
def test_a_partition_shorter_than_anybodys_patience_ends_no_session(seed: int) -> None:
    cluster = cluster_of(4, seed)
    cluster.world.promises.may_end = never
    paths = sides_of(cluster.hosts, [0, 1])
    block(cluster.world, paths)
    cluster.world.run_for(0.35 * TIMEOUT_S)  # keepalive gives up after 0.4 of it, at the earliest
    unblock(cluster.world, paths)
    cluster.rest(HEALED_S)


@pytest.mark.parametrize("seed", range(5))
def test_a_frozen_node_is_dead_in_time_and_a_member_again_when_it_thaws(seed: int) -> None:
    cluster = cluster_of(3, seed)
    frozen = cluster.nodes[2]
    frozen.freeze()
    cluster.world.run_for(TIMEOUT_S)
    assert live_hosts(cluster, 0) == live_hosts(cluster, 1) == {"host0", "host1"}
    cluster.world.run_for(TIMEOUT_S)
    frozen.thaw()
    cluster.rest(HEALED_S)
    assert frozen in cluster.nodes.values()
    assert frozen.membership.own.incarnation > 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("away_s", [0.0, 2 * TIMEOUT_S])
@pytest.mark.parametrize("last_to_dial", [False, True])
def test_a_node_that_gets_another_address_is_reached_there(
    seed: int, away_s: float, last_to_dial: bool
) -> None:
    cluster = cluster_of(4, seed)
    before = ids(cluster)
    mover = (max if last_to_dial else min)(cluster.nodes.values(), key=lambda node: node.id)
    paths = sides_of(cluster.hosts, [mover.host])
    block(cluster.world, paths)
    cluster.world.run_for(away_s)
    unblock(cluster.world, paths)
    mover.move(notices_after_s=1.0)
    cluster.rest(HEALED_S)
    assert ids(cluster) == before
    for node in cluster.nodes.values():
        member = node.membership.get(mover.id)
        assert member is not None
        assert member.node.address == mover.address


def test_a_pause_shorter_than_the_timeout_ends_no_session() -> None:
    cluster = cluster_of(3)
    cluster.world.promises.may_end = never
    cluster.nodes[2].freeze()
    cluster.world.run_for(0.35 * TIMEOUT_S)
    cluster.nodes[2].thaw()
    cluster.rest(HEALED_S)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("paths", [[(0, 1), (1, 0)], [(0, 1)], [(1, 0)]])
def test_a_pair_that_is_cut_while_a_third_reaches_both_loses_its_session_and_no_member(
    seed: int, paths: list[tuple[int, int]]
) -> None:
    cluster = cluster_of(3, seed)
    block(cluster.world, paths)
    cluster.world.run_for(4 * TIMEOUT_S)
    assert cluster.world.promises.sessions_ended == 2, "one on each side"
    unblock(cluster.world, paths)
    cluster.rest(HEALED_S)
    assert cluster.world.promises.events[EventKind.DIED] == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_pair_that_is_cut_shorter_than_its_window_goes_on_with_its_session(seed: int) -> None:
    cluster = cluster_of(3, seed)
    cluster.world.promises.may_end = never
    block(cluster.world, [(0, 1), (1, 0)])
    cluster.world.run_for(1.2 * TIMEOUT_S)  # noticed after 0.4 of it, at the earliest, and then as long again
    unblock(cluster.world, [(0, 1), (1, 0)])
    cluster.rest(HEALED_S)


@pytest.mark.parametrize("seed", range(3))
def test_an_answer_to_an_offer_that_is_lost_again_and_again_ends_no_session(seed: int) -> None:
    cluster = cluster_of(2, seed)
    world = cluster.world
    world.promises.may_end = never
    lost = 0
    for end in list(world.network.ends):
        world.network.reset(end)
    while lost < 3:  # more would take longer than the window
        world.run_for(0.0005)
        for end in list(world.network.ends):
            if isinstance(end.side, Dial) and end.queue:
                world.network.reset(end)
                lost += 1
    cluster.rest(HEALED_S)


@pytest.mark.parametrize("seed", range(3))
def test_the_first_answer_may_be_lost_and_what_was_sent_on_the_strength_of_it_arrives(seed: int) -> None:
    cluster = Cluster(seed, 2, pause_s=0.02)
    world = cluster.world
    world.promises.may_end = never
    for host in cluster.hosts:
        cluster.start(host)
    lost = 0
    while lost < 5:
        world.run_for(0.0005)
        for end in list(world.network.ends):
            if isinstance(end.side, Dial) and end.queue:
                world.network.reset(end)
                lost += 1
    cluster.rest(HEALED_S)
    assert world.promises.messages > 10


@pytest.mark.parametrize("seed", range(10))
def test_two_sides_that_give_each_other_up_at_the_same_time_meet_again(seed: int) -> None:
    cluster = cluster_of(2, seed)
    paths = [(0, 1), (1, 0)]
    for end in list(cluster.world.network.ends):
        cluster.world.network.reset(end)
    block(cluster.world, paths)
    cluster.world.run_for(2 * TIMEOUT_S)
    assert live_hosts(cluster, 0) == {"host0"}
    assert live_hosts(cluster, 1) == {"host1"}
    unblock(cluster.world, paths)
    cluster.rest(HEALED_S)


@pytest.mark.parametrize("seed", range(5))
def test_a_node_that_was_killed_is_dead_at_once_and_its_successor_has_its_name_and_address(seed: int) -> None:
    cluster = cluster_of(3, seed)
    dead = cluster.nodes[1]
    dead.crash()
    cluster.world.run_for(0.1)
    assert live_hosts(cluster, 0) == live_hosts(cluster, 2) == {"host0", "host2"}
    successor = cluster.start(1)
    cluster.rest(HEALED_S)
    member = cluster.nodes[0].membership.find("host1")
    assert member is not None
    assert (member.node.id, member.node.address) == (successor.id, address_of(1))


@pytest.mark.parametrize("seed", range(5))
def test_a_node_that_is_restarted_at_once_takes_the_place_of_the_one_before(seed: int) -> None:
    cluster = cluster_of(3, seed)
    cluster.nodes[1].crash()
    cluster.start(1)
    cluster.rest(HEALED_S)
    assert live_hosts(cluster, 0) == {"host0", "host1", "host2"}


def with_a_twin(seed: int) -> tuple[Cluster, SimulatedNode]:
    """Hosts 0, 1, and 2 with a node called twin; host 3 is free."""
    cluster = cluster_of(4, seed)
    for host in (2, 3):
        cluster.nodes[host].leave()
    cluster.world.run_for(3.0)
    twin = cluster.start(2, "twin")
    cluster.world.run_for(3.0)
    return cluster, twin


@pytest.mark.parametrize("seed", range(10))
def test_a_frozen_node_that_was_replaced_has_lost_its_name_when_it_thaws(seed: int) -> None:
    cluster, frozen = with_a_twin(seed)
    frozen.freeze()
    cluster.world.run_for(2 * TIMEOUT_S)
    heir = cluster.start(3, "twin")
    cluster.world.run_for(3.0)
    frozen.thaw()
    cluster.rest(HEALED_S)
    assert heir in cluster.nodes.values()
    assert frozen not in cluster.nodes.values()


@pytest.mark.parametrize("seed", range(20))
def test_of_a_node_and_the_one_that_replaced_it_behind_a_partition_exactly_one_stays(seed: int) -> None:
    cluster, twin = with_a_twin(seed)
    paths = sides_of(cluster.hosts, [0, 2])
    block(cluster.world, paths)
    cluster.world.run_for(2 * TIMEOUT_S)
    heir = cluster.start(3, "twin")
    cluster.world.run_for(3.0)
    was_let_in = "twin" in live_hosts(cluster, 1)
    if not was_let_in:  # it only asks members beyond the partition, who know the other one
        heir.leave()
    unblock(cluster.world, paths)
    cluster.rest(HEALED_S)
    stays, goes = (heir, twin) if was_let_in else (twin, heir)
    assert stays in cluster.nodes.values()
    assert goes not in cluster.nodes.values()


@pytest.mark.parametrize("seed", range(5))
def test_a_second_node_of_a_name_goes_though_its_clock_says_that_it_was_first(seed: int) -> None:
    cluster, twin = with_a_twin(seed)
    second = cluster.start(3, "twin", skew_s=-3600.0)
    assert second.membership.own.node.started_ms < twin.membership.own.node.started_ms
    cluster.rest(HEALED_S)
    assert twin in cluster.nodes.values()
    assert second not in cluster.nodes.values()


@pytest.mark.parametrize("seed", range(5))
def test_a_verdict_about_a_member_is_not_heeded_by_who_has_an_open_stream_to_it(seed: int) -> None:
    cluster = cluster_of(3, seed)
    accuser, accused = cluster.nodes[0], cluster.nodes[2]
    before = accused.membership.own.incarnation
    peering = accuser.peering
    peering._act(cluster.world.now_s, accuser.membership.declare_dead(accused.id), "a test says so")
    accuser.changed()
    cluster.rest(HEALED_S)
    assert cluster.world.promises.sessions_ended == 2, "only that of the two"
    assert cluster.world.promises.events[EventKind.DIED] == 1
    assert accused.membership.own.incarnation == before + 1


@pytest.mark.parametrize("seed", range(30))
def test_a_bad_path_between_two_nodes_costs_nobody_else(seed: int) -> None:
    cluster = cluster_of(3 + seed % 3, seed)
    world, random = cluster.world, cluster.random
    world.promises.may_end = lambda host, peer_host: {host, peer_host} == {0, 1}
    faults = Faults(cluster, gentle=True)
    for _ in range(4):
        paths = random.choice([[(0, 1), (1, 0)], [(0, 1)], [(1, 0)]])
        faults._block(paths, TIMEOUT_S * random.uniform(0.1, 2.5))
        faults.break_connections(0.0)
        world.run_for(random.uniform(0.0, 2 * TIMEOUT_S))
    world.run_for(3 * TIMEOUT_S)
    cluster.rest(HEALED_S)
    assert world.promises.events[EventKind.DIED] == 0


def test_a_goodbye_is_not_taken_for_a_death_and_is_heard_of_behind_a_partition() -> None:
    cluster = cluster_of(4)
    left = cluster.nodes[3]
    block(cluster.world, [(2, 3), (3, 2)])
    left.leave()
    cluster.world.run_for(1.0)
    known = [cluster.nodes[host].membership.get(left.id) for host in (0, 1, 2)]
    assert [member.state for member in known if member is not None] == [MemberState.LEFT] * 3
    assert cluster.world.promises.events[EventKind.DIED] == 0


def test_a_slow_reader_keeps_nobody_elses_messages() -> None:
    cluster = cluster_of(3)
    cluster.world.promises.may_end = never
    cluster.world.network.slow_hosts[2] = 0.2
    first, second, slow = (cluster.nodes[host] for host in (0, 1, 2))
    sender = first.core.spawn(survives=True)
    for _ in range(200):
        if sender.waits_for is None:
            sender.send_message(slow.core.spawn(survives=True).pid)
    assert sender.waits_for is not None, "it is suspended"
    other, target = first.core.spawn(survives=True), second.core.spawn(survives=True)
    for _ in range(20):
        other.send_message(target.pid)
    cluster.world.run_for(0.2)
    assert cluster.world.promises._received[other.pid, target.pid] == 20
    cluster.world.network.slow_hosts.clear()
    cluster.rest(HEALED_S)


def test_sixty_nodes_hear_of_a_death_within_a_second_and_do_not_drown_in_gossip() -> None:
    cluster = Cluster(1, 60, rejoins=False, pause_s=1.0)
    cluster.start_all(within_s=3.0)
    promises = cluster.world.promises
    cluster.world.run_for(3.0)
    promises.counts.clear()
    cluster.world.run_for(10.0)
    assert not promises.counts, "a quiet cluster says nothing about its members"
    cluster.nodes[17].crash()
    cluster.world.run_for(1.0)
    assert all("host17" not in live_hosts(cluster, host) for host in cluster.nodes)
    assert promises.counts["gossip"] <= 60 * 60
    cluster.rest(HEALED_S)
