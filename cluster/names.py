"""Cluster-wide names of processes: one node's part. No clock, no I/O, no randomness.

A name stands for one process in its environment, across the cluster. Three parts, and a node plays all:

- whoever *asks* (`get`, `put`, `remove`, `reserve`) sends a request (`name_requests`) to
- the name's *home*: the member with the largest weight for it (`name_view`). It serves the requests of a
  name one after the other (`name_home`);
- the *owner*, the node on which the registered process lives, keeps the entry and announces it to the home
  (`name_owner`). Nobody else keeps it: what a home knows is what owners told it in their present sessions.
  The owner retracts an entry when its process dies, and registers its processes for others (`Register`).

To itself a node sends as to others, so that there is one way for everything.

When the members that a node sees change (a session began or ended), it tells all peers so (`Viewing`), takes
what it announced and asked back from those that are home no longer, sends it to the new homes, and tells
that it has (`Viewing`, complete). A home is *settled* when all members it sees have told it that they see the
same and have sent everything. Only then does it answer that a name is free, grant it, put it or remove it.

What that guarantees, for sessions that keep messages in order and end on both sides:

- While nodes join, leave, crash or come back, and every pair of live nodes gets to see the same members
  before anybody calls `assume_settled`: operations on a name take effect one after the other, no name is
  granted or reported free while a process of a live member has it, and no process is killed.
- Every request is answered. It is sent again when its home changes or is lost, and what the earlier home
  did about it is taken back there. A `put` that is cancelled may have removed what the name stood for before.
- A holder that dies or whose node is lost frees its name, as does a node that was granted it.
- After a partition, or when two nodes assumed to be settled with different members, two processes can have
  one name. When their owners see each other, the common home decides: the entry with the smaller `rank`
  stays, and the owner of the other one is told to kill its process, which is never just hidden. When no
  message is under way any more and all see the same members, each name has one holder on all nodes.

Limits: which side of a partition keeps a name is decided by wall clocks, which may differ. During one, each
side has its own holder. A node that died and is not yet lost to its peers keeps its names.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import final

from luna.cluster.name_home import Home
from luna.cluster.name_messages import (
    Announce,
    Answer,
    Answered,
    Cancel,
    Changed,
    Effect,
    Entry,
    Get,
    Granted,
    Lost,
    Name,
    NameMessage,
    Put,
    Register,
    Remove,
    Reserve,
    Reserved,
    Retract,
    Revoke,
    Send,
    Viewing,
)
from luna.cluster.name_owner import Owner
from luna.cluster.name_requests import Operation, Requests
from luna.cluster.name_view import View, key_of
from luna.proto.errors import InvalidError, RefusedError
from luna.proto.limits import MAX_NAME_REQUESTS

__all__ = ["Names"]


@final
class Names:
    """One node's part. Every method returns what is to be done, in order.

    `claim(pid)` says whether a process of this node lives; if so, `process_died` is called after its death.
    Operations are numbered by the caller (above 0), each number used once; an operation ends with `Answered`,
    for a `reserve` that finds nothing with `Reserved` and then `commit` or `cancel`.
    """

    def __init__(self, node_id: int, claim: Callable[[int], bool]) -> None:
        self._own = node_id
        self._claim = claim
        self._view = View(node_id)
        self._home = Home(self._view, self._send)
        self._owner = Owner(self._view, self._send, self._tell)
        self._requests = Requests(self._view, self._owner, self._send, claim)
        self._registering: Counter[int] = Counter()  # puts under way that peers asked for
        self._to_self: deque[NameMessage] = deque()
        self._effects: list[Effect] = []

    # --- looking --------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Whether all members that this node sees have told what they have, and see the same."""
        return self._view.settled

    @property
    def under_way(self) -> int:
        """Operations that have not ended, those for other nodes among them."""
        return len(self._requests)

    def home(self, name: Name) -> int:
        """The node that decides about a name, among those that this one sees."""
        return self._view.home(key_of(name))

    def holder(self, name: Name) -> Entry | None:
        """The entry of a name whose process is of this node."""
        return self._owner.find(name)

    def look(self, name: Name) -> Entry | None:
        """What a name stands for, if known here. Raises WouldBlockError where `get` has to find out."""
        entry = self._owner.find(name)
        return self._home.look(name) if entry is None else entry

    def owned(self) -> list[Entry]:
        """The entries of this node's processes."""
        return self._owner.entries()

    # --- local operations -------------------------------------------------------------------------

    def get(self, operation: int, name: Name) -> list[Effect]:
        """What a name stands for. Raises RefusedError when too many operations are under way, as all do."""
        entry = self._owner.find(name)
        if entry is not None:  # nobody takes it without this node's consent
            self._effects.append(Answered(operation, entry))
            return self._finish()
        return self._begin(Operation(Get, name, operation))

    def put(self, operation: int, entry: Entry) -> list[Effect]:
        """Have a name stand for a process of any node, whatever it stands for; for a dead one: for nothing.

        Raises RefusedError also when this node's processes have too many names. When those of the
        process's node have, it is answered as refused.
        """
        held = self._owner.find(entry.name)
        if held is not None and (held.node, held.pid) == (entry.node, entry.pid):
            self._effects.append(Answered(operation, None))
            return self._finish()
        return self._begin(Operation(Put, entry.name, operation, entry))

    def remove(self, operation: int, name: Name) -> list[Effect]:
        """Have a name stand for nothing."""
        return self._begin(Operation(Remove, name, operation))

    def reserve(self, operation: int, name: Name) -> list[Effect]:
        """What a name stands for, or if nothing, the name itself: until `commit` others wait for it.

        Raises RefusedError also when this node's processes have too many names.
        """
        entry = self._owner.find(name)
        if entry is not None:
            self._effects.append(Answered(operation, entry))
            return self._finish()
        return self._begin(Operation(Reserve, name, operation))

    def commit(self, operation: int, node: int, pid: int, stamp: int) -> list[Effect]:
        """A reserved name stands for this process of this node now; one that has died already frees it."""
        begun = self._requests.find(operation)
        assert begun is not None
        assert begun.granted
        if not self._claim(pid):
            return self.cancel(operation)
        self._requests.end(begun)
        self._owner.enter(Entry(begun.name, node, pid, stamp), begun.key, begun.target, begun.reference)
        return self._finish()

    def cancel(self, operation: int) -> list[Effect]:
        """Nobody waits for an operation, or a reserved name is given back. No-op for one that has ended."""
        begun = self._requests.find(operation)
        if begun is not None:
            self._requests.end(begun)
            self._requests.take_back(begun)
        return self._finish()

    def adopt(self, entries: Iterable[Entry]) -> list[Effect]:
        """Processes of this node have names already, which others may have as well: that is a clash then."""
        for entry in entries:
            if not self._owner.has_room(entry.name) or not self._claim(entry.pid):
                self._effects.append(Changed(entry.name, None))
            else:
                key = key_of(entry.name)
                self._owner.enter(entry, key, self._view.home(key), 0)
        return self._finish()

    # --- what happens ---------------------------------------------------------------------------

    def process_died(self, pid: int) -> list[Effect]:
        """A process of this node that was claimed is dead."""
        self._owner.died(pid)
        self._requests.died(pid)
        return self._finish()

    def members_changed(self, peers: Iterable[int]) -> list[Effect]:
        """These peers have a session with this node. One whose session was another before was lost first."""
        peers = frozenset(peers) - {self._own}
        for lost in self._view.members - peers - {self._own}:
            self._forget(lost)
        self._see(peers)
        return self._finish()

    def peer_lost(self, peer: int) -> list[Effect]:
        """The session with a peer is over: what was under way is lost in both directions."""
        self._forget(peer)
        self._see(self._view.members - {peer, self._own})
        return self._finish()

    def assume_settled(self) -> list[Effect]:
        """Some member has not told what it has for too long: go on without. What it has may be granted."""
        self._view.assume_settled()
        self._home.reconsider()
        return self._finish()

    def received(self, peer: int, message: NameMessage) -> list[Effect]:
        """A peer sent a message, which also shows that it has a session with this node.

        Raises InvalidError if no correct node sends it; nothing was done with it then.
        """
        match message:
            case Announce(entry=entry) | Put(entry=entry) if entry.owner != peer:
                raise InvalidError(f"it registers process {entry.pid}, which is of node {entry.owner}")
            case Register(entry=entry) if entry.owner != self._own:
                raise InvalidError(
                    f"it has process {entry.pid} registered here, which is of node {entry.owner}"
                )
        if peer not in self._view.members:
            self._see(self._view.members | {peer})
        self._take(peer, message)
        return self._finish()

    # --- messages ---------------------------------------------------------------------------------

    def _send(self, peer: int, message: NameMessage) -> None:
        if peer == self._own:
            self._to_self.append(message)
        elif peer in self._view.members:
            self._effects.append(Send(peer, message))

    def _tell(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _finish(self) -> list[Effect]:
        while self._to_self:
            self._take(self._own, self._to_self.popleft())
        effects, self._effects = self._effects, []
        return effects

    def _take(self, peer: int, message: NameMessage) -> None:
        match message:
            case Get() | Put() | Remove() | Reserve():
                self._home.asked(peer, message)
            case Announce():
                self._home.announced(peer, message)
            case Retract():
                self._home.retracted(peer, message)
            case Cancel():
                self._home.cancelled(peer, message)
            case Answer():
                self._answered(peer, message)
            case Granted():
                self._granted(peer, message)
            case Revoke():
                self._owner.revoked(peer, message)
            case Lost():
                self._owner.lost(peer, message)
            case Register():
                self._registered(peer, message)
            case Viewing():
                self._view.told(peer, message.number, message.complete)
                self._home.reconsider()

    def _answered(self, peer: int, answer: Answer) -> None:
        begun = self._requests.asked(peer, answer.reference)
        if begun is None:
            return
        self._requests.end(begun)
        entry = begun.entry
        if entry is not None and entry.owner == self._own:
            if begun.died:
                self._send(peer, Retract(begun.name, entry.pid))
            elif self._owner.find(begun.name) is not None:
                self._owner.enter(entry, begun.key, peer)
            else:
                self._owner.keep(entry, begun.key, peer)
        if begun.asker is None:
            self._effects.append(Answered(begun.number, answer.entry, answer.refused))
        else:
            node, reference = begun.asker
            self._registering[node] -= 1
            self._send(node, Answer(reference))

    def _granted(self, peer: int, granted: Granted) -> None:
        begun = self._requests.asked(peer, granted.reference)
        if begun is not None:
            begun.granted = True
            self._effects.append(Reserved(begun.number))

    def _registered(self, peer: int, register: Register) -> None:
        if self._registering[peer] >= MAX_NAME_REQUESTS:
            raise InvalidError(f"it has more than {MAX_NAME_REQUESTS} requests about names under way")
        asker = peer, register.reference
        try:
            self._requests.start(Operation(Put, register.entry.name, entry=register.entry, asker=asker))
        except RefusedError:
            self._send(peer, Answer(register.reference, refused=True))
        else:
            self._registering[peer] += 1

    def _begin(self, operation: Operation) -> list[Effect]:
        self._requests.start(operation)
        return self._finish()

    # --- members --------------------------------------------------------------------------------------

    def _forget(self, peer: int) -> None:
        self._view.forget(peer)
        self._home.forget(peer)

    def _see(self, peers: frozenset[int]) -> None:
        """Move everything to the homes of a new view."""
        if peers | {self._own} == self._view.members:
            return
        added = self._view.change(peers)
        self._tell_view(complete=False)
        self._owner.move(added)
        self._requests.move()
        self._tell_view(complete=True)

    def _tell_view(self, *, complete: bool) -> None:
        for peer in sorted(self._view.members):
            self._send(peer, Viewing(self._view.number, complete))
