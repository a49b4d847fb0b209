"""The wire forms: what is sent is read back, and what is malformed or too large is refused."""

from __future__ import annotations

from random import Random

import pytest
from google.protobuf.message import DecodeError

from luna.cluster import wire
from luna.cluster.members import MAX_INCARNATION, MAX_STARTED_MS, Member, MemberState, NodeInfo
from luna.proto import node_pb2
from luna.proto.errors import InvalidError
from luna.proto.limits import MAX_DETAIL_LENGTH, MAX_LABELS, MAX_MEMBERS
from luna.proto.version import PROTOCOL_MAX, PROTOCOL_MIN

ALPHA = NodeInfo(
    8_388_607, "alpha", "c", "[fe80::1%eth0]:65535", {"zone": "a", "rack": "ü 7"}, MAX_STARTED_MS
)


@pytest.mark.parametrize("state", list(MemberState))
def test_a_member_is_read_back(state: MemberState) -> None:
    member = Member(ALPHA, state, MAX_INCARNATION)
    data = wire.member_to_proto(member).SerializeToString()
    assert wire.member_from_proto(node_pb2.Member.FromString(data)) == member


def test_states_have_the_names_and_numbers_of_the_wire() -> None:
    names = {state.name: int(state) for state in MemberState}
    names["MEMBER_STATE_UNSPECIFIED"] = 0
    assert dict(node_pb2.MemberState.items()) == names


@pytest.mark.parametrize(
    "change",
    [
        {"id": 0},
        {"id": 1 << 23},
        {"id": 2**64 - 1},
        {"name": ""},
        {"name": "a b"},
        {"name": "n" * 64},
        {"cluster": ""},
        {"cluster": "c/d"},
        {"address": ""},
        {"address": "host"},
        {"address": "host:0"},
        {"address": "host:65536"},
        {"address": "host:1\n"},
        {"address": "user@host:1"},
        {"address": "h" * 300 + ":1"},
        {"address": "fe80::1:1"},
        {"started_ms": 2**64 - 1},
        {"succession": 2**32},
        {"labels": {"": "v"}},
        {"labels": {"-k": "v"}},
        {"labels": {"k" * 64: "v"}},
        {"labels": {"k": "v" * 256}},
        {"labels": {"k": "\x1b[2J"}},
        {"labels": {f"k{i}": "v" for i in range(MAX_LABELS + 1)}},
    ],
    ids=lambda change: str(change)[:40],
)
def test_a_malformed_node_is_invalid(change: dict[str, object]) -> None:
    message = wire.node_to_proto(ALPHA)
    for field, value in change.items():
        if isinstance(value, dict):
            message.labels.clear()
            message.labels.update(value)
        else:
            setattr(message, field, value)
    with pytest.raises(InvalidError):
        wire.node_from_proto(message)


def test_labels_at_the_limit_are_accepted() -> None:
    labels = {f"{i:063}": "v" * 255 for i in range(MAX_LABELS)}
    node = NodeInfo(1, "a", "c", "h:1", labels)
    assert wire.node_from_proto(wire.node_to_proto(node)) == node


@pytest.mark.parametrize("state", [0, 5, -1, 2**31 - 1])
def test_an_unknown_state_is_invalid(state: int) -> None:
    message = wire.member_to_proto(Member(ALPHA))
    message.state = state  # type: ignore[assignment]
    with pytest.raises(InvalidError):
        wire.member_from_proto(message)


def test_an_incarnation_that_leaves_no_room_to_refute_is_invalid() -> None:
    message = wire.member_to_proto(Member(ALPHA))
    message.incarnation = MAX_INCARNATION + 1
    with pytest.raises(InvalidError):
        wire.member_from_proto(message)


def test_the_sender_of_a_hello_is_checked_as_a_member_is() -> None:
    hello = wire.make_hello(Member(ALPHA))
    hello.incarnation = MAX_INCARNATION + 1
    with pytest.raises(InvalidError):
        wire.sender_of(hello)
    with pytest.raises(InvalidError):
        wire.sender_of(node_pb2.Hello())


def test_too_many_members_are_invalid() -> None:
    message = wire.member_to_proto(Member(NodeInfo(1, "a", "c", "h:1")))
    assert len(wire.members_from_proto([message] * (2 * MAX_MEMBERS))) == 2 * MAX_MEMBERS
    with pytest.raises(InvalidError):
        wire.members_from_proto([message] * (2 * MAX_MEMBERS + 1))


def test_one_malformed_member_makes_the_message_invalid() -> None:
    good = wire.member_to_proto(Member(ALPHA))
    with pytest.raises(InvalidError):
        wire.members_from_proto([good, node_pb2.Member()])


def test_gossip_is_read_back() -> None:
    members = [Member(ALPHA), Member(NodeInfo(1, "a", "c", "h:1"), MemberState.DEAD, 3)]
    assert wire.members_from_proto(wire.gossip_to_proto(members).members) == members


def test_a_hello_has_the_protocol_range_the_node_and_the_members() -> None:
    hello = wire.make_hello(Member(ALPHA, MemberState.ALIVE, 7), [Member(ALPHA)])
    assert (hello.protocol_min, hello.protocol_max) == (PROTOCOL_MIN, PROTOCOL_MAX)
    assert wire.sender_of(hello) == Member(ALPHA, MemberState.ALIVE, 7)
    assert wire.members_from_proto(hello.members) == [Member(ALPHA)]
    assert hello.refusal == node_pb2.REFUSAL_UNSPECIFIED


def test_a_hello_takes_the_first_members_that_fit() -> None:
    members = [Member(NodeInfo(i, f"n{i}", "c", "h:1", {"k": "v" * 255})) for i in range(1, 100)]
    hello = wire.make_hello(Member(ALPHA), members, max_bytes=10_000)
    taken = wire.members_from_proto(hello.members)
    assert 20 < len(taken) < 40
    assert taken == members[: len(taken)]
    assert hello.ByteSize() <= 10_000 + wire.make_hello(Member(ALPHA)).ByteSize()


def test_text_of_a_peer_is_cut_and_cannot_control_a_terminal() -> None:
    assert wire.text_from_peer("gone\x1b[2J\r\nü") == "gone [2J  ü"
    assert len(wire.text_from_peer("x" * 10**6)) == MAX_DETAIL_LENGTH


def test_random_bytes_are_refused_or_read_but_never_anything_else() -> None:
    random = Random(1)
    good = node_pb2.Gossip(members=[wire.member_to_proto(Member(ALPHA))] * 3).SerializeToString()
    read = refused = 0
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(random.randint(1, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
        try:
            wire.members_from_proto(node_pb2.Gossip.FromString(bytes(data)).members)
            read += 1
        except (DecodeError, InvalidError):
            refused += 1
    assert read > 0
    assert refused > 0
