"""What the processes of the workload write down of their messages, as `integration/guests/soak.c` says.

Owns the model of a ledger and how it is read. What it proves is the business of `judge`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


class LedgerError(Exception):
    """A line that no process of the workload writes; the text quotes it."""


class Kind(enum.StrEnum):
    """What an entry is about: the letter that begins its line."""

    ARMED = "A"
    SETTLED = "K"
    LINK = "L"
    MONITOR = "M"
    UP = "U"
    DOWN = "D"
    GOT = "G"
    DAMAGED = "B"
    SENT = "S"
    TIMES = "T"
    END = "E"
    CHILDREN = "C"
    ROUND = "R"
    ROUND_CAME = "W"
    NAMES = "N"
    HOLDER = "H"


class Reason(enum.IntEnum):
    """Why a process ended, as a notice says: LUNA_EXIT_... of the C header."""

    NORMAL = 0
    FAILURE = 1
    KILLED = 2
    LINK_DIED = 3
    NO_PROCESS = 4
    NO_CONNECTION = 5


_NUMBERS = {
    Kind.LINK: 2,
    Kind.MONITOR: 2,
    Kind.GOT: 2,
    Kind.TIMES: 4,
    Kind.CHILDREN: 7,
    Kind.ROUND: 2,
    Kind.ROUND_CAME: 3,
    Kind.NAMES: 2,
    Kind.HOLDER: 2,
}
"""how many numbers follow the time; 1 of all others"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: what happened, when (milliseconds of the wall clock), and the numbers of that kind."""

    kind: Kind
    time_ms: int
    numbers: tuple[int, ...]


def parse_entry(line: str) -> Entry:
    """Raises LedgerError."""
    try:
        letter, time_ms, *numbers = line.split()
        entry = Entry(Kind(letter), int(time_ms), tuple(map(int, numbers)))
    except ValueError:
        raise LedgerError(f"this is no line of a ledger: {line!r}") from None
    if len(entry.numbers) != _NUMBERS.get(entry.kind, 1):
        raise LedgerError(f"a line {letter!r} has other numbers: {line!r}")
    return entry


@dataclass(slots=True)
class Ledger:
    """What one process wrote, in order. `is_lost` if its node ended before it did: the rest is missing."""

    process: str
    """for people: what it does, and where"""
    entries: list[Entry] = field(default_factory=list)
    is_lost: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether its last entry says that nothing follows."""
        return bool(self.entries) and self.entries[-1].kind is Kind.END

    def of(self, kind: Kind) -> Sequence[Entry]:
        """Its entries of one kind."""
        return [entry for entry in self.entries if entry.kind is kind]

    @classmethod
    def read(cls, process: str, lines: Iterable[str], *, is_lost: bool = False) -> Ledger:
        """The ledger of these lines. Raises LedgerError."""
        return cls(process, [parse_entry(line) for line in lines], is_lost)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two processes on two nodes. `source` sends numbered messages; with `answers`, `target` answers each."""

    name: str
    source: Ledger
    target: Ledger
    answers: bool = False
