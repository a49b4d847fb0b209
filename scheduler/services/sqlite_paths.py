"""Where a guest's database lies: from the path it names to a file it may open.

A path means what it means to the guest: it is relative to the directory of the guest
name `.`, and must lie in one of the directories its config has. That is decided
on real directories: each component is opened from the one before, never through a
symbolic link that leaves the directory, and what is handed out names the last
directory by its descriptor. Whatever a guest renames or links afterwards, SQLite
opens the file and its journals there and nowhere else (see `trust_descriptors`).
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import apsw

__all__ = ["IN_MEMORY", "TEMPORARY", "DeniedError", "Pinned", "check_nameless", "pin", "trust_descriptors"]

IN_MEMORY: Final = ":memory:"
"""the name of a database that lives in memory"""
TEMPORARY: Final = ""
"""the name of a database in a file without a name, gone when it is closed"""

BENEATH: Final = "/./"
"""what stands in a host path between a directory and the way to one in it; see `_directories.pyx`."""
MAX_LINKS: Final = 40
"""symbolic links followed on the way to one file; the kernel's own limit."""

_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@final
class DeniedError(Exception):
    """The guest may not use this path; the text says why."""


@final
@dataclass(frozen=True, slots=True)
class Pinned:
    """A file in a directory that is held open. Whoever has it closes `directory`."""

    directory: int
    """an O_PATH descriptor"""
    name: str
    """the file's name there, which is no symbolic link; should it become one, it is not followed"""

    @property
    def path(self) -> str:
        """What to give SQLite."""
        return f"/proc/self/fd/{self.directory}/{self.name}"


def trust_descriptors() -> None:
    """Make SQLite leave a path as it is: once for this OS process, before the first database.

    SQLite replaces symbolic links in a path by what they point to, and
    /proc/self/fd/N is one: it would go back to a path of names, which a guest can
    change between that moment and the opening of the file. It finds links by its own
    `lstat`, so that gets the function that sees none. SQLite refuses to follow a link
    in the last place when it opens (O_NOFOLLOW), with or without this. Raises
    OSError when this SQLite cannot be told so: no file is opened then.
    """
    vfs = apsw.VFS("luna-paths", base="unix")
    try:
        stat_of_links = vfs.xGetSystemCall("stat")
        if stat_of_links is None or not vfs.xSetSystemCall("lstat", stat_of_links):
            raise OSError(errno.ENOSYS, "this SQLite does not let its system calls be replaced")
    finally:
        vfs.unregister()


def check_nameless(name: str, preopens: Iterable[tuple[str, str]]) -> None:
    """Whether a guest may open IN_MEMORY or TEMPORARY: as if it were a file. Raises DeniedError.

    That is Lunatic's rule, by which a process without directories has no databases.
    """
    _find(name, preopens)


def pin(path: str, preopens: Iterable[tuple[str, str]]) -> Pinned:
    """The file of a guest's path, which need not exist.

    `preopens` are (guest name, host path). Raises DeniedError when the guest may
    not have it, OSError when its directory is not there or cannot be opened.
    """
    if path.startswith("file:"):
        raise DeniedError(f"Failed to access '{path}': a path, not a URI, names a database")
    if "\0" in path:
        raise DeniedError(f"Failed to access '{path}': a path has no zero byte")
    host, parts = _find(path, preopens)
    directories = [_open(host)]
    try:
        name = _walk(directories, deque(parts), path)
        return Pinned(directories.pop(), name)
    finally:
        for directory in directories:
            os.close(directory)


def _find(path: str, preopens: Iterable[tuple[str, str]]) -> tuple[str, Sequence[str]]:
    """The host path of the directory that holds `path` for the guest, and the way from there.

    Of several the longest guest name counts. As in Lunatic, paths and names that are not absolute start
    at the host's current directory, which is what `.` stands for: its absolute path is good as well.
    """
    wanted = _absolute(path)
    holding = [
        (name, host)
        for name, host in ((_absolute(guest), host) for guest, host in preopens)
        if wanted[: len(name)] == name
    ]
    if not holding:
        raise DeniedError(f"Failed to access '{path}': no directory of this process's config holds it")
    name, host = max(holding, key=lambda pair: len(pair[0]))
    return host, wanted[len(name) :]


def _open(host: str) -> int:
    """An O_PATH descriptor of a directory: the way behind each BENEATH stays in what comes before it."""
    first, *steps = host.split(BENEATH)
    directory = os.open(first, _DIRECTORY)
    for step in steps:
        directories = [directory]
        try:
            # The name at the end of the way is nothing that is opened.
            _walk(directories, deque([*step.split("/"), "-"]), host)
            directory = directories.pop()
        finally:
            for passed in directories:
                os.close(passed)
    return directory


def _absolute(path: str) -> tuple[str, ...]:
    """The components of a path from the root; `..` takes the one before it away, without looking."""
    parts: list[str] = []
    for part in (Path.cwd() / path).as_posix().split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return tuple(parts)


def _walk(directories: list[int], parts: deque[str], path: str) -> str:
    """Open every directory on the way, each from the one before; the name of the file in the last."""
    links = 0
    while parts:
        part = parts.popleft()
        here = directories[-1]
        if part == "..":  # of a link: the directory that was opened before, whatever became of it
            if len(directories) == 1:
                raise _leaves(path)
            os.close(directories.pop())
            continue
        mode = _mode(part, here)
        if stat.S_ISLNK(mode):
            links += 1
            target = os.readlink(part, dir_fd=here)
            if links > MAX_LINKS or target.startswith("/"):
                raise _leaves(path)
            parts.extendleft(step for step in reversed(target.split("/")) if step not in ("", "."))
        elif parts:
            directories.append(os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=here))
        elif mode and not stat.S_ISREG(mode):
            break
        else:
            return part
    raise DeniedError(f"Failed to access '{path}': it is not a file")


def _mode(name: str, directory: int) -> int:
    """The mode of a file or link; 0 if there is none."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return 0


def _leaves(path: str) -> DeniedError:
    return DeniedError(
        f"Failed to access '{path}': a symbolic link on the way leads out of the directory, or in circles"
    )
