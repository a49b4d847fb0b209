"""The module store: hashed, bounded, and alive when the disk is not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import trio
import trio.testing

from luna.node.module_spool import Spool
from luna.node.modules import ModuleStore
from luna.proto.errors import BrokenError, InvalidError


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


async def opened(directory: Path, **limits: int) -> ModuleStore:
    store = ModuleStore(directory, **limits)
    await store.open()
    return store


async def never(spool: Spool) -> None:
    raise AssertionError("fetched although it was there")


async def fetch(spool: Spool) -> None:
    """Brings the module that the tests are about, or the rest of it."""
    await trio.lowlevel.checkpoint()
    spool.write(b"module"[spool.size :])


def files(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


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
    statistics = store.statistics()
    assert (statistics.stored_bytes, statistics.memory_bytes, statistics.evicted) == (20, 0, 1)
    assert len(list(tmp_path.iterdir())) == 2


async def test_without_a_disk_modules_live_in_memory_within_a_bound(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = await opened(tmp_path / "file" / "modules", max_memory_bytes=25)
    first, second = await store.put(b"a" * 10), await store.put(b"b" * 10)
    await store.get(first)
    third = await store.put(b"c" * 10)
    assert [await store.get(one) is not None for one in (first, second, third)] == [True, False, True]
    statistics = store.statistics()
    assert (statistics.stored_bytes, statistics.memory_bytes) == (0, 20)


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

    async def slow(spool: Spool) -> None:
        nonlocal fetched
        fetched += 1
        await gate.wait()
        spool.write(b"module")

    async def want() -> None:
        got.append(await store.obtain(sha(b"module"), slow))

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(want)
        await trio.testing.wait_all_tasks_blocked(0.01)
        gate.set()
    assert got == [b"module"] * 100
    assert fetched == 1
    assert files(tmp_path) == [f"{sha(b'module').hex()}.wasm"]


async def test_when_the_fetching_waiter_is_cancelled_another_goes_on_where_it_stopped(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    got: list[bytes] = []
    started, stopped_at = trio.Event(), []

    async def stuck(spool: Spool) -> None:
        spool.write(b"mod")
        started.set()
        await trio.sleep_forever()

    async def go_on(spool: Spool) -> None:
        stopped_at.append(spool.size)
        await fetch(spool)

    async def want() -> None:
        got.append(await store.obtain(sha(b"module"), go_on))

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as first:
                first.start_soon(store.obtain, sha(b"module"), stuck)
                await started.wait()
                nursery.start_soon(want)
                await trio.testing.wait_all_tasks_blocked(0.01)
                scope.cancel()
    assert got == [b"module"]
    assert stopped_at == [3]


async def test_when_all_waiters_are_cancelled_nothing_stays(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    started = trio.Event()

    async def stuck(spool: Spool) -> None:
        spool.write(b"mod")
        started.set()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(store.obtain, sha(b"module"), stuck)
        await started.wait()
        assert len(files(tmp_path)) == 1
        nursery.cancel_scope.cancel()
    assert files(tmp_path) == []
    assert await store.obtain(sha(b"module"), fetch) == b"module"


async def test_a_failed_transfer_fails_every_waiter_and_may_be_tried_again(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    gate = trio.Event()
    failures = 0

    async def fail(spool: Spool) -> None:
        spool.write(b"mod")
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
        await trio.testing.wait_all_tasks_blocked(0.01)
        gate.set()
    assert failures == 3
    assert files(tmp_path) == []
    assert await store.obtain(sha(b"module"), fetch) == b"module"


async def test_what_is_being_read_is_not_evicted(tmp_path: Path) -> None:
    store = await opened(tmp_path, max_stored_bytes=25)
    first, second = await store.put(b"a" * 10), await store.put(b"b" * 10)
    reader = await store.reader(first)
    assert reader is not None
    await store.get(second)
    third = await store.put(b"c" * 10)  # the least recently used one is in use
    assert set(store.hashes()) == {first, third}
    assert reader.read(2, 5) == b"a" * 5
    reader.close()
    reader.close()
    await store.put(b"d" * 10)
    assert first not in store.hashes()


async def test_a_file_damaged_between_two_runs_is_not_served(tmp_path: Path) -> None:
    sha256 = await (await opened(tmp_path)).put(b"module")
    (tmp_path / f"{sha256.hex()}.wasm").write_bytes(b"modulo")
    store = await opened(tmp_path)
    assert await store.reader(sha256) is None
    assert not store.holds(sha256)
    assert store.statistics().damaged == 1
    assert files(tmp_path) == []


async def test_a_module_larger_than_the_cache_stays_in_memory(tmp_path: Path) -> None:
    store = await opened(tmp_path, max_stored_bytes=5)
    sha256 = await store.put(b"module")
    assert await store.obtain(sha(b"other module"), lambda spool: write(spool, b"other module"))
    assert await store.get(sha256) == b"module"
    assert files(tmp_path) == []
    reader = await store.reader(sha256)
    assert reader is not None
    assert reader.read(2, 2) == b"du"


async def write(spool: Spool, data: bytes) -> None:
    await trio.lowlevel.checkpoint()
    spool.write(data)


async def test_without_a_disk_what_was_fetched_lives_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = await opened(tmp_path / "file" / "modules")
    assert await store.obtain(sha(b"module"), fetch) == b"module"
    assert await store.obtain(sha(b"module"), never) == b"module"
    assert store.statistics().memory_bytes == 6


async def test_a_store_that_could_not_be_opened_works_when_its_disk_does(tmp_path: Path) -> None:
    (tmp_path / "place").write_text("")
    store = await opened(tmp_path / "place")
    first = await store.put(b"first")
    assert store.statistics().memory_bytes == 5
    (tmp_path / "place").unlink()
    (tmp_path / "place").mkdir()
    second = await store.put(b"module")
    assert sorted(store.hashes()) == sorted([first, second])
    assert store.statistics().memory_bytes == 0
    again = await opened(tmp_path / "place")
    assert await again.get(first) == b"first", "what was in memory is there as well"
    assert await again.get(second) == b"module"


async def test_what_is_not_the_store_s_is_left_alone_when_it_opens(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ("z" * 64 + ".wasm")).write_text("no hash")
    (tmp_path / "folder.partial").mkdir()
    (tmp_path / ("0" * 64 + ".wasm")).symlink_to(tmp_path / "notes.txt")
    sha256 = await (await opened(tmp_path)).put(b"module")
    store = await opened(tmp_path)
    assert store.hashes() == [sha256]
    assert len(files(tmp_path)) == 5


async def test_a_hash_of_the_wrong_length_is_invalid(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    with pytest.raises(InvalidError, match="32 bytes"):
        await store.obtain(b"short", never)


async def test_other_bytes_than_asked_for_are_refused_and_not_kept(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    with pytest.raises(InvalidError, match="other bytes"):
        await store.obtain(sha(b"module"), lambda spool: write(spool, b"evil"))
    assert store.hashes() == []
    assert files(tmp_path) == []
