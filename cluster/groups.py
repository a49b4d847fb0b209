"""What nodes tell each other about process groups, and what a node knows by that. Pure: no I/O, no clock.

Owns the memberships of other nodes' processes, and for each peer which changes of this node's own it does not
know yet. The own memberships themselves are the caller's. As Erlang's `pg`: each node speaks for its own
processes alone, to every peer; there is no agreement, and none is needed, since nobody else changes them.

The exchange with one peer, which starts anew with each session:

- When the session begins, all own memberships are news to the peer.
- News goes out as one Announcement at a time; the next waits until the peer has said Received. What changes
  meanwhile is kept as the difference between what the peer will know and what is so: whoever joins and leaves
  in between is never told of. So what is kept for a peer that is slow is bounded, however much changes.
- When the session ends, what the peer told is forgotten.

While nothing changes and sessions live, all nodes so come to know the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from luna.proto.errors import InvalidError
from luna.proto.ids import node_of, serial_of
from luna.proto.limits import KIB, MAX_GROUP_NAME_BYTES, MAX_MEMBERSHIPS

ANNOUNCEMENT_BYTES = 64 * KIB
"""bytes of one announcement, about: few enough that signals behind it are not held up, enough for thousands
of changes in a round trip."""

MEMBERSHIP_BYTES = 24
"""bytes that a membership takes in an announcement at most, beside the name of its group."""

MAX_KNOWN = 2 * MAX_MEMBERSHIPS
"""memberships that one peer may have announced at a time. Twice what it can have: of a membership that ended
and one that took its place, the new one may be told first."""


class Membership(NamedTuple):
    """A process is in a group."""

    environment: int
    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Announcement:
    """What has changed since the last one; both may be repeated without harm."""

    joined: tuple[Membership, ...] = ()
    left: tuple[Membership, ...] = ()


@dataclass(frozen=True, slots=True)
class Received:
    """The Announcement was taken in: the next may come."""


Message = Announcement | Received


@dataclass(frozen=True, slots=True)
class Send:
    """What the caller is to send, in order."""

    peer: int
    message: Message


class _Peer:
    """One peer, during one session."""

    def __init__(self, own: Iterable[Membership]) -> None:
        # True: it is so, and the peer does not know; False: it is no more, and the peer believes it.
        self.news = dict.fromkeys(own, True)
        self.awaits_receipt = False
        self.told: dict[Membership, None] = {}  # of its processes, in the order told

    def changed(self, membership: Membership, is_member: bool) -> None:
        # Two changes of one membership cancel: then the peer believes what is so.
        if self.news.pop(membership, is_member) == is_member:
            self.news[membership] = is_member

    def next_announcement(self) -> Announcement | None:
        if self.awaits_receipt or not self.news:
            return None
        taken: list[Membership] = []
        size = 0
        for membership in self.news:
            size += len(membership.name.encode()) + MEMBERSHIP_BYTES
            if taken and size > ANNOUNCEMENT_BYTES:
                break
            taken.append(membership)
        is_so = {membership: self.news.pop(membership) for membership in taken}
        self.awaits_receipt = True
        return Announcement(
            tuple(membership for membership, joined in is_so.items() if joined),
            tuple(membership for membership, joined in is_so.items() if not joined),
        )


class GroupExchange:
    """The memberships of one cluster, as one node knows them and tells its own."""

    def __init__(self) -> None:
        self._peers: dict[int, _Peer] = {}
        self._members: dict[tuple[int, str], dict[int, None]] = {}  # on other nodes

    def members(self, environment: int, name: str) -> Iterable[int]:
        """The members of a group on other nodes, in the order this node learned of them."""
        return self._members.get((environment, name), {})

    def memberships(self) -> Iterator[Membership]:
        """All that is known of other nodes' processes."""
        for peer in self._peers.values():
            yield from peer.told

    # --- of this node ---------------------------------------------------------------------

    def joined(self, membership: Membership) -> list[Send]:
        """A process of this node became a member, and was none."""
        return self._changed(membership, True)

    def left(self, membership: Membership) -> list[Send]:
        """It is a member no more: it left, or ended."""
        return self._changed(membership, False)

    def _changed(self, membership: Membership, is_member: bool) -> list[Send]:
        sends = []
        for peer_id, peer in self._peers.items():
            peer.changed(membership, is_member)
            sends += _next(peer_id, peer)
        return sends

    # --- of peers -------------------------------------------------------------------------

    def peer_up(self, peer_id: int, own: Iterable[Membership]) -> list[Send]:
        """A session with a peer began. `own`: every membership of this node's processes."""
        assert peer_id not in self._peers, "the last session with it was not ended"
        peer = self._peers[peer_id] = _Peer(own)
        return _next(peer_id, peer)

    def peer_lost(self, peer_id: int) -> None:
        """The session is over: its processes are members no more, as far as this node can know."""
        peer = self._peers.pop(peer_id, None)
        if peer is not None:
            for membership in peer.told:
                self._forget(membership)

    def received(self, peer_id: int, message: Message) -> list[Send]:
        """A message of a peer's current session came; one of a session that is over is dropped.

        Raises InvalidError, having done nothing, for what no correct node sends: word of another node's
        processes, more than a node can have, a receipt for nothing.
        """
        peer = self._peers.get(peer_id)
        if peer is None:
            return []
        if isinstance(message, Received):
            if not peer.awaits_receipt:
                raise InvalidError("a receipt for group memberships that were not sent")
            peer.awaits_receipt = False
            return _next(peer_id, peer)
        for membership in (*message.joined, *message.left):
            _check(membership, peer_id)
        if len(peer.told) + len(message.joined) > MAX_KNOWN:
            raise InvalidError(f"more than {MAX_KNOWN} group memberships")
        for membership in message.left:
            if membership in peer.told:
                del peer.told[membership]
                self._forget(membership)
        for membership in message.joined:
            peer.told[membership] = None
            self._members.setdefault(membership[:2], {})[membership.pid] = None
        return [Send(peer_id, Received())]

    def _forget(self, membership: Membership) -> None:
        members = self._members[membership[:2]]
        del members[membership.pid]
        if not members:
            del self._members[membership[:2]]


def _next(peer_id: int, peer: _Peer) -> list[Send]:
    announcement = peer.next_announcement()
    return [] if announcement is None else [Send(peer_id, announcement)]


def _check(membership: Membership, peer_id: int) -> None:
    if node_of(membership.pid) != peer_id or serial_of(membership.pid) == 0:
        raise InvalidError("a group membership of a process of another node")
    if len(membership.name.encode()) > MAX_GROUP_NAME_BYTES:
        raise InvalidError(f"a group's name has more than {MAX_GROUP_NAME_BYTES} bytes")
