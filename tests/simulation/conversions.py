"""Conversions between members and their wire form, each done once: else most of the time goes there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from unittest.mock import patch

from luna.cluster import naming, wire
from luna.cluster.members import Member, NodeInfo
from luna.proto import node_pb2


@contextmanager
def remembered_conversions() -> Iterator[None]:
    """Within it a member that was converted before is not converted, or checked, again."""
    read_member, read_node = wire.member_from_proto, wire.node_from_proto
    members: dict[bytes, Member] = {}
    nodes: dict[bytes, NodeInfo] = {}

    def member_from_proto(message: node_pb2.Member) -> Member:
        key = message.SerializeToString()
        member = members.get(key)
        if member is None:
            member = members[key] = read_member(message)
        return member

    def node_from_proto(message: node_pb2.NodeInfo) -> NodeInfo:
        key = message.SerializeToString()
        node = nodes.get(key)
        if node is None:
            node = nodes[key] = read_node(message)
        return node

    in_wire = patch.multiple(
        wire,
        member_from_proto=member_from_proto,
        member_to_proto=lru_cache(maxsize=4096)(wire.member_to_proto),
        node_from_proto=node_from_proto,
        node_to_proto=lru_cache(maxsize=4096)(wire.node_to_proto),
    )
    with in_wire, patch.object(naming, "node_from_proto", node_from_proto):
        yield
