"""Conversions between members and their wire form, each done once: else most of the time goes there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from unittest.mock import patch

from luna.cluster import wire
from luna.cluster.members import Member
from luna.proto import node_pb2


@contextmanager
def remembered_conversions() -> Iterator[None]:
    """Within it a member that was converted before is not converted, or checked, again."""
    from_proto = wire.member_from_proto
    members: dict[bytes, Member] = {}

    def remembered(message: node_pb2.Member) -> Member:
        key = message.SerializeToString()
        member = members.get(key)
        if member is None:
            member = members[key] = from_proto(message)
        return member

    to_proto = lru_cache(maxsize=4096)(wire.member_to_proto)
    with patch.multiple(wire, member_from_proto=remembered, member_to_proto=to_proto):
        yield
