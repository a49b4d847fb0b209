"""Compiled code on disk, for the next start: a folder of files, and the bound on what they take.

Owns the files of that folder and their names. Several nodes may share one folder: a file appears whole or not
at all, may vanish at any time, and is never changed. Knows nothing of what the code does; a file that cannot
be used is as good as none, and no failure here is more than a warning.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final, final

import structlog
import wasmtime

from luna.proto.limits import MIB
from luna.scheduler.engine import Engine

__all__ = ["CodeCache"]

MAX_CACHE_BYTES: Final = 2048 * MIB
"""bytes of compiled code in one folder, the least recently used given up first. Machine code takes a few
times the bytes of its wasm, and a module that counts fuel is there twice."""
ABANDONED_S: Final = 3600.0
"""seconds after which a half-written file is taken for that of a node that died; writing takes seconds."""
WASMTIME_VERSION: Final = version("wasmtime")
SUFFIX: Final = ".cwasm"
HALF_WRITTEN: Final = ".part"
LOCK: Final = ".lock"
TURN_S: Final = 60.0
"""seconds to wait for another process that compiles the same; a stopped one must not hold up the others for
ever, and the largest modules seen take 10."""
TURN_POLL_S: Final = 0.02
"""seconds between two looks whether it is done"""

_log = structlog.get_logger("luna.code_cache")


@final
class CodeCache:
    """The code kept in one folder. Every method may be called from any thread, and may block on the disk."""

    def __init__(self, folder: Path, max_bytes: int = MAX_CACHE_BYTES) -> None:
        """The folder is made when something is stored; `max_bytes` bounds all files in it together."""
        self._folder = folder
        self._max_bytes = max_bytes

    def load(self, engine: Engine, sha256: bytes) -> wasmtime.Module | None:
        """The code of a module for `engine`, by the hash of its wasm; None if there is none to use."""
        path = self._path(engine, sha256)
        try:
            compiled = wasmtime.Module.deserialize_file(engine.engine, str(path))
        except (wasmtime.WasmtimeError, OSError):
            return None  # not there, damaged, or of another build of wasmtime
        # Its time of change says when it was used: that of access is not kept on every file system.
        with contextlib.suppress(OSError):  # only its place in the order is lost
            os.utime(path)
        return compiled

    def store(self, engine: Engine, sha256: bytes, compiled: wasmtime.Module) -> None:
        """Keep code for `load`, and give up old files if all of them together take too much."""
        path = self._path(engine, sha256)
        code = bytes(compiled.serialize())
        if len(code) > self._max_bytes:
            _log.warning("compiled code not cached", path=str(path), reason=f"it has {len(code)} bytes")
            return
        try:
            _write(path, code)
        except OSError as error:
            _log.warning("compiled code not cached", path=str(path), reason=str(error))
            return
        try:
            self._evict()
        except OSError as error:
            _log.warning("old compiled code not removed", path=str(self._folder), reason=str(error))

    @contextlib.contextmanager
    def turn(self, sha256: bytes, max_wait_s: float = TURN_S) -> Iterator[None]:
        """Compile within this: another process that came first is waited for, and `load` then has its work.

        cargo-nextest starts a process for each test, all of one new binary and several at once. Without a
        lock, because the wait was too long or the folder gives none, the work is only done twice.
        """
        with contextlib.ExitStack() as stack:
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                # One file for 1/256 of all modules: lock files can never be removed without a race.
                path = self._folder / f"{sha256[:1].hex()}{LOCK}"
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError:
                pass  # `store` will say what is wrong with the folder
            else:
                stack.callback(os.close, descriptor)
                _wait_for_lock(descriptor, max_wait_s)
            yield

    def _path(self, engine: Engine, sha256: bytes) -> Path:
        return self._folder / f"{sha256.hex()}-{engine.mode.name}-{WASMTIME_VERSION}{SUFFIX}"

    def _evict(self) -> None:
        now, total = time.time(), 0
        files: list[tuple[int, str, int]] = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # another node was quicker, here and below
                    status = entry.stat(follow_symlinks=False)
                    if entry.name.endswith(HALF_WRITTEN) and status.st_mtime < now - ABANDONED_S:
                        Path(entry.path).unlink()
                    elif entry.name.endswith(SUFFIX):
                        files.append((status.st_mtime_ns, entry.path, status.st_size))
                        total += status.st_size
        for _, path, size in sorted(files):
            if total <= self._max_bytes:
                break
            with contextlib.suppress(FileNotFoundError):
                Path(path).unlink()
            total -= size


def _wait_for_lock(descriptor: int, max_wait_s: float) -> None:
    """Lock a file until it is closed, or give up."""
    give_up = time.monotonic() + max_wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up:
                return
            time.sleep(TURN_POLL_S)
        except OSError:
            return  # a file system without locks
        else:
            return


def _write(path: Path, code: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(suffix=HALF_WRITTEN, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(code)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink()
        raise
