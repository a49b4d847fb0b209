"""The module that passes a guest's WASI calls on to wasmtime's own functions.

They look for the memory of the instance that calls them, so a host function of
ours that answers in their place cannot just call them: it calls this one, that
has the guest's memory.
"""

from __future__ import annotations

from typing import Final

import wasmtime

from luna.scheduler.hostcalls import HOST_CALLS, WASI_NAMESPACE, HostCall, Where

__all__ = ["RELAYED_ROWS", "relay_source", "start_wasi"]

_RELAYED: Final[tuple[HostCall, ...]] = tuple(
    row
    for row in HOST_CALLS
    if row.namespace == WASI_NAMESPACE
    and row.where is Where.NATIVE
    and row.suspends
    and row.name not in ("poll_oneoff", "sched_yield")  # ours alone
)
_WRITE: Final = "fd_write"

RELAYED_ROWS: Final = frozenset(row.index for row in _RELAYED)
"""Rows of the host-call table that the native core may pass on."""


def relay_source() -> str:
    """The text of the module: it exports each function under its own name."""
    imports, functions = [], []
    for row in _RELAYED:
        params = " ".join(parameter.kind.wasm for parameter in row.parameters)
        values = " ".join(f"(local.get {index})" for index in range(len(row.parameters)))
        imports.append(
            f'(import "{row.namespace}" "{row.name}" (func ${row.name} (param {params}) (result i32)))'
        )
        functions.append(
            f'(func (export "{row.name}") (param {params}) (result i32) (call ${row.name} {values}))'
        )
    memory = '(import "guest" "memory" (memory 0)) (export "memory" (memory 0))'
    return "\n".join(["(module", *imports, memory, *functions, ")"])


def start_wasi(engine: wasmtime.Engine, relay: wasmtime.Module) -> None:
    """Have wasmtime start the threads its WASI needs, before any guest runs.

    It does so at the first write, and ends the OS process if it cannot: as when
    guests have taken all file descriptors.
    """
    store = wasmtime.Store(engine)
    store.set_epoch_deadline(1_000_000)  # its code is a few instructions: never reached
    store.set_wasi(wasmtime.WasiConfig())
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    memory = wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(1, None)))
    linker.define(store, "guest", "memory", memory)
    write = linker.instantiate(store, relay).exports(store)[_WRITE]
    assert isinstance(write, wasmtime.Func)
    write(store, 1, 0, 0, 0)
