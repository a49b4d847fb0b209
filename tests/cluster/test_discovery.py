"""Discovery: one suite for every implementation, and what an announcement must look like."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from luna.cluster._zeroconf import ZeroconfDiscovery
from luna.cluster.discovery import FoundNode, announcement, parse_announcement
from luna.proto.errors import InvalidError

from .check_discovery import check_discovery
from .memory_discovery import MemoryDiscovery, MemoryNetwork


def test_memory_discovery_conforms() -> None:
    network = MemoryNetwork()
    asyncio.run(check_discovery(lambda own: MemoryDiscovery(network, own), "test"))


def test_zeroconf_discovery_conforms() -> None:
    asyncio.run(check_discovery(ZeroconfDiscovery, f"test-{secrets.token_hex(8)}"))


def txt(**changes: bytes | None) -> dict[bytes, bytes | None]:
    properties: dict[bytes, bytes | None] = {
        b"cluster": b"c", b"name": b"alpha", b"id": b"7", b"api": b"1",
    }  # fmt: skip
    properties.update({key.encode(): value for key, value in changes.items()})
    return properties


def test_an_announcement_is_read_back() -> None:
    written = announcement(8_388_607, "alpha-2", "home", 1)
    properties = {key.encode(): value.encode() for key, value in written.items()}
    assert parse_announcement(properties, "10.0.0.1", 4001) == FoundNode(
        "10.0.0.1:4001", 8_388_607, "alpha-2", "home"
    )


def test_an_ipv6_host_gets_brackets() -> None:
    assert parse_announcement(txt(), "fe80::1", 1).address == "[fe80::1]:1"


def test_unknown_and_missing_hints_do_not_matter() -> None:
    properties = txt(zone=b"\xff")
    del properties[b"api"]
    assert parse_announcement(properties, "10.0.0.1", 1).name == "alpha"


@pytest.mark.parametrize(
    "properties",
    [
        {},
        txt(id=None),
        txt(id=b""),
        txt(id=b"0"),
        txt(id=b"-1"),
        txt(id=b"8388608"),
        txt(id=b"9" * 200),
        txt(id="²".encode()),
        txt(id="٣".encode()),
        txt(id=b"\xff"),
        txt(name=None),
        txt(name=b""),
        txt(name=b"a b"),
        txt(name=b"n" * 64),
        txt(name=b"\xc3\x28"),
        txt(name=b"a\n"),
        txt(cluster=None),
        txt(cluster=b""),
        txt(cluster=b"c\0"),
        txt(cluster=b"\x80"),
    ],
)
def test_a_malformed_announcement_is_invalid(properties: dict[bytes, bytes | None]) -> None:
    with pytest.raises(InvalidError):
        parse_announcement(properties, "10.0.0.1", 4001)


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_a_port_out_of_range_is_invalid(port: int) -> None:
    with pytest.raises(InvalidError):
        parse_announcement(txt(), "10.0.0.1", port)
