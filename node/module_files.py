"""The files of the module store: one for each module, named by its hash.

Owns their names and what is done to them on disk, in plain blocking functions for threads to run. Which
files there are, and which must go, the store decides.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import structlog

from luna.node.module_spool import PARTIAL
from luna.proto.errors import NotFoundError
from luna.proto.limits import MAX_MODULE_BYTES, MIB, SHA256_BYTES

_log = structlog.get_logger(__name__)

SUFFIX = ".wasm"

_READ_BYTES = MIB  # at a time, when a file is hashed that nobody wants in memory


class StoredFile(NamedTuple):
    """A file that an earlier run left; its content has not been looked at."""

    sha256: bytes
    size: int


class OpenFile:
    """A stored module being read in pieces. It stays readable when its file is removed."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._file: int | None = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self._file).st_size

    def read(self, offset: int, count: int) -> bytes:
        """At most `count` bytes (blocks on the disk). Raises OSError."""
        assert self._file is not None, "read after close"
        return os.pread(self._file, count, offset)

    def holds(self, sha256: bytes) -> bool:
        """Whether its bytes have this hash (blocks on the disk). Raises OSError."""
        found = hashlib.sha256()
        for offset in range(0, self.size, _READ_BYTES):
            found.update(self.read(offset, _READ_BYTES))
        return found.digest() == sha256

    def close(self) -> None:
        """More than once is the same as once."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def file_name(sha256: bytes) -> str:
    """The name of the file of a module."""
    return sha256.hex() + SUFFIX


def partial_path(directory: Path, sha256: bytes) -> Path:
    """A new path for an unfinished file of a module."""
    return directory / f"{file_name(sha256)}.{os.urandom(4).hex()}{PARTIAL}"


def take_stock(directory: Path) -> list[StoredFile]:
    """What an earlier run left, least recently used first, without what it left unfinished.

    Makes the directory if there is none. Raises OSError if it cannot be read.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.scandir(directory) as entries:
        found = [known for entry in entries for known in _look_at(entry)]
    return [stored for _, stored in sorted(found)]


def _look_at(entry: os.DirEntry[str]) -> Iterator[tuple[int, StoredFile]]:
    """(time of its last use, file) if it is one of ours. One bad entry must not cost the whole store."""
    stem, suffix = entry.name[: 2 * SHA256_BYTES], entry.name[2 * SHA256_BYTES :]
    try:
        if entry.name.endswith(PARTIAL):
            Path(entry.path).unlink()
        elif suffix == SUFFIX and entry.is_file(follow_symlinks=False):
            status = entry.stat(follow_symlinks=False)
            yield status.st_mtime_ns, StoredFile(bytes.fromhex(stem), status.st_size)
    except ValueError:
        return  # its name is no hash
    except OSError as error:
        _log.warning("a file of the module store cannot be used", path=entry.path, reason=error.strerror)


def read_verified(path: Path, sha256: bytes) -> bytes:
    """The bytes of a module. Raises OSError, NotFoundError if the file holds other ones."""
    with path.open("rb") as file:
        data = file.read(MAX_MODULE_BYTES + 1)
    if hashlib.sha256(data).digest() != sha256:
        raise _damaged(path)
    _touch(path)
    return data


def open_verified(path: Path, sha256: bytes) -> OpenFile:
    """The file of a module, its hash checked. Raises OSError, NotFoundError if the file holds other bytes."""
    file = open_unverified(path)
    try:
        if not file.holds(sha256):
            raise _damaged(path)
    except BaseException:
        file.close()
        raise
    return file


def open_unverified(path: Path) -> OpenFile:
    """The file of a module, whose hash this run has checked before. Raises OSError."""
    file = OpenFile(path)
    _touch(path)
    return file


def write_atomically(directory: Path, sha256: bytes, data: bytes) -> None:
    """Write a module's file, so that there is all of it or none. Raises OSError."""
    partial = partial_path(directory, sha256)
    try:
        # No fsync: a file that a power cut tears fails its hash when it is read, and is fetched again.
        partial.write_bytes(data)
        partial.replace(directory / file_name(sha256))
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def remove(path: Path) -> None:
    """Remove a file if it is there and lets itself be removed."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _touch(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(path)  # so that the next run knows what was used last


def _damaged(path: Path) -> NotFoundError:
    return NotFoundError(f"the file {path} holds other bytes than its name says")
