"""Modules by hash or number: compiled once, from memory, the store, or a peer."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing
import wasmtime

from luna.node.library import MAX_MODULE_NAME_LENGTH, Library
from luna.node.module_spool import Spool
from luna.node.modules import ModuleStore
from luna.proto.errors import InvalidError, NotFoundError
from luna.scheduler.modules import Module, module_id
from luna.scheduler.runtime import Runtime, open_runtime

TEXT = b'(module (func (export "_start")))'


class CountingCompiler:
    """The real runtime; counts, and with `forget` holds nothing compiled."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.compiled = 0
        self.forget = False

    async def load_module(self, data: bytes, name: str) -> Module:
        self.compiled += 1
        return await self._runtime.load_module(data, name)

    def find_module(self, sha256: bytes) -> Module | None:
        return None if self.forget else self._runtime.find_module(sha256)

    def find_module_by_id(self, module_id: int) -> Module | None:
        return None if self.forget else self._runtime.find_module_by_id(module_id)


class Rig:
    def __init__(self, runtime: Runtime, folder: Path) -> None:
        self.compiler = CountingCompiler(runtime)
        self.store = ModuleStore(folder)
        self.fetched: list[str | None] = []
        self.gate = trio.Event()
        self.offer: bytes | None = None
        self.library = Library(self.compiler, self.store, self._fetch)

    async def _fetch(self, address: str | None, sha256: bytes, spool: Spool) -> None:
        self.fetched.append(address)
        await self.gate.wait()
        if self.offer is None:
            raise NotFoundError("the peer lacks it")
        spool.write(self.offer)


async def read(library: Library, sha256: bytes) -> bytes:
    """A module as other nodes get it."""
    assert await library.holds(sha256)
    reader = await library.reader(sha256)
    try:
        return reader.read(0, reader.size)
    finally:
        reader.close()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_runtime(threads=1) as runtime:
        rig = Rig(runtime, tmp_path)
        await rig.store.open()
        yield rig


async def test_a_module_that_was_added_is_held_under_the_hash_of_its_binary(rig: Rig) -> None:
    module = await rig.library.add(TEXT, "text")
    assert module.source.startswith(b"\0asm")
    assert await rig.library.held(module.sha256) is module
    assert await read(rig.library, module.sha256) == module.source
    rig.compiler.forget = True
    assert await read(rig.library, module.sha256) == module.source
    assert (await rig.library.held(module.sha256)).sha256 == module.sha256


async def test_a_module_is_found_by_the_number_that_guests_use(rig: Rig) -> None:
    module = await rig.library.add(TEXT, "text")
    assert await rig.library.by_id(module_id(module.sha256)) is module
    rig.compiler.forget = True
    assert (await rig.library.by_id(module_id(module.sha256))).sha256 == module.sha256
    with pytest.raises(NotFoundError, match="module 1 is unknown"):
        await rig.library.by_id(1)


async def test_a_peer_s_module_is_fetched_and_compiled_once_for_all_who_ask(rig: Rig, tmp_path: Path) -> None:
    module = await rig.library.add(TEXT, "text")
    async with open_runtime(threads=1) as runtime:
        other = Rig(runtime, tmp_path / "other")
        other.offer = module.source
        got: list[Module] = []

        async def want() -> None:
            got.append(await other.library.obtain(module.sha256, "peer:1"))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(want)
            await trio.testing.wait_all_tasks_blocked(0.05)
            other.gate.set()
        assert [one.sha256 for one in got] == [module.sha256] * 5
        assert other.fetched == ["peer:1"]
        assert other.compiler.compiled == 1


async def test_a_module_bears_the_name_it_came_with(rig: Rig, tmp_path: Path) -> None:
    rig.gate.set()
    added = await rig.library.add(TEXT, "x" * 1000)
    assert added.name == "x" * MAX_MODULE_NAME_LENGTH
    for number, (name, shown) in enumerate({"a.wasm": "a.wasm", "": added.sha256.hex()[:12]}.items()):
        async with open_runtime(threads=1) as runtime:
            peer = Rig(runtime, tmp_path / str(number))
            peer.offer = added.source
            peer.gate.set()
            await peer.store.open()
            assert (await peer.library.obtain(added.sha256, "peer:1", name)).name == shown
        async with open_runtime(threads=1) as restarted:
            again = Rig(restarted, tmp_path / str(number))
            await again.store.open()
            assert (await again.library.held(added.sha256, name)).name == shown


async def test_of_those_who_wait_for_a_module_any_may_be_cancelled(rig: Rig) -> None:
    rig.offer = bytes(wasmtime.wat2wasm(TEXT))
    sha256 = hashlib.sha256(rig.offer).digest()
    got: list[Module] = []

    async def want(scope: trio.CancelScope) -> None:
        with scope:
            got.append(await rig.library.obtain(sha256, "peer:1"))

    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(5)]
        for scope in scopes:
            nursery.start_soon(want, scope)
        await trio.testing.wait_all_tasks_blocked(0.05)
        for scope in scopes[:3]:
            scope.cancel()
        await trio.testing.wait_all_tasks_blocked(0.05)
        rig.gate.set()
    assert [one.sha256 for one in got] == [sha256] * 2
    assert rig.compiler.compiled == 1


async def test_a_module_whose_file_is_damaged_is_fetched_again_by_its_number(
    rig: Rig, tmp_path: Path
) -> None:
    module = await rig.library.add(TEXT, "text")
    rig.compiler.forget = True
    next(tmp_path.glob("*.wasm")).write_bytes(b"damaged")
    rig.offer = module.source
    rig.gate.set()
    assert (await rig.library.by_id(module_id(module.sha256))).sha256 == module.sha256
    assert rig.fetched == [None]


async def test_what_nobody_holds_or_cannot_be_is_one_clear_error(rig: Rig) -> None:
    rig.gate.set()
    with pytest.raises(NotFoundError, match="does not hold"):
        await rig.library.held(b"x" * 32)
    with pytest.raises(NotFoundError, match="the peer lacks it"):
        await rig.library.obtain(b"x" * 32, "peer:1")
    with pytest.raises(NotFoundError):
        await rig.library.reader(b"x" * 32)
    assert not await rig.library.holds(b"x" * 32)
    with pytest.raises(InvalidError, match="32 bytes"):
        await rig.library.held(b"short")
    with pytest.raises(InvalidError):
        await rig.library.add(b"not a module", "nonsense")


async def test_a_peer_that_sends_what_does_not_compile_is_reported(rig: Rig) -> None:
    rig.offer = b"\0asm, or so it says"
    rig.gate.set()
    with pytest.raises(InvalidError):
        await rig.library.obtain(hashlib.sha256(rig.offer).digest(), "peer:1")
