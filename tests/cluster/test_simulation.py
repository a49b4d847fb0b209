"""Simulated clusters under loss, delay, crashes, freezes, splits: they converge, and the dead stay dead."""

from __future__ import annotations

import pytest

from luna.cluster.detector import suspicion_timeout_s
from luna.cluster.members import MemberState

from .simulation import Network, World

SEEDS = range(200)
FAULTS_UNTIL_S = 20.0
LONGEST_FAULT_S = 8.0
CONVERGED_BEFORE_S = 120.0
FAULTS = ("crash", "freeze", "leave", "split", "loss")


def disturb(world: World) -> None:
    """One random fault, and what ends it."""
    random = world.random
    host = random.choice(world.hosts)
    lasting_s = random.uniform(0.2, LONGEST_FAULT_S)
    node = world.running.get(host)
    match random.choice(FAULTS):
        case "crash":
            world.crash(host)
            world.at(lasting_s, lambda: world.start(host))
        case "leave" if node is not None:
            node.leave()
            world.at(lasting_s, lambda: world.start(host))
        case "freeze" if node is not None:
            node.freeze(lasting_s)
        case "split":
            side = set(random.sample(world.hosts, len(world.hosts) // 2))
            world.network.groups = (side, set(world.hosts) - side)
            world.at(lasting_s, lambda: setattr(world.network, "groups", ()))
        case "loss":
            world.network.loss = random.uniform(0.0, 0.4)
            world.network.max_delay_s = random.uniform(0.01, 0.5)


def troubled_world(seed: int) -> World:
    world = World(seed, hosts=3 + seed % 5)
    for host in world.hosts:
        world.at(world.random.uniform(0.0, 2.0), lambda host=host: world.start(host))  # type: ignore[misc]
    while world.now_s < FAULTS_UNTIL_S:
        world.run_until(world.now_s + world.random.uniform(0.5, 4.0))
        disturb(world)
    world.network = Network()
    world.run_until(world.now_s + LONGEST_FAULT_S)  # what was frozen or down comes back
    return world


@pytest.mark.parametrize("first", SEEDS[::25])
def test_every_cluster_converges_after_the_faults_end_and_no_departed_id_returns(first: int) -> None:
    for seed in range(first, first + 25):
        world = troubled_world(seed)
        assert world.run_until_converged(CONVERGED_BEFORE_S), f"seed {seed}"
        departures = len(world.departures)
        world.run_until(world.now_s + 8.0)
        assert world.converged(), f"seed {seed}: it stays that way"
        assert len(world.departures) == departures, f"seed {seed}: nobody else departed"
        gone = world.used_ids - set(world.ids())
        for node in world.running.values():
            known = {member.node.id for member in node.membership.live()}
            assert not known & gone, f"seed {seed}"


def healthy_world(seed: int, hosts: int) -> World:
    world = World(seed, hosts)
    for host in world.hosts:
        world.start(host)
    assert world.run_until_converged(60.0), f"seed {seed}"
    return world


def test_the_faults_do_cause_deaths_restarts_and_refusals() -> None:
    worlds = [troubled_world(seed) for seed in range(10)]
    assert all(world.departures for world in worlds)
    assert all(len(world.used_ids) > len(world.hosts) for world in worlds)


def test_the_same_seed_gives_the_same_history() -> None:
    first, second = troubled_world(7), troubled_world(7)
    assert first.departures == second.departures
    assert first.ids() == second.ids()


def test_a_crash_is_known_everywhere_in_about_the_promised_time() -> None:
    taken_s = []
    for seed in range(30):
        world = healthy_world(seed, hosts=5)
        dead = world.running[0].id
        world.crash(0)
        crashed_at_s = world.now_s
        world.run_until(crashed_at_s + 30.0)
        verdicts = [at_s - crashed_at_s for at_s, _, node_id in world.departures if node_id == dead]
        assert len(verdicts) == 4, "each survivor came to the verdict, once"
        taken_s.append(max(verdicts))
    # On average 1.6 intervals until a probe hits it, one until it fails, and the suspicion timeout; the
    # verdict is spread, and carried out, in rounds of gossip.
    assert sum(taken_s) / len(taken_s) < 2.6 + suspicion_timeout_s(5) + 1.0


def test_a_node_that_freezes_shortly_refutes_and_is_not_declared_dead() -> None:
    suspected = 0
    for seed in range(30):
        world = healthy_world(seed, hosts=5)
        world.running[0].freeze(2.0)
        world.run_until(world.now_s + 2.0)
        suspected += any(
            member.state is MemberState.SUSPECT
            for node in world.running.values()
            for member in node.membership.live()
        )
        assert world.run_until_converged(world.now_s + 30.0)
        assert world.departures == []
    assert suspected > 10, "the freeze was long enough to be noticed"


def test_some_loss_alone_kills_nobody() -> None:
    for seed in range(20):
        world = healthy_world(seed, hosts=6)
        world.network.loss = 0.05
        world.run_until(world.now_s + 60.0)
        assert world.departures == [], f"seed {seed}"


def test_a_node_that_leaves_is_left_everywhere_without_waiting_for_the_detector() -> None:
    world = healthy_world(3, hosts=6)
    leaver = world.running[2]
    left_at_s = world.now_s
    leaver.leave()
    world.run_until(left_at_s + 5.0)
    assert [node_id for _, _, node_id in world.departures] == [leaver.id] * 5
    assert max(at_s for at_s, _, _ in world.departures) - left_at_s < suspicion_timeout_s(6)
    for node in world.running.values():
        member = node.membership.get(leaver.id)
        assert member is not None
        assert member.state is MemberState.LEFT


def test_sixty_nodes_that_start_at_once_find_together() -> None:
    world = healthy_world(1, hosts=60)
    assert len(world.ids()) == 60
    assert world.departures == []
