"""`lunatic::sqlite`: databases for guests.

Connections and statements are resources of a process; a connection has no close and
lives as long as its process. What may take long runs in a worker thread. When
the process dies its query is interrupted, and a thread of its own closes the database.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar, TypeVarTuple, final

import trio

from luna.scheduler.requests import GuestData, GuestTrap, Request
from luna.scheduler.resources import ResourceKind
from luna.scheduler.services.sockets import error_text
from luna.scheduler.services.sqlite_database import MAX_SQL_BYTES, Database, Failure, Statement
from luna.scheduler.services.sqlite_paths import DeniedError
from luna.scheduler.services.sqlite_wire import (
    MalformedError,
    decode_bindings,
    encode_error,
    encode_names,
    encode_row,
    encode_value,
)

__all__ = ["SqliteHandlers"]

MAX_RUNNING: Final = 32
"""calls of SQLite that run at once on a node; more of them wait. Those that wait for a lock do not count."""
MAX_THREADS: Final = 1024
"""threads for calls of SQLite, also for those that wait for their turn or for a lock."""
MAX_CONNECTIONS: Final = 256
"""connections of one process: each takes memory and descriptors of the node."""
MAX_NODE_CONNECTIONS: Final = 16_384
"""connections of all processes, those being closed included."""
MAX_PATH_BYTES: Final = 4096
"""bytes of a path, the system's own limit."""
MAX_BINDINGS_BYTES: Final = 128 * 1024 * 1024
"""bytes of one list of values to bind."""
CLOSE_INTERVAL_S: Final = 0.01
"""seconds between two interruptions of a query whose process has died."""
PATIENCE_S: Final = 1.0
"""seconds until a query that goes on all the same keeps no others waiting: within one function of SQL, such
as `instr` of two large values, SQLite does not notice that it is interrupted."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

OPENED, NOT_OPENED = 0, 1
OK: Final = 0
ROW, DONE = 100, 101
TOO_BIG: Final = 18
"""SQLite's result codes"""


@final
class SqliteHandlers:
    """Answers the host calls of `lunatic::sqlite`."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(MAX_THREADS)
        self._turns = threading.Semaphore(MAX_RUNNING)
        self._closer = _Closer()
        self._connections: Counter[int] = Counter()  # by pid

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve these host calls."""
        for name, handler in (
            ("open", self._open),
            ("execute", self._execute),
            ("query_prepare", self._query_prepare),
            ("bind_value", self._bind_value),
            ("sqlite3_changes", self._changes),
            ("statement_reset", self._statement_reset),
            ("sqlite3_step", self._step),
            ("sqlite3_finalize", self._finalize),
            ("column_count", self._column_count),
            ("last_error", self._last_error),
            ("read_column", self._read_column),
            ("read_row", self._read_row),
            ("column_name", self._column_name),
            ("column_names", self._column_names),
        ):
            set_handler("lunatic::sqlite", name, handler)

    # -- connections ----------------------------------------------------------------

    async def _open(self, request: Request) -> int:
        pointer, size, out = map(int, request.args)
        request.check(pointer, size)
        too_long = size & 0xFFFF_FFFF > MAX_PATH_BYTES
        path = "" if too_long else request.read_text(pointer, size)
        request.write_u64(out, 0)  # a bad pointer traps before the work; 0 is a good one
        try:
            if too_long:
                raise DeniedError(f"Failed to access a path of more than {MAX_PATH_BYTES} bytes")
            connection = await self._connect(request, path)
        except (DeniedError, Failure) as error:
            request.write_u64(out, request.add_error(str(error)))
            return NOT_OPENED
        except OSError as error:
            request.write_u64(out, request.add_error(f"unable to open database file: {error_text(error)}"))
            return NOT_OPENED
        request.write_u64(out, request.add_resource(ResourceKind.SQLITE_CONNECTION, connection))
        return OPENED

    async def _connect(self, request: Request, path: str) -> _Connection:
        if self._connections[request.pid] >= MAX_CONNECTIONS:
            raise DeniedError(
                f"Failed to access '{path}': a process has at most {MAX_CONNECTIONS} connections"
            )
        if not self._closer.admit():
            raise DeniedError(
                f"Failed to access '{path}': this node has {MAX_NODE_CONNECTIONS} connections, and no more"
            )
        preopens = request.config.preopens
        try:
            # Not abandoned: what it opens must be closed again.
            database = await trio.to_thread.run_sync(
                Database.open, path, preopens, self._turns, limiter=self._limiter
            )
        except BaseException:
            self._closer.dismiss()
            raise
        self._connections[request.pid] += 1
        return _Connection(database, self._closer, lambda: self._forget(request.pid))

    def _forget(self, pid: int) -> None:
        self._connections[pid] -= 1
        if not self._connections[pid]:
            del self._connections[pid]

    async def _execute(self, request: Request) -> int:
        connection_id, pointer, size = map(int, request.args)
        sql = _sql(request, pointer, size)
        database = _database(request, connection_id)
        try:
            if sql is None:
                raise database.noted(Failure(TOO_BIG, "query string is too large"))
            await self._work(database.execute, sql)
        except Failure as failure:
            return failure.code
        return OK

    async def _query_prepare(self, request: Request) -> int:
        connection_id, pointer, size = map(int, request.args)
        sql = _sql(request, pointer, size)
        database = _database(request, connection_id)
        with _trapping(request):
            if sql is None:
                raise database.noted(Failure(TOO_BIG, "query string is too large"))
            statement = await self._work(database.prepare, sql)
        return request.add_resource(ResourceKind.SQLITE_STATEMENT, statement)

    def _changes(self, request: Request) -> int:
        return _database(request, request.args[0]).changes()

    def _last_error(self, request: Request) -> GuestData:
        connection_id, out = map(int, request.args)
        error = _database(request, connection_id).last_error
        if error is None:
            raise GuestTrap(f"{request.full_name}: the connection's last call did not fail")
        return GuestData(encode_error(*error), out)

    # -- statements -----------------------------------------------------------------

    def _bind_value(self, request: Request) -> None:
        statement_id, pointer, size = map(int, request.args)
        statement = _statement(request, statement_id)
        request.check(pointer, size)
        if size & 0xFFFF_FFFF > MAX_BINDINGS_BYTES:
            raise GuestTrap(f"{request.full_name}: a list of values has at most {MAX_BINDINGS_BYTES} bytes")
        try:
            pairs = decode_bindings(request.read(pointer, size))
        except MalformedError as error:
            raise GuestTrap(f"{request.full_name}: not a list of values: {error}") from None
        with _trapping(request):
            statement.bind(pairs)

    async def _step(self, request: Request) -> int:
        statement = _statement(request, request.args[0])
        with _trapping(request):
            return ROW if await self._work(statement.step) else DONE

    async def _statement_reset(self, request: Request) -> None:
        statement = _statement(request, request.args[0])
        with _trapping(request):
            await self._work(statement.reset)

    async def _finalize(self, request: Request) -> None:
        statement = request.remove_resource(ResourceKind.SQLITE_STATEMENT, request.args[0])
        assert isinstance(statement, Statement)
        try:
            await self._work(statement.finalize)
        except Failure:
            pass  # what had gone wrong was told when it was stepped

    def _column_count(self, request: Request) -> int:
        return len(_statement(request, request.args[0]).columns)

    def _column_name(self, request: Request) -> GuestData:
        statement_id, column, out = map(int, request.args)
        names = _statement(request, statement_id).columns
        return GuestData(names[_column(request, column, names)].encode(), out)

    def _column_names(self, request: Request) -> GuestData:
        statement_id, out = map(int, request.args)
        return GuestData(encode_names(_statement(request, statement_id).columns), out)

    def _read_column(self, request: Request) -> GuestData:
        statement_id, column, out = map(int, request.args)
        statement = _statement(request, statement_id)
        index = _column(request, column, statement.columns)
        with _trapping(request):
            return GuestData(encode_value(statement.row()[index]), out)

    def _read_row(self, request: Request) -> GuestData:
        statement_id, out = map(int, request.args)
        statement = _statement(request, statement_id)
        with _trapping(request):
            return GuestData(encode_row(statement.row()), out)

    async def _work(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call SQLite in a thread. When the process dies it is left alone there; closing interrupts it."""
        return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=True, limiter=self._limiter)


@final
class _Connection:
    """What a process owns: a database that can be closed from trio's thread."""

    def __init__(self, database: Database, closer: _Closer, forget: Callable[[], None]) -> None:
        self.database: Final = database
        self._closer = closer
        self._forget: Callable[[], None] | None = forget

    def close(self) -> None:
        """Have it closed soon, whatever runs on it."""
        if self._forget is not None:
            self._forget()
            self._forget = None
            self._closer.close_soon(self.database)


@final
class _Closer:
    """Closes databases in a thread, which exists only while there are some: closing may write.

    The interpreter waits for that thread when it ends, so that a database is
    never left with a log that another one would first have to read.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closing: list[tuple[Database, float]] = []  # and until when to be patient
        self._runs = False
        self._connections = 0

    def admit(self) -> bool:
        """Count one more connection, if the node may have it."""
        with self._lock:
            if self._connections >= MAX_NODE_CONNECTIONS:
                return False
            self._connections += 1
            return True

    def dismiss(self) -> None:
        """Count one less."""
        with self._lock:
            self._connections -= 1

    def close_soon(self, database: Database) -> None:
        """Interrupt what runs on it, and close it."""
        database.begin_to_close()
        with self._lock:
            self._closing.append((database, time.monotonic() + PATIENCE_S))
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._run, name="luna-sqlite-close").start()

    def _run(self) -> None:
        while True:
            with self._lock:
                closing, self._closing = self._closing, []
                if not closing:
                    self._runs = False
                    return
            busy = []
            for database, patient_until in closing:
                if database.try_to_close():
                    self.dismiss()
                    continue
                if time.monotonic() >= patient_until:
                    database.give_up_turn()
                busy.append((database, patient_until))
            if busy:
                with self._lock:
                    self._closing += busy
                time.sleep(CLOSE_INTERVAL_S)


def _database(request: Request, id_: float) -> Database:
    connection = request.resource(ResourceKind.SQLITE_CONNECTION, id_)
    assert isinstance(connection, _Connection)
    return connection.database


def _statement(request: Request, id_: float) -> Statement:
    statement = request.resource(ResourceKind.SQLITE_STATEMENT, id_)
    assert isinstance(statement, Statement)
    return statement


def _sql(request: Request, pointer: int, size: int) -> str | None:
    """The text of a call; None if it is longer than SQLite takes."""
    request.check(pointer, size)
    if size & 0xFFFF_FFFF > MAX_SQL_BYTES:
        return None
    return request.read_text(pointer, size)


def _column(request: Request, column: int, names: Sequence[str]) -> int:
    if not 0 <= column < len(names):
        raise GuestTrap(
            f"{request.full_name}: there is no column {column & 0xFFFF_FFFF}; the statement has {len(names)}"
        )
    return column


@contextmanager
def _trapping(request: Request) -> Iterator[None]:
    """Errors of SQLite trap the guest."""
    try:
        yield
    except Failure as failure:
        raise GuestTrap(f"{request.full_name}: {failure}") from None
