"""The vocabulary: nodes are immutable values; addresses and labels have one form."""

from __future__ import annotations

import pytest

from luna.cluster.members import Member, MemberState, NodeInfo, join_address, parse_label, split_address
from luna.proto.errors import InvalidError


def test_a_node_is_a_value_that_its_maker_cannot_change_later() -> None:
    labels = {"zone": "a"}
    node = NodeInfo(1, "a", "c", "h:1", labels)
    same = NodeInfo(1, "a", "c", "h:1", dict(labels))
    labels["zone"] = "b"
    assert node.labels == {"zone": "a"}
    assert node == same
    assert hash(node) == hash(same)
    with pytest.raises(TypeError):
        node.labels["zone"] = "b"  # type: ignore[index]


def test_labels_and_address_are_not_identity() -> None:
    node = NodeInfo(1, "a", "c", "h:1", {"zone": "a"})
    assert node.identity == NodeInfo(1, "a", "c", "h:2").identity
    assert node.identity != NodeInfo(1, "a", "c", "h:1", started_ms=1).identity


def test_live_is_alive_or_suspect() -> None:
    node = NodeInfo(1, "a", "c", "h:1")
    assert [state.name for state in MemberState if Member(node, state).live] == ["ALIVE", "SUSPECT"]


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:4710", "127.0.0.1", 4710),
        ("node-1.example.org:1", "node-1.example.org", 1),
        ("[::1]:65535", "::1", 65535),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
    ],
)
def test_addresses_are_split_and_joined(address: str, host: str, port: int) -> None:
    assert split_address(address) == (host, port)
    assert join_address(host, port) == address


@pytest.mark.parametrize(
    "address",
    ["", ":1", "h", "h:", "h:x", "h:0", "h:65536", "h:-1", "a b:1", "::1:1", "[]:1", "h:1\n", "h:١"],
)
def test_other_texts_are_not_addresses(address: str) -> None:
    with pytest.raises(InvalidError) as caught:
        split_address(address)
    assert caught.value.hint is not None


@pytest.mark.parametrize(
    ("text", "label"),
    [("zone=a", ("zone", "a")), ("k=", ("k", "")), ("a/b.c=x=y", ("a/b.c", "x=y")), ("k=ü", ("k", "ü"))],
)
def test_labels_are_read(text: str, label: tuple[str, str]) -> None:
    assert parse_label(text) == label


@pytest.mark.parametrize("text", ["", "zone", "=a", "zo ne=a", "zone=a\n", "z" * 64 + "=a", "z=" + "a" * 256])
def test_other_texts_are_not_labels(text: str) -> None:
    with pytest.raises(InvalidError):
        parse_label(text)
