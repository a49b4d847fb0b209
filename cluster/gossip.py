"""Which rumours to tell next: each is told a bounded number of times, the least told first.

Pure: whoever drives it decides when and whom to tell. A newer record of a node replaces the older one,
so the queue never holds more than one rumour per node. Today the simulation in tests/cluster drives it;
`luna.node` keeps a session with every other node and tells each piece of news to all of them, once. This
decides for the day when not all are connected.

Telling is enough for most nodes to hear of a change within a few rounds, but with lost messages it
promises nothing to the last one: peers exchange whole tables when they meet, and should do so now and then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from luna.cluster.members import Member
from luna.proto.limits import MAX_DEPARTED, MAX_GOSSIP_MEMBERS, MAX_MEMBERS

RETRANSMIT_MULTIPLIER = 4
"""memberlist's LAN setting. tests/cluster/test_simulation.py runs clusters with it, up to 60 nodes."""


def retransmit_limit(members: int, multiplier: int = RETRANSMIT_MULTIPLIER) -> int:
    """How often a node tells one rumour in a cluster of `members`: multiplier x ceil(log10(members + 1))."""
    return multiplier * math.ceil(math.log10(members + 1))


@dataclass(slots=True)
class _Rumour:
    member: Member
    told: int
    order: int  # of arrival; the newer of two equally told goes first


class Rumours:
    """The rumours one node still has to tell."""

    def __init__(self, max_rumours: int = MAX_MEMBERS + MAX_DEPARTED) -> None:
        """`max_rumours` bounds the queue; beyond it the most told rumour is dropped."""
        self._max_rumours = max_rumours
        self._rumours: dict[int, _Rumour] = {}
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._rumours)

    def add(self, member: Member) -> None:
        """Tell `member` from now on, instead of what was to be told of that node."""
        self._arrivals += 1
        self._rumours[member.node.id] = _Rumour(member, 0, self._arrivals)
        if len(self._rumours) > self._max_rumours:
            most_told = max(self._rumours.values(), key=lambda r: (r.told, -r.order))
            del self._rumours[most_told.member.node.id]

    def take(self, members: int, max_rumours: int = MAX_GOSSIP_MEMBERS) -> list[Member]:
        """The next at most `max_rumours` for one message to one peer, in a cluster of `members`.

        Counts them as told once; those told often enough are forgotten. Empty: nothing to tell.
        """
        limit = retransmit_limit(members)
        chosen = sorted(self._rumours.values(), key=lambda r: (r.told, -r.order))[:max_rumours]
        for rumour in chosen:
            rumour.told += 1
            if rumour.told >= limit:
                del self._rumours[rumour.member.node.id]
        return [rumour.member for rumour in chosen]
