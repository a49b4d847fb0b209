"""The table of host calls: every function a guest may import, one row each.

The linker of the native core, the C header, the all-imports guest and the docs are all
made from this table, so a signature cannot drift between them. It is data: nothing here
runs a host call, and importing it loads neither wasmtime nor the native core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from luna.scheduler import (
    _table_earlier,
    _table_luna,
    _table_message,
    _table_networking,
    _table_process,
    _table_services,
    _table_wasi,
)
from luna.scheduler._hostcall import HostCall, Kind, Parameter, Where

__all__ = [
    "ALL_CALLS",
    "EARLIER_CALLS",
    "HOST_CALLS",
    "WASI_NAMESPACE",
    "HostCall",
    "Kind",
    "Parameter",
    "Where",
    "find",
    "namespaces",
    "table_rows",
]

WASI_NAMESPACE: Final = _table_wasi.NAMESPACE

HOST_CALLS: Final[tuple[HostCall, ...]] = tuple(
    replace(row, index=index)
    for index, row in enumerate(
        (
            *_table_message.ROWS,
            *_table_process.ROWS,
            *_table_networking.ROWS,
            *_table_services.ROWS,
            *_table_luna.ROWS,
            *_table_wasi.ROWS,
        )
    )
)
"""The interface of today."""

EARLIER_CALLS: Final[tuple[HostCall, ...]] = tuple(
    replace(row, index=index) for index, row in enumerate(_table_earlier.ROWS, len(HOST_CALLS))
)
"""What earlier interfaces had besides, or with another type or meaning."""

ALL_CALLS: Final = HOST_CALLS + EARLIER_CALLS
"""Every row by its index."""

_BY_NAME: Final[Mapping[tuple[str, str], HostCall]] = MappingProxyType(
    {(row.namespace, row.name): row for row in HOST_CALLS}
)


def find(namespace: str, name: str) -> HostCall | None:
    """The row of one import in the interface of today, or None when it has none."""
    return _BY_NAME.get((namespace, name))


def namespaces() -> tuple[str, ...]:
    """The import modules, in table order."""
    return tuple(dict.fromkeys(row.namespace for row in HOST_CALLS))


def table_rows() -> list[tuple[str, str, str, str, str, bool, str, str]]:
    """All rows by their index, as the native core takes them.

    Each is (namespace, name, key, parameter letters, result letter or "", suspends,
    where, how its arguments are shown); the letters are `i` for i32, `I` for i64,
    `f` for f64, and for the last those of `HostCall.shown`.
    """
    return [
        (row.namespace, row.name, row.key, row.params, row.result, row.suspends, row.where.value, row.shown)
        for row in ALL_CALLS
    ]
