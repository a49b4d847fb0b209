"""Names and admission: who must go, and which Hello is turned away with which refusal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from luna.cluster.members import EventKind, Member, MemberState, NodeInfo
from luna.cluster.membership import Membership
from luna.cluster.naming import judge_hello, must_go
from luna.cluster.wire import make_hello
from luna.proto import node_pb2
from luna.proto.errors import InvalidError
from luna.proto.version import PROTOCOL_MAX, PROTOCOL_MIN

OWN = NodeInfo(1, "own", "c", "10.0.0.1:1", started_ms=1000)
ALPHA = NodeInfo(2, "alpha", "c", "10.0.0.2:1", started_ms=2000)


def judge(membership: Membership, node: NodeInfo, **changes: int) -> tuple[int, str] | None:
    hello = make_hello(Member(node))
    for field, value in changes.items():
        setattr(hello, field, value)
    refused = judge_hello(membership, hello)
    return None if refused is None else (int(refused.refusal), refused.detail)


def refusal(membership: Membership, node: NodeInfo, **changes: int) -> int | None:
    verdict = judge(membership, node, **changes)
    if verdict is None:
        return None
    assert verdict[1], "every refusal has a text"
    return verdict[0]


@pytest.mark.parametrize(
    ("started_ms", "node_id", "other_started_ms", "other_id", "goes"),
    [
        (2, 1, 1, 2, True),
        (1, 2, 2, 1, False),
        (1, 2, 1, 1, True),
        (1, 1, 1, 2, False),
    ],
)
def test_the_later_started_goes_then_the_larger_id(
    started_ms: int, node_id: int, other_started_ms: int, other_id: int, goes: bool
) -> None:
    node = replace(ALPHA, id=node_id, started_ms=started_ms)
    other = replace(ALPHA, id=other_id, started_ms=other_started_ms)
    assert must_go(node, other) is goes
    assert must_go(other, node) is not goes


def test_who_took_the_others_place_stays_whatever_the_clocks_say() -> None:
    heir = replace(ALPHA, id=9, started_ms=ALPHA.started_ms + 1, succession=2)
    former = replace(ALPHA, succession=1)
    assert must_go(former, heir)
    assert not must_go(heir, former)
    newcomer = replace(ALPHA, id=9, started_ms=0)
    assert must_go(newcomer, former)
    assert not must_go(former, newcomer)


def test_a_new_node_is_welcome() -> None:
    assert judge(Membership(OWN), ALPHA) is None


@pytest.mark.parametrize("state", [MemberState.ALIVE, MemberState.SUSPECT])
def test_a_live_member_is_welcome_again(state: MemberState) -> None:
    membership = Membership(OWN)
    membership.merge(Member(ALPHA, state))
    assert judge(membership, replace(ALPHA, address="10.0.0.9:1", labels={"a": "b"})) is None


@pytest.mark.parametrize(
    ("protocol_min", "protocol_max", "accepted"),
    [
        (PROTOCOL_MIN, PROTOCOL_MAX, True),
        (0, PROTOCOL_MIN, True),
        (PROTOCOL_MAX, PROTOCOL_MAX + 9, True),
        (PROTOCOL_MAX + 1, PROTOCOL_MAX + 9, False),
        (0, PROTOCOL_MIN - 1, False),
    ],
)
def test_protocol_ranges_must_overlap(protocol_min: int, protocol_max: int, accepted: bool) -> None:
    verdict = refusal(Membership(OWN), ALPHA, protocol_min=protocol_min, protocol_max=protocol_max)
    assert verdict == (None if accepted else node_pb2.PROTOCOL)


def test_another_protocol_is_told_before_its_node_is_even_read() -> None:
    hello = node_pb2.Hello(protocol_min=7, protocol_max=8, node=node_pb2.NodeInfo(id=0, name="\0"))
    verdict = judge_hello(Membership(OWN), hello)
    assert verdict is not None
    assert verdict.refusal == node_pb2.PROTOCOL


def test_a_malformed_node_is_invalid() -> None:
    with pytest.raises(InvalidError):
        judge(Membership(OWN), replace(ALPHA, name=""))


def test_another_cluster_is_refused_with_both_names() -> None:
    verdict = judge(Membership(OWN), replace(ALPHA, cluster="home"))
    assert verdict is not None
    assert verdict[0] == node_pb2.OTHER_CLUSTER
    assert "cluster c, not home" in verdict[1]


def test_a_node_cannot_join_itself() -> None:
    verdict = judge(Membership(OWN), OWN)
    assert verdict is not None
    assert verdict[0] == node_pb2.ID_TAKEN
    assert "itself" in verdict[1]


def test_an_id_in_use_is_refused() -> None:
    membership = Membership(OWN)
    membership.merge(Member(ALPHA))
    assert refusal(membership, replace(ALPHA, name="beta")) == node_pb2.ID_TAKEN
    assert refusal(membership, replace(ALPHA, started_ms=1)) == node_pb2.ID_TAKEN
    assert refusal(membership, replace(ALPHA, id=OWN.id)) == node_pb2.ID_TAKEN


def test_an_id_that_died_under_another_node_is_refused() -> None:
    membership = Membership(OWN)
    membership.merge(Member(ALPHA, MemberState.DEAD))
    assert refusal(membership, replace(ALPHA, name="beta")) == node_pb2.ID_TAKEN


@pytest.mark.parametrize("incarnation", [0, 1, 2])
def test_who_was_declared_dead_is_told_so_with_the_incarnation_to_outbid(incarnation: int) -> None:
    membership = Membership(OWN)
    membership.merge(Member(ALPHA, MemberState.DEAD, 2))
    hello = make_hello(Member(ALPHA, MemberState.ALIVE, incarnation))
    refused = judge_hello(membership, hello)
    assert refused is not None
    assert (refused.refusal, refused.incarnation) == (node_pb2.DECLARED_DEAD, 2)


def test_who_was_declared_dead_at_a_lower_incarnation_is_welcome() -> None:
    membership = Membership(OWN)
    membership.merge(Member(ALPHA, MemberState.DEAD, 2))
    assert judge(membership, ALPHA, incarnation=3) is None


def test_who_left_is_told_that_this_is_final_at_any_incarnation() -> None:
    membership = Membership(OWN)
    membership.merge(Member(ALPHA, MemberState.LEFT))
    assert refusal(membership, ALPHA, incarnation=99) == node_pb2.EXPELLED


def test_a_departed_node_may_come_back_with_a_new_id() -> None:
    membership = Membership(OWN)
    membership.merge(Member(ALPHA, MemberState.DEAD))
    assert judge(membership, replace(ALPHA, id=9, started_ms=5000)) is None


def test_a_name_in_use_is_refused_to_the_later_started() -> None:
    membership = Membership(OWN)
    membership.merge(Member(ALPHA))
    twin = replace(ALPHA, id=9, address="10.0.0.9:1", started_ms=ALPHA.started_ms + 1)
    verdict = judge(membership, twin)
    assert verdict is not None
    assert verdict[0] == node_pb2.NAME_TAKEN
    assert "10.0.0.2:1" in verdict[1]
    assert (
        refusal(membership, replace(twin, name="own", started_ms=OWN.started_ms + 1)) == node_pb2.NAME_TAKEN
    )


def test_a_name_held_by_a_suspect_is_free() -> None:
    membership = Membership(OWN)
    membership.merge(Member(ALPHA, MemberState.SUSPECT))
    assert judge(membership, replace(ALPHA, id=9, started_ms=ALPHA.started_ms + 1)) is None


def test_of_two_nodes_of_one_name_that_meet_exactly_one_gives_way() -> None:
    earlier, later = replace(ALPHA, id=8, started_ms=1), replace(ALPHA, id=7, started_ms=2)
    assert refusal(Membership(earlier), later) == node_pb2.NAME_TAKEN
    by_later = Membership(later)
    assert judge(by_later, earlier) is None
    (_, conflict) = by_later.merge(Member(earlier))
    assert conflict.kind is EventKind.NAME_CONFLICT
    assert conflict.member.node == later
