"""From the bytes of a file to code that processes run.

Compiles each module once per content and engine mode, or finds it compiled by
an earlier start, and explains what is wrong with a module that cannot be
linked. Knows nothing of processes.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, final

import trio
import wasmtime
from wasmtime import _bindings as wasmtime_c
from wasmtime import _ffi as wasmtime_ffi

from luna.proto.errors import InvalidError
from luna.proto.limits import MAX_MODULE_BYTES
from luna.scheduler._core import Core
from luna.scheduler._handles import NativeModule
from luna.scheduler.code_cache import CodeCache
from luna.scheduler.engine import Engine, Engines, mode_for
from luna.scheduler.interfaces import Import, Meaning, meaning_of
from luna.scheduler.relay import relay_source, start_wasi

__all__ = ["FunctionType", "Module", "Modules", "data_segment_bytes", "module_id"]

WASM_MAGIC: Final = b"\0asm"
COMPILE_FIRST: Final = "compile your program to WebAssembly first: C to wasm32-wasi, Rust to wasm32-wasip1"
"""the hint for files that are something else"""
DATA_SECTION: Final = 11
MODULES_KEPT: Final = 256
"""compiled modules kept for processes that do not run yet, the least used ones dropped first."""
COMPILATIONS_AT_ONCE: Final = 2
"""threads; each compilation uses all cores already, more would only cost memory."""

_VALUE_TYPES: Final = {
    "i32": wasmtime_c.wasm_valtype_new(wasmtime_ffi.WASM_I32),
    "i64": wasmtime_c.wasm_valtype_new(wasmtime_ffi.WASM_I64),
    "f32": wasmtime_c.wasm_valtype_new(wasmtime_ffi.WASM_F32),
    "f64": wasmtime_c.wasm_valtype_new(wasmtime_ffi.WASM_F64),
    "v128": wasmtime_c.wasmtime_wasm_valtype_v128(),
    "externref": wasmtime_c.wasm_valtype_new(wasmtime_ffi.WASM_ANYREF),
    "funcref": wasmtime_c.wasm_valtype_new(wasmtime_ffi.WASM_FUNCREF),
}
"""Value types of wasm 2.0; those of later proposals are just called "ref"."""
_LETTERS: Final = {"i32": "i", "i64": "I", "f64": "f"}
"""Types that host calls use, as the table has them."""


@final
@dataclass(frozen=True, slots=True)
class FunctionType:
    """Parameter and result types of an exported function, as wasm spells them."""

    parameters: tuple[str, ...]
    results: tuple[str, ...]

    def __str__(self) -> str:
        return f"({', '.join(self.parameters)}) -> ({', '.join(self.results)})"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """A compiled module; immutable."""

    sha256: bytes
    name: str
    source: bytes
    """the wasm bytes, which are what other nodes are sent."""
    exports: Mapping[str, FunctionType]
    native: NativeModule
    meaning: Meaning
    """of its imports"""
    compiled: dict[bool, wasmtime.Module]
    """machine code without and, once it was asked for, with a fuel counter"""

    @property
    def id(self) -> int:
        """The number guests know it by: the same on every node."""
        return module_id(self.sha256)


def module_id(sha256: bytes) -> int:
    """A module's id for guests: the first 8 bytes of its SHA-256, made a positive i64."""
    return int.from_bytes(sha256[:8], "big") & 0x7FFF_FFFF_FFFF_FFFF


@final
class Modules:
    """The modules of one runtime. Its methods are for one trio thread."""

    def __init__(self, core: Core, engines: Engines, cache: Path | None) -> None:
        self._core = core
        self._engines = engines
        self._cache = None if cache is None else CodeCache(cache)
        self._kept: OrderedDict[bytes, Module] = OrderedDict()
        self._by_id: dict[int, bytes] = {}
        self._busy: dict[bytes, trio.Event] = {}
        self._compiling_with_fuel = trio.Lock()
        self._limiter = trio.CapacityLimiter(COMPILATIONS_AT_ONCE)

    def find(self, sha256: bytes) -> Module | None:
        """A module that was loaded, None if it was not or has been dropped since."""
        module = self._kept.get(sha256)
        if module is not None:
            self._kept.move_to_end(sha256)
        return module

    def find_by_id(self, id_: int) -> Module | None:
        """The same by the number that guests use."""
        sha256 = self._by_id.get(id_)
        return None if sha256 is None else self.find(sha256)

    async def load(self, data: bytes, name: str) -> Module:
        """Compile and link a `.wasm` or `.wat` file's content, or find it compiled.

        However many ask for one module at once, it is compiled once. Raises
        InvalidError, saying what is wrong with it.
        """
        source, sha256 = await trio.to_thread.run_sync(_binary_and_hash, data, name, limiter=self._limiter)
        while True:
            module = self.find(sha256)
            if module is not None:
                await trio.lowlevel.checkpoint()
                return module
            busy = self._busy.get(sha256)
            if busy is None:
                break
            await busy.wait()
        done = self._busy[sha256] = trio.Event()
        try:
            engine = self._engines.get(mode_for(data_segment_bytes(source), fuel=False))
            compiled = await trio.to_thread.run_sync(
                self._compile, engine, source, sha256, name, limiter=self._limiter
            )
            meaning = _meaning_of(compiled, name)
            if meaning.uses_wasi:
                await self._provide_relay(engine)
            module = self._link(engine, compiled, source, sha256, name, meaning)
            self._keep(module)
            return module
        finally:
            del self._busy[sha256]
            done.set()

    async def provide_code(self, module: Module, counts_fuel: bool, refused: bytes) -> None:
        """Link a module for processes that may not call everything, or have a compute limit.

        Raises InvalidError if that fails.
        """
        await trio.lowlevel.checkpoint()
        engine = self._engines.get(mode_for(data_segment_bytes(module.source), fuel=counts_fuel))
        if counts_fuel and True not in module.compiled:
            async with self._compiling_with_fuel:  # many processes may ask at once
                if True not in module.compiled:
                    module.compiled[True] = await trio.to_thread.run_sync(
                        self._compile,
                        engine,
                        module.source,
                        module.sha256,
                        module.name,
                        limiter=self._limiter,
                    )
        if module.meaning.uses_wasi:
            await self._provide_relay(engine)
        if not module.native.has_code(counts_fuel, refused):
            linked = engine.link(module.compiled[counts_fuel], module.meaning.earlier, refused)
            module.native.add_code(counts_fuel, refused, linked)

    async def _provide_relay(self, engine: Engine) -> None:
        """What guests of this engine need of WASI besides their own code."""
        if engine.has_relay:
            return

        def make() -> wasmtime.Module:
            source, sha256 = _binary_and_hash(relay_source().encode(), "relay")
            compiled = self._compile(engine, source, sha256, "relay")
            if not engine.mode.fuel:  # no module has code that counts fuel before it has other code
                start_wasi(engine.engine, compiled)
            return compiled

        compiled = await trio.to_thread.run_sync(make, limiter=self._limiter)
        if not engine.has_relay:
            engine.set_relay(self._core, compiled)

    def _keep(self, module: Module) -> None:
        self._kept[module.sha256] = module
        self._by_id[module.id] = module.sha256
        if len(self._kept) > MODULES_KEPT:
            # One that processes run is never dropped: they may spawn more of it.
            unused = [sha256 for sha256, kept in self._kept.items() if not kept.native.in_use]
            for sha256 in unused[: len(self._kept) - MODULES_KEPT]:
                del self._kept[sha256]
                self._by_id.pop(module_id(sha256), None)

    def _link(
        self,
        engine: Engine,
        compiled: wasmtime.Module,
        source: bytes,
        sha256: bytes,
        name: str,
        meaning: Meaning,
    ) -> Module:
        fuel_engine = self._engines.get(mode_for(data_segment_bytes(source), fuel=True))
        try:
            linked = engine.link(compiled, meaning.earlier)
        except ValueError as error:
            raise InvalidError(f"{name} cannot be linked: {error}") from None
        native = self._core.module(
            sha256,
            module_id(sha256),
            name.encode(errors="replace"),
            meaning.uses_wasi,
            engine.address,
            fuel_engine.address,
            linked,
        )
        exports = MappingProxyType(_exports(compiled))
        return Module(sha256, name, source, exports, native, meaning, {False: compiled})

    def _compile(self, engine: Engine, source: bytes, sha256: bytes, name: str) -> wasmtime.Module:
        """Runs in a worker thread; compiling does not hold the GIL."""
        if self._cache is None:
            return _compile_new(engine, source, name)
        cached = self._cache.load(engine, sha256)
        if cached is not None:
            return cached
        with self._cache.turn(sha256):
            cached = self._cache.load(engine, sha256)  # another process may have been first
            if cached is not None:
                return cached
            compiled = _compile_new(engine, source, name)
            self._cache.store(engine, sha256, compiled)
            return compiled


def _compile_new(engine: Engine, source: bytes, name: str) -> wasmtime.Module:
    try:
        return wasmtime.Module(engine.engine, source)
    except wasmtime.WasmtimeError as error:
        raise InvalidError(f"{name} is not a valid WebAssembly module: {error}") from None


def data_segment_bytes(source: bytes) -> int:
    """Bytes of a wasm binary's data section; 0 when there is none or the binary is cut short.

    Source: WebAssembly core specification 1.0, section 5.5.2 (sections).
    """
    position = 8
    while position < len(source):
        section = source[position]
        size = shift = 0
        while True:
            position += 1
            if position >= len(source) or shift > 28:
                return 0
            size |= (source[position] & 0x7F) << shift
            shift += 7
            if source[position] < 0x80:
                break
        position += 1
        if section == DATA_SECTION:
            return size
        position += size
    return 0


def _binary_and_hash(data: bytes, name: str) -> tuple[bytes, bytes]:
    source = _binary(data, name)
    return source, hashlib.sha256(source).digest()


def _binary(data: bytes, name: str) -> bytes:
    if len(data) > MAX_MODULE_BYTES:
        raise InvalidError(f"{name} has {len(data)} bytes; a module may have at most {MAX_MODULE_BYTES}")
    if data.startswith(WASM_MAGIC):
        return data
    if not data:
        raise InvalidError(f"{name} is empty")
    try:
        text = data.decode()
        if not text.lstrip().startswith(("(", ";")):
            raise InvalidError(
                f"{name} is not WebAssembly: it starts neither with \\0asm nor with text format",
                hint=COMPILE_FIRST,
            )
        return bytes(wasmtime.wat2wasm(text))
    except UnicodeDecodeError:
        raise InvalidError(
            f"{name} is not WebAssembly: it does not start with \\0asm",
            hint=COMPILE_FIRST,
        ) from None
    except wasmtime.WasmtimeError as error:
        raise InvalidError(f"{name} is not valid WebAssembly text: {error}") from None


def _meaning_of(compiled: wasmtime.Module, name: str) -> Meaning:
    """What its imports mean. Raises InvalidError naming every import that cannot be linked."""
    wrong = []
    imports = []
    for item in compiled.imports:
        if isinstance(item.type, wasmtime.FuncType):
            kind = _type_of(item.type)
            params = "".join(_LETTERS.get(value, "?") for value in kind.parameters)
            result = "".join(_LETTERS.get(value, "?") for value in kind.results)
            imports.append(Import(item.module, item.name or "", params, result, str(kind)))
        else:
            wrong.append(f"{item.module}::{item.name} is not a function, and only functions can be imported")
    meaning = meaning_of(imports)
    wrong += meaning.problems
    if wrong:
        raise InvalidError(f"{name} cannot be linked: {'; '.join(wrong)}")
    return meaning


def _type_of(kind: wasmtime.FuncType) -> FunctionType:
    return FunctionType(tuple(map(_value_type, kind.params)), tuple(map(_value_type, kind.results)))


def _value_type(kind: wasmtime.ValType) -> str:
    # By comparison: `str(kind)` ends the OS process when it is a vector or a typed reference.
    for name, known in _VALUE_TYPES.items():
        if wasmtime_c.wasmtime_wasm_valtype_equal(known, kind.ptr()):
            return name
    return "ref"


def _exports(compiled: wasmtime.Module) -> dict[str, FunctionType]:
    return {
        item.name or "": _type_of(item.type)
        for item in compiled.exports
        if isinstance(item.type, wasmtime.FuncType)
    }
