"""Rules for what a node is started with."""

from __future__ import annotations

from pathlib import Path

import pytest

from luna.node.config import (
    DEFAULT_PORT,
    Address,
    NodeOptions,
    advertised_host,
    candidate_ports,
    check_reach,
    default_state_root,
    is_loopback,
    is_own_host,
    is_wildcard,
    parse_address,
    parse_labels,
)
from luna.proto.errors import InvalidError, RefusedError
from luna.proto.limits import MAX_THREADS, PROCESSES_CEILING
from luna.scheduler._core import Core


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7010", ("127.0.0.1", 7010)),
        ("[::1]:1", ("::1", 1)),
        ("host.example:0", ("host.example", 0)),
    ],
)
def test_an_address_is_read_and_written_the_same(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text", ["", "host", ":7010", "host:", "host:port", "host:65536", "::1:7010", "h:-1", "h:٣"]
)
def test_a_malformed_address_is_invalid(text: str) -> None:
    with pytest.raises(InvalidError, match="not an address"):
        parse_address(text)


def test_labels_are_read() -> None:
    assert parse_labels(["zone=a", "disk=", "url=http://x/?a=b"]) == {
        "zone": "a",
        "disk": "",
        "url": "http://x/?a=b",
    }


@pytest.mark.parametrize(
    "texts",
    [["zone"], ["=a"], ["a=1", "a=2"], ["k" * 64 + "=v"], ["k=" + "v" * 256], [f"k{n}=v" for n in range(33)]],
)
def test_malformed_repeated_or_oversized_labels_are_invalid(texts: list[str]) -> None:
    with pytest.raises(InvalidError):
        parse_labels(texts)


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True)])
def test_loopback_addresses_are_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
    check_reach(Address(host, 1), insecure=False, purpose="join")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "no.such.host.invalid", "x" * 80])
def test_other_addresses_need_insecure(host: str) -> None:
    with pytest.raises(RefusedError, match="not encrypted") as caught:
        check_reach(Address(host, 1), insecure=False, purpose="listen on")
    assert caught.value.hint is not None
    assert "--insecure" in caught.value.hint
    check_reach(Address(host, 1), insecure=True, purpose="listen on")


def test_a_named_port_is_the_only_one_tried() -> None:
    assert candidate_ports(Address("::1", 9)) == ("::1", range(9, 10))
    host, ports = candidate_ports(None)
    assert is_loopback(host)
    assert ports[0] == DEFAULT_PORT
    assert len(ports) > 1


def test_a_wildcard_is_advertised_as_a_concrete_address() -> None:
    assert advertised_host("127.0.0.1") == "127.0.0.1"
    assert advertised_host("a.example") == "a.example"
    assert advertised_host("0.0.0.0") != "0.0.0.0"
    assert advertised_host("::") != "::"


def test_a_machine_knows_its_own_addresses() -> None:
    assert is_own_host("127.0.0.1")
    assert not is_own_host("192.0.2.1")  # reserved for documentation
    assert not is_own_host("2001:db8::1")


def test_a_wildcard_is_told_from_addresses_and_names() -> None:
    assert [is_wildcard(host) for host in ("0.0.0.0", "::", "127.0.0.1", "a.example")] == [
        True,
        True,
        False,
        False,
    ]


def test_bad_options_are_invalid() -> None:
    for options in (
        {"name": "-x"},
        {"cluster": ""},
        {"threads": 0},
        {"threads": MAX_THREADS + 1},
        {"max_processes": 0},
        {"max_processes": PROCESSES_CEILING + 1},
        {"labels": {"": "v"}},
    ):
        with pytest.raises(InvalidError):
            NodeOptions(**options)


def test_the_state_root_follows_the_xdg_rules() -> None:
    assert default_state_root({"XDG_STATE_HOME": "/x/y"}) == Path("/x/y/luna")
    assert default_state_root({"XDG_STATE_HOME": "relative"}) == Path.home() / ".local/state/luna"


def test_the_most_threads_and_processes_that_may_be_asked_for_are_what_the_core_takes() -> None:
    NodeOptions(threads=MAX_THREADS, max_processes=PROCESSES_CEILING)
    Core(1, MAX_THREADS, PROCESSES_CEILING)
    for threads, processes in ((MAX_THREADS + 1, 1), (1, PROCESSES_CEILING + 1)):
        with pytest.raises(ValueError, match="out of range"):
            Core(1, threads, processes)
