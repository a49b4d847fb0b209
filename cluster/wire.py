"""Between the cluster's types and their protobuf messages; every input from a peer is checked here.

Owns the conversion and the caps of a decode. Decides nothing about what a peer says.
"""

from __future__ import annotations

from collections.abc import Iterable

from luna.cluster.members import MAX_INCARNATION, Member, MemberState, NodeInfo, check_node
from luna.proto import node_pb2
from luna.proto.errors import InvalidError
from luna.proto.limits import MAX_DETAIL_LENGTH, MAX_LABELS, MAX_MEMBERS
from luna.proto.version import PROTOCOL_MAX, PROTOCOL_MIN

MAX_HELLO_MEMBERS_BYTES = 3 * 1024 * 1024
"""bytes of members in a Hello: below the 4 MiB a unary gRPC call may carry, whatever labels they have."""


def node_to_proto(node: NodeInfo) -> node_pb2.NodeInfo:
    """The protobuf form of `node`."""
    return node_pb2.NodeInfo(
        id=node.id,
        name=node.name,
        cluster=node.cluster,
        address=node.address,
        labels=dict(node.labels),
        started_ms=node.started_ms,
        succession=node.succession,
    )


def node_from_proto(message: node_pb2.NodeInfo) -> NodeInfo:
    """The node that `message` describes. Raises InvalidError if a field is missing or malformed."""
    if len(message.labels) > MAX_LABELS:  # before the copy, which is what the cap is for
        raise InvalidError(f"{len(message.labels)} labels are more than the limit of {MAX_LABELS}")
    return check_node(
        NodeInfo(
            id=message.id,
            name=message.name,
            cluster=message.cluster,
            address=message.address,
            labels=message.labels,
            started_ms=message.started_ms,
            succession=message.succession,
        )
    )


def member_to_proto(member: Member) -> node_pb2.Member:
    """The protobuf form of `member`."""
    return node_pb2.Member(
        node=node_to_proto(member.node),
        state=member.state.name,
        incarnation=member.incarnation,
    )


def member_from_proto(message: node_pb2.Member) -> Member:
    """The member that `message` describes. Raises InvalidError, also for an unknown state."""
    try:
        state = MemberState(message.state)
    except ValueError:
        raise InvalidError(f"{message.state} is not a member state") from None
    if message.incarnation > MAX_INCARNATION:
        raise InvalidError(f"incarnation {message.incarnation} is above {MAX_INCARNATION}")
    return Member(node_from_proto(message.node), state, message.incarnation)


def sender_of(hello: node_pb2.Hello) -> Member:
    """The node that says `hello`, alive. Raises InvalidError if it is malformed."""
    if hello.incarnation > MAX_INCARNATION:
        raise InvalidError(f"incarnation {hello.incarnation} is above {MAX_INCARNATION}")
    return Member(node_from_proto(hello.node), MemberState.ALIVE, hello.incarnation)


def members_from_proto(messages: Iterable[node_pb2.Member]) -> list[Member]:
    """The members of a Hello or Gossip. Raises InvalidError if one is malformed or there are too many."""
    members: list[Member] = []
    for message in messages:
        if len(members) >= 2 * MAX_MEMBERS:  # live ones and departed ones
            raise InvalidError(f"more than {2 * MAX_MEMBERS} members in one message")
        members.append(member_from_proto(message))
    return members


def gossip_to_proto(members: Iterable[Member]) -> node_pb2.Gossip:
    """A Gossip message of `members`."""
    return node_pb2.Gossip(members=[member_to_proto(member) for member in members])


def make_hello(
    own: Member, members: Iterable[Member] = (), max_bytes: int = MAX_HELLO_MEMBERS_BYTES
) -> node_pb2.Hello:
    """The Hello of a node, with as many of `members`, in their order, as fit into `max_bytes`.

    Those left out reach the peer by gossip.
    """
    hello = node_pb2.Hello(
        protocol_min=PROTOCOL_MIN,
        protocol_max=PROTOCOL_MAX,
        node=node_to_proto(own.node),
        incarnation=own.incarnation,
    )
    for member in members:
        message = member_to_proto(member)
        max_bytes -= message.ByteSize() + 8  # and its tag and length in the Hello
        if max_bytes < 0:
            break
        hello.members.append(message)
    return hello


def text_from_peer(text: str) -> str:
    """`text` for people from a peer (a detail, a reason), cut and without control characters."""
    cut = text[:MAX_DETAIL_LENGTH]
    return "".join(character if character.isprintable() else " " for character in cut)
