"""The folder of compiled code: what is found again, what goes when it is full, what others may do to it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
import wasmtime

from luna.scheduler.code_cache import ABANDONED_S, HALF_WRITTEN, CodeCache
from luna.scheduler.engine import Engine, EngineMode

ENGINE = Engine(EngineMode(copy_on_write=False, fuel=False), wasmtime.Engine(), cast(Any, None))
COMPILED = wasmtime.Module(ENGINE.engine, "(module)")
SIZE = len(COMPILED.serialize())


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def holds(cache: CodeCache, *numbers: int) -> bool:
    """Whether exactly these of the first ten are there. Looking counts as a use of each."""
    found = [number for number in range(10) if cache.load(ENGINE, key(number)) is not None]
    return found == list(numbers)


def age(folder: Path, number: int, seconds: float) -> None:
    """Make the file of a module this old."""
    [path] = folder.glob(f"{key(number).hex()}-*")
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_what_was_stored_is_found_by_another_node_of_the_folder(tmp_path: Path) -> None:
    CodeCache(tmp_path).store(ENGINE, key(1), COMPILED)
    assert holds(CodeCache(tmp_path), 1)


def test_code_of_another_mode_is_not_found(tmp_path: Path) -> None:
    CodeCache(tmp_path).store(ENGINE, key(1), COMPILED)
    fuel = Engine(EngineMode(copy_on_write=False, fuel=True), ENGINE.engine, cast(Any, None))
    assert CodeCache(tmp_path).load(fuel, key(1)) is None


def test_the_least_recently_used_go_when_there_is_too_much(tmp_path: Path) -> None:
    cache = CodeCache(tmp_path, max_bytes=3 * SIZE)
    for number in range(3):
        cache.store(ENGINE, key(number), COMPILED)
        age(tmp_path, number, 100 - number)
    assert cache.load(ENGINE, key(0)) is not None  # the oldest file, but now it was used
    cache.store(ENGINE, key(3), COMPILED)
    assert holds(cache, 0, 2, 3)


def test_what_another_node_stored_counts_as_well(tmp_path: Path) -> None:
    one, other = CodeCache(tmp_path, max_bytes=2 * SIZE), CodeCache(tmp_path, max_bytes=2 * SIZE)
    one.store(ENGINE, key(1), COMPILED)
    age(tmp_path, 1, 100)
    other.store(ENGINE, key(2), COMPILED)
    age(tmp_path, 2, 50)
    one.store(ENGINE, key(3), COMPILED)
    assert holds(one, 2, 3)
    assert holds(other, 2, 3)


def test_code_larger_than_the_whole_cache_leaves_the_others_alone(tmp_path: Path) -> None:
    CodeCache(tmp_path).store(ENGINE, key(1), COMPILED)
    with structlog.testing.capture_logs() as logs:
        CodeCache(tmp_path, max_bytes=SIZE - 1).store(ENGINE, key(2), COMPILED)
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("warning", "compiled code not cached")
    ]
    assert holds(CodeCache(tmp_path), 1)


def test_a_file_that_another_node_removed_first_is_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = CodeCache(tmp_path, max_bytes=SIZE)
    cache.store(ENGINE, key(1), COMPILED)
    age(tmp_path, 1, 100)
    unlink = Path.unlink

    def quicker(path: Path) -> None:
        unlink(path)
        unlink(path)

    monkeypatch.setattr(Path, "unlink", quicker)
    with structlog.testing.capture_logs() as logs:
        cache.store(ENGINE, key(2), COMPILED)
    assert logs == []
    assert holds(cache, 2)


def test_old_code_that_cannot_be_removed_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = CodeCache(tmp_path, max_bytes=SIZE)
    cache.store(ENGINE, key(1), COMPILED)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with structlog.testing.capture_logs() as logs:
        cache.store(ENGINE, key(2), COMPILED)
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("warning", "old compiled code not removed")
    ]
    assert holds(cache, 1, 2)


def test_half_written_files_of_nodes_that_died_go_and_those_being_written_stay(tmp_path: Path) -> None:
    dead, busy = tmp_path / f"dead{HALF_WRITTEN}", tmp_path / f"busy{HALF_WRITTEN}"
    for path in (dead, busy):
        path.write_bytes(b"half")
    then = dead.stat().st_mtime - ABANDONED_S - 1
    os.utime(dead, (then, then))
    CodeCache(tmp_path).store(ENGINE, key(1), COMPILED)
    assert not dead.exists()
    assert busy.exists()


def test_files_of_others_are_neither_counted_nor_removed(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_bytes(bytes(10 * SIZE))
    cache = CodeCache(tmp_path, max_bytes=SIZE)
    cache.store(ENGINE, key(1), COMPILED)
    assert other.exists()
    assert holds(cache, 1)


def test_who_compiles_the_same_is_waited_for(tmp_path: Path) -> None:
    cache, seen = CodeCache(tmp_path), list[wasmtime.Module | None]()

    def come_second() -> None:
        with CodeCache(tmp_path).turn(key(1)):
            seen.append(cache.load(ENGINE, key(1)))

    second = threading.Thread(target=come_second)
    with cache.turn(key(1)):
        second.start()
        second.join(timeout=0.2)  # would have seen that there is nothing
        assert not seen
        cache.store(ENGINE, key(1), COMPILED)
    second.join()
    assert seen[0] is not None


def test_the_wait_for_one_that_never_ends_does(tmp_path: Path) -> None:
    with CodeCache(tmp_path).turn(key(1)), CodeCache(tmp_path).turn(key(1), max_wait_s=0.05):
        pass


def test_a_failed_attempt_leaves_the_turn_to_the_next(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), CodeCache(tmp_path).turn(key(1)):
        raise ZeroDivisionError
    started = time.monotonic()
    with CodeCache(tmp_path).turn(key(1), max_wait_s=1000):
        assert time.monotonic() - started < 500


def test_without_a_folder_nobody_waits(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with CodeCache(tmp_path / "file").turn(key(1)), CodeCache(tmp_path / "file").turn(key(1)):
        pass
