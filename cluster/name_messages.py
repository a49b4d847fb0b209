"""What the names of processes are made of: entries, and what nodes tell each other about them.

Types only. `luna.cluster.names` says who sends what to whom, and when.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from luna.proto.ids import node_of


class Name(NamedTuple):
    """A name in one environment (u64); `text` is any text."""

    environment: int
    text: str

    @property
    def size(self) -> int:
        """bytes of the text as UTF-8."""
        return len(self.text.encode())


@dataclass(frozen=True, slots=True)
class Entry:
    """A name with the process it stands for; it lives on the process's node, its owner.

    `node` is the number that the guest gave with the process id: handed out again, and never looked at.
    `stamp` is when it was registered, in milliseconds of the wall clock of the node that did.
    """

    name: Name
    node: int
    pid: int
    stamp: int

    @property
    def owner(self) -> int:
        """The node on which the process lives."""
        return node_of(self.pid)

    @property
    def rank(self) -> tuple[int, int]:
        """Of two entries of one name the one with the smaller rank stays, wherever that is decided."""
        return (self.stamp, self.pid)


# --- From an owner to the home of a name --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Announce:
    """The sender has a process of this name; `reference` (0: none) was the reservation it was made for."""

    entry: Entry
    reference: int = 0


@dataclass(frozen=True, slots=True)
class Retract:
    """The sender's process of that name has died, gave it up, or is announced to another home now."""

    name: Name
    pid: int


# --- From whoever asks to the home of a name; `reference` is the sender's, for one answer -----------


@dataclass(frozen=True, slots=True)
class Get:
    reference: int
    name: Name


@dataclass(frozen=True, slots=True)
class Put:
    """Have the name stand for this process of the sender, whatever it stands for."""

    reference: int
    entry: Entry

    @property
    def name(self) -> Name:
        return self.entry.name


@dataclass(frozen=True, slots=True)
class Remove:
    reference: int
    name: Name


@dataclass(frozen=True, slots=True)
class Reserve:
    """What the name stands for, or the right to spawn a process for it, which an earlier home `granted`."""

    reference: int
    name: Name
    granted: bool = False


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for that answer here any more: undo what was asked for."""

    reference: int
    name: Name


Request: TypeAlias = Get | Put | Remove | Reserve

# --- From whoever asks to the owner of a process ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Register:
    """Put this name for a process of the receiver."""

    reference: int
    entry: Entry


# --- From the home of a name, and (Answer) from the owner asked to register -------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """Done; for Get and Reserve also what the name stands for. None after Get: for nothing.

    `refused`, from an owner: its processes have too many names already, and nothing was done.
    """

    reference: int
    entry: Entry | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Granted:
    """The name is free and the asker's to spawn for: it announces the process or cancels."""

    reference: int


@dataclass(frozen=True, slots=True)
class Revoke:
    """Another process is put under this name, or none: the owner gives it up and retracts it."""

    name: Name
    pid: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Two processes had one name, and this one's rank is the larger: its owner kills it and retracts it."""

    name: Name
    pid: int
    winner: int


# --- Between all ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Viewing:
    """The members that the sender sees are these now, as a number (`View.number`).

    It goes on to move what it announced and asked to the homes of that view; with `complete` it has.
    """

    number: int
    complete: bool


NameMessage: TypeAlias = (
    Announce
    | Retract
    | Get
    | Put
    | Remove
    | Reserve
    | Cancel
    | Register
    | Answer
    | Granted
    | Revoke
    | Lost
    | Viewing
)

# --- What a node is to do ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a peer; those to one peer in this order."""

    peer: int
    message: NameMessage


@dataclass(frozen=True, slots=True)
class Answered:
    """A local operation is over. `entry` is what `get` found, and `reserve` if it found something.

    `refused`: nothing was done, since the node of the process has too many names.
    """

    operation: int
    entry: Entry | None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Reserved:
    """A local `reserve` has the name for itself, until `commit` or `cancel`."""

    operation: int


@dataclass(frozen=True, slots=True)
class Changed:
    """A name stands for this process of this node now; None: for none of this node."""

    name: Name
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Kill:
    """This node's process lost the name to `winner`, which was registered earlier: it has to die."""

    entry: Entry
    winner: int


Effect: TypeAlias = Send | Answered | Reserved | Changed | Kill
