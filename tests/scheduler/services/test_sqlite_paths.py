"""Which file a guest's path means, and that no renaming or linking makes it another one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from luna.scheduler.services.sqlite_database import _set_up_library
from luna.scheduler.services.sqlite_paths import MAX_LINKS, DeniedError, check_nameless, pin


@pytest.fixture(autouse=True)
def _current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def names(directory: Path | str) -> set[str]:
    """What is in a directory; of /proc/self/fd the descriptors of this OS process."""
    return {path.name for path in Path(directory).iterdir()}


@contextmanager
def pinned(path: str, preopens: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The path for SQLite, of descriptors that are closed again."""
    found = pin(path, preopens)
    try:
        yield found.path
    finally:
        os.close(found.directory)


def place(path: str, preopens: Iterable[tuple[str, str]]) -> Path:
    with pinned(path, preopens) as name:
        return Path(os.path.realpath(Path(name).parent)) / Path(name).name


def test_a_relative_path_is_in_the_directory_called_dot(tmp_path: Path) -> None:
    here = [(".", str(tmp_path / "data"))]
    assert place("a.db", here) == tmp_path / "data/a.db"
    assert place("./sub//a.db", here) == tmp_path / "data/sub/a.db"
    assert place("sub/../a.db", here) == tmp_path / "data/a.db"
    # As in Lunatic, `.` is the host's current directory, so its absolute path is the same.
    assert place(str(tmp_path / "here/a.db"), here) == tmp_path / "data/a.db"


def test_an_absolute_path_is_in_a_directory_of_that_name(tmp_path: Path) -> None:
    preopens = [("/db", str(tmp_path / "data")), (str(tmp_path / "here"), str(tmp_path / "here"))]
    assert place("/db/a", preopens) == tmp_path / "data/a"
    assert place("//db/./sub/a", preopens) == tmp_path / "data/sub/a"
    assert place("a", preopens) == tmp_path / "here/a"


def test_the_longest_name_counts(tmp_path: Path) -> None:
    preopens = [("/db", str(tmp_path / "data")), ("/db/sub", str(tmp_path / "here")), ("/", str(tmp_path))]
    assert place("/db/sub/a", preopens) == tmp_path / "here/a"
    assert place("/db/subs", preopens) == tmp_path / "data/subs"
    assert place("/secret/a", preopens) == tmp_path / "secret/a"


@pytest.mark.parametrize(
    "path",
    [
        "../secret/a",
        "/etc/passwd",
        "sub/../../a",
        "..",
        "/",
        "../data2/a",
        "file:a.db",
        "file:/etc/x?mode=ro",
        "a\0b",
    ],
)
def test_other_paths_are_denied(tmp_path: Path, path: str) -> None:
    with pytest.raises(DeniedError):
        pin(path, [(".", str(tmp_path / "data"))])


def test_without_directories_nothing_is_allowed() -> None:
    for path in ("a", "", ":memory:"):
        with pytest.raises(DeniedError, match="no directory"):
            check_nameless(path, [])
    for path in ("", ":memory:"):
        check_nameless(path, [(".", "/nowhere")])
        with pytest.raises(DeniedError):
            check_nameless(path, [("/db", "/tmp")])


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "data/pipe")
    for path in ("sub", ".", "sub/..", "pipe", "sub/"):
        with pytest.raises(DeniedError, match="not a file"):
            pin(path, [(".", str(tmp_path / "data"))])


def test_a_directory_that_is_missing_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pin("nowhere/a", [(".", str(tmp_path / "data"))])
    with pytest.raises(FileNotFoundError):
        pin("a", [(".", str(tmp_path / "nowhere"))])
    (tmp_path / "data/file").touch()
    with pytest.raises(NotADirectoryError):
        pin("file/a", [(".", str(tmp_path / "data"))])


def test_links_within_the_directory_are_followed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "link").symlink_to("sub")
    (data / "sub/file").symlink_to("../real.db")
    (data / "sub/deep").symlink_to("./../link/../sub")
    preopens = [(".", str(data))]
    assert place("link/a", preopens) == data / "sub/a"
    assert place("link/file", preopens) == data / "real.db"
    assert place("sub/deep/file", preopens) == data / "real.db"


@pytest.mark.parametrize("target", ["../secret", "sub/../../secret", "..", "/etc", "{tmp}/data/sub"])
def test_links_that_leave_are_denied(tmp_path: Path, target: str) -> None:
    (tmp_path / "data/link").symlink_to(target.format(tmp=tmp_path))
    for path in ("link/a", "link"):
        with pytest.raises(DeniedError, match="symbolic link"):
            pin(path, [(".", str(tmp_path / "data"))])


def test_links_in_circles_are_denied(tmp_path: Path) -> None:
    (tmp_path / "data/a").symlink_to("b")
    (tmp_path / "data/b").symlink_to("a")
    with pytest.raises(DeniedError, match="circles"):
        pin("a", [(".", str(tmp_path / "data"))])
    for number in range(MAX_LINKS + 1):
        (tmp_path / f"data/l{number}").symlink_to(f"l{number + 1}")
    with pytest.raises(DeniedError):
        pin("l0", [(".", str(tmp_path / "data"))])
    assert place("l1", [(".", str(tmp_path / "data"))]).name == f"l{MAX_LINKS + 1}"


def test_the_host_may_reach_its_directory_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to("data")
    assert place("a", [(".", str(tmp_path / "way"))]) == tmp_path / "data/a"


def test_no_descriptor_is_left_by_what_fails(tmp_path: Path) -> None:
    (tmp_path / "data/link").symlink_to("sub/../../secret")
    before = names("/proc/self/fd")
    for path in ("link/a", "sub/nowhere/a", "sub", "../a"):
        with pytest.raises((DeniedError, OSError)):
            pin(path, [(".", str(tmp_path / "data"))])
    assert names("/proc/self/fd") == before


def test_sqlite_stays_in_the_directory_that_was_pinned(tmp_path: Path) -> None:
    """A guest that swaps a directory for a link after the check gains nothing: files and journals stay."""
    _set_up_library()
    (tmp_path / "secret/a.db").write_text("not a database")
    with pinned("sub/a.db", [(".", str(tmp_path / "data"))]) as path:
        (tmp_path / "data/sub").rename(tmp_path / "data/moved")
        (tmp_path / "data/sub").symlink_to(tmp_path / "secret")
        connection = apsw.Connection(path)
        try:
            connection.execute(
                "PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES (1)"
            ).fetchall()
            assert names(tmp_path / "data/moved") == {"a.db", "a.db-wal", "a.db-shm"}
            connection.execute("PRAGMA journal_mode=DELETE; BEGIN; INSERT INTO t VALUES (2)").fetchall()
            assert names(tmp_path / "data/moved") == {"a.db", "a.db-journal"}
        finally:
            connection.close()
    assert names(tmp_path / "secret") == {"a.db"}
    assert (tmp_path / "secret/a.db").read_text() == "not a database"


@pytest.mark.parametrize("name", ["a.db", "a.db-journal"])
def test_sqlite_follows_no_link_in_place_of_its_files(tmp_path: Path, name: str) -> None:
    _set_up_library()
    target = tmp_path / "secret/target"
    with pinned("a.db", [(".", str(tmp_path / "data"))]) as path:
        (tmp_path / "data" / name).symlink_to(target)
        with pytest.raises(apsw.CantOpenError):
            apsw.Connection(path).execute("CREATE TABLE t(a)")
    assert not target.exists()
