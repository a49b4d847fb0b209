"""Databases from real guests: every function, code and trap of `lunatic::sqlite`."""

from __future__ import annotations

import struct
import threading
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio
from tests.scheduler.lab import Lab, wait_for

from luna.scheduler import ExitKind, ProcessConfig, Request
from luna.scheduler.services import sqlite, sqlite_database
from luna.scheduler.services.sqlite import SqliteHandlers
from luna.scheduler.services.sqlite_wire import encode_error, encode_names, encode_row, encode_value

START = '(func (export "_start")'
OUT = "1000:i32"
PRELUDE = """
    (global $free (mut i32) (i32.const 16384))
    (func (export "lunatic_alloc") (param $size i32) (result i32)
      (global.get $free)
      (global.set $free (i32.add (global.get $free) (local.get $size))))
    ;; Opens a database and gives its id.
    (func $open (param $path i32) (param $size i32) (result i64)
      (if (i64.ne (sqlite.open (local.get $path) (local.get $size) 1000:i32) 0:i64) (then (unreachable)))
      (i64.load 1000:i32))
    ;; Hands the test what a call gave: its length is at 1000.
    (func $show (param $at i32)
      (drop (distributed.exec_lookup_nodes (local.get $at) (i32.load 1000:i32) 0:i32 0:i32 0:i32)))
    ;; Hands the test the text of an error.
    (func $show_error (param $id i64)
      (i32.store 1000:i32 (error.string_size (local.get $id)))
      (error.to_string (local.get $id) 8192:i32)
      (call $show 8192:i32))
"""
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
TABLE = "CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 'x'), (2, 'y')"


class Databases:
    """A lab whose guests may use files in one directory, and show bytes to the test."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory
        self.shown: list[bytes] = []
        self.config = ProcessConfig.program(preopens=[(".", str(directory))])
        lab.runtime.set_handler("lunatic::distributed", "exec_lookup_nodes", self._show)
        # In place of those that the first use would bring.
        self.handlers = SqliteHandlers()
        self.handlers.install(lab.runtime.set_handler)

    def _show(self, request: Request) -> int:
        self.shown.append(request.read(int(request.args[0]), int(request.args[1])))
        return 0

    async def passes(self, body: str, **options: Any) -> None:
        await self.lab.passes(PRELUDE + body, **{"config": self.config, **options})

    async def traps(self, body: str, **options: Any) -> str:
        return await self.lab.traps(PRELUDE + body, **{"config": self.config, **options})

    async def spawn(self, body: str, **options: Any) -> int:
        return await self.lab.spawn(PRELUDE + body, **{"config": self.config, **options})

    def rows(self, sql: str, file: str = "a.db") -> list[Any]:
        # With the library of the guests: two in one OS process do not see each other's locks.
        connection = apsw.Connection(str(self.directory / file), vfs=sqlite_database.VFS)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


@pytest.fixture
def databases(lab: Lab, tmp_path: Path) -> Databases:
    (tmp_path / "data").mkdir()
    return Databases(lab, tmp_path / "data")


def data(*values: bytes) -> str:
    """Bytes as a data segment of a guest: pointer and length."""
    return '@"' + "".join(f"\\{byte:02x}" for byte in b"".join(values)) + '"'


def bindings(*pairs: bytes) -> str:
    return data(struct.pack("<Q", len(pairs)), *pairs)


def number(index: int) -> bytes:
    return struct.pack("<IQ", 1, index)


def named(name: str) -> bytes:
    return struct.pack("<IQ", 2, len(name)) + name.encode()


NO_KEY = struct.pack("<I", 0)
NULL = struct.pack("<I", 0)


def blob(value: bytes) -> bytes:
    return struct.pack("<IQ", 1, len(value)) + value


def text(value: str) -> bytes:
    return struct.pack("<IQ", 2, len(value.encode())) + value.encode()


def double(value: float) -> bytes:
    return struct.pack("<Id", 3, value)


def int32(value: int) -> bytes:
    return struct.pack("<Ii", 4, value)


def int64(value: int) -> bytes:
    return struct.pack("<Iq", 5, value)


# -- open ------------------------------------------------------------------------------


async def test_opening_gives_ids_from_zero(databases: Databases) -> None:
    await databases.passes(f"""{START}
        (i64.store {OUT} -1:i64)
        (is64 (sqlite.open @"a.db" {OUT}) 0:i64) (is64 (i64.load {OUT}) 0:i64)
        (is64 (sqlite.open @"b.db" {OUT}) 0:i64) (is64 (i64.load {OUT}) 1:i64)
        (is64 (sqlite.open @"a.db" {OUT}) 0:i64) (is64 (i64.load {OUT}) 2:i64)
        (is32 (sqlite.execute 0:i64 @"{TABLE}") 0:i32)
        (is32 (sqlite.execute 2:i64 @"INSERT INTO t VALUES (3, 'z')") 0:i32)
        (is32 (sqlite.execute 1:i64 @"SELECT * FROM t") 1:i32))""")
    assert databases.rows("SELECT a FROM t") == [(1,), (2,), (3,)]


async def test_a_null_out_pointer_is_address_zero(databases: Databases) -> None:
    """lunatic-rs passes null, and uses connection 0."""
    await databases.passes(f"""{START}
        (i64.store 0:i32 -1:i64) (i64.store 8:i32 -1:i64)
        (is64 (sqlite.open @"a.db" 0:i32) 0:i64)
        (is64 (i64.load 0:i32) 0:i64) (is64 (i64.load 8:i32) -1:i64)
        (is32 (sqlite.execute 0:i64 @"{TABLE}") 0:i32))""")


@pytest.mark.parametrize("name", ["", ":memory:"])
async def test_databases_without_a_file(databases: Databases, name: str) -> None:
    await databases.passes(f"""{START}
        (is64 (call $open @"{name}") 0:i64) (is64 (call $open @"{name}") 1:i64)
        (is32 (sqlite.execute 0:i64 @"{TABLE}") 0:i32)
        (is32 (sqlite.execute 1:i64 @"{TABLE}") 0:i32))""")
    assert list(databases.directory.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("../a.db", "no directory of this process's config"),
        ("/etc/passwd", "no directory of this process's config"),
        ("link/a.db", "symbolic link"),
        ("linked.db", "symbolic link"),
        ("file:a.db?vfs=unix-none", "not a URI"),
        ("a\\00b", "no zero byte"),
        ("directory", "not a file"),
        ("nowhere/a.db", "unable to open database file: No such file or directory (os error 2)"),
        ("x" * 4097, "more than 4096 bytes"),
        ("x" * 300, "File name too long"),
    ],
)
async def test_what_cannot_be_opened_gives_an_error(databases: Databases, path: str, said: str) -> None:
    (databases.directory / "directory").mkdir()
    (databases.directory / "link").symlink_to("..")
    (databases.directory / "linked.db").symlink_to("../out.db")
    await databases.passes(f"""{START}
        (i64.store {OUT} -1:i64)
        (is64 (sqlite.open @"{path}" {OUT}) 1:i64)
        (call $show_error (i64.load {OUT}))
        (is64 (call $open @"good.db") 0:i64))""")
    assert said in databases.shown[0].decode()
    assert [path.name for path in databases.directory.parent.iterdir()] == ["data"]


@pytest.mark.parametrize("name", ["a.db", "", ":memory:"])
async def test_a_process_without_directories_opens_nothing(databases: Databases, name: str) -> None:
    await databases.passes(
        f"""{START} (is64 (sqlite.open @"{name}" {OUT}) 1:i64) (call $show_error (i64.load {OUT})))""",
        config=ProcessConfig.program(),
    )
    assert databases.shown == [
        f"Failed to access '{name}': no directory of this process's config holds it".encode()
    ]


async def test_a_file_that_cannot_be_made(databases: Databases) -> None:
    (databases.directory / "a.db").write_bytes(b"no database" * 1000)
    await databases.passes(f"""{START}
        (is64 (call $open @"a.db") 0:i64)
        (is32 (sqlite.execute 0:i64 @"SELECT * FROM sqlite_schema") 26:i32))""")


async def test_connections_of_a_process_are_bounded(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "MAX_CONNECTIONS", 2)
    body = f"""{START}
        (drop (call $open @"")) (drop (call $open @""))
        (is64 (sqlite.open @"" {OUT}) 1:i64)
        (call $show_error (i64.load {OUT})))"""
    await databases.passes(body)
    await databases.passes(body)  # another process has its own
    assert [b"at most 2 connections" in shown for shown in databases.shown] == [True, True]


async def test_connections_of_a_node_are_bounded_and_given_back(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "MAX_NODE_CONNECTIONS", 1)
    pid = await databases.spawn(f'{START} (drop (call $open @"")) (report 1:i64) (call $park))')
    await wait_for(lambda: databases.lab.reports == [1])
    await databases.passes(
        f'{START} (is64 (sqlite.open @"" {OUT}) 1:i64) (call $show_error (i64.load {OUT})))'
    )
    assert b"this node has 1 connections" in databases.shown[0]
    databases.lab.runtime.kill(pid)
    await wait_for(lambda: databases.handlers._closer._connections == 0, "the connection is closed")
    await databases.passes(f"""{START}
        (is64 (sqlite.open @"../x" {OUT}) 1:i64)
        (is64 (sqlite.open @"" {OUT}) 0:i64))""")


# -- execute ----------------------------------------------------------------------------


async def test_execute_gives_the_code_of_sqlite(databases: Databases) -> None:
    await databases.passes(f"""{START}
        (drop (call $open @"a.db"))
        (is32 (sqlite.execute 0:i64 @"CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES (1), (2)") 0:i32)
        (is32 (sqlite.sqlite3_changes 0:i64) 2:i32)
        (is32 (sqlite.execute 0:i64 @"SELECT * FROM t") 0:i32)
        (is32 (sqlite.execute 0:i64 @"") 0:i32)
        (is32 (sqlite.execute 0:i64 @"nonsense") 1:i32)
        (is32 (sqlite.execute 0:i64 @"SELECT 1\\00") 1:i32)
        (is32 (sqlite.execute 0:i64 @"INSERT INTO t VALUES (1)") 19:i32)
        (is32 (sqlite.execute 0:i64 @"ATTACH '/tmp/x' AS x") 23:i32)
        (is32 (sqlite.execute 0:i64 @"VACUUM INTO 'copy.db'") 23:i32)
        (is32 (sqlite.execute 0:i64 @"DELETE FROM t") 0:i32)
        (is32 (sqlite.sqlite3_changes 0:i64) 2:i32))""")
    assert [path.name for path in databases.directory.iterdir()] == ["a.db"]


async def test_sql_that_is_too_long(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "MAX_SQL_BYTES", 20)
    body = f"""{START} (drop (call $open @"a.db"))
        (is32 (sqlite.execute 0:i64 @"SELECT 1 -- {"x" * 9}") 18:i32)
        (call $show (sqlite.last_error 0:i64 {OUT}))
        (is32 (sqlite.execute 0:i64 @"SELECT 1 -- {"x" * 8}") 0:i32)
        (drop (sqlite.query_prepare 0:i64 @"SELECT 1 -- {"x" * 9}")))"""
    assert "query string is too large (code 18)" in await databases.traps(body)
    assert databases.shown == [encode_error(18, "query string is too large")]


async def test_the_last_error(databases: Databases) -> None:
    await databases.passes(f"""{START}
        (drop (call $open @"a.db")) (drop (call $open @"a.db"))
        (drop (sqlite.execute 0:i64 @"nonsense"))
        (is32 (sqlite.execute 1:i64 @"SELECT 1") 0:i32)
        (i64.store {OUT} -1:i64)
        (call $show (sqlite.last_error 0:i64 {OUT}))
        (is32 (i32.load 1004:i32) -1:i32)
        (call $show (sqlite.last_error 0:i64 {OUT})))""")
    assert databases.shown == [encode_error(1, 'near "nonsense": syntax error')] * 2


@pytest.mark.parametrize(
    "before",
    ["", '(drop (sqlite.execute 0:i64 @"nonsense")) (drop (sqlite.execute 0:i64 @"SELECT 1"))'],
)
async def test_without_an_error_asking_for_it_traps(databases: Databases, before: str) -> None:
    reason = await databases.traps(
        f'{START} (drop (call $open @"")) {before} (drop (sqlite.last_error 0:i64 {OUT})))'
    )
    assert "lunatic::sqlite::last_error: the connection's last call did not fail" in reason


# -- statements ---------------------------------------------------------------------------


async def test_a_statement_from_preparation_to_its_end(databases: Databases) -> None:
    await databases.passes(f"""{START}
        (drop (call $open @"a.db"))
        (is32 (sqlite.execute 0:i64 @"{TABLE}") 0:i32)
        (is64 (sqlite.query_prepare 0:i64 @"SELECT a, b AS bee FROM t WHERE a >= ?") 0:i64)
        (is64 (sqlite.query_prepare 0:i64 @"INSERT INTO t VALUES (3, 'z')") 1:i64)
        (is32 (sqlite.column_count 0:i64) 2:i32) (is32 (sqlite.column_count 1:i64) 0:i32)
        (call $show (sqlite.column_names 0:i64 {OUT}))
        (call $show (sqlite.column_name 0:i64 1:i32 {OUT}))
        (call $show (sqlite.read_row 0:i64 {OUT}))
        (sqlite.bind_value 0:i64 {bindings(number(1) + int32(2))})
        (is32 (sqlite.sqlite3_step 0:i64) 100:i32)
        (call $show (sqlite.read_row 0:i64 {OUT}))
        (call $show (sqlite.read_column 0:i64 1:i32 {OUT}))
        (is32 (sqlite.sqlite3_step 0:i64) 101:i32)
        (sqlite.statement_reset 0:i64)
        (is32 (sqlite.sqlite3_step 1:i64) 101:i32)
        (is32 (sqlite.sqlite3_changes 0:i64) 1:i32)
        (sqlite.sqlite3_finalize 1:i64)
        (is32 (sqlite.sqlite3_step 0:i64) 100:i32)
        (is32 (sqlite.sqlite3_step 0:i64) 100:i32)
        (call $show (sqlite.read_row 0:i64 {OUT}))
        (sqlite.sqlite3_finalize 0:i64)
        (is64 (sqlite.query_prepare 0:i64 @"SELECT 1") 2:i64))""")
    assert databases.shown == [
        encode_names(["a", "bee"]),
        b"bee",
        encode_row([None, None]),
        encode_row([2, "y"]),
        encode_value("y"),
        encode_row([3, "z"]),
    ]


async def test_values_of_every_kind_are_bound_and_read(databases: Databases) -> None:
    values = [
        number(2) + blob(b"\0\xff"),
        named(":three") + text("drei\0"),
        named("four") + double(-0.5),
        number(5) + int32(-5),
        number(6) + int64(-(2**63)),
        NO_KEY + NULL,
    ]
    await databases.passes(f"""{START}
        (drop (call $open @""))
        (drop (sqlite.query_prepare 0:i64 @"SELECT ?1, ?2, :three, @four, ?, ?"))
        (sqlite.bind_value 0:i64 {bindings(*values)})
        (is32 (sqlite.sqlite3_step 0:i64) 100:i32)
        (call $show (sqlite.read_row 0:i64 {OUT})))""")
    assert databases.shown == [encode_row([None, b"\0\xff", "drei\0", -0.5, -5, -(2**63)])]


PREPARED = '(drop (call $open @"")) (drop (sqlite.query_prepare 0:i64 @"SELECT ?, 2 UNION ALL SELECT 3, 4"))'


UNREADABLE = f"""
    (drop (sqlite.sqlite3_step (sqlite.query_prepare 0:i64 @"SELECT CAST(x'ff' AS TEXT)")))
    (drop (sqlite.read_row 1:i64 {OUT}))"""


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ('(drop (sqlite.execute 7:i64 @"SELECT 1"))', "no SQLite connection of id 7"),
        ('(drop (sqlite.query_prepare -1:i64 @"SELECT 1"))', "no SQLite connection of id -1"),
        ("(drop (sqlite.sqlite3_changes 1:i64))", "no SQLite connection of id 1"),
        (f"(drop (sqlite.last_error 1:i64 {OUT}))", "no SQLite connection of id 1"),
        (f"(sqlite.bind_value 1:i64 {bindings()})", "no SQLite statement of id 1"),
        ("(sqlite.statement_reset 1:i64)", "no SQLite statement of id 1"),
        ("(drop (sqlite.sqlite3_step 1:i64))", "no SQLite statement of id 1"),
        ("(sqlite.sqlite3_finalize 1:i64)", "no SQLite statement of id 1"),
        ("(sqlite.sqlite3_finalize 0:i64) (sqlite.sqlite3_finalize 0:i64)", "no SQLite statement of id 0"),
        ("(drop (sqlite.column_count 1:i64))", "no SQLite statement of id 1"),
        (f"(drop (sqlite.read_column 1:i64 0:i32 {OUT}))", "no SQLite statement of id 1"),
        (f"(drop (sqlite.read_row 1:i64 {OUT}))", "no SQLite statement of id 1"),
        (f"(drop (sqlite.column_name 1:i64 0:i32 {OUT}))", "no SQLite statement of id 1"),
        (f"(drop (sqlite.column_names 1:i64 {OUT}))", "no SQLite statement of id 1"),
        # Out of bounds.
        (f"(drop (sqlite.open 65530:i32 10:i32 {OUT}))", "outside the guest's memory"),
        ('(drop (sqlite.open @"a.db" 65530:i32))', "outside the guest's memory"),
        ("(drop (sqlite.execute 0:i64 -1:i32 2:i32))", "outside the guest's memory"),
        ("(drop (sqlite.execute 0:i64 0:i32 -1:i32))", "outside the guest's memory"),
        ("(drop (sqlite.query_prepare 0:i64 65536:i32 1:i32))", "outside the guest's memory"),
        ("(sqlite.bind_value 0:i64 0:i32 65537:i32)", "outside the guest's memory"),
        ("(sqlite.bind_value 0:i64 0:i32 -1:i32)", "outside the guest's memory"),
        # Not UTF-8.
        (f'(drop (sqlite.open @"\\ff" {OUT}))', "not UTF-8"),
        ('(drop (sqlite.execute 0:i64 @"SELECT \\ff"))', "not UTF-8"),
        ('(drop (sqlite.query_prepare 0:i64 @"SELECT \\ff"))', "not UTF-8"),
        # SQLite's errors.
        ('(drop (sqlite.query_prepare 0:i64 @"nonsense"))', 'near "nonsense": syntax error (code 1)'),
        ("(drop (sqlite.query_prepare 0:i64 @\"ATTACH '/etc/x' AS x\"))", "not authorized"),
        (f"(sqlite.bind_value 0:i64 {bindings(number(2) + NULL)})", "column index out of range (code 25)"),
        (f"(sqlite.bind_value 0:i64 {bindings(number(0) + NULL)})", "column index out of range (code 25)"),
        (f"(sqlite.bind_value 0:i64 {bindings(named('x') + NULL)})", "no parameter 'x'"),
        (
            f"(drop (sqlite.sqlite3_step 0:i64)) (sqlite.bind_value 0:i64 {bindings(NO_KEY + NULL)})",
            "API misuse (code 21)",
        ),
        ('(drop (sqlite.sqlite3_step (sqlite.query_prepare 0:i64 @"")))', "API misuse (code 21)"),
        # Bytes that are no list of values trap as well: in Lunatic they end the host's task.
        (f"(sqlite.bind_value 0:i64 {data(b'')})", "not a list of values"),
        (f"(sqlite.bind_value 0:i64 {data(struct.pack('<Q', 2**63))})", "not a list of values"),
        (f"(sqlite.bind_value 0:i64 {bindings(NO_KEY + struct.pack('<I', 9))})", "no value of variant 9"),
        (f"(sqlite.bind_value 0:i64 {bindings(NO_KEY + struct.pack('<IQ', 2, 1) + bytes([255]))})", "UTF-8"),
        # Columns.
        (f"(drop (sqlite.read_column 0:i64 2:i32 {OUT}))", "no column 2; the statement has 2"),
        (f"(drop (sqlite.read_column 0:i64 -1:i32 {OUT}))", "no column 4294967295"),
        (f"(drop (sqlite.column_name 0:i64 2:i32 {OUT}))", "no column 2; the statement has 2"),
        (
            UNREADABLE,
            "a text in this row is not UTF-8",
        ),
    ],
)
async def test_what_traps(databases: Databases, call: str, said: str) -> None:
    reason = await databases.traps(f"{START} {PREPARED} {call})")
    assert said in reason
    assert "lunatic::sqlite::" in reason


async def test_a_step_that_fails_traps_and_can_be_caught(databases: Databases) -> None:
    """What a guest that catches traps sees: the error, then a reset that tells it again, once."""
    await databases.passes(f"""
        (func (export "_lunatic_catch_trap") (param $what i32) (param i32) (result i32)
          (if (local.get $what)
            (then (sqlite.statement_reset 0:i64))
            (else (drop (sqlite.sqlite3_step 0:i64))))
          1:i32)
        {START}
        (drop (call $open @"a.db"))
        (is32 (sqlite.execute 0:i64 @"CREATE TABLE u(a UNIQUE); INSERT INTO u VALUES (1)") 0:i32)
        (drop (sqlite.query_prepare 0:i64 @"INSERT INTO u VALUES (1)"))
        (is32 (trap.catch 0:i32 0:i32) 0:i32)
        (call $show (sqlite.last_error 0:i64 {OUT}))
        (is32 (trap.catch 1:i32 0:i32) 0:i32)
        (is32 (trap.catch 1:i32 0:i32) 1:i32)
        (is32 (sqlite.execute 0:i64 @"DELETE FROM u") 0:i32)
        (is32 (trap.catch 0:i32 0:i32) 1:i32))""")
    assert databases.shown == [encode_error(19, "UNIQUE constraint failed: u.a")]


async def test_ids_of_one_process_mean_nothing_to_another(databases: Databases) -> None:
    pid = await databases.spawn(f"{START} {PREPARED} (report 1:i64) (call $park))")
    await wait_for(lambda: databases.lab.reports == [1])
    assert "no SQLite statement" in await databases.traps(f"{START} (drop (sqlite.sqlite3_step 0:i64)))")
    databases.lab.runtime.kill(pid)


async def test_bound_lists_and_kept_bytes_are_bounded(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "MAX_BINDINGS_BYTES", 100)
    call = f"(sqlite.bind_value 0:i64 {bindings(NO_KEY + blob(b'x' * 77))})"
    assert "at most 100 bytes" in await databases.traps(f"{START} {PREPARED} {call})")
    monkeypatch.setattr(sqlite, "MAX_BINDINGS_BYTES", 200)
    monkeypatch.setattr(sqlite_database, "MAX_HELD_BYTES", 1100)
    assert "finalize some" in await databases.traps(f"{START} {PREPARED} {call})")


async def test_an_answer_that_has_no_place_traps(databases: Databases) -> None:
    reason = await databases.traps(f"{START} {PREPARED} (drop (sqlite.read_row 0:i64 65533:i32)))")
    assert "outside its memory" in reason


# -- several processes, and their ends ------------------------------------------------------


async def test_two_processes_on_one_file(databases: Databases) -> None:
    holder = await databases.spawn(f"""{START}
        (drop (call $open @"a.db"))
        (is32 (sqlite.execute 0:i64 @"{TABLE}; BEGIN IMMEDIATE; INSERT INTO t VALUES (3, 'z')") 0:i32)
        (report 1:i64) (gate)
        (is32 (sqlite.execute 0:i64 @"COMMIT") 0:i32))""")
    await wait_for(lambda: databases.lab.reports == [1])
    await databases.passes(f"""{START}
        (drop (call $open @"a.db"))
        (is32 (sqlite.execute 0:i64 @"INSERT INTO t VALUES (4, '')") 5:i32)
        (call $show (sqlite.last_error 0:i64 {OUT}))
        (is32 (sqlite.execute 0:i64 @"SELECT * FROM t") 0:i32))""")
    assert databases.shown == [encode_error(5, "database is locked")]
    step = f"""{START}
        (drop (call $open @"a.db"))
        (drop (sqlite.sqlite3_step (sqlite.query_prepare 0:i64 @"INSERT INTO t VALUES (4, '')"))))"""
    assert "lunatic::sqlite::sqlite3_step: database is locked (code 5)" in await databases.traps(step)
    waiting = await databases.spawn(f"""{START}
        (drop (call $open @"a.db"))
        (is32 (sqlite.execute 0:i64 @"PRAGMA busy_timeout = 20000; INSERT INTO t VALUES (5, '')") 0:i32))""")
    await wait_for(lambda: databases.handlers._limiter.borrowed_tokens == 1)
    databases.lab.gate.set()
    for pid in (holder, waiting):
        assert (await databases.lab.wait_exit(pid)).kind is ExitKind.NORMAL
    assert databases.rows("SELECT a FROM t ORDER BY a") == [(1,), (2,), (3,), (5,)]


async def test_a_long_query_holds_neither_trio_nor_other_processes(databases: Databases) -> None:
    pid = await databases.spawn(
        f'{START} (drop (call $open @"")) (drop (sqlite.execute 0:i64 @"{ENDLESS}")))'
    )
    await wait_for(lambda: databases.handlers._limiter.borrowed_tokens == 1)
    await databases.passes(f"""{START} {PREPARED}
        (is32 (sqlite.sqlite3_step 0:i64) 100:i32)
        (call $show (sqlite.read_row 0:i64 {OUT})))""")
    assert databases.shown == [encode_row([None, 2])]
    databases.lab.runtime.kill(pid)
    assert (await databases.lab.wait_exit(pid)).kind is ExitKind.KILLED
    await wait_for(lambda: databases.handlers._limiter.borrowed_tokens == 0, "the query is interrupted")


@pytest.mark.parametrize("call", ["execute", "step"])
async def test_the_death_of_a_process_ends_its_query_and_its_transaction(
    databases: Databases, call: str
) -> None:
    databases.rows("CREATE TABLE t(a)")
    run = {
        "execute": f'(drop (sqlite.execute 0:i64 @"{ENDLESS}"))',
        "step": f'(drop (sqlite.sqlite3_step (sqlite.query_prepare 0:i64 @"{ENDLESS}")))',
    }[call]
    pid = await databases.spawn(f"""{START}
        (drop (call $open @"a.db"))
        (is32 (sqlite.execute 0:i64 @"BEGIN IMMEDIATE; INSERT INTO t VALUES (1)") 0:i32)
        (report 1:i64) {run})""")
    await wait_for(lambda: databases.lab.reports == [1] and databases.handlers._limiter.borrowed_tokens == 1)
    with pytest.raises(apsw.BusyError):
        databases.rows("INSERT INTO t VALUES (3)")
    databases.lab.runtime.kill(pid)
    assert (await databases.lab.wait_exit(pid)).kind is ExitKind.KILLED
    await wait_for(lambda: databases.handlers._closer._connections == 0, "the databases are closed")
    assert databases.handlers._limiter.borrowed_tokens == 0
    assert databases.rows("SELECT * FROM t") == []
    assert [path.name for path in databases.directory.iterdir()] == ["a.db"]


async def test_the_death_of_a_process_ends_its_waiting_for_a_lock(databases: Databases) -> None:
    databases.rows("CREATE TABLE t(a)")
    holder = apsw.Connection(str(databases.directory / "a.db"), vfs=sqlite_database.VFS)
    holder.execute("BEGIN IMMEDIATE")
    pid = await databases.spawn(f"""{START}
        (drop (call $open @"a.db")) (report 1:i64)
        (drop (sqlite.execute 0:i64 @"PRAGMA busy_timeout = 1000000000; INSERT INTO t VALUES (1)")))""")
    await wait_for(lambda: databases.lab.reports == [1] and databases.handlers._limiter.borrowed_tokens == 1)
    databases.lab.runtime.kill(pid)
    await wait_for(lambda: databases.handlers._closer._connections == 0, "the database is closed")
    holder.close()
    assert databases.rows("SELECT * FROM t") == []


async def test_a_call_that_cannot_be_interrupted_keeps_no_others_waiting(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "PATIENCE_S", 0.01)
    turns = databases.handlers._turns._value
    slow = "SELECT instr(zeroblob(700000), zeroblob(350000) || x'01')"
    pid = await databases.spawn(f'{START} (drop (call $open @"")) (drop (sqlite.execute 0:i64 @"{slow}")))')
    await wait_for(lambda: databases.handlers._turns._value == turns - 1)
    databases.lab.runtime.kill(pid)
    await wait_for(lambda: databases.handlers._turns._value == turns, "it has given up its turn")
    await wait_for(lambda: databases.handlers._closer._connections == 0, "it has ended")
    assert databases.handlers._turns._value == turns


async def test_a_process_that_ends_leaves_no_log_behind(databases: Databases) -> None:
    await databases.passes(f"""{START}
        (drop (call $open @"a.db"))
        (is32 (sqlite.execute 0:i64 @"PRAGMA journal_mode = WAL; {TABLE}") 0:i32))""")
    await wait_for(lambda: [path.name for path in databases.directory.iterdir()] == ["a.db"])
    await wait_for(lambda: "luna-sqlite-close" not in [thread.name for thread in threading.enumerate()])
    assert databases.rows("SELECT count(*) FROM t") == [(2,)]


async def test_many_processes_that_die_with_databases(databases: Databases) -> None:
    body = f"""{START}
        (drop (call $open @"a.db")) (drop (call $open @""))
        (drop (sqlite.query_prepare 0:i64 @"SELECT 1 UNION ALL SELECT 2"))
        (drop (sqlite.sqlite3_step 0:i64)) (report 1:i64) (call $park))"""
    module = await databases.lab.load(PRELUDE + body)
    pids = [await databases.lab.spawn(module, config=databases.config) for _ in range(50)]
    await wait_for(lambda: len(databases.lab.reports) == 50)
    for pid in pids:
        databases.lab.runtime.kill(pid)
    await wait_for(lambda: databases.handlers._closer._connections == 0)
    assert not databases.handlers._connections


async def test_killing_at_any_moment_leaves_nothing(databases: Databases) -> None:
    body = f"""{START} (local $id i64)
        (loop $again
          (local.set $id (call $open @"a.db"))
          (drop (sqlite.execute (local.get $id) @"CREATE TABLE IF NOT EXISTS t(a); INSERT INTO t VALUES (1)"))
          (br_if $again (i64.lt_u (local.get $id) 200:i64))))"""
    module = await databases.lab.load(PRELUDE + body)
    for step in range(30):
        pid = await databases.lab.spawn(module, config=databases.config)
        for _ in range(step):
            await trio.lowlevel.checkpoint()
        databases.lab.runtime.kill(pid)
        await databases.lab.wait_exit(pid)
    await wait_for(lambda: databases.handlers._closer._connections == 0)
    assert databases.handlers._limiter.borrowed_tokens == 0
