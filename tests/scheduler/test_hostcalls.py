"""The host-call table: complete, unambiguous and true to the real WASI."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import wasmtime

from luna.scheduler import hostcalls
from luna.scheduler.hostcalls import (
    ALL_CALLS,
    HOST_CALLS,
    WASI_NAMESPACE,
    HostCall,
    Where,
    find,
    namespaces,
    table_rows,
)
from luna.scheduler.relay import RELAYED_ROWS

# How many functions Lunatic 0.13.2 registers in each namespace.
COUNTS = {
    "lunatic::error": 3,
    "lunatic::message": 18,
    "lunatic::process": 27,  # 26 of Lunatic 0.13
    "lunatic::registry": 3,
    "lunatic::timer": 2,
    "lunatic::networking": 49,
    "lunatic::distributed": 12,
    "lunatic::sqlite": 14,
    "lunatic::metrics": 6,
    "lunatic::trap": 1,
    "lunatic::version": 3,
    "lunatic::wasi": 3,
    WASI_NAMESPACE: 46,
}

# What Lunatic has nothing like.
ONLY_LUNA = {"luna::message": 3, "luna::distributed": 1, "luna::node": 4, "luna::group": 4}

BUILT_DISTRIBUTED = {
    "node_id",
    "module_id",
    "nodes_count",
    "get_nodes",
    "spawn",
    "send",
    "send_receive_skip_search",
}

WASI_ROWS = [row for row in HOST_CALLS if row.namespace == WASI_NAMESPACE]


def wat_import(row: HostCall) -> str:
    left, _, right = row.type.partition("->")
    param = f" (param {left.strip()})" if left.strip() else ""
    result = f" (result {right.strip()})" if right.strip() else ""
    return f'(import "{row.namespace}" "{row.name}" (func{param}{result}))'


@pytest.mark.parametrize(("namespace", "count"), COUNTS.items())
def test_namespace_has_every_function_of_lunatic(namespace: str, count: int) -> None:
    assert sum(row.namespace == namespace for row in HOST_CALLS) == count


def test_table_has_no_other_namespace() -> None:
    assert set(namespaces()) == {*COUNTS, *ONLY_LUNA}
    assert len(HOST_CALLS) == 140 + 1 + 46 + sum(
        ONLY_LUNA.values()
    )  # Lunatic's, config_allow_namespace, WASI's


def test_no_function_appears_twice() -> None:
    assert len({(row.namespace, row.name) for row in HOST_CALLS}) == len(HOST_CALLS)


def test_index_is_the_position() -> None:
    assert [row.index for row in HOST_CALLS] == list(range(len(HOST_CALLS)))


def test_find_gives_the_row_or_none() -> None:
    row = find("lunatic::message", "receive")
    assert row is not None
    assert row.type == "i32 i32 i64 -> i32"
    assert row.suspends
    assert find("lunatic::message", "recieve") is None
    assert find("lunatic::mesage", "receive") is None


@pytest.mark.parametrize(
    ("namespace", "name", "letters", "result", "text"),
    [
        ("lunatic::process", "spawn", "IIIiiiii", "i", "i64 i64 i64 i32 i32 i32 i32 i32 -> i32"),
        ("lunatic::sqlite", "open", "iii", "I", "i32 i32 i32 -> i64"),
        ("lunatic::metrics", "gauge", "iif", "", "i32 i32 f64 ->"),
        ("lunatic::process", "process_id", "", "I", "-> i64"),
        (
            "lunatic::networking",
            "udp_connect",
            "Iiiiii" + "Ii",
            "i",
            "i64 i32 i32 i32 i32 i32 i64 i32 -> i32",
        ),
    ],
)
def test_signature_reads_the_same_for_linker_and_people(
    namespace: str, name: str, letters: str, result: str, text: str
) -> None:
    row = find(namespace, name)
    assert row is not None
    assert (row.params, row.result, row.type) == (letters, result, text)
    *row_for_linker, shown = table_rows()[row.index]
    assert row_for_linker == [namespace, name, name, letters, result, row.suspends, row.where.value]
    assert len(shown) == len(letters)


@pytest.mark.parametrize(
    ("namespace", "name", "shown"),
    [
        ("lunatic::message", "send", "P"),
        ("lunatic::message", "create_data", "II"),
        ("lunatic::message", "write_data", "uu"),
        ("lunatic::process", "spawn", "IIItuuuu"),
        ("lunatic::registry", "put", "tuIP"),
        ("lunatic::metrics", "gauge", "tuf"),
        ("lunatic::wasi", "config_add_environment_variable", "Iuuuu"),
        ("lunatic::networking", "tls_bind", "iuiiiuuuuu"),
    ],
)
def test_arguments_are_shown_by_what_they_are_but_no_secrets(namespace: str, name: str, shown: str) -> None:
    row = find(namespace, name)
    assert row is not None
    assert row.shown == shown


def test_requests_can_suspend() -> None:
    # The process is parked while Python answers, so a request that cannot suspend is impossible.
    assert [row.full_name for row in HOST_CALLS if row.where is Where.REQUEST and not row.suspends] == []


def test_wasi_is_wasmtimes_but_for_calls_that_wait_or_need_directories_clocks_and_the_exit() -> None:
    ours = {row.name for row in WASI_ROWS if row.where is not Where.WASI}
    relayed = {ALL_CALLS[index].name for index in RELAYED_ROWS}
    assert ours == {"clock_time_get", "poll_oneoff", "proc_exit", "sched_yield"} | relayed
    assert {name for name in relayed if not name.startswith("path_")} == {
        "fd_close",
        "fd_fdstat_get",
        "fd_filestat_get",
        "fd_prestat_dir_name",
        "fd_prestat_get",
        "fd_read",
        "fd_readdir",
        "fd_renumber",
        "fd_write",
    }
    assert {row.name for row in WASI_ROWS if row.name.startswith("path_")} <= relayed
    assert {row.name for row in WASI_ROWS if row.suspends} == relayed | {"poll_oneoff", "sched_yield"}
    assert [
        row.full_name for row in HOST_CALLS if row.where is Where.WASI and row.namespace != WASI_NAMESPACE
    ] == []


def test_every_pointer_call_says_that_it_traps_out_of_bounds() -> None:
    # WASI answers EFAULT or traps as wasmtime decides; everything else is ours to promise.
    silent = [
        row.full_name
        for row in HOST_CALLS
        if row.namespace != WASI_NAMESPACE
        and any(parameter.kind.is_pointer for parameter in row.parameters)
        and "out of bounds" not in row.traps
    ]
    assert silent == []


@pytest.mark.parametrize("row", WASI_ROWS, ids=[row.name for row in WASI_ROWS])
def test_wasi_signature_is_the_one_wasmtime_links(row: HostCall) -> None:
    engine = wasmtime.Engine()
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    store = wasmtime.Store(engine)
    store.set_wasi(wasmtime.WasiConfig())
    module = wasmtime.Module(engine, f'(module {wat_import(row)} (memory (export "memory") 1))')
    linker.instantiate(store, module)


def test_wrong_wasi_signature_would_not_link() -> None:
    # Guards the test above: wasmtime does compare types.
    engine = wasmtime.Engine()
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    store = wasmtime.Store(engine)
    store.set_wasi(wasmtime.WasiConfig())
    module = wasmtime.Module(engine, f'(module (import "{WASI_NAMESPACE}" "fd_close" (func (param i64))))')
    with pytest.raises(wasmtime.WasmtimeError, match="incompatible import type"):
        linker.instantiate(store, module)


def test_table_is_pure_data() -> None:
    # The native core, the generators and the tests all import it: it may need none of them.
    folder = Path(hostcalls.__file__).parent
    files = [folder / "hostcalls.py", folder / "_hostcall.py", *sorted(folder.glob("_table_*.py"))]
    imported = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.module is not None
                imported.add(node.module)
    foreign = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    assert foreign == {"luna.scheduler", "luna.scheduler._hostcall"}
