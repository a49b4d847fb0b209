"""Which members one node sees, whose each name is, and whether all have told what they know of names.

Pure. A name's home is the member with the largest weight for it (rendezvous hashing), so nodes that see
the same members agree, and when one comes or goes only the names change their home that are its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import final

from luna.cluster.name_messages import Name

_MASK = (1 << 64) - 1


def key_of(name: Name) -> int:
    """The 64 bits of a name that its home depends on."""
    digest = blake2b(name.text.encode(), digest_size=8, salt=name.environment.to_bytes(8, "little"))
    return int.from_bytes(digest.digest(), "little")


def home_of(key: int, members: Iterable[int]) -> int:
    """The one of `members` (at least one) that is home of the names with this key."""
    return max(members, key=lambda member: (_weight(key, member), member))


def _weight(key: int, member: int) -> int:
    # The finalizer of splitmix64: every bit of key and member reaches every bit of the weight.
    mixed = (key ^ member * 0x9E3779B97F4A7C15) & _MASK
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
    return mixed ^ mixed >> 31


def _number(members: Iterable[int]) -> int:
    text = ",".join(map(str, sorted(members)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


@final
class View:
    """The members that one node sees, itself included.

    It is `settled` when every member has told that it sees the same ones and has announced what it has.
    """

    def __init__(self, own: int) -> None:
        self.own = own
        self.members: frozenset[int] = frozenset((own,))
        self.number = _number(self.members)
        self._seen: dict[int, int] = {
            own: self.number
        }  # the view that each member, itself too, has completed
        self._assumed = False
        self.settled = True

    def change(self, peers: Iterable[int]) -> frozenset[int]:
        """See these peers from now on; those that are new."""
        members = frozenset(peers) | {self.own}
        added = members - self.members
        self.members = members
        self.number = _number(members)
        self._assumed = False
        self._settle()
        return added

    def told(self, member: int, number: int, complete: bool) -> None:
        """A member told which ones it sees; the node itself, too."""
        if complete:
            self._seen[member] = number
        else:
            self._seen.pop(member, None)
        self._settle()

    def forget(self, peer: int) -> None:
        """The session with a peer is over."""
        self._seen.pop(peer, None)
        self._settle()

    def assume_settled(self) -> None:
        """Wait no longer for members to agree, until the view changes: this node decides what it is asked."""
        self._assumed = True
        self._settle()

    def home(self, key: int) -> int:
        """The home of the names with this key."""
        return home_of(key, self.members)

    def decides(self, key: int) -> bool:
        """Whether this node may decide what it is asked about the names with this key."""
        return self._assumed or self.home(key) == self.own

    def moved_home(self, key: int, home: int, added: frozenset[int]) -> int:
        """The same, of one whose home was `home` before the members in `added` came and others went."""
        return home_of(key, (home, *added) if home in self.members else self.members)

    def _settle(self) -> None:
        self.settled = self._assumed or all(self._seen.get(member) == self.number for member in self.members)
