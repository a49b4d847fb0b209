"""Whom of the dead to try again: a partition heals, a frozen node thaws. Pure: no clock, no I/O.

A node that crashed never comes back under its id, and costs one refused connection now and then.
"""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass

from luna.cluster.members import Member, MemberState
from luna.cluster.membership import Membership

__all__ = ["REUNION_INTERVAL_S", "Reunion"]

REUNION_INTERVAL_S = 2.0
"""seconds between attempts at one of the dead, whichever was tried longest ago. One at a time: after a
partition of halves any one that answers brings the news of all others."""

DOUBTFUL_INTERVAL_S = 60.0
"""seconds between attempts at one whose address refuses connections: it crashed, or a firewall does that."""

KEEP_TRYING_S = 24 * 3600.0
"""seconds after its death that a member is tried; a cluster split for longer is joined by hand."""

MAX_REMEMBERED = 1024
"""dead members tried, the latest to die; MAX_DEPARTED of luna.proto.limits remembers as many."""


class Reunion:
    """The dead members that one node tries again."""

    def __init__(self) -> None:
        self._dead: dict[int, _Dead] = {}  # by node id, in the order of the next attempts
        self._next_at_s = math.inf

    @property
    def deadline_s(self) -> float:
        """When to call `tick` next."""
        return self._next_at_s if self._dead else math.inf

    def remember(self, now_s: float, node_id: int) -> None:
        """A member was declared dead. It is tried next: the latest to go are the likeliest to be back."""
        self._dead.pop(node_id, None)
        if len(self._dead) >= MAX_REMEMBERED:
            del self._dead[min(self._dead, key=lambda id_: self._dead[id_].died_at_s)]
        if not self._dead:
            self._next_at_s = now_s + REUNION_INTERVAL_S
        self._dead = {node_id: _Dead(now_s, now_s), **self._dead}

    def doubt(self, now_s: float, node_id: int) -> None:
        """Nobody listens at its address."""
        dead = self._dead.get(node_id)
        if dead is not None:
            dead.not_before_s = now_s + DOUBTFUL_INTERVAL_S

    def forget(self, node_id: int) -> None:
        """It is back, or another node has its place."""
        self._dead.pop(node_id, None)

    def tick(self, now_s: float, membership: Membership, expelled: Container[int]) -> Member | None:
        """Whom to meet now, if anybody."""
        if now_s < self._next_at_s:
            return None
        self._next_at_s = now_s + REUNION_INTERVAL_S
        for node_id, dead in list(self._dead.items()):
            member = membership.get(node_id)
            if (
                member is None
                or member.state is not MemberState.DEAD
                or node_id in expelled
                or now_s - dead.died_at_s > KEEP_TRYING_S
            ):
                del self._dead[node_id]
            elif dead.not_before_s <= now_s:
                self._dead[node_id] = self._dead.pop(node_id)  # behind all others
                return member
        return None


@dataclass(slots=True)
class _Dead:
    died_at_s: float
    not_before_s: float
