"""The part of an owner: the names of one node's processes, each announced to its home.

Pure; a part of `luna.cluster.names`, which tells the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, final

from luna.cluster.name_messages import (
    Announce,
    Cancel,
    Changed,
    Entry,
    Kill,
    Lost,
    Name,
    Retract,
    Revoke,
)
from luna.cluster.name_view import View
from luna.proto.limits import MAX_NODE_NAMES, MAX_NODE_NAMES_BYTES

OwnerMessage: TypeAlias = Announce | Retract | Cancel


@final
@dataclass(slots=True)
class _Owned:
    entry: Entry
    key: int
    home: int  # to which it is announced


@final
class Owner:
    """The entries of one node's processes. `tell` gets what becomes of them."""

    def __init__(
        self, view: View, send: Callable[[int, OwnerMessage], None], tell: Callable[[Changed | Kill], None]
    ) -> None:
        self._view = view
        self._send = send
        self._tell = tell
        self._owned: dict[Name, _Owned] = {}
        self._bytes = 0
        self._by_pid: dict[int, dict[Name, None]] = {}

    def has_room(self, name: Name, more: int = 0, more_bytes: int = 0) -> bool:
        """Whether this name fits, and `more` besides, which have so many bytes."""
        return (
            len(self._owned) + more < MAX_NODE_NAMES
            and self._bytes + more_bytes + name.size <= MAX_NODE_NAMES_BYTES
        )

    def find(self, name: Name) -> Entry | None:
        """The entry of a name whose process is of this node."""
        owned = self._owned.get(name)
        return None if owned is None else owned.entry

    def entries(self) -> list[Entry]:
        """All of them."""
        return [owned.entry for owned in self._owned.values()]

    def enter(self, entry: Entry, key: int, home: int, reference: int = 0) -> None:
        """Keep an entry and announce it; of two of this node's processes the later loses its name here."""
        held = self.find(entry.name)
        if held is not None and held.rank < entry.rank:
            self._send(home, Cancel(reference, entry.name))
            self._tell(Kill(entry, held.pid))
            return
        if held is not None:
            self._let_go(entry.name)
            self._tell(Kill(held, entry.pid))
        self.keep(entry, key, home)
        self._send(home, Announce(entry, reference))

    def keep(self, entry: Entry, key: int, home: int) -> None:
        """Keep an entry that its home knows."""
        self._owned[entry.name] = _Owned(entry, key, home)
        self._bytes += entry.name.size
        self._by_pid.setdefault(entry.pid, {})[entry.name] = None
        self._tell(Changed(entry.name, entry))

    def died(self, pid: int) -> None:
        """A process of this node is dead."""
        for name in list(self._by_pid.get(pid, ())):
            self._let_go(name)

    def revoked(self, peer: int, revoke: Revoke) -> None:
        """The home wants an entry given up: another process is put under its name, or none."""
        if self._is_home(peer, revoke.name, revoke.pid):
            self._let_go(revoke.name)

    def lost(self, peer: int, lost: Lost) -> None:
        """The home decided a clash against an entry of this node."""
        if self._is_home(peer, lost.name, lost.pid):
            entry = self._owned[lost.name].entry
            self._let_go(lost.name)
            self._tell(Kill(entry, lost.winner))

    def move(self, added: frozenset[int]) -> None:
        """The view has changed, with `added` new in it: announce what has another home now."""
        for name, owned in self._owned.items():
            home = self._view.moved_home(owned.key, owned.home, added)
            if home != owned.home:
                self._send(owned.home, Retract(name, owned.entry.pid))
                owned.home = home
                self._send(home, Announce(owned.entry))

    def _is_home(self, peer: int, name: Name, pid: int) -> bool:
        owned = self._owned.get(name)
        return owned is not None and (owned.home, owned.entry.pid) == (peer, pid)

    def _let_go(self, name: Name) -> None:
        """Give up an entry, and tell its home."""
        owned = self._owned.pop(name)
        self._bytes -= name.size
        pid = owned.entry.pid
        names = self._by_pid[pid]
        del names[name]
        if not names:
            del self._by_pid[pid]
        self._send(owned.home, Retract(name, pid))
        self._tell(Changed(name, None))
