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
_CANNOT_TRAVEL = "1 the scratch cannot go to another node, and is lost"

_SENDS = (
    "The process id alone tells where to. A dead or unknown node is a dead target; Lunatic traps, or keeps "
    "the message for ever. A process of this node can be sent any message, one of another node data and "
    "modules; Lunatic traps for modules."
)
_FOUR_BYTES = "Stores the length in the 4 bytes that guests reserve; Lunatic stores 8."
_TEXTS = (
    "Text is whole, where Lunatic's ends at a zero byte. A row with text that is not UTF-8 cannot be read; "
    "Lunatic replaces such bytes."
)
_QUERIES = "Holds up no other process and ends with its own; in Lunatic it blocks a thread of the host."
_AUTHORITY = "malformed certificate or key in PEM; not of each other; not UTF-8"
_CERTIFICATES = f"Valid for ten years. At most 64 KiB of PEM, and 4 KiB for a key. {_FOUR_BYTES}"

_DISTRIBUTED = (
    _distributed(
        "nodes_count",
        "-> i32",
        "Number of live nodes, this one included; 0 without a cluster.",
        suspends=True,
        where=Where.REQUEST,
        departs=(
            "The nodes that live now; Lunatic has a list that is up to 5 seconds old, and holds crashed "
            "nodes for ever."
        ),
    ),
    _distributed(
        "get_nodes",
        "nodes:out nodes_len:len -> i32",
        "Writes up to nodes_len 64-bit node ids, this one's included; returns how many.",
        traps="out of bounds",
        suspends=True,
        where=Where.REQUEST,
        departs="In ascending order; Lunatic has none.",
    ),
    _distributed(
        "node_id",
        "-> i64",
        "This node's id; 0 without a cluster.",
        where=Where.NATIVE,
        departs="A node draws its id anew at every start, so an id never means two nodes; Lunatic counts.",
    ),
    _distributed(
        "module_id",
        "-> i64",
        "The id of the caller's module, the same on every node; 0 without a cluster.",
        where=Where.NATIVE,
        departs="Made of the module's bytes; modules compiled at run time have one, too (in Lunatic 0).",
    ),
    _distributed(
        "spawn",
        "node:i64 config:i64 module:i64 entry:in entry_len:len params:in params_len:len id:out64 -> i32",
        "Spawns a process on a node: 0 process id written; 1 node unknown, gone or unwilling, 2 module "
        "unknown, 9027 no answer in time, with an error id written. Config -1 is the caller's own; module is "
        "a module_id; params are 17-byte records, a trailing part of one is ignored.",
        traps="spawning not permitted; no cluster; unknown config; malformed params; out of bounds; "
        "not UTF-8",
        suspends=True,
        where=Where.NATIVE,
        departs="Codes 1 and 9027 are used; Lunatic traps. A child never gets more than its parent has.",
    ),
    _distributed(
        "send",
        "node:i64 process:i64 -> i32",
        f"Sends the scratch, which is empty afterwards: 0, or {_CANNOT_TRAVEL}. A dead node or process is "
        "silent.",
        traps="no scratch",
        where=Where.NATIVE,
        departs=_SENDS,
    ),
    _distributed(
        "send_receive_skip_search",
        "node:i64 process:i64 wait_tag:i64 timeout_ms:i64 -> i32",
        "Sends the scratch and waits for a later message with wait_tag, not looking at queued ones: "
        f"0 it is the scratch now, {_CANNOT_TRAVEL}, 9027 timeout (-1 waits for ever).",
        traps="no scratch",
        suspends=True,
        where=Where.NATIVE,
        departs=_SENDS,
    ),
    _distributed(
        "exec_lookup_nodes",
        "query:in query_len:len id:out64 nodes_len:out32 error:out64 -> i32",
        "Finds the live nodes with all these labels (k=v&k2=v2, escaped as in a URL; none: all nodes): "
        "0 query id and node count written, 1 error id written.",
        traps="no cluster; out of bounds; not UTF-8; query too long",
        suspends=True,
        departs=(
            "Answered by the node itself. Stores the count in the 4 bytes that guests reserve; Lunatic "
            "stores 8. A pair without =, a broken escape and what is not UTF-8 are errors, and of a key "
            "given twice both values must match. At most 64 results wait to be copied."
        ),
    ),
    _distributed(
        "copy_lookup_nodes_results",
        "query:i64 nodes:out nodes_len:len error:out64 -> i32",
        "Writes up to nodes_len 64-bit node ids of a query and forgets it; returns how many, "
        "or -1 with an error id written.",
        traps="no cluster; out of bounds",
        departs="Results belong to the process that asked; in Lunatic any process of the node can take them.",
    ),
    _distributed(
        "test_root_cert",
        "len:out32 -> i32",
        "A certificate authority for tests, as bincode in guest memory: certificate and private key in PEM.",
        traps=_ALLOCATES,
        suspends=True,
        where=Where.REQUEST_DATA,
        departs=(
            "Another one in every runtime, the same for all of its processes; the key of Lunatic's is "
            f"public. {_FOUR_BYTES}"
        ),
    ),
    _distributed(
        "default_server_certificates",
        "certificate:in certificate_len:len key:in key_len:len len:out32 -> i32",
        "A new certificate of a control server (ctrl.lunatic.cloud), signed by the given authority, as "
        "bincode in guest memory: certificate and private key in PEM.",
        traps=f"{_AUTHORITY}; {_ALLOCATES}",
        suspends=True,
        where=Where.REQUEST_DATA,
        departs=_CERTIFICATES,
    ),
    _distributed(
        "sign_node",
        "certificate:in certificate_len:len key:in key_len:len request:in request_len:len len:out32 -> i32",
        "The certificate of a node with the names in its signing request, signed by the given authority, as "
        "bincode in guest memory: a PEM text.",
        traps=f"{_AUTHORITY}; malformed signing request, or not signed with its own key; {_ALLOCATES}",
        suspends=True,
        where=Where.REQUEST_DATA,
        departs=f"Passes over what else the request asks for; Lunatic traps. {_CERTIFICATES}",
    ),
)

_SQLITE = (
    _sqlite(
        "open",
        "path:in path_len:len id:out64 -> i64",
        "Opens a database: 0 connection id written, 1 error id written.",
        traps="out of bounds; not UTF-8",
        departs=(
            "Never follows a link out of the directories of the process, and takes no URI. At most 256 "
            "connections. While a file is in use, programs outside the node get no lock on it. "
            f"{_QUERIES}"
        ),
    ),
    _sqlite(
        "execute",
        "connection:i64 sql:in sql_len:len -> i32",
        "Runs SQL without results: 0, or the SQLite error code.",
        traps=f"{_CONNECTION}; out of bounds; not UTF-8",
        departs=(
            "Attaches files of the directories of the process only, by a name that is written out, and a "
            "transaction changes one file. No VACUUM INTO, no extensions, no settings of the whole host or "
            f"that take memory without a bound. At most 16 MiB. {_QUERIES}"
        ),
    ),
    _sqlite(
        "query_prepare",
        "connection:i64 sql:in sql_len:len -> i64",
        "Prepares a statement; returns its id.",
        traps=f"{_CONNECTION}; out of bounds; not UTF-8; SQL error",
        departs="As execute.",
    ),
    _sqlite(
        "bind_value",
        "statement:i64 values:in values_len:len",
        "Binds a bincode list of values.",
        traps=f"{_STATEMENT}; out of bounds; malformed list; bind error",
        departs=(
            "Binds by name as well; Lunatic binds all such values to the first parameter. A malformed list "
            "traps; in Lunatic the process ends and nobody is told. At most 64 MiB for a value."
        ),
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
        "Makes a statement ready to be bound and to run again.",
        traps=f"{_STATEMENT}; SQLite error of the last step",
        departs=_QUERIES,
    ),
    _sqlite(
        "sqlite3_step",
        "statement:i64 -> i32",
        "100 a row is ready, 101 done.",
        traps=f"{_STATEMENT}; SQLite error",
        departs=_QUERIES,
    ),
    _sqlite(
        "sqlite3_finalize",
        "statement:i64",
        "Forgets a statement.",
        traps=_STATEMENT,
        departs=_QUERIES,
    ),
    _sqlite("column_count", "statement:i64 -> i32", "Columns of the result.", traps=_STATEMENT),
    _sqlite(
        "last_error",
        "connection:i64 len:out32 -> i32",
        "The error of the connection's last call, if it failed, as bincode in guest memory.",
        traps=f"{_CONNECTION}; no error; {_ALLOCATES}",
        suspends=True,
        where=Where.REQUEST_DATA,
        departs=f"{_FOUR_BYTES} A row or the end of rows is no error; Lunatic gives it as code 100 or 101.",
    ),
    _sqlite(
        "read_column",
        "statement:i64 column:i32 len:out32 -> i32",
        "A value of the current row as bincode in guest memory; null without a row.",
        traps=f"{_STATEMENT}; unknown column; text that is not UTF-8; {_ALLOCATES}",
        suspends=True,
        where=Where.REQUEST_DATA,
        departs=f"{_FOUR_BYTES} {_TEXTS}",
    ),
    _sqlite(
        "read_row",
        "statement:i64 len:out32 -> i32",
        "The current row as bincode in guest memory; nulls without one.",
        traps=f"{_STATEMENT}; text that is not UTF-8; {_ALLOCATES}",
        suspends=True,
        where=Where.REQUEST_DATA,
        departs=f"{_FOUR_BYTES} {_TEXTS}",
    ),
    _sqlite(
        "column_name",
        "statement:i64 column:i32 len:out32 -> i32",
        "A column's name as UTF-8 in guest memory.",
        traps=f"{_STATEMENT}; unknown column; {_ALLOCATES}",
        suspends=True,
        where=Where.REQUEST_DATA,
        departs=_FOUR_BYTES,
    ),
    _sqlite(
        "column_names",
        "statement:i64 len:out32 -> i32",
        "All column names as bincode in guest memory.",
        traps=f"{_STATEMENT}; {_ALLOCATES}",
        suspends=True,
        where=Where.REQUEST_DATA,
        departs=_FOUR_BYTES,
    ),
)

_NAME = "out of bounds; not UTF-8"
_KEPT = (
    "Every runtime keeps them; Lunatic only with --prometheus. At most 4096, with names of at most 1024 "
    "bytes and one kind for each name; others are left out."
)

_METRICS = (
    _metrics(
        "counter",
        "name:in name_len:len value:i64",
        "Sets a counter; less than it has changes nothing.",
        traps=_NAME,
        departs=_KEPT,
    ),
    _metrics(
        "increment_counter",
        "name:in name_len:len",
        "Adds one to a counter.",
        traps=_NAME,
        departs=_KEPT,
    ),
    _metrics(
        "gauge",
        "name:in name_len:len value:f64",
        "Sets a gauge.",
        traps=_NAME,
        departs=_KEPT,
    ),
    _metrics(
        "increment_gauge",
        "name:in name_len:len value:f64",
        "Adds to a gauge.",
        traps=_NAME,
        departs=_KEPT,
    ),
    _metrics(
        "decrement_gauge",
        "name:in name_len:len value:f64",
        "Subtracts from a gauge.",
        traps=_NAME,
        departs=_KEPT,
    ),
    _metrics(
        "histogram",
        "name:in name_len:len value:f64",
        "Records a value.",
        traps=_NAME,
        departs=f"{_KEPT} What is no number is left out, too.",
    ),
)

ROWS: Final[tuple[HostCall, ...]] = (*_DISTRIBUTED, *_SQLITE, *_METRICS)
