"""Who is in the cluster: membership, names, admission, discovery, placement. Pure, but for zeroconf.

Knows nothing of connections, clocks or processes; `luna.node` drives it. The zeroconf implementation is
imported by its module (`luna.cluster._zeroconf`), by the one who starts it.
"""

from luna.cluster.discovery import Discovery, OnFound
from luna.cluster.members import (
    Event,
    EventKind,
    Member,
    MemberState,
    NodeInfo,
    join_address,
    parse_label,
    split_address,
)
from luna.cluster.membership import Membership, MembershipStatistics
from luna.cluster.naming import Refused, judge_hello, must_go
from luna.cluster.placement import Placement, place

__all__ = [
    "Discovery",
    "Event",
    "EventKind",
    "Member",
    "MemberState",
    "Membership",
    "MembershipStatistics",
    "NodeInfo",
    "OnFound",
    "Placement",
    "Refused",
    "join_address",
    "judge_hello",
    "must_go",
    "parse_label",
    "place",
    "split_address",
]
