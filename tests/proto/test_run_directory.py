"""The run directory: where records live, who may write them, and that only live nodes are listed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from luna.proto.run_directory import (
    MAX_RECORD_BYTES,
    NodeRecord,
    prepare,
    read_records,
    record_path,
    remove_record,
    run_directory,
    write_record,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "luna"
    prepare(path)
    return path


def node(name: str, started_ms: int = 1, pid: int | None = None) -> NodeRecord:
    return NodeRecord(
        name=name,
        id=7,
        socket=f"/state/{name}/control.sock",
        listen="127.0.0.1:4000",
        pid=os.getpid() if pid is None else pid,
        started_ms=started_ms,
    )


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"XDG_RUNTIME_DIR": "/run/user/5"}, "/run/user/5/luna"),
        ({}, "/tmp/luna-5/luna"),
        ({"XDG_RUNTIME_DIR": ""}, "/tmp/luna-5/luna"),
        ({"XDG_RUNTIME_DIR": "relative"}, "/tmp/luna-5/luna"),
    ],
)
def test_directory_is_below_the_runtime_directory_of_the_user(
    environment: dict[str, str], expected: str
) -> None:
    assert run_directory(environment, 5) == Path(expected)


def test_directory_is_made_private(directory: Path) -> None:
    assert directory.stat().st_mode & 0o777 == 0o700
    assert directory.parent.stat().st_mode & 0o777 == 0o700


def test_preparing_twice_keeps_the_records(directory: Path) -> None:
    write_record(directory, node("a"))
    prepare(directory)
    assert [record.name for record in read_records(directory)] == ["a"]


@pytest.mark.parametrize("action", [prepare, read_records])
def test_directory_others_may_write_is_refused(directory: Path, action: Callable[[Path], object]) -> None:
    directory.chmod(0o777)
    with pytest.raises(PermissionError, match="chmod 700"):
        action(directory)


@pytest.mark.parametrize("action", [prepare, read_records])
def test_link_in_place_of_the_directory_is_refused(tmp_path: Path, action: Callable[[Path], object]) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    link = tmp_path / "luna"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="not a directory"):
        action(link)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_directory_of_somebody_else_is_refused(directory: Path) -> None:
    os.chown(directory, 12345, 12345)
    with pytest.raises(PermissionError, match="belongs to user 12345"):
        read_records(directory)


def test_missing_directory_has_no_nodes(tmp_path: Path) -> None:
    assert read_records(tmp_path / "none") == []


def test_record_survives_the_round_trip_and_is_private(directory: Path) -> None:
    path = write_record(directory, node("a"))
    assert path == directory / "a.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text()) == asdict(node("a"))
    assert read_records(directory) == [node("a")]
    assert sorted(entry.name for entry in directory.iterdir()) == ["a.json"]


def test_records_are_listed_in_order_of_start(directory: Path) -> None:
    for record in (node("a", 30), node("b", 10), node("c", 20)):
        write_record(directory, record)
    assert [record.name for record in read_records(directory)] == ["b", "c", "a"]


def test_record_of_a_dead_process_is_ignored_and_removed(directory: Path) -> None:
    stale = write_record(directory, node("dead", pid=dead_pid()))
    write_record(directory, node("alive"))
    assert [record.name for record in read_records(directory)] == ["alive"]
    assert not stale.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"name": "x"}',
        json.dumps({**asdict(node("x")), "id": "7"}).encode(),
        json.dumps({**asdict(node("x")), "pid": True}).encode(),
        json.dumps(asdict(node("other"))).encode(),
        json.dumps({**asdict(node("x")), "more": "y" * MAX_RECORD_BYTES}).encode(),
    ],
)
def test_file_that_is_no_record_is_left_alone(directory: Path, content: bytes) -> None:
    path = directory / "x.json"
    path.write_bytes(content)
    assert read_records(directory) == []
    assert path.exists()


@pytest.mark.parametrize("pid", [0, -1, 2**70])
def test_impossible_process_id_is_a_dead_process(directory: Path, pid: int) -> None:
    write_record(directory, node("a", pid=pid))
    assert read_records(directory) == []


def test_unknown_fields_of_a_newer_node_are_ignored(directory: Path) -> None:
    (directory / "a.json").write_text(json.dumps({**asdict(node("a")), "zone": "z"}))
    assert read_records(directory) == [node("a")]


def test_removing_takes_only_the_own_record(directory: Path) -> None:
    successor = replace(node("a"), id=8)
    write_record(directory, successor)
    remove_record(directory, node("a"))
    assert read_records(directory) == [successor]
    remove_record(directory, successor)
    assert read_records(directory) == []
    remove_record(directory, successor)


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "nul\0"])
def test_name_that_is_no_file_name_is_refused(directory: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be named"):
        record_path(directory, name)


def test_failed_write_leaves_nothing_behind(directory: Path) -> None:
    (directory / "a.json").mkdir()
    with pytest.raises(IsADirectoryError):
        write_record(directory, node("a"))
    assert sorted(entry.name for entry in directory.iterdir()) == ["a.json"]
