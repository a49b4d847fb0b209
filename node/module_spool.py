"""A module on its way: the bytes of it that have come so far.

Owns the unfinished file of one transfer in the store's folder, or the memory that stands in for it when the
disk does not take it. It hashes what it is given and judges nothing. One user at a time, in any thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from pathlib import Path

from luna.node.status import LimitError
from luna.proto.errors import BrokenError, InvalidError

PARTIAL = ".partial"
"""how the name of an unfinished file ends; the store removes those of an earlier run when it opens."""


class DisagreementError(InvalidError):
    """Two that sent parts of one module told different sizes of it."""


class SpoolMemory:
    """Bytes of memory that all spools of a store may use together, where the disk takes none."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()  # spools are written in several threads
        self.used_bytes = 0

    def take(self, count: int) -> None:
        """Raises LimitError if that is more than is left."""
        with self._lock:
            if self.used_bytes + count <= self._limit_bytes:
                self.used_bytes += count
                return
        raise LimitError(
            "the disk of the module store takes no more, and transfers may keep "
            f"{self._limit_bytes} bytes in memory",
            hint="free some space for the node's state directory",
        )

    def give_back(self, count: int) -> None:
        """What was taken is free again."""
        with self._lock:
            self.used_bytes -= count


class Spool:
    """The first `size` bytes of a module, of `total` if anybody has said that yet."""

    def __init__(self, path: Path, memory: SpoolMemory) -> None:
        """Keep the bytes in a new file at `path`; if there can be none, in memory from the start."""
        self.size = 0
        self.total: int | None = None
        self.problem: OSError | None = None  # why the disk did not take it
        self._path = path
        self._memory = memory
        self._kept = bytearray()
        self._hash = hashlib.sha256()
        self._file: int | None = None
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self.problem = error

    @property
    def complete(self) -> bool:
        """Whether all bytes have come; whether they are the right ones is not known here."""
        return self.size == self.total

    def digest(self) -> bytes:
        """The SHA-256 of the bytes so far."""
        return self._hash.digest()

    def expect(self, total: int) -> None:
        """The whole module has `total` bytes. Raises DisagreementError if something else was said before."""
        if self.total is None:
            self.total = total
        elif self.total != total:
            raise DisagreementError(f"a module of {self.total} bytes is said to have {total} bytes")

    def write(self, data: bytes) -> None:
        """Add the next bytes (blocks on the disk).

        Raises LimitError if neither disk nor memory takes them, BrokenError if the disk does not give back
        what it took; either way the spool has begun anew, in memory.
        """
        if self._file is not None:
            try:
                _write_all(self._file, data, self.size)
            except OSError as error:
                self._move_to_memory(error)
        if self._file is None:
            try:
                self._memory.take(len(data))
            except LimitError:
                self.restart()
                raise
            self._kept += data
        self._hash.update(data)
        self.size += len(data)

    def restart(self) -> None:
        """Forget every byte, and how many there would be."""
        self.size, self.total = 0, None
        self._hash = hashlib.sha256()
        self._memory.give_back(len(self._kept))
        self._kept = bytearray()  # a file is written over, and cut when it is done

    def finish(self, path: Path | None) -> tuple[bytes, bool]:
        """All bytes, and whether a file at `path` holds them now (blocks on the disk). The spool is closed.

        Nothing waits for the disk to have them for good: a file that a power cut tears fails its hash when
        it is read, and is fetched again.
        """
        try:
            if self._file is None:
                return bytes(self._kept), False
            data = _read_all(self._file, self.size)
            stored = False
            if path is not None and len(data) == self.size:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, self.size)
                    self._path.replace(path)
                    stored = True
            return data, stored
        finally:
            self.close()

    def close(self) -> None:
        """Give back file and memory, whatever they hold. More than once is the same as once."""
        self._memory.give_back(len(self._kept))
        self._kept = bytearray()
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                os.close(file)

    def _move_to_memory(self, error: OSError) -> None:
        assert self._file is not None
        self.problem = error
        size, total, digest = self.size, self.total, self._hash
        try:
            data = _read_all(self._file, size)
        except OSError:
            data = b""
        self.close()
        self.restart()
        if len(data) != size:
            raise BrokenError(
                f"the disk failed in the middle of a module transfer: {error.strerror or error}"
            )
        self._memory.take(size)
        self._kept += data
        self.size, self.total, self._hash = size, total, digest


def _write_all(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(file, view, offset)
        view, offset = view[count:], offset + count


def _read_all(file: int, size: int) -> bytes:
    """At most `size` bytes from the start; fewer if the file is shorter."""
    parts: list[bytes] = []
    offset = 0
    while offset < size:
        part = os.pread(file, size - offset, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
    return b"".join(parts)
