"""What a command returns: a frozen result with its data, its view and its exit code.

Owns the base class of results and the views they may have. Never prints.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from luna.cli.errors import ExitCode


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its heading, and whether it holds numbers (aligned to the right)."""

    heading: str
    number: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under headings; `empty` is said on stderr when there are none."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Named values of one thing, one a line."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text; none at all if it is empty."""

    text: str


View = Table | Facts | Line
NOTHING = Line("")


class Result(abc.ABC):
    """The outcome of one command. Subclasses are frozen dataclasses.

    `schema` is `luna.<verb>/<version>`: keys are added to a version, never changed or removed.
    """

    schema: ClassVar[str]

    @abc.abstractmethod
    def data(self) -> Mapping[str, object]:
        """The `data` of the JSON document; pids are strings."""

    @abc.abstractmethod
    def view(self) -> View:
        """What people see on stdout."""

    def notes(self) -> Sequence[str]:
        """Remarks for stderr."""
        return ()

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return ExitCode.OK
