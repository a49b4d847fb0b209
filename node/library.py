"""The modules a node can run: the store of their bytes, joined to the scheduler that compiles them.

Owns the way from a hash to a compiled module: in memory, else from the store, else from a peer; fetched and
compiled once, however many ask. Lives on trio.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import trio

from luna.node.module_spool import Spool
from luna.node.modules import BytesReader, ModuleReader, ModuleStore
from luna.proto.errors import InvalidError, NotFoundError
from luna.proto.limits import MAX_NAME_LENGTH, SHA256_BYTES
from luna.scheduler.modules import Module, module_id

MAX_MODULE_NAME_LENGTH = 4 * MAX_NAME_LENGTH
"""characters of a module's name for people; longer ones are cut."""


class Compiler(Protocol):
    """What this module needs of `luna.scheduler`'s Runtime."""

    async def load_module(self, data: bytes, name: str) -> Module: ...
    def find_module(self, sha256: bytes) -> Module | None: ...
    def find_module_by_id(self, module_id: int) -> Module | None: ...


FetchModule = Callable[[str | None, bytes, Spool], Awaitable[None]]
"""`(address, sha256, spool)`: fills a spool with a module; the node at an address comes first."""


@dataclass(slots=True)
class _Turn:
    lock: trio.Lock = field(default_factory=trio.Lock)
    users: int = 0


class Library:
    """The modules of one node."""

    def __init__(self, compiler: Compiler, store: ModuleStore, fetch: FetchModule) -> None:
        self._compiler = compiler
        self._store = store
        self._fetch = fetch
        self._turns: dict[bytes, _Turn] = {}

    async def add(self, data: bytes, name: str) -> Module:
        """Compile a module that a command sent, and keep its bytes. `name` is for people.

        Raises InvalidError, with the full explanation, if it is not a module that can run here.
        """
        module = await self._compiler.load_module(data, name[:MAX_MODULE_NAME_LENGTH] or "module")
        # What was loaded, which for text is the WebAssembly made of it: that is what peers ask for.
        await self._store.put(module.source)
        return module

    async def held(self, sha256: bytes, name: str = "") -> Module:
        """A module this node holds, compiled; it is called `name` from now on if it was not in memory.

        Raises NotFoundError, InvalidError for a bad hash.
        """
        if len(sha256) != SHA256_BYTES:
            raise InvalidError(f"a module hash has {SHA256_BYTES} bytes, not {len(sha256)}")
        module = self._compiler.find_module(sha256)
        if module is not None:
            await trio.lowlevel.checkpoint()
            return module
        async with self._turn(sha256):
            module = self._compiler.find_module(sha256)
            if module is not None:
                return module
            data = await self._store.get(sha256)
            if data is None:
                raise _not_held(sha256)
            return await self._compile(sha256, data, name)

    async def by_id(self, id_: int) -> Module:
        """A module this node holds by the number that guests use, compiled.

        One whose file turns out to be damaged is fetched from another node. Raises NotFoundError, and what
        `obtain` does.
        """
        module = self._compiler.find_module_by_id(id_)
        if module is not None:
            await trio.lowlevel.checkpoint()
            return module
        # Compiled code of modules that do not run is dropped at some time; the bytes are kept longer.
        for sha256 in self._store.hashes():
            if module_id(sha256) == id_:
                return await self.obtain(sha256, None)
        raise NotFoundError(f"module {id_} is unknown")

    async def obtain(self, sha256: bytes, address: str | None, name: str = "") -> Module:
        """A module, compiled, from this node or another: first the one at `address`, which calls it `name`.

        It is fetched and compiled once however many wait. Raises NotFoundError, BrokenError or RefusedError
        if it cannot be had, InvalidError if it is not what it should be.
        """
        module = self._compiler.find_module(sha256)
        if module is not None:
            await trio.lowlevel.checkpoint()
            return module
        if sha256 in self._turns:  # it is here and being compiled, which saves reading it again
            async with self._turn(sha256):
                module = self._compiler.find_module(sha256)
                if module is not None:
                    return module

        async def fetch(spool: Spool) -> None:
            await self._fetch(address, sha256, spool)

        # All who wait do it here, not for their turn: one that is cancelled leaves the transfer to others.
        data = await self._store.obtain(sha256, fetch)
        async with self._turn(sha256):
            module = self._compiler.find_module(sha256)
            return module if module is not None else await self._compile(sha256, data, name)

    # --- for other nodes --------------------------------------------------------------------

    async def holds(self, sha256: bytes) -> bool:
        """Whether this node holds a module."""
        await trio.lowlevel.checkpoint()
        return self._compiler.find_module(sha256) is not None or self._store.holds(sha256)

    async def reader(self, sha256: bytes) -> ModuleReader:
        """A module this node holds, to be read and closed. Raises NotFoundError."""
        module = self._compiler.find_module(sha256)
        if module is not None:
            await trio.lowlevel.checkpoint()
            return BytesReader(module.source)
        reader = await self._store.reader(sha256)
        if reader is None:
            raise _not_held(sha256)
        return reader

    # ----------------------------------------------------------------------------------------

    async def _compile(self, sha256: bytes, data: bytes, name: str) -> Module:
        return await self._compiler.load_module(data, name[:MAX_MODULE_NAME_LENGTH] or sha256.hex()[:12])

    @asynccontextmanager
    async def _turn(self, sha256: bytes) -> AsyncIterator[None]:
        turn = self._turns.setdefault(sha256, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if turn.users == 0:
                del self._turns[sha256]


def _not_held(sha256: bytes) -> NotFoundError:
    return NotFoundError(f"this node does not hold module {sha256[:SHA256_BYTES].hex()}")
