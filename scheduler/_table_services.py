"""Rows of `lunatic::distributed`, `lunatic::sqlite` and `lunatic::metrics`.

Functions that hand bytes back place them in a block they get from the guest's export
`lunatic_alloc`, return its address and store its length in 4 bytes.
"""

from __future__ import annotations

from typing import Final

from luna.scheduler._hostcall import HostCall, Rows, Where

_distributed = Rows("lunatic::distributed", Where.REQUEST)
_sqlite = Rows("lunatic::sqlite", Where.REQUEST)
_metrics = Rows("lunatic::metrics", Where.REQUEST)

_STATEMENT = "unknown statement"
_CONNECTION = "unknown connection"
_ALLOCATES = "lunatic_alloc is missing or fails; out of bounds"
_DATA_ONLY = "no scratch; scratch is not a data message; scratch holds a socket"

_DISTRIBUTED = (
    _distributed(
        "nodes_count",
        "-> i32",
        "Number of live nodes, this one included; 0 without a cluster.",
        suspends=True,
        where=Where.REQUEST,
    ),
    _distributed(
        "get_nodes",
        "nodes:out nodes_len:len -> i32",
        "Writes up to nodes_len 64-bit node ids; returns how many.",
        traps="out of bounds",
        suspends=True,
        where=Where.REQUEST,
    ),
    _distributed("node_id", "-> i64", "This node's id; 0 without a cluster.", where=Where.NATIVE),
    _distributed(
        "module_id",
        "-> i64",
        "The id of the caller's module, the same on every node.",
        where=Where.NATIVE,
    ),
    _distributed(
        "spawn",
        "node:i64 config:i64 module:i64 entry:in entry_len:len params:in params_len:len id:out64 -> i32",
        "Spawns a process on a node: 0 process id written, 1 node unreachable, 2 module unknown (error id "
        "written), 9027 timeout. Config -1 is the caller's own; module is a module_id; params are "
        "17-byte records.",
        traps="spawning not permitted; no cluster; unknown config; malformed params; out of bounds; "
        "not UTF-8",
        suspends=True,
        where=Where.REQUEST,
    ),
    _distributed(
        "send",
        "node:i64 process:i64 -> i32",
        "Sends the scratch, which is empty afterwards; always 0. A dead node or process is silent.",
        traps=_DATA_ONLY,
        where=Where.NATIVE,
    ),
    _distributed(
        "send_receive_skip_search",
        "node:i64 process:i64 wait_tag:i64 timeout_ms:i64 -> i32",
        "Sends the scratch and waits for a later message with wait_tag, not looking at queued ones: "
        "0 it is the scratch now, 9027 timeout (-1 waits for ever).",
        traps=_DATA_ONLY,
        suspends=True,
        where=Where.NATIVE,
    ),
    _distributed(
        "exec_lookup_nodes",
        "query:in query_len:len id:out64 nodes_len:out32 error:out64 -> i32",
        "Finds nodes by labels (k=v&k2=v2): 0 query id and node count written, 1 error id written.",
        traps="no cluster; out of bounds; not UTF-8",
        suspends=True,
    ),
    _distributed(
        "copy_lookup_nodes_results",
        "query:i64 nodes:out nodes_len:len error:out64 -> i32",
        "Writes up to nodes_len 64-bit node ids of a query and forgets it; returns how many, "
        "or -1 with an error id written.",
        traps="no cluster; out of bounds",
    ),
    _distributed(
        "test_root_cert",
        "len:out32 -> i32",
        "A certificate authority for tests, as bytes in guest memory.",
        traps=_ALLOCATES,
        suspends=True,
        where=Where.REQUEST_DATA,
    ),
    _distributed(
        "default_server_certificates",
        "certificate:in certificate_len:len key:in key_len:len len:out32 -> i32",
        "A server certificate signed by the given authority, as bytes in guest memory.",
        traps=f"malformed PEM; {_ALLOCATES}",
        suspends=True,
        where=Where.REQUEST_DATA,
    ),
    _distributed(
        "sign_node",
        "certificate:in certificate_len:len key:in key_len:len request:in request_len:len len:out32 -> i32",
        "A node certificate for a signing request, as bytes in guest memory.",
        traps=f"malformed PEM; {_ALLOCATES}",
        suspends=True,
        where=Where.REQUEST_DATA,
    ),
)

_SQLITE = (
    _sqlite(
        "open",
        "path:in path_len:len id:out64 -> i64",
        "Opens a database: 0 connection id written, 1 error id written.",
        traps="out of bounds; not UTF-8",
    ),
    _sqlite(
        "execute",
        "connection:i64 sql:in sql_len:len -> i32",
        "Runs SQL without results: 0, or the SQLite error code.",
        traps=f"{_CONNECTION}; out of bounds; not UTF-8",
    ),
    _sqlite(
        "query_prepare",
        "connection:i64 sql:in sql_len:len -> i64",
        "Prepares a statement; returns its id.",
        traps=f"{_CONNECTION}; out of bounds; not UTF-8; SQL error",
    ),
    _sqlite(
        "bind_value",
        "statement:i64 values:in values_len:len",
        "Binds a bincode list of values.",
        traps=f"{_STATEMENT}; out of bounds; malformed list; bind error",
    ),
    _sqlite(
        "sqlite3_changes",
        "connection:i64 -> i32",
        "Rows changed by the last statement.",
        traps=_CONNECTION,
    ),
    _sqlite(
        "statement_reset",
        "statement:i64",
        "Makes a statement ready to run again.",
        traps=f"{_STATEMENT}; SQLite error",
    ),
    _sqlite(
        "sqlite3_step",
        "statement:i64 -> i32",
        "100 a row is ready, 101 done.",
        traps=f"{_STATEMENT}; SQLite error",
    ),
    _sqlite("sqlite3_finalize", "statement:i64", "Forgets a statement.", traps=_STATEMENT),
    _sqlite("column_count", "statement:i64 -> i32", "Columns of the result.", traps=_STATEMENT),
    _sqlite(
        "last_error",
        "connection:i64 len:out32 -> i32",
        "The connection's last error as bincode in guest memory.",
        traps=f"{_CONNECTION}; no error; {_ALLOCATES}",
        suspends=True,
        where=Where.REQUEST_DATA,
    ),
    _sqlite(
        "read_column",
        "statement:i64 column:i32 len:out32 -> i32",
        "A value of the current row as bincode in guest memory.",
        traps=f"{_STATEMENT}; unknown column; {_ALLOCATES}",
        suspends=True,
        where=Where.REQUEST_DATA,
    ),
    _sqlite(
        "read_row",
        "statement:i64 len:out32 -> i32",
        "The current row as bincode in guest memory.",
        traps=f"{_STATEMENT}; {_ALLOCATES}",
        suspends=True,
        where=Where.REQUEST_DATA,
    ),
    _sqlite(
        "column_name",
        "statement:i64 column:i32 len:out32 -> i32",
        "A column's name as UTF-8 in guest memory.",
        traps=f"{_STATEMENT}; unknown column; {_ALLOCATES}",
        suspends=True,
        where=Where.REQUEST_DATA,
    ),
    _sqlite(
        "column_names",
        "statement:i64 len:out32 -> i32",
        "All column names as bincode in guest memory.",
        traps=f"{_STATEMENT}; {_ALLOCATES}",
        suspends=True,
        where=Where.REQUEST_DATA,
    ),
)

_NAME = "out of bounds; not UTF-8"

_METRICS = (
    _metrics("counter", "name:in name_len:len value:i64", "Sets a counter.", traps=_NAME),
    _metrics("increment_counter", "name:in name_len:len", "Adds one to a counter.", traps=_NAME),
    _metrics("gauge", "name:in name_len:len value:f64", "Sets a gauge.", traps=_NAME),
    _metrics("increment_gauge", "name:in name_len:len value:f64", "Adds to a gauge.", traps=_NAME),
    _metrics("decrement_gauge", "name:in name_len:len value:f64", "Subtracts from a gauge.", traps=_NAME),
    _metrics("histogram", "name:in name_len:len value:f64", "Records a value.", traps=_NAME),
)

ROWS: Final[tuple[HostCall, ...]] = (*_DISTRIBUTED, *_SQLITE, *_METRICS)
