"""The part of a name's home: one queue of requests for each name, served one after the other.

Pure; a part of `luna.cluster.names`, which tells the whole. A node also keeps what is sent to it for names
whose home it is not: the sender sees other members already, or still. It serves none of that until it sees
the same, and forgets it when the sender takes it back.

A name that an owner has is taken from it only with its consent (`Revoke`, then its `Retract`), so an owner
may answer for its own names by itself at any time.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias, final

from luna.cluster.name_messages import (
    Announce,
    Answer,
    Cancel,
    Entry,
    Get,
    Granted,
    Lost,
    Name,
    Put,
    Request,
    Reserve,
    Retract,
    Revoke,
)
from luna.cluster.name_view import View, key_of
from luna.proto.errors import InvalidError, WouldBlockError
from luna.proto.limits import MAX_NAME_REQUESTS, MAX_NODE_NAMES, MAX_NODE_NAMES_BYTES

HomeMessage: TypeAlias = Answer | Granted | Revoke | Lost


@final
@dataclass(slots=True)
class _Record:
    key: int
    holders: dict[int, Entry] = field(default_factory=dict)  # by owner; more than one is a clash
    put_by: dict[int, int] = field(default_factory=dict)  # owner -> its Put that may still be cancelled
    asked_back: set[int] = field(default_factory=set)  # owners that were told to give it up
    grants: dict[int, int] = field(default_factory=dict)  # node that spawns for it -> its reference
    queue: deque[tuple[int, Request]] = field(default_factory=deque)

    @property
    def is_empty(self) -> bool:
        return not (self.holders or self.grants or self.queue)


@final
class Home:
    """The names of which one node is home. `send` must not call back, also not for the node itself."""

    def __init__(self, view: View, send: Callable[[int, HomeMessage], None]) -> None:
        self._view = view
        self._send = send
        self._records: dict[Name, _Record] = {}
        self._busy: dict[
            Name, None
        ] = {}  # names with something to do: an ordered set, for the same runs from a seed
        self._with: dict[int, dict[Name, None]] = {}  # names that a node holds or was granted
        self._bytes: Counter[int] = Counter()  # of those names
        self._waiting: Counter[int] = Counter()  # requests by asker

    def announced(self, peer: int, message: Announce) -> None:
        """An owner has an entry; it stands, beside others until the clash is decided.

        Raises InvalidError if it has announced more than a correct node has.
        """
        entry = message.entry
        name = entry.name
        if name not in self._with.get(peer, ()):
            self._check_room(peer, name)
        record = self._record(name)
        if message.reference:
            self._undo(peer, name, record, message.reference)
        self._drop_holder(peer, name, record)
        record.holders[peer] = entry
        self._note(peer, name)
        self._advance(name, record)

    def retracted(self, peer: int, message: Retract) -> None:
        """An owner has an entry no more."""
        record = self._records.get(message.name)
        if record is None:
            return
        entry = record.holders.get(peer)
        if entry is not None and entry.pid == message.pid:
            self._drop_holder(peer, message.name, record)
            self._advance(message.name, record)

    def asked(self, peer: int, request: Request) -> None:
        """Answer now, or when it is the request's turn.

        Raises InvalidError if the peer has more requests under way than a correct node has.
        """
        if self._waiting[peer] >= 2 * MAX_NAME_REQUESTS:  # as many again for those who register its processes
            raise InvalidError(f"it has more than {MAX_NAME_REQUESTS} requests about names under way")
        record = self._record(request.name)
        if isinstance(request, Reserve) and request.granted:
            record.grants[peer] = request.reference
            self._note(peer, request.name)
        else:
            record.queue.append((peer, request))
            self._waiting[peer] += 1
        self._advance(request.name, record)

    def cancelled(self, peer: int, message: Cancel) -> None:
        """Undo what was asked under that reference, done or not."""
        record = self._records.get(message.name)
        if record is not None:
            self._undo(peer, message.name, record, message.reference)
            self._advance(message.name, record)

    def forget(self, peer: int) -> None:
        """The session with a peer is over: nothing stands that it said."""
        touched = dict(self._with.get(peer, {}))
        if self._waiting.pop(peer, 0):
            touched.update(self._busy)
        for name in touched:
            record = self._records[name]
            self._drop_holder(peer, name, record)
            record.grants.pop(peer, None)
            record.queue = deque(waiting for waiting in record.queue if waiting[0] != peer)
            self._advance(name, record)
        self._with.pop(peer, None)
        self._bytes.pop(peer, None)

    def look(self, name: Name) -> Entry | None:
        """What a Get would be answered now. Raises WouldBlockError if it would wait for its turn."""
        record = self._records.get(name)
        if not self._view.decides(key_of(name) if record is None else record.key):
            raise WouldBlockError("another node decides")
        if record is not None and not (record.queue or record.grants or record.asked_back):
            for entry in record.holders.values():
                return entry
        if record is not None or not self._view.settled:
            raise WouldBlockError("it has to wait for its turn")
        return None

    def reconsider(self) -> None:
        """The view has changed, or is settled now: go on where that was in the way."""
        for name in list(self._busy):
            record = self._records.get(name)
            if record is not None:
                self._advance(name, record)

    # --- the queue of one name ----------------------------------------------------------------

    def _advance(self, name: Name, record: _Record) -> None:
        """Do what can be done for a name now; after every change of its record."""
        if (record.queue or len(record.holders) > 1) and self._view.decides(record.key):
            if len(record.holders) > 1:
                self._decide_clash(name, record)
            while record.queue and self._serve(name, record, *record.queue[0]):
                peer, _ = record.queue.popleft()
                self._waiting[peer] -= 1
        if record.queue or len(record.holders) > 1:
            self._busy[name] = None
        else:
            self._busy.pop(name, None)
        if record.is_empty:
            self._records.pop(name, None)

    def _decide_clash(self, name: Name, record: _Record) -> None:
        winner = min(record.holders.values(), key=lambda entry: entry.rank)
        for owner, entry in record.holders.items():
            if entry is not winner and owner not in record.asked_back:
                record.asked_back.add(owner)
                self._send(owner, Lost(name, entry.pid, winner.pid))

    def _serve(self, name: Name, record: _Record, peer: int, request: Request) -> bool:
        """Whether the first request in the queue is answered; else its turn comes again."""
        if record.grants:
            return False
        match request:
            case Get() | Reserve():
                # Whoever is in the view has it also for those who see other members; that nobody has it
                # is known only when all have spoken.
                for owner, entry in record.holders.items():
                    if owner not in record.asked_back:
                        self._send(peer, Answer(request.reference, entry))
                        return True
                if record.holders or not self._view.settled:
                    return False
                if isinstance(request, Get):
                    self._send(peer, Answer(request.reference))
                else:
                    record.grants[peer] = request.reference
                    self._note(peer, name)
                    self._send(peer, Granted(request.reference))
                return True
            case _:
                if not self._view.settled:
                    return False
                for owner, entry in record.holders.items():
                    if owner not in record.asked_back:
                        record.asked_back.add(owner)
                        self._send(owner, Revoke(name, entry.pid))
                if record.holders:
                    return False
                if isinstance(request, Put):
                    record.holders[peer] = request.entry
                    record.put_by[peer] = request.reference
                    self._note(peer, name)
                self._send(peer, Answer(request.reference))
                return True

    # --- the tables -------------------------------------------------------------------------------

    def _undo(self, peer: int, name: Name, record: _Record, reference: int) -> None:
        """Take back what a peer asked for under that reference: it waits, was granted, or was done."""
        if record.grants.get(peer) == reference:
            del record.grants[peer]
            self._forget_if_gone(peer, name, record)
        elif record.put_by.get(peer) == reference:
            self._drop_holder(peer, name, record)
        else:
            before = len(record.queue)
            record.queue = deque(
                (asker, request)
                for asker, request in record.queue
                if asker != peer or request.reference != reference
            )
            self._waiting[peer] -= before - len(record.queue)

    def _drop_holder(self, peer: int, name: Name, record: _Record) -> None:
        record.holders.pop(peer, None)
        record.put_by.pop(peer, None)
        record.asked_back.discard(peer)
        self._forget_if_gone(peer, name, record)

    def _check_room(self, peer: int, name: Name) -> None:
        if (
            len(self._with.get(peer, ())) >= MAX_NODE_NAMES
            or self._bytes[peer] + name.size > MAX_NODE_NAMES_BYTES
        ):
            raise InvalidError(f"it announces more than {MAX_NODE_NAMES} names, or such of more than 128 MiB")

    def _note(self, peer: int, name: Name) -> None:
        names = self._with.setdefault(peer, {})
        if name not in names:
            names[name] = None
            self._bytes[peer] += name.size

    def _forget_if_gone(self, peer: int, name: Name, record: _Record) -> None:
        if peer not in record.holders and peer not in record.grants and name in self._with.get(peer, ()):
            del self._with[peer][name]
            self._bytes[peer] -= name.size

    def _record(self, name: Name) -> _Record:
        record = self._records.get(name)
        if record is None:
            record = self._records[name] = _Record(key_of(name))
        return record
