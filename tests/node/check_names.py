"""The suite that every NameService passes: on one node, and on the nodes of a cluster alike."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import pytest
import trio
import trio.testing
from tests.scheduler.wat import guest

from luna.proto.errors import WouldBlockError
from luna.proto.limits import MAX_PROCESS_NAME_BYTES
from luna.scheduler.name_service import NameService, Registered
from luna.scheduler.runtime import Runtime

PATIENCE_S = 30.0
"""seconds for what takes milliseconds: this machine may be busy."""
ENVIRONMENT = 7

_PARK = '(func (export "_start") (call $park))'
_numbers = count(1)


@dataclass(frozen=True)
class Place:
    """One node: its processes, and the service as its guests see it."""

    runtime: Runtime
    names: NameService

    async def spawn(self) -> int:
        """A process that lives until it is killed."""
        module = await self.runtime.load_module(guest(_PARK), "park")
        return await self.runtime.spawn(module, environment=ENVIRONMENT)

    async def kill(self, pid: int) -> None:
        self.runtime.kill(pid)
        await self.runtime.wait_exit(pid)

    async def find(self, name: str, environment: int = ENVIRONMENT) -> int | None:
        """The pid that a name stands for."""
        found = await self.names.get(environment, name)
        return None if found is None else found.pid

    async def put(self, name: str, pid: int) -> None:
        await self.names.put(ENVIRONMENT, name, 3, pid)


async def check_names(places: Sequence[Place]) -> None:
    """Run the whole suite; `places` are the nodes of one cluster, settled."""
    with trio.fail_after(PATIENCE_S):
        for one, other in _pairs(places):
            for check in (
                check_known_at_once,
                check_found_everywhere,
                check_put_replaces,
                check_remove,
                check_death,
                check_dead_target,
                check_environments,
                check_any_text,
                check_reserved,
                check_given_back,
                check_cancelled,
            ):
                await check(one, other)
        await check_one_of_many(places)
        await check_puts_at_once(places)


def _pairs(places: Sequence[Place]) -> Iterator[tuple[Place, Place]]:
    return ((one, other) for one in places for other in places)


def new_name() -> str:
    """A name nobody used: over many, every node is the home of some."""
    return f"name {next(_numbers)}"


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await trio.sleep(0.005)


async def check_known_at_once(one: Place, other: Place) -> None:
    """A node knows the names of its own processes; what it says of others without waiting is true."""
    name, pid = new_name(), await one.spawn()
    await one.put(name, pid)
    assert one.names.get_nowait(ENVIRONMENT, name) == Registered(3, pid)
    with contextlib.suppress(WouldBlockError):
        assert other.names.get_nowait(ENVIRONMENT, name) == Registered(3, pid)
    await other.names.remove(ENVIRONMENT, name)
    for place in (one, other):
        with contextlib.suppress(WouldBlockError):
            assert place.names.get_nowait(ENVIRONMENT, name) is None
    async with one.names.reserve(ENVIRONMENT, name):
        with pytest.raises(WouldBlockError):
            other.names.get_nowait(ENVIRONMENT, name)


async def check_found_everywhere(one: Place, other: Place) -> None:
    name, pid = new_name(), await one.spawn()
    assert await other.names.get(ENVIRONMENT, name) is None
    await one.put(name, pid)
    assert await other.names.get(ENVIRONMENT, name) == Registered(3, pid)
    await one.put(name, pid)
    assert await other.find(name) == await one.find(name) == pid
    await one.names.put(ENVIRONMENT, name, -4, pid)
    assert await other.names.get(ENVIRONMENT, name) == Registered(-4, pid)


async def check_put_replaces(one: Place, other: Place) -> None:
    """Whoever puts it, and wherever the process lives."""
    name, first, second = new_name(), await one.spawn(), await other.spawn()
    await one.put(name, first)
    await other.put(name, second)
    assert await one.find(name) == second
    await other.put(name, first)
    assert await other.find(name) == await one.find(name) == first
    assert one.runtime.exists(first)
    assert other.runtime.exists(second)


async def check_remove(one: Place, other: Place) -> None:
    name = new_name()
    await one.names.remove(ENVIRONMENT, name)
    await one.put(name, await one.spawn())
    await other.names.remove(ENVIRONMENT, name)
    assert await one.find(name) is None
    assert await other.find(name) is None


async def check_death(one: Place, other: Place) -> None:
    """All names of a process are free when it has died: at once on its node."""
    names, pid = [new_name() for _ in range(5)], await one.spawn()
    for name in names:
        await one.put(name, pid)
    await one.kill(pid)
    for name in names:
        assert await one.find(name) is None

        async def free_there(name: str = name) -> bool:
            return await other.find(name) is None

        await eventually(free_there)
    successor = await other.spawn()
    await other.put(names[0], successor)
    assert await one.find(names[0]) == successor


async def check_dead_target(one: Place, other: Place) -> None:
    name, dead = new_name(), await other.spawn()
    await other.kill(dead)
    await one.put(name, await one.spawn())
    await one.put(name, dead)
    assert await one.find(name) is None
    assert await other.find(name) is None


async def check_environments(one: Place, other: Place) -> None:
    name = new_name()
    await one.put(name, await one.spawn())
    assert await other.find(name, environment=ENVIRONMENT + 1) is None
    await other.names.remove(ENVIRONMENT + 1, name)
    assert await other.find(name) is not None


async def check_any_text(one: Place, other: Place) -> None:
    pid = await one.spawn()
    for text in ("", "a/b\0ä€😀", "x" * MAX_PROCESS_NAME_BYTES):
        await one.put(text, pid)
        assert await other.find(text) == pid
    assert await other.find("a/b") is None


async def check_reserved(one: Place, other: Place) -> None:
    """Everybody waits for who spawns for a name, and then finds the child."""
    name = new_name()
    found: list[int | None] = []

    async def look() -> None:
        found.append(await other.find(name))

    async def ask() -> None:
        async with other.names.reserve(ENVIRONMENT, name) as reservation:
            found.append(reservation.found and reservation.found.pid)

    async with trio.open_nursery() as nursery, one.names.reserve(ENVIRONMENT, name) as reservation:
        assert reservation.found is None
        nursery.start_soon(look)
        nursery.start_soon(ask)
        pid = await one.spawn()
        assert found == []
        reservation.commit(3, pid)
    assert found == [pid, pid]
    await other.names.remove(ENVIRONMENT, name)
    assert await one.find(name) is None


async def check_given_back(one: Place, other: Place) -> None:
    """A spawn that failed frees the name for the next, also when its task was cancelled or the child died."""
    name = new_name()
    async with one.names.reserve(ENVIRONMENT, name) as reservation:
        assert reservation.found is None
    with trio.CancelScope() as scope:
        async with other.names.reserve(ENVIRONMENT, name) as reservation:
            assert reservation.found is None
            scope.cancel()
            await trio.lowlevel.checkpoint()
    async with one.names.reserve(ENVIRONMENT, name) as reservation:
        assert reservation.found is None
        dead = await one.spawn()
        await one.kill(dead)
        reservation.commit(3, dead)
    assert await other.find(name) is None


async def check_cancelled(one: Place, other: Place) -> None:
    """Whoever waits may stop to wait, and takes nothing."""
    name = new_name()

    async def ask() -> None:
        async with other.names.reserve(ENVIRONMENT, name) as reservation:
            assert reservation.found is not None

    async with one.names.reserve(ENVIRONMENT, name) as reservation:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(other.find, name)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        pid = await one.spawn()
        reservation.commit(3, pid)
    assert await other.find(name) == pid


async def check_one_of_many(places: Sequence[Place]) -> None:
    """Of many that ask for a name at once, on all nodes, one spawns, and all have its child."""
    name = new_name()
    spawned: list[int] = []
    found: list[int] = []

    async def ask(place: Place) -> None:
        async with place.names.reserve(ENVIRONMENT, name) as reservation:
            if reservation.found is not None:
                found.append(reservation.found.pid)
                return
            spawned.append(await place.spawn())
            reservation.commit(3, spawned[-1])

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            for place in places:
                nursery.start_soon(ask, place)
    assert len(spawned) == 1
    assert set(found) == set(spawned)


async def check_puts_at_once(places: Sequence[Place]) -> None:
    """Of many puts at once one is the last for all, and nobody dies."""
    name = new_name()
    pids = [(place, await place.spawn()) for place in places for _ in range(5)]
    async with trio.open_nursery() as nursery:
        for place, pid in pids:
            nursery.start_soon(place.put, name, pid)
    found = {await place.find(name) for place in places}
    assert len(found) == 1
    assert found <= {pid for _, pid in pids}
    assert all(place.runtime.exists(pid) for place, pid in pids)
