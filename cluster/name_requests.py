"""The part of whoever asks: requests under way, each sent to whom it concerns among the members seen now.

Pure; a part of `luna.cluster.names`, which tells the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, final

from luna.cluster.name_messages import (
    Cancel,
    Entry,
    Get,
    Name,
    Put,
    Register,
    Remove,
    Request,
    Reserve,
)
from luna.cluster.name_owner import Owner
from luna.cluster.name_view import View, key_of
from luna.proto.errors import RefusedError
from luna.proto.limits import MAX_NAME_REQUESTS, MAX_NODE_NAMES

Kind: TypeAlias = type[Get] | type[Put] | type[Remove] | type[Reserve]


@final
@dataclass(slots=True)
class Operation:
    """A request under way: of this node (`number` above 0), or a put that another one asked for (`asker`)."""

    kind: Kind
    name: Name
    number: int = 0
    entry: Entry | None = None  # of a put
    asker: tuple[int, int] | None = None  # node, and reference of its Register
    key: int = 0
    target: int = 0  # to which it was sent
    reference: int = 0  # under which; each sending has its own, so that late answers are known as such
    granted: bool = False
    died: bool = False  # the process that is put
    brings_name: bool = False  # to this node


@final
class Requests:
    """The operations of one node. `claim` as for `Names`."""

    def __init__(
        self,
        view: View,
        owner: Owner,
        send: Callable[[int, Request | Register | Cancel], None],
        claim: Callable[[int], bool],
    ) -> None:
        self._view = view
        self._owner = owner
        self._send = send
        self._claim = claim
        self._operations: dict[int, Operation] = {}  # by reference
        self._references: dict[int, int] = {}  # of local operations, by their number
        self._putting: Counter[int] = Counter()  # puts under way by process of this node
        self._coming = 0  # names that may come to this node
        self._coming_bytes = 0
        self._last_reference = 0

    def __len__(self) -> int:
        return len(self._operations)

    def find(self, number: int) -> Operation | None:
        """A local operation that has not ended."""
        reference = self._references.get(number)
        return None if reference is None else self._operations[reference]

    def asked(self, peer: int, reference: int) -> Operation | None:
        """What a peer answers; None if it was cancelled or sent to another since, or not to that one."""
        operation = self._operations.get(reference)
        return operation if operation is not None and operation.target == peer else None

    def start(self, operation: Operation) -> None:
        """Send an operation. Raises RefusedError if there are too many, or it may bring too many names."""
        entry = operation.entry
        operation.key = key_of(operation.name)
        operation.brings_name = operation.kind is Reserve or self._is_own(entry)
        if operation.number and len(self._references) >= MAX_NAME_REQUESTS:
            raise RefusedError(f"this node has {MAX_NAME_REQUESTS} requests about names under way")
        if operation.brings_name:
            if not self._owner.has_room(operation.name, self._coming, self._coming_bytes):
                raise RefusedError(
                    f"the processes of one node have at most {MAX_NODE_NAMES} names, of 128 MiB together"
                )
            self._coming += 1
            self._coming_bytes += operation.name.size
        if entry is not None and operation.brings_name:
            operation.died = not self._claim(entry.pid)
            self._putting[entry.pid] += 1
        self._dispatch(operation)

    def end(self, operation: Operation) -> None:
        """An operation is over."""
        del self._operations[operation.reference]
        if operation.number:
            del self._references[operation.number]
        if operation.brings_name:
            self._coming -= 1
            self._coming_bytes -= operation.name.size
        if operation.brings_name and operation.entry is not None:
            self._putting[operation.entry.pid] -= 1
            if not self._putting[operation.entry.pid]:
                del self._putting[operation.entry.pid]

    def take_back(self, operation: Operation) -> None:
        """Nobody waits for what was sent."""
        self._send(operation.target, Cancel(operation.reference, operation.name))

    def died(self, pid: int) -> None:
        """A process of this node is dead, which may be put just now."""
        if pid in self._putting:
            for operation in self._operations.values():
                if operation.entry is not None and operation.entry.pid == pid:
                    operation.died = True

    def move(self) -> None:
        """The view has changed: send to others what concerns them now."""
        for operation in list(self._operations.values()):
            if self._target(operation) != operation.target:
                self.take_back(operation)
                del self._operations[operation.reference]
                self._dispatch(operation)

    def _dispatch(self, operation: Operation) -> None:
        self._last_reference += 1
        operation.reference = reference = self._last_reference
        operation.target = self._target(operation)
        self._operations[reference] = operation
        if operation.number:
            self._references[operation.number] = reference
        self._send(operation.target, self._message(operation))

    def _target(self, operation: Operation) -> int:
        entry = operation.entry
        if entry is not None and self._is_of_peer(entry):
            return entry.owner
        return self._view.home(operation.key)

    def _message(self, operation: Operation) -> Request | Register:
        entry, reference, name = operation.entry, operation.reference, operation.name
        if operation.kind is Get:
            return Get(reference, name)
        if operation.kind is Reserve:
            return Reserve(reference, name, operation.granted)
        if entry is not None and self._is_own(entry) and not operation.died:
            return Put(reference, entry)
        if entry is not None and self._is_of_peer(entry):
            return Register(reference, entry)
        return Remove(reference, name)  # a name put for the dead stands for nothing

    def _is_own(self, entry: Entry | None) -> bool:
        return entry is not None and entry.owner == self._view.own

    def _is_of_peer(self, entry: Entry) -> bool:
        return entry.owner != self._view.own and entry.owner in self._view.members
