"""Makes docs/limits.md, the table of every limit, from the sources that define them.

Values and reasons come from `proto/limits.py`, from the native core's `_limits.pxd` and from the modules
named in `SINGLE`; nothing is written twice. `--check` leaves the tree alone and fails when the page differs.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from generated_file import ROOT, settle

TARGET = ROOT / "docs" / "limits.md"
SHARED = ROOT / "proto" / "limits.py"
NATIVE = ROOT / "scheduler" / "_limits.pxd"

SINGLE = {
    "scheduler/runtime.py": ("MAX_PROCESSES",),
    "scheduler/pressure.py": ("PROCESSES", "FRACTION"),
    "scheduler/local_names.py": ("MAX_NAMES",),
    "scheduler/modules.py": ("MODULES_KEPT", "COMPILATIONS_AT_ONCE"),
    "scheduler/code_cache.py": ("MAX_CACHE_BYTES",),
    "scheduler/services/sockets.py": ("RESERVED_DESCRIPTORS", "LISTEN_BACKLOG"),
    "scheduler/services/streams.py": ("MAX_READ_BYTES", "MAX_WRITE_BYTES", "MAX_VECTORS"),
    "scheduler/services/udp.py": ("MAX_DATAGRAM_BYTES",),
    "scheduler/services/dns.py": ("MAX_LOOKUPS", "MAX_NAME_BYTES"),
    "scheduler/services/pem.py": ("MAX_PEM_BYTES",),
    "scheduler/services/tls.py": ("MAX_THREADS", "MAX_AUTHORITIES", "MAX_LIST_BYTES", "MAX_HOST_BYTES"),
    "scheduler/services/tls_context.py": ("MAX_RSA_BITS",),
    "scheduler/services/tls_listener.py": ("HANDSHAKE_TIMEOUT_S", "MAX_HANDSHAKES"),
    "scheduler/services/tls_connection.py": ("MAX_UNSENT_BYTES", "LINGER_S"),
    "scheduler/services/certificates.py": ("MAX_SIGNING", "MAX_KEY_PEM_BYTES", "VALID_DAYS"),
    "scheduler/services/sqlite.py": (
        "MAX_RUNNING",
        "MAX_THREADS",
        "MAX_CONNECTIONS",
        "MAX_NODE_CONNECTIONS",
        "MAX_PATH_BYTES",
        "MAX_BINDINGS_BYTES",
    ),
    "scheduler/services/sqlite_database.py": (
        "MAX_SQL_BYTES",
        "MAX_VALUE_BYTES",
        "MAX_ROW_BYTES",
        "MAX_HELD_BYTES",
        "MAX_MEMORY_DATABASE_BYTES",
        "MAX_HEAP_BYTES",
        "MAX_ATTACHED",
        "MAX_DIRECTORIES",
    ),
    "scheduler/services/sqlite_guard.py": ("MAX_CACHE_PAGES", "MAX_CACHE_KIB"),
    "scheduler/semver.py": ("MAX_COMPARATORS",),
    "scheduler/services/early_registry.py": ("MAX_VERSIONS",),
    "scheduler/services/metrics.py": ("MAX_METRICS", "MAX_NAME_BYTES"),
    "node/metrics_server.py": ("MAX_CLIENTS", "MAX_HEAD_BYTES", "REQUEST_TIMEOUT_S", "RESPONSE_TIMEOUT_S"),
    "node/modules.py": ("MAX_STORED_BYTES", "MAX_MEMORY_BYTES", "MAX_FETCHES"),
    "node/module_fetch.py": ("FETCH_PATIENCE_S", "BUSY_PATIENCE_S", "MAX_RESTARTS", "LIARS_REMEMBERED"),
    "node/module_transfer.py": ("MAX_SERVED", "STALL_TIMEOUT_S"),
    "node/remote_spawn.py": ("MAX_PENDING_SPAWNS", "SPAWN_TIMEOUT_S"),
    "node/node_queries.py": ("MAX_QUERIES", "MAX_QUERY_BYTES"),
    "node/session.py": ("MAX_PENDING_BATCHES",),
    "node/joining.py": ("MAX_FOUND",),
}
"""Limits of one module alone that somebody who runs a node or writes a guest can meet."""

HEAD = """\
# Limits

Every limit of Luna with its value and its reason, made by `tools/generate_limits_docs.py` from the sources.
They are fixed when Luna is built. What a single process may use is set with its
[config](guests.md#limits-and-configs), or with the options of [`luna spawn`](cli.md#luna-spawn).

KiB, MiB and GiB are powers of 1024.
"""

_SECTION = re.compile(r"# --- (?P<title>.+?) -+\n")
_ENUM_LINE = re.compile(r"(?P<name>[A-Z][A-Z0-9_]*) = (?P<value>[0-9_]+(?: \* [0-9_]+)*)$")


@dataclass(frozen=True, slots=True)
class Limit:
    """One row: `text` is unit and reason, as they stand in the source."""

    name: str
    value: float
    text: str


def format_value(value: float, text: str, name: str = "") -> str:
    """The value as people say it; its unit is the first word of the text, unless the name says bytes."""
    unit = "bytes" if "BYTES" in name else re.split(r"[^a-z]", text, maxsplit=1)[0]
    if unit == "bytes" and isinstance(value, int):
        for size, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
            if value >= size and value % size == 0:
                return f"{value // size} {name}"
    if unit == "nanoseconds":
        if value >= 1e9:
            return f"{value / 1e9:g} s"
        return f"{value / 1e6:g} ms" if value >= 1e6 else f"{value / 1e3:g} us"
    if unit == "seconds":
        return f"{value:g} s"
    return f"{value:,}".replace(",", " ")


def documented_names(source: str) -> Iterator[tuple[int, str, str]]:
    """(line, name, docstring) of the upper-case constants of a Python module that have one."""
    body = ast.parse(source).body
    for statement, following in itertools.pairwise(body):
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                pass
            case _:
                continue
        match following:
            case ast.Expr(value=ast.Constant(value=str(text))) if name.isupper():
                yield statement.lineno, name, " ".join(text.split())
            case _:
                pass


def values_of(path: Path, names: list[str]) -> list[float]:
    """The values of constants of one of our modules."""
    module = importlib.import_module("luna." + ".".join(path.relative_to(ROOT).with_suffix("").parts))
    return [getattr(module, name) for name in names]


def shared_limits() -> Iterator[tuple[str, list[Limit]]]:
    """The limits of proto/limits.py, by its sections."""
    source = SHARED.read_text(encoding="utf-8")
    starts = [
        (source.count("\n", 0, match.start()) + 1, match["title"]) for match in _SECTION.finditer(source)
    ]
    rows = list(documented_names(source))
    values = values_of(SHARED, [name for _, name, _ in rows])
    limits = [
        (line, Limit(name, value, text)) for (line, name, text), value in zip(rows, values, strict=True)
    ]
    for index, (start, title) in enumerate(starts):
        end = starts[index + 1][0] if index + 1 < len(starts) else math.inf
        yield title, [limit for line, limit in limits if start < line < end]


def native_limits(source: str) -> list[Limit]:
    """The limits of an enum in a .pxd file; names that follow each other share the comment above them."""
    limits, comment, fresh = [], "", False
    for line in map(str.strip, source.partition("cdef enum:")[2].splitlines()):
        if line.startswith("#"):
            part = line.removeprefix("#").strip()
            comment, fresh = (f"{comment} {part}" if fresh else part), True
            continue
        fresh = False
        if not line:
            continue
        match = _ENUM_LINE.match(line)
        if match is None or not comment:
            raise ValueError(f"{NATIVE.name}: not a limit with a comment above it: {line}")
        value = math.prod(int(factor) for factor in match["value"].split(" * "))
        limits.append(Limit(match["name"], value, comment))
    return limits


def single_limits() -> Iterator[tuple[str, list[Limit]]]:
    """The limits that stand in their modules, by module."""
    for name, wanted in SINGLE.items():
        path = ROOT / name
        texts = {found: text for _, found, text in documented_names(path.read_text(encoding="utf-8"))}
        missing = [limit for limit in wanted if limit not in texts]
        if missing:
            raise ValueError(f"{name} has no documented {', '.join(missing)}")
        values = values_of(path, list(wanted))
        yield name, [Limit(limit, value, texts[limit]) for limit, value in zip(wanted, values, strict=True)]


def table(limits: list[Limit]) -> list[str]:
    return [
        "| limit | value | unit and reason |",
        "|---|---|---|",
        *(f"| `{row.name}` | {format_value(row.value, row.text, row.name)} | {row.text} |" for row in limits),
    ]


def page() -> str:
    """The whole text of the page."""
    lines = [HEAD]
    for title, limits in shared_limits():
        lines += [f"## {title}", "", *table(limits), ""]
    native = native_limits(NATIVE.read_text(encoding="utf-8"))
    lines += ["## The native core", "", *table(native), "", "## Single modules", ""]
    for name, limits in single_limits():
        lines += [f"`{name}`:", "", *table(limits), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(settle(TARGET, page(), sys.argv[1:], "tools/generate_limits_docs.py"))
