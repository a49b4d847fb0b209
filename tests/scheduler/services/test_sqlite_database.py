"""Connections and statements as SQLite's C functions would have them, and what guests' SQL may not do."""

from __future__ import annotations

import os
import resource
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import apsw
import pytest

from luna.scheduler.services import sqlite_database
from luna.scheduler.services.sockets import RESERVED_DESCRIPTORS
from luna.scheduler.services.sqlite_database import Database, Failure
from luna.scheduler.services.sqlite_paths import DeniedError
from luna.scheduler.services.sqlite_wire import Value

PATIENCE_S = 20
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
MEBIBYTES = (
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT randomblob(1048576) FROM n"
)

Open = Callable[[str], Database]


def names(directory: Path | str) -> set[str]:
    """What is in a directory; of /proc/self/fd the descriptors of this OS process."""
    return {path.name for path in Path(directory).iterdir()}


def open_in(directory: Path, path: str, turns: int = 2) -> Database:
    """What a guest opens whose current directory this is."""
    return Database.open(path, [(".", str(directory))], threading.Semaphore(turns))


@pytest.fixture
def open_database(tmp_path: Path) -> Iterator[Open]:
    """Opens databases in tmp_path/data, which are closed, and leave no descriptor."""
    (tmp_path / "data" / "sub").mkdir(parents=True)
    before = names("/proc/self/fd")
    opened: list[Database] = []

    def open_one(path: str) -> Database:
        opened.append(open_in(tmp_path / "data", path))
        return opened[-1]

    yield open_one
    for database in opened:
        assert database.try_to_close()
    assert names("/proc/self/fd") == before


@pytest.fixture
def database(open_database: Open) -> Database:
    """One with a table of two rows."""
    found = open_database("a.db")
    found.execute("CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    return found


def refuses(database: Database, sql: str, code: int) -> str:
    """The message with which `execute` fails."""
    with pytest.raises(Failure) as caught:
        database.execute(sql)
    assert caught.value.code == code
    assert database.last_error == (code, caught.value.message)
    return caught.value.message


def rows(database: Database, sql: str) -> list[list[Value]]:
    statement = database.prepare(sql)
    found = []
    while statement.step():
        found.append(list(statement.row()))
    statement.finalize()
    return found


# -- prepared statements --------------------------------------------------------------


def test_a_statement_is_known_before_it_is_stepped(database: Database) -> None:
    statement = database.prepare("SELECT a, b AS 'the b', 1 + 1 FROM t")
    assert statement.columns == ("a", "the b", "1 + 1")
    assert list(statement.row()) == [None, None, None]
    # It has not run either.
    database.prepare("INSERT INTO t VALUES (3, 'z')")
    assert rows(database, "SELECT count(*) FROM t") == [[2]]


@pytest.mark.parametrize("sql", ["SELEC 1", "SELECT * FROM nowhere", "SELECT nope FROM t", "SELECT (1"])
def test_errors_show_when_a_statement_is_prepared(database: Database, sql: str) -> None:
    with pytest.raises(Failure) as caught:
        database.prepare(sql)
    assert caught.value.code == apsw.SQLITE_ERROR


def test_steps_give_rows_one_by_one_and_then_begin_anew(database: Database) -> None:
    statement = database.prepare("SELECT a FROM t ORDER BY a")
    for _ in range(2):
        assert statement.step()
        assert list(statement.row()) == [1]
        assert statement.step()
        assert list(statement.row()) == [2]
        assert not statement.step()
        assert list(statement.row()) == [None]


def test_a_step_takes_no_row_ahead(database: Database) -> None:
    """A row inserted behind the current one is still found, as the next one is looked for late."""
    statement = database.prepare("SELECT a FROM t ORDER BY rowid")
    assert statement.step()
    assert statement.step()
    database.execute("INSERT INTO t VALUES (3, 'z')")
    assert statement.step()
    assert list(statement.row()) == [3]


def test_a_statement_without_rows_runs_once_a_step(database: Database) -> None:
    statement = database.prepare("INSERT INTO t VALUES (?, 'n')")
    statement.bind([(1, 5)])
    assert not statement.step()
    assert database.changes() == 1
    statement.reset()
    statement.bind([(1, 6)])
    assert not statement.step()
    assert rows(database, "SELECT a FROM t WHERE b = 'n'") == [[5], [6]]


def test_returning_rows_of_an_insert(database: Database) -> None:
    statement = database.prepare("INSERT INTO t VALUES (7, 'r'), (8, 'r') RETURNING a")
    assert statement.columns == ("a",)
    assert statement.step()
    assert list(statement.row()) == [7]
    statement.finalize()  # before its second row: all were inserted at the first step
    assert rows(database, "SELECT count(*) FROM t WHERE b = 'r'") == [[2]]


def test_only_the_first_statement_is_prepared(database: Database) -> None:
    assert rows(database, " -- one\n;; SELECT 1; SELECT nonsense FROM nowhere") == [[1]]


def test_values_of_every_kind(database: Database) -> None:
    assert rows(database, "SELECT NULL, x'00ff', 'ä', 2.5, -9223372036854775808, '', x''") == [
        [None, b"\0\xff", "ä", 2.5, -(2**63), "", b""]
    ]


def test_bound_values_come_back_as_they_were(database: Database) -> None:
    statement = database.prepare("SELECT ?, ?, ?, ?, ?, typeof(?4), typeof(?5)")
    values = [None, b"\0\xff", "a\0ä", 2.0, 2]
    statement.bind([(index + 1, value) for index, value in enumerate(values)])
    assert statement.step()
    assert list(statement.row()) == [*values, "real", "integer"]


def test_unbound_parameters_are_null_and_bindings_outlast_a_reset(database: Database) -> None:
    statement = database.prepare("SELECT ?1, ?2")
    statement.bind([(2, "kept")])
    for _ in range(2):
        assert statement.step()
        assert list(statement.row()) == [None, "kept"]
        statement.reset()


def test_parameters_are_bound_by_name(database: Database) -> None:
    statement = database.prepare("SELECT :a, @b, $c, :a")
    for sign in ("", ":"):
        statement.bind([(sign + "a", 1)])
    statement.bind([("@b", 2), ("$c", 3)])
    assert statement.step()
    assert list(statement.row()) == [1, 2, 3, 1]
    with pytest.raises(Failure, match="no parameter ':d'") as caught:
        database.prepare("SELECT :a").bind([(":d", 1)])
    assert caught.value.code == apsw.SQLITE_RANGE
    assert database.last_error is not None


def test_without_a_key_the_first_parameter_is_bound(database: Database) -> None:
    statement = database.prepare("SELECT ?, ?")
    statement.bind([(None, 1), (None, 2)])
    assert statement.step()
    assert list(statement.row()) == [2, None]


@pytest.mark.parametrize("key", [0, 3, 2**64 - 1, None])
def test_a_parameter_that_is_not_there(database: Database, key: int | None) -> None:
    statement = database.prepare("SELECT 1" if key is None else "SELECT ?, ?")
    with pytest.raises(Failure) as caught:
        statement.bind([(key, 1)])
    assert caught.value.code == apsw.SQLITE_RANGE


def test_binding_needs_a_statement_that_has_not_begun(database: Database) -> None:
    statement = database.prepare("SELECT ? UNION ALL SELECT 2")
    assert statement.step()
    for more in (True, False):
        with pytest.raises(Failure) as caught:
            statement.bind([(1, 1)])
        assert caught.value.code == apsw.SQLITE_MISUSE
        assert statement.step() is more
    statement.reset()
    statement.bind([(1, 9)])
    assert statement.step()
    assert list(statement.row()) == [9]


def test_a_reset_begins_anew(database: Database) -> None:
    statement = database.prepare("SELECT a FROM t ORDER BY a")
    assert statement.step()
    statement.reset()
    assert list(statement.row()) == [None]
    assert statement.step()
    assert list(statement.row()) == [1]


def test_a_reset_tells_the_error_of_the_last_step_once(database: Database) -> None:
    database.execute("CREATE UNIQUE INDEX i ON t(a)")
    statement = database.prepare("INSERT INTO t VALUES (?, 'again')")
    statement.bind([(1, 1)])
    for call in (statement.step, statement.reset):
        with pytest.raises(Failure, match="UNIQUE constraint failed") as caught:
            call()
        assert caught.value.code == apsw.SQLITE_CONSTRAINT
    statement.reset()
    statement.bind([(1, 10)])
    assert not statement.step()


def test_a_statement_may_be_stepped_after_an_error(database: Database) -> None:
    database.execute("CREATE UNIQUE INDEX i ON t(a)")
    statement = database.prepare("INSERT INTO t VALUES (1, 'again')")
    with pytest.raises(Failure):
        statement.step()
    database.execute("DELETE FROM t")
    assert not statement.step()
    statement.reset()


@pytest.mark.parametrize("sql", ["", "  ", "-- nothing", ";"])
def test_an_empty_statement_is_prepared_and_cannot_be_stepped(database: Database, sql: str) -> None:
    statement = database.prepare(sql)
    assert statement.columns == ()
    with pytest.raises(Failure) as caught:
        statement.step()
    assert caught.value.code == apsw.SQLITE_MISUSE


def test_a_statement_whose_table_changed(database: Database) -> None:
    statement = database.prepare("SELECT * FROM t")
    database.execute("ALTER TABLE t ADD COLUMN c DEFAULT 3")
    assert statement.step()
    assert (statement.columns, list(statement.row())) == (("a", "b"), [1, "x"])
    statement.reset()
    database.execute("DROP TABLE t")
    with pytest.raises(Failure, match="no such table"):
        statement.step()


def test_text_that_is_not_utf8_cannot_be_read_but_stepped_over(database: Database) -> None:
    statement = database.prepare("SELECT CAST(x'ff' AS TEXT) UNION ALL SELECT 'fine'")
    assert statement.step()
    with pytest.raises(Failure, match="not UTF-8"):
        statement.row()
    assert statement.step()
    assert list(statement.row()) == ["fine"]
    database.execute("SELECT CAST(x'ff' AS TEXT); INSERT INTO t VALUES (9, 'after')")
    assert rows(database, "SELECT a FROM t WHERE b = 'after'") == [[9]]


# -- execute, errors, changes ----------------------------------------------------------


def test_execute_runs_every_statement_up_to_an_error(database: Database) -> None:
    database.execute(
        "INSERT INTO t VALUES (3, ?), (4, :x); SELECT * FROM t; UPDATE t SET b = 'u' WHERE a < 3"
    )
    assert database.changes() == 2
    assert database.last_error is None
    assert refuses(database, "INSERT INTO t VALUES (5, 5); nonsense; INSERT INTO t VALUES (6, 6)", 1) == (
        'near "nonsense": syntax error'
    )
    assert rows(database, "SELECT a, b FROM t WHERE a > 2") == [[3, None], [4, None], [5, 5]]


def test_the_last_error_is_that_of_the_last_call(database: Database) -> None:
    assert database.last_error is None
    refuses(database, "SELECT * FROM nowhere", apsw.SQLITE_ERROR)
    database.execute("SELECT 1")
    assert database.last_error is None


def test_sql_with_a_zero_byte_is_an_error(database: Database) -> None:
    refuses(database, "SELECT 1\0; DROP TABLE t", apsw.SQLITE_ERROR)
    with pytest.raises(Failure, match="zero byte"):
        database.prepare("SELECT 1\0")


def test_double_quotes_may_enclose_text(database: Database) -> None:
    assert rows(database, 'SELECT "Hello"') == [["Hello"]]


def test_a_file_that_is_no_database(open_database: Open, tmp_path: Path) -> None:
    (tmp_path / "data/text").write_text("this is not a database" * 100)
    database = open_database("text")
    refuses(database, "SELECT * FROM t", apsw.SQLITE_NOTADB)


def test_a_file_is_an_ordinary_database(database: Database, tmp_path: Path) -> None:
    assert database.try_to_close()
    with sqlite3.connect(tmp_path / "data/a.db") as other:
        assert other.execute("SELECT * FROM t").fetchall() == [(1, "x"), (2, "y")]
    other.close()


def test_databases_without_a_name_are_private(open_database: Open, tmp_path: Path) -> None:
    for name in ("", ":memory:"):
        first, second = open_database(name), open_database(name)
        first.execute("CREATE TABLE t(a)")
        second.execute("CREATE TABLE t(a)")
    assert names(tmp_path / "data") == {"sub"}


# -- what SQL may not do -----------------------------------------------------------------


def test_files_are_attached_within_the_directories(database: Database, tmp_path: Path) -> None:
    database.execute("""
        ATTACH 'sub/b.db' AS b; CREATE TABLE b.u(x); INSERT INTO b.u SELECT a FROM t;
        /* and */ attach database "it's.db" as c; CREATE TABLE c.v(y)""")
    assert rows(database, "SELECT x FROM b.u") == [[1], [2]]
    database.execute("DETACH b")
    assert rows(database, "ATTACH [sub/b.db] AS again") == []
    assert rows(database, "SELECT count(*) FROM again.u") == [[2]]
    assert names(tmp_path / "data") == {"a.db", "it's.db", "sub"}
    assert names(tmp_path / "data/sub") == {"b.db"}


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH '{tmp}/out.db' AS x",
        "ATTACH '../out.db' AS x",
        "ATTACH 'link/out.db' AS x",
        "ATTACH 'linked.db' AS x",
        "ATTACH 'file:{tmp}/out.db' AS x",
        "ATTACH 'file:out.db?mode=memory' AS x",
        "ATTACH '{tmp}/' || 'out.db' AS x",
        "ATTACH ? AS x",
        "SELECT 1; ATTACH '../out.db' AS x",
        "EXPLAIN ATTACH 'sub/x.db' AS x",
        "VACUUM INTO '{tmp}/out.db'",
        "VACUUM INTO 'sub/copy.db'",
        "/**/ vacuum main -- \n into 'sub/copy.db'",
        "VACUUM INTO 'sub/x.db'; ATTACH 'sub/x.db' AS x",
    ],
)
def test_other_files_cannot_be_attached_or_written(database: Database, tmp_path: Path, sql: str) -> None:
    (tmp_path / "data/link").symlink_to("..")
    (tmp_path / "data/linked.db").symlink_to("../out.db")
    sql = sql.format(tmp=tmp_path)
    refuses(database, sql, apsw.SQLITE_AUTH)
    with pytest.raises(Failure) as caught:
        database.prepare(sql.removeprefix("SELECT 1; "))
    assert caught.value.code == apsw.SQLITE_AUTH
    assert names(tmp_path) == {"data"}
    assert names(tmp_path / "data/sub") == set()
    assert [row[1] for row in rows(database, "PRAGMA database_list")] == ["main"]


def test_the_path_of_an_attached_file_stays_what_it_was(database: Database, tmp_path: Path) -> None:
    """A guest that knows the name by which SQLite has a file reaches that file by it, and no other."""
    database.execute("ATTACH 'sub/b.db' AS b; CREATE TABLE b.u(x)")
    [path] = [row[2] for row in rows(database, "PRAGMA database_list") if row[1] == "b"]
    assert isinstance(path, str)
    database.execute("DETACH b")
    (tmp_path / "data/sub/b.db").unlink()
    (tmp_path / "data/sub/b.db").symlink_to(tmp_path / "out.db")
    refuses(database, f"ATTACH '{path}' AS b", apsw.SQLITE_CANTOPEN)
    refuses(database, f"ATTACH '{path}2' AS b", apsw.SQLITE_AUTH)


def test_vacuum_itself_works(database: Database) -> None:
    database.execute("VACUUM")
    assert rows(database, "VACUUM; SELECT 1") == []


def test_a_transaction_changes_one_file_only(database: Database) -> None:
    database.execute("ATTACH 'sub/b.db' AS b; CREATE TABLE b.u(x); CREATE TEMP TABLE w(y)")
    refuses(
        database,
        "BEGIN; INSERT INTO t VALUES (3, 3); INSERT INTO b.u VALUES (3); COMMIT",
        apsw.SQLITE_CONSTRAINT,
    )
    assert rows(database, "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM b.u)") == [[2, 0]]
    database.execute("BEGIN; INSERT INTO b.u SELECT a FROM t; INSERT INTO w VALUES (1); COMMIT")
    assert rows(database, "SELECT count(*) FROM b.u") == [[2]]


@pytest.mark.parametrize(
    "sql",
    [
        "PRAGMA hard_heap_limit = 1",
        "PRAGMA Soft_Heap_Limit(1)",
        "PRAGMA temp_store_directory = '/tmp'",
        "PRAGMA data_store_directory = '/tmp'",
        "PRAGMA main.lock_proxy_file = '/tmp/x'",
        "SELECT load_extension('/tmp/x.so')",
        "SELECT fts3_tokenizer('simple')",
    ],
)
def test_settings_and_functions_of_the_whole_os_process_are_refused(database: Database, sql: str) -> None:
    before = apsw.hard_heap_limit(-1)
    with pytest.raises(Failure, match="not authorized"):
        database.execute(sql)
    assert apsw.hard_heap_limit(-1) == before


def test_settings_that_would_take_memory_are_skipped(database: Database) -> None:
    for name, value in (("mmap_size", 1 << 30), ("temp_store", 2), ("cache_size", -100_000), ("threads", 8)):
        [[before]] = rows(database, f"PRAGMA {name}")
        database.execute(f"PRAGMA {name} = {value}")
        assert rows(database, f"PRAGMA {name}") == [[before]], name
    database.execute("PRAGMA cache_size = 10000")
    assert rows(database, "PRAGMA cache_size") == [[10000]]


def test_the_schema_cannot_be_made_corrupt(database: Database) -> None:
    database.execute("PRAGMA writable_schema = ON")
    with pytest.raises(Failure, match="may not be modified"):
        database.execute("UPDATE sqlite_schema SET sql = 'nonsense'")


# -- bounds --------------------------------------------------------------------------------


@pytest.mark.parametrize("prelude", ["", "ATTACH ':memory:' AS main2; "])
def test_a_database_in_memory_is_bounded(
    open_database: Open, monkeypatch: pytest.MonkeyPatch, prelude: str
) -> None:
    monkeypatch.setattr(sqlite_database, "MAX_MEMORY_DATABASE_BYTES", 8 * 1024 * 1024)
    database = open_database(":memory:" if not prelude else "a.db")
    schema = "main2" if prelude else "main"
    fill = f"CREATE TABLE {schema}.big(x); INSERT INTO {schema}.big {MEBIBYTES}"
    refuses(database, prelude + fill, apsw.SQLITE_FULL)
    database.execute("PRAGMA max_page_count = 1000000; PRAGMA page_size = 65536")
    [[pages]] = rows(database, f"PRAGMA {schema}.max_page_count")
    assert pages == 8 * 1024 * 1024 // 4096
    if prelude:
        database.execute("DETACH main2; ATTACH ':memory:' AS main2")
        refuses(database, fill, apsw.SQLITE_FULL)


def test_values_and_rows_are_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_database, "MAX_VALUE_BYTES", 100_000)
    monkeypatch.setattr(sqlite_database, "MAX_ROW_BYTES", 200_000)
    assert rows(database, "SELECT length(zeroblob(100000))") == [[100_000]]
    refuses(database, "SELECT length(zeroblob(100001))", apsw.SQLITE_TOOBIG)
    # One value named many times is copied as often.
    many = ", ".join(["x"] * 20)
    refuses(database, f"SELECT {many} FROM (SELECT zeroblob(10001) AS x)", apsw.SQLITE_TOOBIG)
    assert len(rows(database, f"SELECT {many} FROM (SELECT zeroblob(10000) AS x)")[0]) == 20
    bound = database.prepare(f"SELECT {many} FROM (SELECT ? AS x)")
    with pytest.raises(Failure) as caught:
        bound.bind([(1, b"x" * 100_001)])
    assert caught.value.code == apsw.SQLITE_TOOBIG
    bound.bind([(1, b"x" * 10_001)])
    with pytest.raises(Failure) as caught:
        bound.step()
    assert caught.value.code == apsw.SQLITE_TOOBIG


def test_what_statements_keep_is_bounded_and_given_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_database, "MAX_HELD_BYTES", 100_000)
    statements = [database.prepare("SELECT ?, zeroblob(20000)") for _ in range(3)]
    statements[0].bind([(1, b"x" * 50_000)])
    with pytest.raises(Failure, match="finalize some"):
        statements[1].bind([(1, b"x" * 50_000)])
    with pytest.raises(Failure, match="finalize some"):
        statements[0].step()
    assert statements[1].step()
    assert statements[1].step() is False
    statements[0].finalize()
    statements[2].bind([(1, b"x" * 50_000)])
    for statement in statements[1:]:
        statement.finalize()
    assert database.held_bytes == 0


# -- locks, interruption, closing --------------------------------------------------------


def test_a_locked_file_is_busy_at_once_unless_a_timeout_was_set(open_database: Open) -> None:
    first, second = open_database("a.db"), open_database("a.db")
    first.execute("CREATE TABLE t(a); BEGIN IMMEDIATE")
    assert refuses(second, "INSERT INTO t VALUES (1)", apsw.SQLITE_BUSY) == "database is locked"
    second.execute("PRAGMA busy_timeout = 30")
    began = time.monotonic()
    refuses(second, "INSERT INTO t VALUES (1)", apsw.SQLITE_BUSY)
    assert time.monotonic() - began >= 0.03
    second.execute(f"PRAGMA busy_timeout = {PATIENCE_S * 1000}")
    waiting = threading.Thread(target=second.execute, args=("INSERT INTO t VALUES (2)",))
    waiting.start()
    first.execute("COMMIT")
    waiting.join(PATIENCE_S)
    assert rows(first, "SELECT a FROM t") == [[2]]
    first.execute("BEGIN IMMEDIATE")
    second.execute("PRAGMA busy_timeout = 0")
    refuses(second, "INSERT INTO t VALUES (1)", apsw.SQLITE_BUSY)
    first.execute("ROLLBACK")


@pytest.mark.parametrize(
    "sql", [ENDLESS, f"BEGIN IMMEDIATE; {ENDLESS}", "PRAGMA busy_timeout=1000000; BEGIN IMMEDIATE"]
)
def test_closing_interrupts_what_runs(tmp_path: Path, sql: str) -> None:
    blocker, database = open_in(tmp_path, "a.db"), open_in(tmp_path, "a.db")
    if "busy" in sql:
        blocker.execute("BEGIN IMMEDIATE")
    failures: list[Failure] = []

    def run() -> None:
        try:
            database.execute(sql)
        except Failure as failure:
            failures.append(failure)

    thread = threading.Thread(target=run)
    thread.start()
    while not database._lock.locked():
        time.sleep(0.001)
    database.begin_to_close()
    deadline = time.monotonic() + PATIENCE_S
    while not database.try_to_close():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    thread.join(PATIENCE_S)
    assert [failure.code for failure in failures] == [
        apsw.SQLITE_BUSY if "busy" in sql else apsw.SQLITE_INTERRUPT
    ]
    if "busy" not in sql:
        blocker.execute("BEGIN IMMEDIATE; ROLLBACK")  # its lock is gone
    assert blocker.try_to_close()


def test_who_waits_for_a_lock_lets_its_holder_have_a_turn(tmp_path: Path) -> None:
    turns = threading.Semaphore(1)
    holder, *waiting = (Database.open("a.db", [(".", str(tmp_path))], turns) for _ in range(4))
    holder.execute("CREATE TABLE t(a); BEGIN IMMEDIATE")
    sql = f"PRAGMA busy_timeout = {PATIENCE_S * 1000}; INSERT INTO t VALUES (1)"
    threads = [threading.Thread(target=database.execute, args=(sql,)) for database in waiting]
    for thread in threads:
        thread.start()
    while not all(database._lock.locked() for database in waiting):
        time.sleep(0.001)
    holder.execute("INSERT INTO t VALUES (2)")
    holder.execute("COMMIT")
    for thread in threads:
        thread.join(PATIENCE_S)
    assert rows(holder, "SELECT count(*) FROM t") == [[4]]
    assert turns.acquire(blocking=False)
    assert all(database.try_to_close() for database in (holder, *waiting))


def test_a_turn_is_given_back_once(tmp_path: Path) -> None:
    turns = threading.Semaphore(1)
    database = Database.open("a.db", [(".", str(tmp_path))], turns)
    for gives_up_early in (False, True):
        with database.working():
            assert turns._value == 0
            if gives_up_early:
                database.give_up_turn()
                database.give_up_turn()
                assert turns._value == 1
        assert turns._value == 1
    assert database.try_to_close()


def test_a_write_ahead_log_has_no_file_that_is_mapped(open_database: Open, tmp_path: Path) -> None:
    """A guest can reach every file here, and cutting a mapped one short would kill the node."""
    writer, reader = open_database("a.db"), open_database("a.db")
    assert rows(writer, "PRAGMA journal_mode = WAL") == [["wal"]]
    writer.execute("CREATE TABLE t(a); INSERT INTO t VALUES (1)")
    seen = reader.prepare("SELECT a FROM t")
    assert seen.step()
    writer.execute("BEGIN; INSERT INTO t VALUES (2)")  # readers do not stand in its way
    assert not seen.step()
    writer.execute("COMMIT")
    assert rows(reader, "SELECT count(*) FROM t") == [[2]]
    assert names(tmp_path / "data") == {"a.db", "a.db-wal", "sub"}
    assert "a.db" not in Path("/proc/self/maps").read_text()


def test_nothing_begins_on_a_database_that_is_being_closed(tmp_path: Path) -> None:
    database = open_in(tmp_path, "a.db")
    database.begin_to_close()
    with pytest.raises(Failure, match="interrupted"):
        database.execute("CREATE TABLE t(a)")
    assert database.try_to_close()


def test_opening_what_may_not_be_opened_leaves_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "dir.db").mkdir()
    before = names("/proc/self/fd")
    for path in ("../x", "dir.db", "nowhere/x"):
        with pytest.raises((DeniedError, OSError)):
            open_in(tmp_path, path)
    assert names("/proc/self/fd") == before


def test_the_node_keeps_descriptors_to_itself(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = names("/proc/self/fd")
    limit = 4 * RESERVED_DESCRIPTORS
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limits[1]))
    with ExitStack() as held:
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        taken = 0
        while taken < limit - RESERVED_DESCRIPTORS - 1:
            taken = os.dup(0)
            held.callback(os.close, taken)
        with pytest.raises(OSError, match="Too many open files"):
            open_in(tmp_path, "a.db")
    assert names("/proc/self/fd") == before
    assert names(tmp_path) == set()
