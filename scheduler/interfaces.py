"""Which rows of the host-call table a module means by its imports.

Lunatic changed types and meanings of host calls between releases without
changing their names. A type tells which one is meant; where two have the same
type, whatever else the module imports does. Pure decisions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, final

from luna.scheduler._hostcall import TODAY
from luna.scheduler.hostcalls import (
    ALL_CALLS,
    EARLIER_CALLS,
    HOST_CALLS,
    WASI_NAMESPACE,
    HostCall,
    namespaces,
)

__all__ = ["Import", "Meaning", "meaning_of"]

_ALWAYS_THE_SAME: Final = frozenset(
    (f"lunatic::{namespace}", name)
    for namespace, names in {
        "error": "string_size to_string drop",
        "message": "create_data write_data read_data seek_data get_tag data_size push_tcp_stream "
        "take_tcp_stream",
        "process": "drop_config drop_module sleep_ms die_when_link_dies",
        "networking": "drop_dns_iterator resolve_next tcp_bind drop_tcp_listener tcp_accept drop_tcp_stream "
        "clone_tcp_stream tcp_flush",
        "version": "major minor patch",
    }.items()
    for name in names.split()
)
"""what Lunatic 0.6 and 0.7 had with the type and the meaning of today"""

LAST_WITHOUT_NAME: Final = "0.7"
"""the last release that gave programs their arguments without their name"""

_CANDIDATES: Final[Mapping[tuple[str, str], Sequence[HostCall]]] = MappingProxyType(
    {
        name: tuple(row for row in ALL_CALLS if (row.namespace, row.name) == name)
        for name in {(row.namespace, row.name) for row in ALL_CALLS}
    }
)


@final
@dataclass(frozen=True, slots=True)
class Import:
    """A function a module imports; types as letters, see `hostcalls.table_rows`, and for people."""

    namespace: str
    name: str
    params: str
    result: str
    type: str


@final
@dataclass(frozen=True, slots=True)
class Meaning:
    """What a module's imports mean."""

    rows: frozenset[int]
    """Of the table, one for each import."""
    problems: tuple[str, ...]
    """Why the module cannot be linked, one text for each import that is wrong."""

    @property
    def earlier(self) -> frozenset[int]:
        """The rows that stand in for one of today's with the same name."""
        today = {(row.namespace, row.name) for row in HOST_CALLS}
        return frozenset(
            row.index
            for row in EARLIER_CALLS
            if row.index in self.rows and (row.namespace, row.name) in today
        )

    @property
    def uses_wasi(self) -> bool:
        """Whether the module imports anything of WASI."""
        return any(ALL_CALLS[row].namespace == WASI_NAMESPACE for row in self.rows)

    @property
    def interface(self) -> str:
        """The release of Lunatic whose interface the module was made for, as far as its imports tell."""
        return min((ALL_CALLS[row].interface for row in self.rows), key=_age, default=TODAY)

    @property
    def names_program(self) -> bool:
        """Whether a program's first argument is its own name; early ones get only those behind it."""
        return _age(self.interface) > _age(LAST_WITHOUT_NAME)


def meaning_of(imports: Iterable[Import]) -> Meaning:
    """Find the row of each import."""
    chosen: dict[tuple[str, str], HostCall] = {}
    open_: list[list[HostCall]] = []
    problems: list[str] = []
    for item in imports:
        rows = _CANDIDATES.get((item.namespace, item.name), ())
        fitting = [row for row in rows if (row.params, row.result) == (item.params, item.result)]
        known = chosen.get((item.namespace, item.name))
        if not fitting:
            problems.append(_problem(item, rows))
        elif known is not None and known not in fitting:
            problems.append(f"{item.namespace}::{item.name} is imported with two types")
        elif len(fitting) > 1:
            open_.append(fitting)
        else:
            chosen[item.namespace, item.name] = fitting[0]
    interfaces = {row.interface for row in chosen.values()}
    is_late = any(_is_late(row) for row in chosen.values())
    for fitting in open_:
        marked = [row for row in fitting if row.interface != TODAY and row.interface in interfaces]
        latest = max(fitting, key=lambda row: _age(row.interface))
        row = marked[0] if marked else latest if is_late else fitting[0]
        chosen[row.namespace, row.name] = row
    return Meaning(frozenset(row.index for row in chosen.values()), tuple(problems))


def _is_late(row: HostCall) -> bool:
    """Whether early Lunatic did not have this row: a module that imports it is of a later release."""
    is_lunatic = row.namespace != WASI_NAMESPACE
    return is_lunatic and row.interface == TODAY and (row.namespace, row.name) not in _ALWAYS_THE_SAME


def _age(interface: str) -> tuple[int, ...]:
    return tuple(int(part) for part in interface.split("."))


def _problem(item: Import, rows: Sequence[HostCall]) -> str:
    label = f"{item.namespace}::{item.name}"
    if rows:
        by_interface: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            by_interface[row.type].append(row.interface)
        types = " or ".join(f"{type_} (Lunatic {', '.join(which)})" for type_, which in by_interface.items())
        known = rows[0].type if len(rows) == 1 else types
        return f"{label} is imported as {item.type}, but it is {known}"
    if item.namespace in namespaces():
        return f"{label} is unknown"
    return f"{label} is unknown: there is no namespace {item.namespace}"
