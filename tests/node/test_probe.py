"""What proves that nobody listens at an address, and what does not."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from luna.node.bridge import Bridge
from luna.node.probe import nobody_listens
from luna.proto.errors import InvalidError


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    """A socket that holds a port and refuses connections: it does not listen."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held


def address_of(server: socket.socket, host: str = "127.0.0.1") -> str:
    return f"{host}:{server.getsockname()[1]}"


async def test_a_refusal_is_proof(bridge: Bridge, bound: socket.socket) -> None:
    assert await bridge.run(nobody_listens, address_of(bound))


async def test_a_refusal_by_every_address_of_a_name_is_proof(bridge: Bridge, bound: socket.socket) -> None:
    assert await bridge.run(nobody_listens, address_of(bound, "localhost"))


async def test_a_listener_lives_though_it_accepts_nothing(bridge: Bridge, bound: socket.socket) -> None:
    bound.listen(1)
    assert not await bridge.run(nobody_listens, address_of(bound))


async def test_silence_is_no_proof(bridge: Bridge, bound: socket.socket) -> None:
    bound.listen(0)
    with socket.create_connection(bound.getsockname()):  # the queue is full: further ones are not answered
        assert not await bridge.run(nobody_listens, address_of(bound))
        assert not await bridge.run(nobody_listens, address_of(bound))


async def test_a_name_of_no_host_is_no_proof(bridge: Bridge) -> None:
    assert not await bridge.run(nobody_listens, f"{'x' * 64}.invalid:7010")


async def test_what_is_no_address_is_invalid(bridge: Bridge) -> None:
    with pytest.raises(InvalidError):
        await bridge.run(nobody_listens, "nonsense")
