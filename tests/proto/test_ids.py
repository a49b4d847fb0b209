"""Identity: node ids, pids and names."""

from __future__ import annotations

from random import Random

import pytest

from luna.proto import ids
from luna.proto.errors import InvalidError


@pytest.mark.parametrize(
    ("node_id", "serial"),
    [(0, 1), (1, 1), (ids.MAX_NODE_ID, ids.MAX_SERIAL), (77, 1 << 39), (0, ids.MAX_SERIAL)],
)
def test_pid_holds_node_and_serial(node_id: int, serial: int) -> None:
    pid = ids.make_pid(node_id, serial)
    assert (ids.node_of(pid), ids.serial_of(pid)) == (node_id, serial)


def test_the_largest_pid_is_positive_as_a_signed_64_bit_integer() -> None:
    assert ids.make_pid(ids.MAX_NODE_ID, ids.MAX_SERIAL) == 2**63 - 1


def test_pid_of_a_runtime_without_a_cluster_is_its_serial() -> None:
    assert ids.make_pid(ids.LOCAL_NODE_ID, 17) == 17


@pytest.mark.parametrize(
    ("node_id", "serial"), [(-1, 1), (ids.MAX_NODE_ID + 1, 1), (1, 0), (1, -1), (1, ids.MAX_SERIAL + 1)]
)
def test_pid_out_of_range_is_invalid(node_id: int, serial: int) -> None:
    with pytest.raises(InvalidError):
        ids.make_pid(node_id, serial)


def test_drawn_node_ids_are_valid_and_differ() -> None:
    random = Random(1)
    drawn = {ids.draw_node_id(random) for _ in range(1000)}
    assert len(drawn) > 990
    assert all(ids.is_node_id(node_id) for node_id in drawn)


def test_drawn_node_id_is_never_a_taken_one() -> None:
    first = ids.draw_node_id(Random(5))
    assert ids.draw_node_id(Random(5), taken={first}) != first


@pytest.mark.parametrize(
    ("node_id", "member"), [(0, False), (1, True), (ids.MAX_NODE_ID, True), (1 << 23, False)]
)
def test_member_ids_are_1_to_23_bits(node_id: int, member: bool) -> None:
    assert ids.is_node_id(node_id) is member


def test_written_pid_is_read_back() -> None:
    text = ids.format_pid(ids.make_pid(9, 1234), "alpha-2")
    assert text == "1234@alpha-2"
    assert ids.parse_pid(text) == (1234, "alpha-2")


def test_largest_serial_is_read_back() -> None:
    assert ids.parse_pid(f"{ids.MAX_SERIAL}@a")[0] == ids.MAX_SERIAL


@pytest.mark.parametrize(
    "text",
    [
        "", "17", "@a", "17@", "x@a", "-1@a", "+1@a", " 1@a", "1@a ", "1@a\n", "0@a", "1@a@b", "1.0@a",
        "1_0@a", "\u0661@a", f"{ids.MAX_SERIAL + 1}@a", "9" * 5000 + "@a", "1@" + "n" * 64, "1@a.b",
    ],
)  # fmt: skip
def test_anything_else_is_not_a_pid(text: str) -> None:
    with pytest.raises(InvalidError):
        ids.parse_pid(text)


@pytest.mark.parametrize("name", ["a", "A", "0", "node-1", "my_node", "x" * 63])
def test_valid_names(name: str) -> None:
    assert ids.check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "_a", "a b", "a.b", "a/b", "..", "a\n", "é", "x" * 64, "a\0"]
)
def test_invalid_names_are_refused_with_a_hint(name: str) -> None:
    with pytest.raises(InvalidError, match="cluster name") as caught:
        ids.check_name(name, "cluster name")
    assert caught.value.hint is not None


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("alpha", "alpha"),
        ("alpha.example.org", "alpha"),
        ("my host", "my-host"),
        ("-x-", "x"),
        ("", "node"),
        ("...", "node"),
        ("é", "node"),
        ("h" * 80, "h" * 63),
        ("h" * 62 + "-x", "h" * 62),
    ],
)
def test_name_made_of_a_host_name_is_valid(host: str, name: str) -> None:
    assert ids.name_from_host(host) == name
    assert ids.is_name(name)
