"""SQLite databases as guests see them: connections and prepared statements, on `apsw`.

The guest's interface is that of SQLite's C functions: prepare, bind, step, reset.
apsw has cursors instead, whose `execute` compiles, binds and steps at once. Of what it
offers, these pieces make the difference up; each has a test in `test_sqlite_database.py`:

- a cursor's `exec_trace` is called with a statement compiled and not yet stepped, and
  may end the matter there: so errors show when a statement is prepared, and the columns
  and parameters of one that was never stepped are known;
- it names the part of the text that is the first statement, so that the rest can be
  left alone, as `sqlite3_prepare` does;
- `execute` steps once, and each `next` of the cursor gives a row and steps again only
  when it is called the next time: so a step of the guest is a step of SQLite.

So a statement is compiled when it is prepared, to look at it, and when it is first
stepped. In between, as always, SQLite would compile it again if the schema changed.

Everything here blocks and is for a worker thread, one call at a time on a database,
unless it says that it is for any thread; what only reads Python's own values is, too.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Final, Self, final

import apsw

from luna.scheduler.services.sockets import check_descriptor
from luna.scheduler.services.sqlite_guard import Guard, is_vacuum_into, rename_attached
from luna.scheduler.services.sqlite_paths import (
    IN_MEMORY,
    TEMPORARY,
    DeniedError,
    Pinned,
    check_nameless,
    pin,
    trust_descriptors,
)
from luna.scheduler.services.sqlite_wire import Key, Value

__all__ = ["Database", "Failure", "Statement"]

MAX_SQL_BYTES: Final = 16 * 1024 * 1024
"""bytes of one text of SQL, as SQLite counts them; a script that fills a database may be long."""
MAX_VALUE_BYTES: Final = 64 * 1024 * 1024
"""bytes of one text or blob, and of one stored row (SQLITE_LIMIT_LENGTH)."""
MAX_ROW_BYTES: Final = 256 * 1024 * 1024
"""bytes of one row of a result. apsw copies a row as a whole, and SQL can name one value thousands of times:
so a statement with many columns has a lower limit for each of its values."""
MAX_HELD_BYTES: Final = 256 * 1024 * 1024
"""bytes that the statements of one connection keep here: their texts, bound values and current rows."""
STATEMENT_BYTES: Final = 1024
"""bytes counted for a statement besides; about what its objects take."""
MAX_MEMORY_DATABASE_BYTES: Final = 256 * 1024 * 1024
"""bytes of one database in memory; a file is the way to more."""
MAX_HEAP_BYTES: Final = 1024 * 1024 * 1024
"""bytes SQLite allocates for all databases of this OS process; beyond it calls fail with SQLITE_NOMEM."""
MAX_ATTACHED: Final = 10
"""databases attached to a connection at once, SQLite's own default."""
MAX_DIRECTORIES: Final = 16
"""directories that one connection holds open for its files, so that they stay what they were."""
MAX_BUSY_WAIT_S: Final = 0.025
"""seconds between two looks whether a lock is free again"""

VFS: Final = "unix-excl"
"""How SQLite uses files: in its usual way, but the index of a write-ahead log is in memory of this OS
process and not in a file that is mapped, since a guest could cut that file short, which ends an OS process
that has it mapped. The price: while a file is in use here, no other OS process gets a lock on it."""

SQLITE_PAGE_BYTES: Final = 4096
"""bytes of a page of a new database; a guest cannot change it for one in memory."""

_NULLS: Final = apsw._null_bindings  # type: ignore[attr-defined]  # noqa: SLF001
"""NULL for every parameter: what `sqlite3_exec` does. apsw.ext uses it, though no document names it."""


@final
class Failure(Exception):
    """An error of SQLite: its primary result code and its message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} (code {code})")
        self.code: Final = code
        self.message: Final = message


@final
class _State(Enum):
    READY = "ready"  # not stepped since it was prepared or reset: may be bound
    RUNNING = "running"  # stepped to a row
    ENDED = "ended"  # stepped to its end or an error; a further step starts anew


@final
@dataclass(frozen=True, slots=True)
class _Compiled:
    """What SQLite says of a statement that it compiled."""

    sql: str
    columns: tuple[str, ...]
    parameters: tuple[str | None, ...]
    """names without their first character"""
    is_empty: bool
    """nothing but spaces and comments"""


@final
class Database:
    """One connection. Made by `open`."""

    def __init__(
        self, connection: apsw.Connection, preopens: Iterable[tuple[str, str]], turns: threading.Semaphore
    ) -> None:
        self._connection = connection
        self._turns = turns
        self._turn_lock = threading.Lock()
        self._has_turn = False
        self._preopens = tuple(preopens)
        self._guard = Guard()
        self._directories: dict[tuple[int, int], int] = {}  # (device, inode) -> descriptor
        self._lock = threading.Lock()
        self._closing = False
        self._busy_timeout_s = 0.0
        self._busy_since = 0.0
        self.held_bytes = 0
        """what its statements keep, see MAX_HELD_BYTES"""
        self.last_error: tuple[int, str] | None = None
        """code and message of the last call if it failed"""

    @classmethod
    def open(cls, path: str, preopens: Iterable[tuple[str, str]], turns: threading.Semaphore) -> Self:
        """The database of a guest's path, made if there is none.

        Each call takes one of `turns`, but for the time that it waits for a lock.
        Raises DeniedError, OSError (see `pin`) and Failure.
        """
        _set_up_library()
        if path in (IN_MEMORY, TEMPORARY):
            check_nameless(path, preopens)
            return cls._connect(path, None, preopens, turns)
        pinned = pin(path, preopens)
        try:
            check_descriptor(pinned.directory)
            return cls._connect(pinned.path, pinned, preopens, turns)
        except BaseException:
            os.close(pinned.directory)
            raise

    @classmethod
    def _connect(
        cls,
        name: str,
        pinned: Pinned | None,
        preopens: Iterable[tuple[str, str]],
        turns: threading.Semaphore,
    ) -> Self:
        try:
            connection = apsw.Connection(
                name,
                flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE,
                vfs=VFS,
                statementcachesize=0,
            )
        except apsw.Error as error:
            raise _failure_of(error) from None
        database = cls(connection, preopens, turns)
        try:
            database._set_up(in_memory=name == IN_MEMORY)
        except apsw.Error as error:
            connection.close(True)
            raise _failure_of(error) from None
        if pinned is not None:
            database._directories[_identity(pinned.directory)] = pinned.directory
        return database

    def _set_up(self, *, in_memory: bool) -> None:
        connection = self._connection
        for option, value in (
            # What a file or a guest may not do to the library; see SQLite's advice on untrusted databases.
            (apsw.SQLITE_DBCONFIG_DEFENSIVE, 1),
            (apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
            (apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0),
            (apsw.SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0),
            # lunatic's own test selects "Hello".
            (apsw.SQLITE_DBCONFIG_DQS_DML, 1),
            (apsw.SQLITE_DBCONFIG_DQS_DDL, 1),
        ):
            connection.config(option, value)
        for limit, value in (
            (apsw.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES),
            (apsw.SQLITE_LIMIT_SQL_LENGTH, MAX_SQL_BYTES),
            (apsw.SQLITE_LIMIT_ATTACHED, MAX_ATTACHED),
        ):
            connection.limit(limit, value)
        connection.pragma("cell_size_check", True)
        connection.set_commit_hook(self._is_not_atomic)
        if in_memory:
            self._bound_memory("main")
            self._guard.in_memory = True
        connection.authorizer = self._guard

    # -- what a guest asks for --------------------------------------------------------

    def execute(self, sql: str) -> None:
        """Run every statement of a text, without results. Raises Failure."""
        with self.working():
            _check_text(sql)
            for _ in range(MAX_ATTACHED + 1):
                done = self._run(sql)
                if done is None:
                    return
                # Statements before this place have run, and the one here was refused.
                sql = self._attach(sql[done:])
            raise Failure(apsw.SQLITE_AUTH, f"one text may attach {MAX_ATTACHED} files at most")

    def prepare(self, sql: str) -> Statement:
        """Compile the first statement of a text. Raises Failure."""
        with self.working():
            _check_text(sql)
            try:
                compiled = self._compile(sql)
            except apsw.AuthError:
                compiled = self._compile(self._attach(sql))
            return Statement(self, compiled)

    def changes(self) -> int:
        """Rows that the last INSERT, UPDATE or DELETE changed."""
        return self._connection.changes()

    def noted(self, failure: Failure) -> Failure:
        """Take an error that SQLite was not asked about for the last one; `failure` itself."""
        self.last_error = failure.code, failure.message
        return failure

    # -- the end ----------------------------------------------------------------------

    def begin_to_close(self) -> None:
        """Have whatever runs end soon, and let nothing more begin; from any thread."""
        self._closing = True

    def try_to_close(self) -> bool:
        """Close it unless a call still runs, which is interrupted; whether it is closed. From any thread."""
        if not self._lock.acquire(blocking=False):
            # SQLite forgets an interruption when no statement is being stepped, so it is repeated.
            self._connection.interrupt()
            return False
        try:
            self._connection.close(True)
        finally:
            while self._directories:
                os.close(self._directories.popitem()[1])
            self._lock.release()
        return True

    def give_up_turn(self) -> None:
        """Let another call run. From any thread, for one that SQLite cannot interrupt."""
        with self._turn_lock:
            if self._has_turn:
                self._has_turn = False
                self._turns.release()

    def _take_turn(self) -> None:
        self._turns.acquire()
        with self._turn_lock:
            self._has_turn = True

    # -- for Statement ----------------------------------------------------------------

    @contextmanager
    def working(self) -> Iterator[None]:
        """One call: alone, remembered as `last_error` if it fails, and what apsw raises as Failure."""
        with self._lock:
            self.last_error = None
            self._take_turn()
            try:
                if self._closing:
                    raise Failure(apsw.SQLITE_INTERRUPT, "interrupted")
                try:
                    yield
                finally:
                    self._settle()
            except (Failure, apsw.Error, MemoryError) as error:
                raise self.noted(_failure_of(error)) from None
            finally:
                self.give_up_turn()

    def cursor(self) -> apsw.Cursor:
        """A new cursor."""
        return self._connection.cursor()

    def limit_values(self, columns: int, largest: int) -> None:
        """Before a step of a statement of so many columns, with a constant or parameter of `largest` bytes.

        Raises Failure when a row of copies of it were too large.
        """
        if columns * largest > MAX_ROW_BYTES:
            raise Failure(apsw.SQLITE_TOOBIG, "string or blob too big")
        self._connection.limit(
            apsw.SQLITE_LIMIT_LENGTH, min(MAX_VALUE_BYTES, MAX_ROW_BYTES // max(columns, 1))
        )

    def hold(self, more_bytes: int) -> None:
        """Count bytes that a statement keeps, or lets go. Raises Failure when there are too many."""
        if more_bytes > 0 and self.held_bytes + more_bytes > MAX_HELD_BYTES:
            raise Failure(
                apsw.SQLITE_NOMEM,
                f"the statements of a connection keep {MAX_HELD_BYTES} bytes at most: finalize some",
            )
        self.held_bytes += more_bytes

    # -- inside -----------------------------------------------------------------------

    def _run(self, sql: str) -> int | None:
        """Run every statement; None, or where the one begins that the authorizer refused."""
        done = 0

        def before(cursor: apsw.Cursor, text: str, bindings: object) -> bool:
            nonlocal done
            done += len(text)
            self._settle()
            self._check(text)
            self.limit_values(len(_columns(cursor)), len(sql))
            return True

        cursor = self._connection.cursor()
        cursor.exec_trace = before
        try:
            cursor.execute(sql, _NULLS, can_cache=False)
            _exhaust(cursor)
        except apsw.AuthError:
            return done
        finally:
            cursor.close(True)
        return None

    def _compile(self, sql: str) -> _Compiled:
        found: list[_Compiled] = []

        def look(cursor: apsw.Cursor, text: str, bindings: object) -> bool:
            self._check(text)
            found.append(_Compiled(text, _columns(cursor), cursor.bindings_names, not cursor.has_vdbe))
            return False

        cursor = self._connection.cursor()
        cursor.exec_trace = look
        try:
            cursor.execute(sql, _NULLS, can_cache=False)
        except apsw.ExecTraceAbort:
            pass
        finally:
            cursor.close(True)
        return found[0]

    @staticmethod
    def _check(text: str) -> None:
        """Raise Failure for the statement that the authorizer sees too late, when it runs."""
        if is_vacuum_into(text):
            raise Failure(apsw.SQLITE_AUTH, "VACUUM INTO is not for guests: attach a file and copy into it")

    def _attach(self, sql: str) -> str:
        """SQL that was refused, with the file it attaches resolved. Raises Failure if it may not be attached.

        The authorizer can only say yes or no to a name; and it must be the pinned one.
        """
        name, self._guard.refused_file = self._guard.refused_file, None
        if name is None:
            raise Failure(apsw.SQLITE_AUTH, "not authorized")
        try:
            pinned = pin(name, self._preopens)
        except (DeniedError, OSError) as error:
            raise Failure(apsw.SQLITE_AUTH, f"not authorized: {error}") from None
        key = _identity(pinned.directory)
        if key in self._directories:
            os.close(pinned.directory)
            pinned = Pinned(self._directories[key], pinned.name)
        elif len(self._directories) < MAX_DIRECTORIES:
            self._directories[key] = pinned.directory
        else:
            os.close(pinned.directory)
            raise Failure(
                apsw.SQLITE_AUTH,
                f"not authorized: a connection uses files of {MAX_DIRECTORIES} directories at most",
            )
        renamed = rename_attached(sql, name, pinned.path)
        if renamed is None:
            raise Failure(apsw.SQLITE_AUTH, "not authorized")
        self._guard.attachable.add(pinned.path)
        return renamed

    def _settle(self) -> None:
        """Act on settings that SQLite has just been given."""
        timeout_ms, self._guard.busy_timeout_ms = self._guard.busy_timeout_ms, None
        if timeout_ms is not None:
            # SQLite's own way to wait for a lock cannot be interrupted.
            self._busy_timeout_s = timeout_ms / 1000
            self._connection.set_busy_handler(self._wait_for_lock if timeout_ms else None)
        if self._guard.memory_attached:
            # Again and again: one may have been detached, and another attached under its name.
            for schema in self._connection.db_names():
                if schema not in ("main", "temp") and not self._connection.db_filename(schema):
                    self._bound_memory(schema)

    def _bound_memory(self, schema: str) -> None:
        pages = MAX_MEMORY_DATABASE_BYTES // SQLITE_PAGE_BYTES
        with self._guard.suspended():
            self._connection.pragma("max_page_count", pages, schema=schema)

    def _wait_for_lock(self, calls: int) -> bool:
        now = time.monotonic()
        if calls == 0:
            self._busy_since = now
        if self._closing or now - self._busy_since >= self._busy_timeout_s:
            return False
        # Who holds the lock may be waiting for a turn.
        self.give_up_turn()
        time.sleep(min(0.001 * (calls + 1), MAX_BUSY_WAIT_S))
        self._take_turn()
        return not self._closing

    def _is_not_atomic(self) -> bool:
        """Whether a transaction that is to be committed has changed several files; it is rolled back then.

        What makes such a commit atomic is a file in which SQLite names the others by the paths
        it knows. Ours hold only in this OS process: after a crash each file would be taken for whole.
        """
        written = sum(
            self._connection.txn_state(schema) == apsw.SQLITE_TXN_WRITE
            for schema in self._connection.db_names()
            if self._connection.db_filename(schema)
        )
        return written > 1


@final
class Statement:
    """A prepared statement. Made by `Database.prepare`."""

    def __init__(self, database: Database, compiled: _Compiled) -> None:
        self._database = database
        self._compiled = compiled
        self._values: list[Value] = [None] * len(compiled.parameters)
        self._cursor: apsw.Cursor | None = None
        self._state = _State.READY
        self._failed: tuple[int, str] | None = None  # how the last step did
        self._is_unreadable = False  # the current row, see `row`
        self._row: Sequence[Value] | None = None
        self._row_bytes = 0
        self._held = STATEMENT_BYTES + len(compiled.sql)
        database.hold(self._held)

    @property
    def database(self) -> Database:
        """Its connection."""
        return self._database

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of its result, as they were when it was prepared."""
        return self._compiled.columns

    def row(self) -> Sequence[Value]:
        """The current row; NULLs when there is none. Raises Failure when a text in it is not UTF-8."""
        if self._is_unreadable:
            raise Failure(apsw.SQLITE_MISMATCH, "a text in this row is not UTF-8")
        return self._row if self._row is not None else [None] * len(self.columns)

    def bind(self, pairs: Iterable[tuple[Key, Value]]) -> None:
        """Set parameters. Raises Failure; what stood before the faulty one is set."""
        self._database.last_error = None
        try:
            for key, value in pairs:
                if self._state is not _State.READY:
                    raise Failure(apsw.SQLITE_MISUSE, "bad parameter or other API misuse")
                if _size(value) > MAX_VALUE_BYTES:
                    raise Failure(apsw.SQLITE_TOOBIG, "string or blob too big")
                for index in self._indexes(key):
                    self._hold(_size(value) - _size(self._values[index]))
                    self._values[index] = value
        except Failure as failure:
            raise self._database.noted(failure) from None

    def _indexes(self, key: Key) -> Sequence[int]:
        """Parameters a key stands for, from 0. A name may be said with or without its `:`, `@` or `$`."""
        names = self._compiled.parameters
        if isinstance(key, str):
            # Lunatic bound these to the first parameter, whatever the name.
            bare = key[1:] if key[:1] in (":", "@", "$", "?") else key
            found = [index for index, name in enumerate(names) if name == bare]
            if not found:
                raise Failure(apsw.SQLITE_RANGE, f"the statement has no parameter {key!r}")
            return found
        number = 1 if key is None else key
        if not 1 <= number <= len(names):
            raise Failure(apsw.SQLITE_RANGE, "column index out of range")
        return (number - 1,)

    def step(self) -> bool:
        """Whether there is a row, which is then the current one. Raises Failure."""
        with self._database.working():
            self._failed = None
            self._let_row_go()
            try:
                row = self._next_row()
            except UnicodeDecodeError:
                self._is_unreadable = True  # apsw gives a row whole or not at all
                return True
            except (apsw.Error, MemoryError) as error:
                self._stop()
                failure = _failure_of(error)
                self._failed = failure.code, failure.message
                raise
            if row is None:
                self._stop()
                return False
            self._row = (*row, *[None] * len(self.columns))[: len(self.columns)]
            self._row_bytes = sum(map(_size, row))
            try:
                self._hold(self._row_bytes)
            except Failure:
                self._row, self._row_bytes = None, 0
                raise
            return True

    def _next_row(self) -> Sequence[Value] | None:
        if self._compiled.is_empty:
            raise Failure(apsw.SQLITE_MISUSE, "bad parameter or other API misuse")
        largest = max(len(self._compiled.sql), *map(_size, self._values), 0)
        self._database.limit_values(len(self.columns), largest)
        if self._cursor is None:
            self._cursor = self._database.cursor()
            self._state = _State.RUNNING
            self._cursor.execute(self._compiled.sql, self._values, can_cache=False)
        return next(self._cursor, None)

    def reset(self) -> None:
        """Make it ready to be bound, and stepped from its start.

        Raises Failure once more if the last step did, and is reset all the same: so does SQLite.
        """
        with self._database.working():
            failed, self._failed = self._failed, None
            self._let_row_go()
            self._stop()
            self._state = _State.READY
            if failed is not None:
                raise Failure(*failed)

    def finalize(self) -> None:
        """Give everything up."""
        with self._database.working():
            self._let_row_go()
            try:
                self._stop()
            finally:
                self._database.hold(-self._held)
                self._held = 0

    def close(self) -> None:
        """Nothing: its process has ended, and its connection ends with all its statements."""

    def _stop(self) -> None:
        """Let SQLite's statement go: what it still has to write is written now."""
        self._state = _State.ENDED
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.close(True)

    def _let_row_go(self) -> None:
        self._hold(-self._row_bytes)
        self._row, self._row_bytes, self._is_unreadable = None, 0, False

    def _hold(self, more_bytes: int) -> None:
        self._database.hold(more_bytes)
        self._held += more_bytes


@functools.cache
def _set_up_library() -> None:
    """Once for this OS process: its limit of memory, and paths that stay as they are."""
    apsw.hard_heap_limit(MAX_HEAP_BYTES)
    trust_descriptors()


def _check_text(sql: str) -> None:
    if "\0" in sql:
        raise Failure(apsw.SQLITE_ERROR, "SQL has no zero byte")


def _columns(cursor: apsw.Cursor) -> tuple[str, ...]:
    try:
        return tuple(name for name, *_ in cursor.get_description())
    except UnicodeDecodeError:
        raise Failure(apsw.SQLITE_CORRUPT, "the name of a column is not UTF-8") from None


def _exhaust(cursor: apsw.Cursor) -> None:
    while True:
        try:
            for _ in cursor:
                pass
            return
        except UnicodeDecodeError:
            pass  # of a row that nobody reads; the cursor is at the next one


def _failure_of(error: Exception) -> Failure:
    if isinstance(error, Failure):
        return error
    if isinstance(error, MemoryError):
        return Failure(apsw.SQLITE_NOMEM, "out of memory")
    return Failure(getattr(error, "result", apsw.SQLITE_ERROR), str(error) or "unknown error")


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _size(value: Value) -> int:
    """Bytes a value takes here, at least."""
    return len(value) if isinstance(value, str | bytes) else 0
