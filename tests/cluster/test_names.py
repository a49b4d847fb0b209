"""Names of processes across nodes: what each operation means, and what happens to names."""

from __future__ import annotations

import pytest

from luna.cluster import name_home, name_owner, name_requests, names
from luna.cluster.name_messages import (
    Announce,
    Answer,
    Answered,
    Entry,
    Get,
    Name,
    Put,
    Register,
    Retract,
    Send,
    Viewing,
)
from luna.cluster.name_view import View, home_of, key_of
from luna.proto.errors import InvalidError, RefusedError
from luna.proto.ids import make_pid

from .names_world import NAMES, Node, World


def world_of(count: int) -> World:
    """Nodes 1 to `count`, all with sessions."""
    world = World(1, calm=False)
    for _ in range(count):
        world.join()
    world.run_out()
    return world


def homed_at(world: World, node: int) -> Name:
    """A name whose home is that node, known to the world's checks."""
    name = next(
        name for name in (Name(1, str(n)) for n in range(1000)) if world.nodes[1].names.home(name) == node
    )
    world.epochs.setdefault(name, 0)
    world.displacing.setdefault(name, 0)
    world.held.setdefault(name, {})
    return name


def run(world: World, node: Node, kind: str, name: Name, pid: int | None = None) -> Entry | None:
    """An operation to its end; what it found."""
    number = world.begin(node, kind, name, pid)
    world.run_out()
    return node.answers[number]


@pytest.mark.parametrize("home", [1, 2, 3])
def test_a_name_put_on_one_node_is_found_on_all(home: int) -> None:
    world = world_of(3)
    name = homed_at(world, home)
    pid = world.spawn(world.nodes[2])
    run(world, world.nodes[2], "put", name, pid)
    for node in world.nodes.values():
        found = run(world, node, "get", name)
        assert found is not None
        assert found.pid == pid


def test_a_put_replaces_and_kills_nobody() -> None:
    world = world_of(3)
    name = homed_at(world, 3)
    first, second = world.spawn(world.nodes[1]), world.spawn(world.nodes[2])
    run(world, world.nodes[1], "put", name, first)
    run(world, world.nodes[2], "put", name, second)
    found = run(world, world.nodes[1], "get", name)
    assert found is not None
    assert found.pid == second
    assert world.killed == []
    assert world.held[name].keys() == {2}


def test_a_process_of_another_node_is_registered_by_its_node() -> None:
    world = world_of(3)
    name = homed_at(world, 3)
    pid = world.spawn(world.nodes[2])
    run(world, world.nodes[1], "put", name, pid)
    assert world.held[name].keys() == {2}
    world.die(pid)
    world.run_out()
    assert run(world, world.nodes[1], "get", name) is None


@pytest.mark.parametrize("dead", [make_pid(2, 999), make_pid(77, 1), 5, -1])
def test_a_name_put_for_the_dead_stands_for_nobody(dead: int) -> None:
    world = world_of(2)
    name = homed_at(world, 2)
    run(world, world.nodes[1], "put", name, world.spawn(world.nodes[1]))
    run(world, world.nodes[1], "put", name, dead)
    assert run(world, world.nodes[2], "get", name) is None
    assert world.killed == []


def test_a_removed_name_is_free_everywhere() -> None:
    world = world_of(3)
    name = homed_at(world, 3)
    run(world, world.nodes[1], "put", name, world.spawn(world.nodes[1]))
    run(world, world.nodes[2], "remove", name)
    assert all(run(world, node, "get", name) is None for node in world.nodes.values())


def test_one_spawns_for_a_name_and_the_others_wait_for_it() -> None:
    world = world_of(3)
    name = homed_at(world, 3)
    first = world.begin(world.nodes[1], "reserve", name)
    while not world.nodes[1].reserved:
        world.deliver_any()
    second = world.begin(world.nodes[2], "reserve", name)
    look = world.begin(world.nodes[3], "get", name)
    world.deliver_all()
    assert world.nodes[2].reserved == set()
    assert look not in world.nodes[3].answers
    pid = world.spawn(world.nodes[1])
    world.nodes[1].operations.pop(first)
    world.nodes[1].reserved.clear()
    world.apply(world.nodes[1], world.nodes[1].names.commit(first, 1, pid, 7))
    world.deliver_all()
    for found in (world.nodes[2].answers[second], world.nodes[3].answers[look]):
        assert found is not None
        assert found.pid == pid


def test_a_node_that_crashes_frees_what_it_holds_and_was_granted() -> None:
    world = world_of(3)
    held, granted = homed_at(world, 3), Name(9, "granted")
    world.epochs[granted] = world.displacing[granted] = 0
    world.held[granted] = {}
    run(world, world.nodes[1], "put", held, world.spawn(world.nodes[1]))
    world.begin(world.nodes[1], "reserve", granted)
    while not world.nodes[1].reserved:
        world.deliver_any()
    waiting = world.begin(world.nodes[2], "reserve", granted)
    world.crash(world.nodes[1])
    world.deliver_all()
    assert waiting in world.nodes[2].reserved
    assert run(world, world.nodes[2], "get", held) is None


def test_names_follow_when_their_home_crashes() -> None:
    world = world_of(3)
    name = homed_at(world, 3)
    pid = world.spawn(world.nodes[1])
    run(world, world.nodes[1], "put", name, pid)
    world.crash(world.nodes[3])
    found = run(world, world.nodes[2], "get", name)
    assert found is not None
    assert found.pid == pid


def test_a_request_under_way_survives_the_crash_of_its_home() -> None:
    world = world_of(3)
    name = homed_at(world, 3)
    number = world.begin(world.nodes[1], "put", name, world.spawn(world.nodes[1]))
    world.crash(world.nodes[3])
    world.run_out()
    assert number in world.nodes[1].answers
    assert world.held[name].keys() == {1}


def test_after_a_partition_the_earlier_holder_stays_and_the_other_is_killed() -> None:
    world = world_of(3)
    name = homed_at(world, 3)
    one, other = world.nodes[1], world.nodes[2]
    world.severed = {(1, 2), (2, 3)}
    for pair in world.severed:
        world.break_session(world.pairs[pair])
    world.deliver_all()
    early, late = world.spawn(other), world.spawn(one)
    world.clock = 10
    run_alone(world, other, name, early)
    world.clock = 20
    run_alone(world, one, name, late)
    world.run_out()
    assert world.killed == [late]
    assert world.held[name].keys() == {2}


def run_alone(world: World, node: Node, name: Name, pid: int) -> None:
    number = world.begin(node, "put", name, pid)
    world.deliver_all()
    assert number in node.answers


def test_of_two_registered_at_one_time_the_smaller_pid_stays() -> None:
    name = NAMES[0]
    first, second = Entry(name, 1, make_pid(1, 9), 5), Entry(name, 2, make_pid(2, 1), 5)
    assert min(second, first, key=lambda entry: entry.rank) is first


def test_a_new_home_knows_no_free_name_until_all_have_announced() -> None:
    node = names.Names(3, lambda pid: True)
    node.members_changed([1])
    name = next(name for name in (Name(1, str(n)) for n in range(99)) if node.home(name) == 3)
    assert node.received(1, Get(1, name)) == []
    assert not node.settled
    number = View(3)
    number.change([1])
    held = Entry(name, 1, make_pid(1, 1), 0)
    answers = node.received(1, Announce(held))
    assert [answer.message.entry for answer in answers] == [held]  # type: ignore[union-attr]
    node.received(1, Viewing(number.number, True))
    assert node.settled


def test_a_home_that_waits_too_long_can_go_on() -> None:
    node = names.Names(3, lambda pid: True)
    node.members_changed([1])
    name = next(name for name in (Name(1, str(n)) for n in range(99)) if node.home(name) == 3)
    node.get(1, name)
    assert [type(effect).__name__ for effect in node.assume_settled()] == ["Answered"]


OTHER = Entry(Name(1, "x"), 9, make_pid(9, 1), 0)


@pytest.mark.parametrize("message", [Announce(OTHER), Put(1, OTHER), Register(1, OTHER)])
def test_a_process_of_a_third_node_cannot_be_announced(message: Announce | Put | Register) -> None:
    node = names.Names(3, lambda pid: True)
    node.members_changed([1])
    with pytest.raises(InvalidError):
        node.received(1, message)


def test_a_peer_that_asks_or_announces_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_home, "MAX_NAME_REQUESTS", 2)
    monkeypatch.setattr(name_home, "MAX_NODE_NAMES", 3)
    monkeypatch.setattr(name_home, "MAX_NODE_NAMES_BYTES", 100)
    node = names.Names(3, lambda pid: True)
    node.members_changed([1])
    for count in range(3):
        node.received(1, Announce(Entry(Name(1, str(count)), 1, make_pid(1, 1), 0)))
    node.received(1, Announce(Entry(Name(1, "0"), 1, make_pid(1, 2), 0)))
    with pytest.raises(InvalidError):
        node.received(1, Announce(Entry(Name(1, "3"), 1, make_pid(1, 1), 0)))
    node.received(1, Retract(Name(1, "0"), make_pid(1, 2)))
    with pytest.raises(InvalidError):
        node.received(1, Announce(Entry(Name(1, "x" * 99), 1, make_pid(1, 1), 0)))
    node.received(1, Announce(Entry(Name(1, "x" * 98), 1, make_pid(1, 1), 0)))
    for count in range(4):
        node.received(1, Get(count + 1, Name(1, "free")))
    with pytest.raises(InvalidError):
        node.received(1, Get(9, Name(1, "free")))


def test_this_nodes_own_operations_and_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_requests, "MAX_NAME_REQUESTS", 2)
    monkeypatch.setattr(name_owner, "MAX_NODE_NAMES", 1)
    node = names.Names(3, lambda pid: True)
    node.put(1, Entry(Name(1, "a"), 3, make_pid(3, 1), 0))
    with pytest.raises(RefusedError):
        node.put(2, Entry(Name(1, "b"), 3, make_pid(3, 1), 0))
    node.members_changed([1])
    node.get(3, Name(1, "b"))
    node.get(4, Name(1, "b"))
    with pytest.raises(RefusedError):
        node.get(5, Name(1, "b"))


def test_a_member_that_comes_or_goes_moves_only_its_own_names() -> None:
    keys = [key_of(Name(1, str(n))) for n in range(2000)]
    before = {key: home_of(key, (1, 2, 3, 4)) for key in keys}
    after = {key: home_of(key, (1, 2, 3)) for key in keys}
    assert all(after[key] == home for key, home in before.items() if home != 4)
    shares = [sum(home == node for home in before.values()) for node in (1, 2, 3, 4)]
    assert all(400 < share < 600 for share in shares)


def test_a_node_with_too_many_names_refuses_to_register_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_owner, "MAX_NODE_NAMES_BYTES", 2)
    world = world_of(2)
    name = Name(1, "abc")
    effects = world.nodes[2].names.received(1, Register(7, Entry(name, 2, world.spawn(world.nodes[2]), 0)))
    assert effects == [Send(1, Answer(7, refused=True))]
    asker = world.nodes[1].names
    begun = asker.put(99, Entry(name, 2, make_pid(2, 1), 0))
    (asked,) = (effect for effect in begun if isinstance(effect, Send))
    assert isinstance(asked.message, Register)
    assert asker.received(2, Answer(asked.message.reference, refused=True)) == [Answered(99, None, True)]
