"""Unfinished modules: on disk, in memory when there is no disk, bounded either way."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from luna.node import module_spool
from luna.node.module_spool import DisagreementError, Spool, SpoolMemory
from luna.node.status import LimitError
from luna.proto.errors import BrokenError


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def spool(folder: Path, limit: int = 100) -> tuple[Spool, SpoolMemory]:
    memory = SpoolMemory(limit)
    return Spool(folder / "x.partial", memory), memory


def test_a_finished_file_gets_its_name_and_nothing_else_stays(tmp_path: Path) -> None:
    one, memory = spool(tmp_path)
    one.expect(6)
    one.write(b"mod")
    assert not one.complete
    one.write(b"ule")
    assert one.digest() == hashlib.sha256(b"module").digest()
    assert one.finish(tmp_path / "m.wasm") == (b"module", True)
    assert [path.name for path in tmp_path.iterdir()] == ["m.wasm"]
    assert memory.used_bytes == 0


def test_what_came_before_a_new_beginning_is_gone(tmp_path: Path) -> None:
    one, _ = spool(tmp_path)
    one.expect(100)
    one.write(b"a lot of wrong bytes")
    one.restart()
    one.expect(6)
    one.write(b"module")
    assert one.finish(tmp_path / "m.wasm") == (b"module", True)
    assert (tmp_path / "m.wasm").read_bytes() == b"module"


def test_two_who_tell_different_sizes_are_told_apart(tmp_path: Path) -> None:
    one, _ = spool(tmp_path)
    one.expect(6)
    one.expect(6)
    with pytest.raises(DisagreementError):
        one.expect(7)
    one.close()
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_the_bytes_are_in_memory(tmp_path: Path) -> None:
    one, memory = spool(tmp_path / "missing")
    one.write(b"module")
    assert memory.used_bytes == 6
    assert one.finish(tmp_path / "m.wasm") == (b"module", False)
    assert memory.used_bytes == 0


def test_memory_for_all_of_them_is_bounded(tmp_path: Path) -> None:
    memory = SpoolMemory(10)
    one, other = Spool(tmp_path / "missing" / "1", memory), Spool(tmp_path / "missing" / "2", memory)
    one.write(b"module")
    other.write(b"mod")
    with pytest.raises(LimitError, match="10 bytes"):
        other.write(b"ule")
    assert (other.size, memory.used_bytes) == (0, 6)
    one.close()
    one.close()
    assert memory.used_bytes == 0


def test_a_disk_that_fills_up_moves_what_came_to_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, memory = spool(tmp_path)
    one.expect(6)
    one.write(b"mod")
    monkeypatch.setattr(module_spool, "_write_all", full)
    one.write(b"ule")
    assert (one.size, one.total, memory.used_bytes) == (6, 6, 6)
    assert one.problem is not None
    assert list(tmp_path.iterdir()) == []
    assert one.digest() == hashlib.sha256(b"module").digest()
    assert one.finish(tmp_path / "m.wasm") == (b"module", False)


def test_a_disk_that_does_not_give_back_what_it_took_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = spool(tmp_path)
    one.write(b"mod")
    (tmp_path / "x.partial").write_bytes(b"")
    monkeypatch.setattr(module_spool, "_write_all", full)
    with pytest.raises(BrokenError, match="the disk failed"):
        one.write(b"ule")
    assert one.size == 0
    one.write(b"module")
    assert one.finish(None) == (b"module", False)


def test_what_does_not_fit_into_memory_when_the_disk_is_full_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, memory = spool(tmp_path, limit=2)
    one.write(b"mod")
    monkeypatch.setattr(module_spool, "_write_all", full)
    with pytest.raises(LimitError):
        one.write(b"ule")
    assert (one.size, memory.used_bytes) == (0, 0)


def test_an_unfinished_file_is_removed_when_it_is_given_up(tmp_path: Path) -> None:
    before = descriptors()
    one, _ = spool(tmp_path)
    one.write(b"mod")
    one.close()
    one.close()
    assert list(tmp_path.iterdir()) == []
    assert descriptors() == before


def full(file: int, data: bytes, offset: int) -> None:
    raise OSError(28, "No space left on device")
