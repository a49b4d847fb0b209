"""The module store: WebAssembly modules by the SHA-256 of their bytes.

Owns `<state>/modules/` (one file per module, named by its hash), the memory copy used when the disk does
not take it, and who waits for which missing module. It never compiles (the scheduler does), asks no peer
(`module_fetch` does), and never trusts a byte it did not hash.

The disk is a cache: when it is full or broken, modules live in memory and one warning says so.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog
import trio

from luna.node.module_files import (
    OpenFile,
    file_name,
    open_unverified,
    open_verified,
    partial_path,
    read_verified,
    remove,
    take_stock,
    write_atomically,
)
from luna.node.module_spool import Spool, SpoolMemory
from luna.proto.errors import BrokenError, InvalidError, LunaError, NotFoundError
from luna.proto.limits import MAX_MODULE_BYTES, MIB, SHA256_BYTES

_log = structlog.get_logger(__name__)

MAX_STORED_BYTES = 1024 * MIB
"""bytes of all files together unless `--module-cache` says otherwise; the least recently used go first. Four
modules of the largest size. Unfinished files of transfers come on top."""

MAX_MEMORY_BYTES = 256 * MIB
"""bytes kept in memory when the disk does not take them, and as many again for modules on their way: at
least one module of the largest size."""

MAX_FETCHES = 8
"""modules fetched at the same time, further ones wait: each may have an unfinished file of the largest size,
and is whole in memory when it is done, 2 GiB in the worst case."""

Fetch = Callable[[Spool], Awaitable[None]]
"""Fills a spool, which may hold the beginning already, with the module asked for. It may be
cancelled at any time, and another `Fetch` go on with the spool."""


class ModuleReader(Protocol):
    """A module being read in pieces, in any thread."""

    @property
    def size(self) -> int:
        """Bytes of the whole module."""

    def read(self, offset: int, count: int) -> bytes:
        """At most `count` bytes (blocks on the disk). Raises OSError."""

    def close(self) -> None:
        """Give it back (trio). No read may be under way."""


class BytesReader:
    """A module that is in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, count: int) -> bytes:
        return self._data[offset : offset + count]

    def close(self) -> None:
        """Nothing to give back."""


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """What a store holds, and what became of it since the node started."""

    stored_bytes: int
    memory_bytes: int
    modules: int
    evicted: int
    damaged: int


class ModuleStore:
    """Modules of one node (trio). `open` prepares the directory; all other methods may run concurrently."""

    def __init__(
        self,
        directory: Path,
        *,
        max_stored_bytes: int = MAX_STORED_BYTES,
        max_memory_bytes: int = MAX_MEMORY_BYTES,
    ) -> None:
        """A module larger than `max_stored_bytes` is kept in memory; 0 has all of them there."""
        self._directory = directory
        self._max_stored_bytes = max_stored_bytes
        self._max_memory_bytes = max_memory_bytes
        self._sizes: OrderedDict[bytes, int] = OrderedDict()  # on disk, least recently used first
        self._verified: set[bytes] = set()  # of those: hashed in this run, or written by it
        self._used: Counter[bytes] = Counter()  # files that are being read, by how many
        self._stored_bytes = 0
        self._memory: OrderedDict[bytes, bytes] = OrderedDict()
        self._memory_bytes = 0
        self._spool_memory = SpoolMemory(max_memory_bytes)
        self._changing = trio.Lock()  # which files there are, and the record of that
        self._disk_works = True
        self._transfers: dict[bytes, _Transfer] = {}
        self._fetch_limit = trio.CapacityLimiter(MAX_FETCHES)
        self._evicted = 0
        self._damaged = 0

    async def open(self) -> None:
        """Create the directory and take stock of what an earlier run left; half-written files are removed."""
        try:
            found = await trio.to_thread.run_sync(take_stock, self._directory)
        except OSError as error:
            self._disk_failed(error)
            return
        for sha256, size in found:
            self._sizes[sha256] = size
            self._stored_bytes += size
        await self._evict_files()

    # --- what is there ----------------------------------------------------------------------

    async def get(self, sha256: bytes) -> bytes | None:
        """The bytes of a module, or None if the store lacks it. A damaged file counts as lacking."""
        await trio.lowlevel.checkpoint()
        data = self._memory.get(sha256)
        if data is not None:
            self._memory.move_to_end(sha256)
            return data
        if sha256 not in self._sizes:
            return None
        with self._using(sha256):
            try:
                data = await trio.to_thread.run_sync(read_verified, self._path(sha256), sha256)
            except (OSError, NotFoundError) as error:
                await self._drop_damaged(sha256, error)
                return None
        self._verified.add(sha256)
        return data

    async def reader(self, sha256: bytes) -> ModuleReader | None:
        """A module to be read in pieces, or None if the store lacks it; the caller closes it."""
        await trio.lowlevel.checkpoint()
        data = self._memory.get(sha256)
        if data is not None:
            self._memory.move_to_end(sha256)
            return BytesReader(data)
        if sha256 not in self._sizes:
            return None
        with self._using(sha256):
            try:
                if sha256 in self._verified:
                    file = await trio.to_thread.run_sync(open_unverified, self._path(sha256))
                else:
                    file = await trio.to_thread.run_sync(open_verified, self._path(sha256), sha256)
            except (OSError, NotFoundError) as error:
                await self._drop_damaged(sha256, error)
                return None
            self._verified.add(sha256)
            self._used[sha256] += 1
            return _FileReader(file, lambda: self._no_longer_used(sha256))

    def holds(self, sha256: bytes) -> bool:
        """Whether the store has a module; that its file is damaged shows only when it is read."""
        return sha256 in self._memory or sha256 in self._sizes

    def hashes(self) -> list[bytes]:
        """The hashes of all modules kept, on disk or in memory."""
        return [*self._sizes, *self._memory]

    def statistics(self) -> StoreStatistics:
        """A frozen record of what is held now, and counts."""
        return StoreStatistics(
            self._stored_bytes,
            self._memory_bytes,
            len(self._sizes) + len(self._memory),
            self._evicted,
            self._damaged,
        )

    # --- what comes in ----------------------------------------------------------------------

    async def put(self, data: bytes) -> bytes:
        """Keep a module and return its hash. Never fails for want of disk: the module then stays in memory,
        until the disk takes another one.

        Raises InvalidError if it is larger than MAX_MODULE_BYTES.
        """
        if len(data) > MAX_MODULE_BYTES:
            raise InvalidError(f"a module of {len(data)} bytes is too large (at most {MAX_MODULE_BYTES})")
        sha256 = await trio.to_thread.run_sync(_hash, data)
        if self._touch(sha256):
            return sha256
        async with self._changing:
            if self._touch(sha256):  # another task was faster
                return sha256
            if not await self._write(sha256, data):
                self._keep_in_memory(sha256, data)
                return sha256
            for waiting, its_data in list(self._memory.items()):
                await self._write(waiting, its_data)
        await self._evict_files()
        return sha256

    async def _write(self, sha256: bytes, data: bytes) -> bool:
        """Whether the disk took a module. The caller holds `_changing`."""
        if not self._fits(len(data)):
            return False
        try:
            await trio.to_thread.run_sync(write_atomically, self._directory, sha256, data)
        except OSError as error:
            self._disk_failed(error)
            return False
        self._record(sha256, len(data))
        return True

    async def obtain(self, sha256: bytes, fetch: Fetch) -> bytes:
        """The bytes of a module: from the store, or through `fetch`, once however many wait for it.

        Of those who wait, one fetches. If it is cancelled, the next one goes on where it stopped, with its
        own `fetch`; what has come is dropped when nobody waits any more. Raises InvalidError for a malformed
        hash, and whatever `fetch` raises (each waiter gets the same error).
        """
        if len(sha256) != SHA256_BYTES:
            raise InvalidError(f"a module hash has {SHA256_BYTES} bytes, not {len(sha256)}")
        transfer = self._transfers.get(sha256)
        if transfer is None:
            transfer = self._transfers[sha256] = _Transfer()
        transfer.waiting += 1
        try:
            async with transfer.turn:
                if transfer.error is not None:
                    raise transfer.error
                if transfer.data is None:
                    try:
                        transfer.data = await self._get_or_fetch(sha256, transfer, fetch)
                    except LunaError as error:
                        transfer.error = error
                        raise
                    finally:
                        if transfer.settled:  # who comes later asks anew
                            self._end(sha256, transfer)
                return transfer.data
        finally:
            transfer.waiting -= 1
            if not transfer.waiting:
                self._end(sha256, transfer)
                if transfer.spool is not None:
                    with trio.CancelScope(shield=True):
                        await trio.to_thread.run_sync(transfer.spool.close)

    async def _get_or_fetch(self, sha256: bytes, transfer: _Transfer, fetch: Fetch) -> bytes:
        data = await self.get(sha256)
        if data is not None:
            return data
        async with self._fetch_limit:
            if transfer.spool is None:
                path = partial_path(self._directory, sha256)
                transfer.spool = await trio.to_thread.run_sync(Spool, path, self._spool_memory)
            await fetch(transfer.spool)
            data = await self._adopt(sha256, transfer.spool)
            transfer.spool = None  # closed
            return data

    async def _adopt(self, sha256: bytes, spool: Spool) -> bytes:
        """Keep what a finished transfer brought."""
        if spool.digest() != sha256:  # whoever fetched has looked, but nothing is kept on its word
            raise InvalidError(f"other bytes came than those of module {sha256.hex()}")
        async with self._changing:
            path = self._path(sha256) if self._fits(spool.size) else None
            data, stored = await trio.to_thread.run_sync(spool.finish, path)
            if stored and sha256 not in self._sizes:  # `put` may have been faster
                self._record(sha256, len(data))
        if spool.problem is not None:
            self._disk_failed(spool.problem)
        if len(data) != spool.size:
            raise BrokenError(f"the disk lost bytes of module {sha256.hex()}")
        if not stored:
            self._keep_in_memory(sha256, data)
        await self._evict_files()
        return data

    def _end(self, sha256: bytes, transfer: _Transfer) -> None:
        if self._transfers.get(sha256) is transfer:
            del self._transfers[sha256]

    # --- disk and memory --------------------------------------------------------------------

    def _path(self, sha256: bytes) -> Path:
        return self._directory / file_name(sha256)

    def _fits(self, size: int) -> bool:
        return size <= self._max_stored_bytes

    def _touch(self, sha256: bytes) -> bool:
        for kept in (self._sizes, self._memory):
            if sha256 in kept:
                kept.move_to_end(sha256)
                return True
        return False

    def _record(self, sha256: bytes, size: int) -> None:
        """The disk has taken a module."""
        self._sizes[sha256] = size
        self._stored_bytes += size
        self._verified.add(sha256)
        self._memory_bytes -= len(self._memory.pop(sha256, b""))
        if not self._disk_works:
            self._disk_works = True
            _log.info("the module store works again", directory=str(self._directory))

    def _keep_in_memory(self, sha256: bytes, data: bytes) -> None:
        if sha256 in self._memory or len(data) > self._max_memory_bytes:
            return
        self._memory[sha256] = data
        self._memory_bytes += len(data)
        while self._memory_bytes > self._max_memory_bytes:
            _, oldest = self._memory.popitem(last=False)
            self._memory_bytes -= len(oldest)
            self._evicted += 1

    @contextmanager
    def _using(self, sha256: bytes) -> Iterator[None]:
        """Keep a file from being evicted; using it makes it the last to be."""
        self._sizes.move_to_end(sha256)
        self._used[sha256] += 1
        try:
            yield
        finally:
            self._no_longer_used(sha256)

    def _no_longer_used(self, sha256: bytes) -> None:
        self._used[sha256] -= 1
        if not self._used[sha256]:
            del self._used[sha256]

    async def _evict_files(self) -> None:
        """Remove the files used least recently until the rest fits, but none that is being read."""
        async with self._changing:
            while self._stored_bytes > self._max_stored_bytes:
                oldest = next((sha256 for sha256 in self._sizes if sha256 not in self._used), None)
                if oldest is None:
                    return
                self._evicted += 1
                await self._forget_file(oldest)

    async def _drop_damaged(self, sha256: bytes, error: OSError | NotFoundError) -> None:
        reason = error.message if isinstance(error, LunaError) else error.strerror
        _log.warning("a stored module is damaged and dropped", module=sha256.hex(), reason=reason)
        async with self._changing:
            self._damaged += 1
            await self._forget_file(sha256)

    async def _forget_file(self, sha256: bytes) -> None:
        size = self._sizes.pop(sha256, None)
        if size is not None:
            self._stored_bytes -= size
            self._verified.discard(sha256)
            with trio.CancelScope(shield=True):  # while `_changing` is held: nobody writes it meanwhile
                await trio.to_thread.run_sync(remove, self._path(sha256))

    def _disk_failed(self, error: OSError) -> None:
        if self._disk_works:
            self._disk_works = False
            _log.warning(
                "modules are kept in memory only: the module store does not work",
                directory=str(self._directory),
                reason=error.strerror or str(error),
            )


class _FileReader:
    """A module that is on disk; `on_close` is called once."""

    def __init__(self, file: OpenFile, on_close: Callable[[], None]) -> None:
        self._file = file
        self._on_close: Callable[[], None] | None = on_close
        self.size = file.size
        self.read = file.read

    def close(self) -> None:
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            self._file.close()
            on_close()


class _Transfer:
    """One module that is waited for. Whoever holds `turn` may fetch; `data` or `error` settles it."""

    def __init__(self) -> None:
        self.turn = trio.Lock()
        self.waiting = 0
        self.spool: Spool | None = None
        self.data: bytes | None = None
        self.error: LunaError | None = None

    @property
    def settled(self) -> bool:
        return self.data is not None or self.error is not None


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
