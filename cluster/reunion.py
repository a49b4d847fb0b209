"""Whom of the dead to try again: a partition heals, a frozen node thaws. Pure: no clock, no I/O.

A node that crashed never comes back under its id, and costs one refused connection now and then.
"""

from __future__ import annotations

import math
from collections.abc import Container

from luna.cluster.members import Member, MemberState
from luna.cluster.membership import Membership

__all__ = ["REUNION_INTERVAL_S", "Reunion"]

REUNION_INTERVAL_S = 2.0
"""seconds between attempts at one of the dead, whichever was tried longest ago. One at a time: after a
partition of halves any one that answers brings the news of all others."""

KEEP_TRYING_S = 24 * 3600.0
"""seconds after its death that a member is tried; a cluster split for longer is joined by hand."""

MAX_REMEMBERED = 1024
"""dead members tried, the latest to die; MAX_DEPARTED of luna.proto.limits remembers as many."""


class Reunion:
    """The dead members that one node tries again."""

    def __init__(self) -> None:
        self._died_at_s: dict[int, float] = {}  # by node id, in the order of the next attempts
        self._next_at_s = math.inf

    @property
    def deadline_s(self) -> float:
        """When to call `tick` next."""
        return self._next_at_s if self._died_at_s else math.inf

    def remember(self, now_s: float, node_id: int) -> None:
        """A member was declared dead."""
        self._died_at_s.pop(node_id, None)
        if len(self._died_at_s) >= MAX_REMEMBERED:
            del self._died_at_s[next(iter(self._died_at_s))]
        if not self._died_at_s:
            self._next_at_s = now_s + REUNION_INTERVAL_S
        self._died_at_s[node_id] = now_s

    def forget(self, node_id: int) -> None:
        """It is back, or another node has its place."""
        self._died_at_s.pop(node_id, None)

    def tick(self, now_s: float, membership: Membership, expelled: Container[int]) -> Member | None:
        """Whom to meet now, if anybody."""
        while self._died_at_s and now_s >= self._next_at_s:
            node_id, died_at_s = next(iter(self._died_at_s.items()))
            del self._died_at_s[node_id]
            member = membership.get(node_id)
            if (
                member is None
                or member.state is not MemberState.DEAD
                or node_id in expelled
                or now_s - died_at_s > KEEP_TRYING_S
            ):
                continue
            self._died_at_s[node_id] = died_at_s  # behind all others
            self._next_at_s = now_s + REUNION_INTERVAL_S
            return member
        return None
