"""Who may be here: which of two nodes of one name must go, and whether a Hello is acceptable.

Pure decisions, the same on every node that knows the same. Carrying them out (answering, stopping) is
the node's part.

Of two nodes with one name the one that took the other's place stays: a node that was declared dead and
replaced has lost its name, though it was only frozen or cut off. A node that has not met anybody yet goes
before one that has, whatever their clocks say. Between equals the one that started first stays.

A Hello that is refused must not be merged. Of two nodes that took each other for dead, as in two halves of
a partition, the one that speaks first is told so, raises its incarnation, and asks again: its Hello then
tells the other one the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from luna.cluster.members import MemberState, NodeInfo
from luna.cluster.wire import node_from_proto
from luna.proto import node_pb2
from luna.proto.version import PROTOCOL_MAX, PROTOCOL_MIN

if TYPE_CHECKING:  # the table imports must_go from here
    from luna.cluster.membership import Membership


def standing(node: NodeInfo) -> tuple[int, int, int]:
    """The order of nodes with one name: the least one stays."""
    return (-node.succession, node.started_ms, node.id)


def must_go(node: NodeInfo, other: NodeInfo) -> bool:
    """Whether `node`, of two nodes with one name, must go."""
    return standing(node) > standing(other)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a Hello is turned away: the code of the wire format, and text for people.

    `incarnation`: with DECLARED_DEAD, the one at which the sender was declared dead.
    """

    refusal: node_pb2.Refusal
    detail: str
    incarnation: int = 0


def judge_hello(membership: Membership, hello: node_pb2.Hello) -> Refused | None:
    """Why the sender of `hello` may not be a peer of the node whose table this is; None if it may.

    The caller merges the node and members of an accepted Hello afterwards. If the name conflict is
    decided against this node itself, the Hello is accepted and that merge yields NAME_CONFLICT.
    Raises InvalidError if the node in `hello` is malformed.
    """
    if hello.protocol_max < PROTOCOL_MIN or hello.protocol_min > PROTOCOL_MAX:
        return Refused(
            node_pb2.PROTOCOL,
            f"protocol {hello.protocol_min}..{hello.protocol_max} is not spoken here, "
            f"{PROTOCOL_MIN}..{PROTOCOL_MAX} is; upgrade the older node",
        )
    node = node_from_proto(hello.node)
    if node.cluster != membership.own.node.cluster:
        return Refused(
            node_pb2.OTHER_CLUSTER,
            f"this is cluster {membership.own.node.cluster}, not {node.cluster}; see --cluster",
        )
    return _judge_id(membership, node, hello.incarnation) or _judge_name(membership, node)


def _judge_id(membership: Membership, node: NodeInfo, incarnation: int) -> Refused | None:
    if node.identity == membership.own.node.identity:
        return Refused(node_pb2.ID_TAKEN, "a node was asked to join itself")
    known = membership.get(node.id)
    if known is None or (known.live and known.node.identity == node.identity):
        return None
    if known.node.identity != node.identity:
        return Refused(
            node_pb2.ID_TAKEN,
            f"node id {node.id} belongs to {known.node.name}; start again to draw another id",
        )
    if known.state is MemberState.LEFT:
        return Refused(
            node_pb2.EXPELLED,
            f"{node.name} left under node id {node.id}, which is final; start again to join with a new id",
        )
    if incarnation > known.incarnation:
        return None
    return Refused(
        node_pb2.DECLARED_DEAD,
        f"{node.name} was declared dead: it did not answer for too long",
        known.incarnation,
    )


def _judge_name(membership: Membership, node: NodeInfo) -> Refused | None:
    holder = membership.find(node.name)
    if (
        holder is None
        or holder.node.id == node.id
        or holder.state is not MemberState.ALIVE
        or not must_go(node, holder.node)
    ):
        return None
    return Refused(
        node_pb2.NAME_TAKEN,
        f"the name {node.name} is taken by node {holder.node.id} at {holder.node.address}; choose another "
        "with --name, or try again in some seconds if that node has just stopped",
    )
