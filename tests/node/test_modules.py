"""The module store: hashed, bounded, and alive when the disk is not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import trio
import trio.testing

from luna.node.modules import ModuleStore
from luna.proto.errors import BrokenError, InvalidError


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


async def opened(directory: Path, **limits: int) -> ModuleStore:
    store = ModuleStore(directory, **limits)
    await store.open()
    return store


async def never() -> bytes:
    raise AssertionError("fetched although it was there")


async def test_a_module_survives_a_restart_of_the_node(tmp_path: Path) -> None:
    sha256 = await (await opened(tmp_path)).put(b"module")
    assert sha256 == sha(b"module")
    assert await (await opened(tmp_path)).get(sha256) == b"module"
    assert await (await opened(tmp_path)).obtain(sha256, never) == b"module"


async def test_a_damaged_file_is_dropped_and_fetched_again(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    sha256 = await store.put(b"module")
    (tmp_path / f"{sha256.hex()}.wasm").write_bytes(b"modulo")
    assert await store.get(sha256) is None

    async def fetch() -> bytes:
        return b"module"

    assert await store.obtain(sha256, fetch) == b"module"
    assert (tmp_path / f"{sha256.hex()}.wasm").read_bytes() == b"module"


async def test_half_written_files_are_removed_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "x.wasm.12.partial").write_bytes(b"..")
    await opened(tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_the_least_recently_used_files_are_evicted(tmp_path: Path) -> None:
    store = await opened(tmp_path, max_stored_bytes=25)
    first, second = await store.put(b"a" * 10), await store.put(b"b" * 10)
    await store.get(first)
    third = await store.put(b"c" * 10)
    assert await store.get(second) is None
    assert await store.get(first) is not None
    assert await store.get(third) is not None
    assert store.statistics() == (20, 0)
    assert len(list(tmp_path.iterdir())) == 2


async def test_without_a_disk_modules_live_in_memory_within_a_bound(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = await opened(tmp_path / "file" / "modules", max_memory_bytes=25)
    first, second = await store.put(b"a" * 10), await store.put(b"b" * 10)
    await store.get(first)
    third = await store.put(b"c" * 10)
    assert [await store.get(one) is not None for one in (first, second, third)] == [True, False, True]
    assert store.statistics() == (0, 20)


async def test_a_full_disk_leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await opened(tmp_path)

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    sha256 = await store.put(b"module")
    assert await store.get(sha256) == b"module"
    assert list(tmp_path.iterdir()) == []


async def test_one_transfer_serves_all_who_wait(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    gate = trio.Event()
    fetched = 0
    got: list[bytes] = []

    async def fetch() -> bytes:
        nonlocal fetched
        fetched += 1
        await gate.wait()
        return b"module"

    async def want() -> None:
        got.append(await store.obtain(sha(b"module"), fetch))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(want)
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
    assert got == [b"module"] * 5
    assert fetched == 1


async def test_when_the_fetching_waiter_is_cancelled_another_takes_over(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    got: list[bytes] = []

    async def stuck() -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    async def fetch() -> bytes:
        return b"module"

    async def want() -> None:
        got.append(await store.obtain(sha(b"module"), fetch))

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as first:
                first.start_soon(store.obtain, sha(b"module"), stuck)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(want)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
    assert got == [b"module"]


async def test_other_bytes_than_asked_for_are_refused_and_not_kept(tmp_path: Path) -> None:
    store = await opened(tmp_path)

    async def fetch() -> bytes:
        return b"evil"

    with pytest.raises(InvalidError, match="other bytes"):
        await store.obtain(sha(b"module"), fetch)
    assert store.statistics() == (0, 0)


async def test_a_failed_transfer_fails_every_waiter_and_may_be_tried_again(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    gate = trio.Event()
    failures = 0

    async def fail() -> bytes:
        await gate.wait()
        raise BrokenError("the peer went away")

    async def want() -> None:
        nonlocal failures
        with pytest.raises(BrokenError):
            await store.obtain(sha(b"module"), fail)
        failures += 1

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(want)
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
    assert failures == 3

    async def fetch() -> bytes:
        return b"module"

    assert await store.obtain(sha(b"module"), fetch) == b"module"


async def test_a_hash_of_the_wrong_length_is_invalid(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    with pytest.raises(InvalidError, match="32 bytes"):
        await store.obtain(b"short", never)
