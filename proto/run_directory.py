"""The run directory: how the commands of this machine and user find its running nodes.

Owns the path, the format and the rules of the records (one `<name>.json` per node), for the node that
writes its own and for the `luna` command that reads them all. Never opens a socket and never
decides which node a command talks to.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

MAX_RECORD_BYTES = 16_384  # a record has six short fields; a larger file is not one of ours
MAX_RECORDS = 1_000  # nodes one user runs on one machine; bounds the work of a directory filled by mistake
SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One running node of this machine and user.

    `socket` is the absolute path of its control socket, `listen` the HOST:PORT peers dial, `pid` its
    operating system process, `started_ms` its start in milliseconds of wall clock.
    """

    name: str
    id: int
    socket: str
    listen: str
    pid: int
    started_ms: int


def run_directory(environment: Mapping[str, str], uid: int) -> Path:
    """The directory of the user `uid`: below XDG_RUNTIME_DIR, else below /tmp/luna-<uid>."""
    base = environment.get("XDG_RUNTIME_DIR", "")
    # The XDG specification has relative paths ignored.
    parent = Path(base) if Path(base).is_absolute() else Path(f"/tmp/luna-{uid}")
    return parent / "luna"


def prepare(directory: Path) -> None:
    """Create `directory` (mode 0700) if it is missing.

    Raises PermissionError if it, or the parent made for it in /tmp, belongs to somebody else or is open to
    others: whoever can write a record there chooses the node this user's commands talk to.
    """
    for path in (directory.parent, directory):
        if not path.exists():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_owner(directory)
    if directory.parent.parent == Path("/tmp"):
        _check_owner(directory.parent)


def write_record(directory: Path, record: NodeRecord) -> Path:
    """Write the record of a node, atomically, and return its path; `prepare` the directory first.

    Raises ValueError for a name that cannot be a file name, OSError if it cannot be written.
    """
    path = record_path(directory, record.name)
    temporary = path.with_name(f".{record.name}.{os.getpid()}")  # no .json: readers never see it
    try:
        temporary.write_text(json.dumps(asdict(record)) + "\n")
        temporary.chmod(0o600)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return path


def remove_record(directory: Path, record: NodeRecord) -> None:
    """Remove the record of a node that stops; one that a successor of the same name wrote stays."""
    path = record_path(directory, record.name)
    if _read(path) == record:
        path.unlink(missing_ok=True)


def read_records(directory: Path) -> list[NodeRecord]:
    """The running nodes, the one started first first; records of dead processes are removed.

    A missing directory means no nodes. Files that are not records are left alone and ignored. Raises
    PermissionError as `prepare` does.
    """
    try:
        _check_owner(directory)
        names = sorted(path.name for path in directory.iterdir() if path.name.endswith(SUFFIX))
    except (FileNotFoundError, NotADirectoryError):
        return []
    records = []
    for name in names[:MAX_RECORDS]:
        path = directory / name
        record = _read(path)
        if record is None or record.name + SUFFIX != name:
            continue
        if _is_alive(record.pid):
            records.append(record)
        else:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    return sorted(records, key=lambda record: (record.started_ms, record.name))


def record_path(directory: Path, name: str) -> Path:
    """Where the record of the node `name` is. Raises ValueError for a name that cannot be a file name."""
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise ValueError(f"a node cannot be named {name!r}: its name is used as a file name")
    return directory / f"{name}{SUFFIX}"


def _check_owner(directory: Path) -> None:
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise PermissionError(f"{directory} is not a directory; remove it or set XDG_RUNTIME_DIR")
    if status.st_uid != os.getuid():
        raise PermissionError(
            f"{directory} belongs to user {status.st_uid}, not to you; "
            "set XDG_RUNTIME_DIR to a directory of your own"
        )
    if status.st_mode & 0o022:
        raise PermissionError(f"{directory} can be written by others; run: chmod 700 {directory}")


def _read(path: Path) -> NodeRecord | None:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RECORD_BYTES + 1)
    except OSError:
        return None
    if len(data) > MAX_RECORD_BYTES:
        return None
    try:
        fields = json.loads(data)
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    texts = [fields.get(key) for key in ("name", "socket", "listen")]
    numbers = [fields.get(key) for key in ("id", "pid", "started_ms")]
    if not all(isinstance(text, str) for text in texts):
        return None
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        return None
    return NodeRecord(
        name=fields["name"],
        id=fields["id"],
        socket=fields["socket"],
        listen=fields["listen"],
        pid=fields["pid"],
        started_ms=fields["started_ms"],
    )


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # alive, and somebody else's
    except OverflowError:
        return False
    return True
