"""wasmtime engines, one per way a module's memory and compute are kept.

Memory: each process has its own linear memory without reserved address space
or guard pages, so that a million of them fit the kernel's limit of mappings.
Modules with data worth sharing use copy-on-write images of it (two mappings a
process, no copying at spawn); others are copied (no mapping at all). Compute:
only modules spawned with a compute limit are compiled to count fuel, because
counting slows all code. Engines are made when first needed.
"""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, final

import wasmtime
from wasmtime import _bindings as wasmtime_c

from luna.scheduler import hostcalls
from luna.scheduler._core import Core, prepare_config
from luna.scheduler._linker import HostTable, Linker

__all__ = ["Engine", "EngineMode", "Engines", "mode_for"]

COPY_ON_WRITE_BYTES: Final = 16 * 1024
"""bytes of data segments from which on copy-on-write is cheaper than copying at spawn."""

LINKERS_KEPT: Final = 8
"""linkers of one engine, for as many mixtures of interfaces; making one takes half a millisecond."""
NOTHING: Final = bytes(64)
"""an empty set of rows: ROW_WORDS of `_types.pxd`, 8 bytes each."""

WASM_STACK_BYTES: Final = 512 * 1024
"""bytes of stack wasm may use; WASM_STACK_BYTES of `_limits.pxd`."""


@final
@dataclass(frozen=True, slots=True)
class EngineMode:
    """How an engine keeps memory and whether its code counts fuel."""

    copy_on_write: bool
    fuel: bool

    @property
    def name(self) -> str:
        """Short text for file names."""
        return ("cow" if self.copy_on_write else "copy") + ("-fuel" if self.fuel else "")


def mode_for(data_bytes: int, *, fuel: bool) -> EngineMode:
    """The mode a module with that many bytes of data segments is compiled for."""
    return EngineMode(copy_on_write=data_bytes >= COPY_ON_WRITE_BYTES, fuel=fuel)


@final
class Engine:
    """One wasmtime engine, and the linkers that define the host calls in it."""

    def __init__(self, mode: EngineMode, engine: wasmtime.Engine, table: HostTable) -> None:
        self.mode: Final = mode
        self.engine: Final = engine
        self._table = table
        self._linkers: OrderedDict[frozenset[int], Linker] = OrderedDict()
        self._relay: tuple[wasmtime.Module, Linker] | None = None

    @property
    def address(self) -> int:
        """Of the wasm_engine_t."""
        return address_of(self.engine.ptr())

    @property
    def has_relay(self) -> bool:
        """Whether WASI calls can be passed on in stores of this engine; see `relay`."""
        return self._relay is not None

    def set_relay(self, core: Core, compiled: wasmtime.Module) -> None:
        """Have them passed on by this code."""
        self._relay = (compiled, Linker(self.address, self._table, [], NOTHING))
        core.set_relay(self.address, address_of(compiled.ptr()), self._relay[1])

    def link(self, compiled: wasmtime.Module, earlier: frozenset[int], refused: bytes | None = None) -> int:
        """Address of compiled code linked with host calls (a wasmtime_instance_pre_t, which the caller owns).

        `earlier` are rows that stand in for those of today with the same names,
        `refused` is a set of rows that trap. Raises ValueError with wasmtime's words.
        """
        if refused is not None:
            linker = self._linker(earlier, refused)
        else:
            linker = self._linkers.get(earlier) or self._linker(earlier, NOTHING)
            self._linkers[earlier] = linker
            self._linkers.move_to_end(earlier)
            if len(self._linkers) > LINKERS_KEPT:
                self._linkers.popitem(last=False)
        return linker.instance_pre(address_of(compiled.ptr()))

    def _linker(self, earlier: frozenset[int], refused: bytes) -> Linker:
        rows = {
            (row.namespace, row.name): row.index for row in (*hostcalls.EARLIER_CALLS, *hostcalls.HOST_CALLS)
        }
        rows |= {
            (row.namespace, row.name): row.index for row in map(hostcalls.ALL_CALLS.__getitem__, earlier)
        }
        return Linker(self.address, self._table, list(rows.values()), refused)


@final
class Engines:
    """The engines of one runtime; they live as long as it does."""

    def __init__(self, core: Core, *, traces_calls: bool = False) -> None:
        self._core = core
        self._table = HostTable(hostcalls.table_rows(), traces_calls)
        core.set_host_table(self._table)
        self._engines: dict[EngineMode, Engine] = {}

    def get(self, mode: EngineMode) -> Engine:
        """The engine of that mode, made now if it is the first use."""
        engine = self._engines.get(mode)
        if engine is None:
            engine = Engine(mode, wasmtime.Engine(_configuration(mode)), self._table)
            self._core.add_engine(engine.address)
            self._engines[mode] = engine
        return engine


def address_of(pointer: object) -> int:
    """The address in a ctypes pointer."""
    address = ctypes.cast(pointer, ctypes.c_void_p).value  # type: ignore[arg-type]
    if address is None:
        raise ValueError("a null pointer has no object")
    return address


def _configuration(mode: EngineMode) -> wasmtime.Config:
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.consume_fuel = mode.fuel
    config.max_wasm_stack = WASM_STACK_BYTES
    config.wasm_multi_memory = True
    config.wasm_threads = False
    pointer = config.ptr()
    # The Python class does not offer these.
    wasmtime_c.wasmtime_config_memory_reservation_set(pointer, 0)
    wasmtime_c.wasmtime_config_memory_guard_size_set(pointer, 0)
    wasmtime_c.wasmtime_config_memory_reservation_for_growth_set(pointer, 0)
    wasmtime_c.wasmtime_config_memory_init_cow_set(pointer, mode.copy_on_write)
    prepare_config(address_of(pointer), not mode.copy_on_write)
    return config
