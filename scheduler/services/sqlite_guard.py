"""What SQL of a guest may not do: leave its directories, or take from others in this OS process.

SQLite asks an authorizer about every action while it compiles a statement. This one
lets a database be attached only by a name that was made for it, silently skips
settings that would cost memory or change nothing a guest can tell, and refuses those
that are of the whole OS process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, final

import apsw

from luna.scheduler.services.sqlite_paths import IN_MEMORY, TEMPORARY

__all__ = ["Guard", "is_vacuum_into", "rename_attached"]

MAX_CACHE_PAGES: Final = 16_384
"""pages of one database that SQLite may keep in memory: 64 MiB of usual pages."""
MAX_CACHE_KIB: Final = 65_536
"""KiB of the same, when `cache_size` is given as such, by a negative number."""

_REFUSED_SETTINGS: Final = frozenset(
    {
        "soft_heap_limit",  # of all databases in this OS process
        "hard_heap_limit",
        "temp_store_directory",  # of the OS process, and anywhere
        "data_store_directory",
        "lock_proxy_file",  # a path
    }
)
_SKIPPED_SETTINGS: Final = frozenset(
    {
        "mmap_size",  # a file that is cut short while it is mapped kills the OS process
        "threads",  # for sorting; this is where their limit would be lifted
        "temp_store",  # temporary tables and sorting would take memory without a bound
    }
)
_SKIPPED_IN_MEMORY: Final = frozenset({"max_page_count", "page_size"})
"""What bounds a database in memory."""

_REFUSED_FUNCTIONS: Final = frozenset({"load_extension", "fts3_tokenizer"})
"""Native code by its path or address."""

_SPACE: Final = r"(?:[\s;]|--[^\n]*(?:\n|\Z)|(?>/\*.*?(?:\*/|\Z)))*+"
_ATTACH: Final = re.compile(
    rf"""(?P<head>{_SPACE}ATTACH\b{_SPACE}(?:DATABASE\b{_SPACE})?+)
    (?P<name>'(?:[^']|'')*+' | "(?:[^"]|"")*+" | `(?:[^`]|``)*+` | \[[^\]]*+\] | [\w$]++)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_VACUUM: Final = re.compile(rf"{_SPACE}VACUUM\b", re.IGNORECASE | re.DOTALL)


@final
class Guard:
    """The authorizer of one connection, and what it noted."""

    def __init__(self) -> None:
        self.attachable: Final[set[str]] = set()
        """names under which a file may be attached: those of `Pinned.path`"""
        self.refused_file: str | None = None
        """the file that was last to be attached and was not, by the name in the SQL"""
        self.busy_timeout_ms: int | None = None
        """what a `PRAGMA busy_timeout` just asked for"""
        self.memory_attached = False
        """whether a database in memory was ever attached"""
        self.in_memory = False
        """whether the connection has a database in memory"""

        self._is_suspended = False

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Let everything pass, for SQL of the host."""
        self._is_suspended = True
        try:
            yield
        finally:
            self._is_suspended = False

    def __call__(
        self, action: int, first: str | None, second: str | None, schema: str | None, trigger: str | None
    ) -> int:
        """SQLITE_OK, SQLITE_DENY (an error) or SQLITE_IGNORE (as if it were not there)."""
        if self._is_suspended:
            return apsw.SQLITE_OK
        if action == apsw.SQLITE_PRAGMA and first is not None and second is not None:
            return self._setting(first.lower(), second)
        if action == apsw.SQLITE_ATTACH:
            return self._attach(first)
        if action == apsw.SQLITE_FUNCTION and (second or "").lower() in _REFUSED_FUNCTIONS:
            return apsw.SQLITE_DENY
        return apsw.SQLITE_OK

    def _setting(self, name: str, value: str) -> int:
        if name in _REFUSED_SETTINGS:
            return apsw.SQLITE_DENY
        if name in _SKIPPED_SETTINGS or (self.in_memory and name in _SKIPPED_IN_MEMORY):
            return apsw.SQLITE_IGNORE
        if name in ("cache_size", "default_cache_size"):
            pages = _integer(value)
            return apsw.SQLITE_OK if -MAX_CACHE_KIB <= pages <= MAX_CACHE_PAGES else apsw.SQLITE_IGNORE
        if name == "busy_timeout":
            self.busy_timeout_ms = max(0, _integer(value))
        return apsw.SQLITE_OK

    def _attach(self, name: str | None) -> int:
        if name == TEMPORARY or name in self.attachable:  # VACUUM attaches a temporary one itself
            return apsw.SQLITE_OK
        if name == IN_MEMORY:
            self.memory_attached = self.in_memory = True
            return apsw.SQLITE_OK
        self.refused_file = name  # None when it is not written out, but computed
        return apsw.SQLITE_DENY


def is_vacuum_into(sql: str) -> bool:
    """Whether a statement writes a copy of a database to a file."""
    found = _VACUUM.match(sql)
    return found is not None and re.search(r"\bINTO\b", sql[found.end() :], re.IGNORECASE) is not None


def rename_attached(sql: str, name: str, path: str) -> str | None:
    """SQL that begins with the attaching of `name`, `path` in its place; None if it does not so begin."""
    found = _ATTACH.match(sql)
    if found is None or _unquoted(found["name"]) != name:
        return None
    quoted = path.replace("'", "''")
    return f"{found['head']} '{quoted}'{sql[found.end() :]}"


def _unquoted(token: str) -> str:
    quote = token[0]
    if quote == "[":
        return token[1:-1]
    if quote in "'\"`":
        return token[1:-1].replace(quote * 2, quote)
    return token


def _integer(text: str) -> int:
    """As SQLite reads one: what does not begin with a number is 0."""
    found = re.match(r"[+-]?\d{1,18}", text)
    return int(found[0]) if found else 0
