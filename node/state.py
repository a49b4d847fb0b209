"""The state directory of a node, its lock, and its entry in the run directory.

Owns who may use a state directory (one node at a time, held by flock, so a killed node leaves nothing
locked), where the control socket goes, and the record by which commands find the node. What is inside
`modules/` and `cache/` belongs to others.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from luna.node.config import NodeOptions, default_state_root
from luna.proto import run_directory
from luna.proto.errors import BrokenError, BusyError
from luna.proto.run_directory import NodeRecord

_log = structlog.get_logger(__name__)

MAX_SOCKET_PATH_BYTES = 100
"""bytes; a unix socket's path has at most 107 on Linux and 103 on macOS."""

MAX_DEFAULT_NAMES = 99
"""names `<host>`, `<host>-2`, ... tried when neither --name nor --state was given."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """A locked state directory and the name of the node that holds it."""

    name: str
    path: Path
    run_path: Path
    socket: Path

    @property
    def modules(self) -> Path:
        """Where modules are kept by hash."""
        return self.path / "modules"

    @property
    def cache(self) -> Path:
        """Where compiled code is kept."""
        return self.path / "cache"


@contextlib.contextmanager
def open_state(options: NodeOptions, environment: Mapping[str, str] = os.environ) -> Iterator[NodeState]:
    """Choose, create and lock the state directory for the length of the block; then remove the socket.

    Raises BusyError if a running node holds it, BrokenError if it cannot be made or locked.
    """
    run_path = run_directory.run_directory(environment, os.getuid())
    name, path, lock = _lock_first_free(options, environment)
    socket = path / "control.sock"
    if len(os.fsencode(socket)) > MAX_SOCKET_PATH_BYTES:
        try:
            run_directory.prepare(run_path)
        except OSError as error:
            os.close(lock)
            raise BrokenError(
                f"no place for the control socket: {error}", hint="use a shorter --state"
            ) from error
        socket = run_path / f"{name}.sock"
        if len(os.fsencode(socket)) > MAX_SOCKET_PATH_BYTES:
            os.close(lock)
            raise BrokenError(
                f"the path of the control socket is too long: {socket}", hint="use a shorter --state"
            )
    try:
        socket.unlink(missing_ok=True)  # left by a node that was killed: the lock says nobody uses it
        yield NodeState(name=name, path=path, run_path=run_path, socket=socket)
    finally:
        with contextlib.suppress(OSError):
            socket.unlink(missing_ok=True)
        os.close(lock)


@contextlib.contextmanager
def announced(state: NodeState, record: NodeRecord) -> Iterator[None]:
    """Keep the node's record in the run directory for the length of the block.

    A record that cannot be written costs only the convenience of finding the node: it is a warning.
    """
    try:
        run_directory.prepare(state.run_path)
        run_directory.write_record(state.run_path, record)
    except (OSError, ValueError) as error:
        _log.warning(
            "commands will not find this node by themselves",
            reason=str(error),
            use=f"luna --connect {record.socket}",
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            run_directory.remove_record(state.run_path, record)


def _lock_first_free(options: NodeOptions, environment: Mapping[str, str]) -> tuple[str, Path, int]:
    base = options.host_name()
    if options.state is not None:
        path = options.state.absolute()
        return base, path, _lock(path)
    root = default_state_root(environment)
    if options.name is not None:
        return base, root / base, _lock(root / base)
    for number in range(1, MAX_DEFAULT_NAMES + 1):
        name = base if number == 1 else f"{base[:60]}-{number}"
        try:
            return name, root / name, _lock(root / name)
        except BusyError:
            continue
    raise BusyError(f"{MAX_DEFAULT_NAMES} nodes of this machine run already", hint="choose a --name")


def _lock(path: Path) -> int:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BrokenError(
            f"cannot use the state directory {path}: {error.strerror or error}",
            hint="choose another with --state",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise BusyError(
            f"the state directory {path} belongs to a running node (process {holder})",
            hint="give this node another --name or --state",
        ) from None
    except OSError as error:
        # A full disk fails the write of the process id only; that is a comment, the lock is what counts.
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return lock
        os.close(lock)
        raise BrokenError(f"cannot lock the state directory {path}: {error.strerror or error}") from error
    return lock
