"""Where a node is reached when its machine gets another address, loses it, or finds a network."""

from __future__ import annotations

from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from luna.cluster.members import NodeInfo
from luna.node.moving import CHECK_S, follow_address, next_host


@pytest.mark.parametrize(
    ("current", "is_here", "routed", "expected"),
    [
        ("10.0.0.1", True, "10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", True, "10.9.9.9", "10.0.0.1"),  # another route, such as that of a VPN, is no move
        ("10.0.0.1", True, None, "10.0.0.1"),
        ("10.0.0.1", False, "10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", False, None, None),
        ("127.0.0.1", True, "10.0.0.2", "10.0.0.2"),  # there was no network when it was started
        ("127.0.0.1", True, None, "127.0.0.1"),
        ("fe80::1", False, "2001:db8::2", "2001:db8::2"),
    ],
)
def test_an_address_is_kept_while_it_is_there(
    current: str, is_here: bool, routed: str | None, expected: str | None
) -> None:
    assert next_host(current, is_here, routed) == expected


class Machine:
    """A machine with at most one address, and the peers of a node on it."""

    def __init__(self, address: str | None, listen: str) -> None:
        self.address = address
        self.listen = listen
        self.own = NodeInfo(1, "own", "test", f"{address}:7010")
        self.moves: list[str] = []
        self.backs = 0

    def moved(self, address: str) -> None:
        self.moves.append(address)
        self.own = NodeInfo(1, "own", "test", address)

    def back(self) -> None:
        self.backs += 1

    async def follow(self) -> None:
        await follow_address(
            self.listen,
            cast(Any, self),
            self.back,
            is_here=lambda host: host in (self.address, "127.0.0.1"),
            routed=lambda wildcard: self.address,
        )


async def look_twice() -> None:
    await trio.sleep(2.5 * CHECK_S)


async def test_peers_hear_of_each_new_address_once(autojump_clock: MockClock) -> None:
    machine = Machine("10.0.0.1", "0.0.0.0")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.follow)
        await look_twice()
        assert (machine.moves, machine.backs) == ([], 0)
        machine.address = None
        await look_twice()
        assert (machine.moves, machine.backs) == ([], 0)
        machine.address = "10.0.0.2"
        await look_twice()
        assert (machine.moves, machine.backs) == (["10.0.0.2:7010"], 1)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("listen", ["0.0.0.0", "10.0.0.1"])
async def test_an_address_that_comes_back_is_announced_again(autojump_clock: MockClock, listen: str) -> None:
    machine = Machine("10.0.0.1", listen)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.follow)
        await look_twice()
        machine.address = None
        await look_twice()
        machine.address = "10.0.0.1"
        await look_twice()
        assert (machine.moves, machine.backs) == ([], 1)
        nursery.cancel_scope.cancel()


async def test_a_node_that_listens_on_one_address_does_not_move(autojump_clock: MockClock) -> None:
    machine = Machine("10.0.0.1", "10.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.follow)
        machine.address = "10.0.0.2"
        await look_twice()
        assert (machine.moves, machine.backs) == ([], 0)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("listen", ["127.0.0.1", "::1", "a.example"])
async def test_there_is_nothing_to_follow_on_loopback_and_behind_a_name(listen: str) -> None:
    with trio.fail_after(5.0):
        await Machine("10.0.0.1", listen).follow()
