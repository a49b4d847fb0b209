"""The module store: WebAssembly modules by the SHA-256 of their bytes.

Owns `<state>/modules/` (one file per module, named by its hash), the memory copy used when the disk does
not take it, and the fetching of missing modules from peers. It never compiles (the scheduler does)
and never trusts a byte it did not hash.

The disk is a cache: when it is full or broken, modules live in memory and one warning says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
import trio

from luna.proto.errors import BrokenError, InvalidError, LunaError
from luna.proto.limits import MAX_MODULE_BYTES, MIB, SHA256_BYTES

_log = structlog.get_logger(__name__)

MAX_STORED_BYTES = 1024 * MIB
"""bytes of all files together; the least recently used go first. Four modules of the largest size."""

MAX_MEMORY_BYTES = 256 * MIB
"""bytes kept in memory when the disk does not take them: at least one module of the largest size."""

MAX_FETCHES = 8
"""transfers at the same time; with modules of the largest size that is 2 GiB of memory in the worst case."""

Fetch = Callable[[], Awaitable[bytes]]
"""Brings the bytes of a module from somewhere; what it brings is verified here."""


class ModuleStore:
    """Modules of one node (trio). `open` prepares the directory; all other methods may run concurrently."""

    def __init__(
        self,
        directory: Path,
        *,
        max_stored_bytes: int = MAX_STORED_BYTES,
        max_memory_bytes: int = MAX_MEMORY_BYTES,
    ) -> None:
        self._directory = directory
        self._max_stored_bytes = max_stored_bytes
        self._max_memory_bytes = max_memory_bytes
        self._sizes: OrderedDict[bytes, int] = OrderedDict()  # on disk, least recently used first
        self._stored_bytes = 0
        self._memory: OrderedDict[bytes, bytes] = OrderedDict()
        self._memory_bytes = 0
        self._warned = False
        self._fetching: dict[bytes, _Transfer] = {}
        self._fetch_limit = trio.CapacityLimiter(MAX_FETCHES)

    async def open(self) -> None:
        """Create the directory and take stock of what an earlier run left; half-written files are removed."""
        try:
            found = await trio.to_thread.run_sync(_take_stock, self._directory)
        except OSError as error:
            self._warn(error)
            return
        for sha256, size in found:
            self._sizes[sha256] = size
            self._stored_bytes += size
        await self._evict_files()

    async def get(self, sha256: bytes) -> bytes | None:
        """The bytes of a module, or None if the store lacks it. A damaged file counts as lacking."""
        await trio.lowlevel.checkpoint()
        data = self._memory.get(sha256)
        if data is not None:
            self._memory.move_to_end(sha256)
            return data
        if sha256 not in self._sizes:
            return None
        self._sizes.move_to_end(sha256)
        try:
            data = await trio.to_thread.run_sync(_read_verified, self._path(sha256), sha256)
        except OSError as error:
            _log.warning("a stored module cannot be read", module=sha256.hex(), reason=str(error))
            data = None
        if data is None:
            await self._forget_file(sha256)
        return data

    async def put(self, data: bytes) -> bytes:
        """Keep a module and return its hash. Never fails for want of disk: the module then stays in memory.

        Raises InvalidError if it is larger than MAX_MODULE_BYTES.
        """
        if len(data) > MAX_MODULE_BYTES:
            raise InvalidError(f"a module of {len(data)} bytes is too large (at most {MAX_MODULE_BYTES})")
        sha256 = await trio.to_thread.run_sync(_hash, data)
        if sha256 in self._sizes:
            self._sizes.move_to_end(sha256)
            return sha256
        if sha256 in self._memory:
            self._memory.move_to_end(sha256)
            return sha256
        try:
            await trio.to_thread.run_sync(_write_atomically, self._path(sha256), data)
        except OSError as error:
            self._warn(error)
            self._keep_in_memory(sha256, data)
            return sha256
        if sha256 not in self._sizes:  # two may have written the same file meanwhile
            self._sizes[sha256] = len(data)
            self._stored_bytes += len(data)
        await self._evict_files()
        return sha256

    async def obtain(self, sha256: bytes, fetch: Fetch) -> bytes:
        """The bytes of a module: from the store, or through `fetch`, once however many wait for it.

        Raises InvalidError if what came has another hash, and whatever `fetch` raises (each waiter gets the
        same error). A waiter that is cancelled leaves the transfer to the others; the last one ends it.
        """
        if len(sha256) != SHA256_BYTES:
            raise InvalidError(f"a module hash has {SHA256_BYTES} bytes, not {len(sha256)}")
        while True:
            data = await self.get(sha256)
            if data is not None:
                return data
            transfer = self._fetching.get(sha256)
            if transfer is None:
                return await self._fetch(sha256, fetch)
            await transfer.done.wait()
            if transfer.error is not None:
                raise transfer.error
            if transfer.data is not None:
                return transfer.data
            # Whoever fetched was cancelled: the next waiter takes over, with its own `fetch`.

    def hashes(self) -> list[bytes]:
        """The hashes of all modules kept, on disk or in memory."""
        return [*self._sizes, *self._memory]

    def statistics(self) -> tuple[int, int]:
        """Bytes on disk and bytes in memory."""
        return self._stored_bytes, self._memory_bytes

    async def _fetch(self, sha256: bytes, fetch: Fetch) -> bytes:
        transfer = self._fetching[sha256] = _Transfer()
        try:
            async with self._fetch_limit:
                data = await fetch()
            if await trio.to_thread.run_sync(_hash, data) != sha256:
                raise InvalidError(f"a peer sent other bytes than those of module {sha256.hex()}")
            await self.put(data)
            transfer.data = data
        except LunaError as error:
            transfer.error = error
            raise
        finally:
            del self._fetching[sha256]
            transfer.done.set()
        return data

    def _path(self, sha256: bytes) -> Path:
        return self._directory / f"{sha256.hex()}.wasm"

    def _keep_in_memory(self, sha256: bytes, data: bytes) -> None:
        if sha256 in self._memory or len(data) > self._max_memory_bytes:
            return
        self._memory[sha256] = data
        self._memory_bytes += len(data)
        while self._memory_bytes > self._max_memory_bytes:
            _, oldest = self._memory.popitem(last=False)
            self._memory_bytes -= len(oldest)

    async def _evict_files(self) -> None:
        while self._stored_bytes > self._max_stored_bytes and len(self._sizes) > 1:
            await self._forget_file(next(iter(self._sizes)))

    async def _forget_file(self, sha256: bytes) -> None:
        size = self._sizes.pop(sha256, None)
        if size is None:
            return
        self._stored_bytes -= size
        with contextlib.suppress(OSError):
            await trio.to_thread.run_sync(lambda: self._path(sha256).unlink(missing_ok=True))

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "modules are kept in memory only: the module store does not work",
                directory=str(self._directory),
                reason=error.strerror or str(error),
            )


class _Transfer:
    """One module on its way; `data` and `error` are set before `done`, or neither if it was given up."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.data: bytes | None = None
        self.error: LunaError | None = None


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _take_stock(directory: Path) -> list[tuple[bytes, int]]:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = []
    for entry in os.scandir(directory):
        stem, dot, suffix = entry.name.partition(".")
        if entry.name.endswith(".partial"):
            Path(entry.path).unlink()
        elif dot and suffix == "wasm" and len(stem) == 2 * SHA256_BYTES:
            with contextlib.suppress(ValueError):
                status = entry.stat()
                found.append((status.st_mtime_ns, bytes.fromhex(stem), status.st_size))
    return [(sha256, size) for _, sha256, size in sorted(found)]


def _read_verified(path: Path, sha256: bytes) -> bytes | None:
    with path.open("rb") as file:
        data = file.read(MAX_MODULE_BYTES + 1)
    if _hash(data) != sha256:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # so that the next run knows what was used last
    return data


def _write_atomically(path: Path, data: bytes) -> None:
    partial = path.with_name(f"{path.name}.{os.urandom(4).hex()}.partial")
    try:
        # No fsync: a file torn by a power cut fails its hash and is fetched again.
        partial.write_bytes(data)
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def check_total(total_bytes: int, received_bytes: int) -> None:
    """Raises BrokenError unless a finished transfer brought what it announced."""
    if total_bytes != received_bytes:
        raise BrokenError(f"a module transfer ended after {received_bytes} of {total_bytes} bytes")
