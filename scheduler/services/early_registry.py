"""Names and versions of processes, as early Lunatic had them (`register`, `unregister`, `lookup`).

One map for each early environment, on this node alone: early Lunatic knew no other nodes. A process that
has died is not found, and what is registered in an environment is forgotten with it. For one trio thread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, final

import trio

from luna.proto.limits import MAX_PROCESS_NAME_BYTES
from luna.scheduler.local_names import MAX_NAMES
from luna.scheduler.requests import GuestTrap, Request
from luna.scheduler.semver import Requirement, SemverError, Version

__all__ = ["EarlyRegistry"]

MAX_VERSIONS: Final = 1000
"""of one name; a look-up goes through them all."""
SWEEP_INTERVAL_S: Final = 1.0
"""seconds between two looks through all names for those of the dead, which hold up everybody's requests."""
ID_BYTES: Final = 8

REGISTERED, FOUND, REMOVED = 0, 0, 0
MALFORMED, UNKNOWN = 1, 2

Entries = dict[Version, int]
"""The pids registered under one name, in the order their versions were added."""


@final
@dataclass(slots=True)
class _Names:
    """Of one of today's environments: by the number of an early one, then by name."""

    environments: dict[int, dict[str, Entries]] = field(default_factory=dict)
    count: int = 0
    next_sweep_s: float = 0.0

    def entries(self, number: int, name: str) -> Entries:
        """Empty when nothing has that name; then changing it changes nothing."""
        return self.environments.get(number, {}).get(name, {})

    def put(self, number: int, name: str, version: Version, pid: int) -> None:
        entries = self.environments.setdefault(number, {}).setdefault(name, {})
        self.count += version not in entries
        entries[version] = pid

    def remove(self, number: int, name: str, version: Version) -> None:
        names = self.environments[number]
        del names[name][version]
        self.count -= 1
        if not names[name]:
            del names[name]

    def forget(self, number: int) -> None:
        self.count -= sum(map(len, self.environments.pop(number, {}).values()))

    def forget_dead(self, exists: Callable[[int], bool]) -> None:
        for number, names in self.environments.items():
            for name, entries in list(names.items()):
                for version in [version for version, pid in entries.items() if not exists(pid)]:
                    self.remove(number, name, version)


@final
class EarlyRegistry:
    """Answers the host calls about names of early Lunatic; `exists` tells whether a process lives."""

    def __init__(self, exists: Callable[[int], bool]) -> None:
        self._exists = exists
        self._names: defaultdict[int, _Names] = defaultdict(_Names)

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve these host calls."""
        set_handler("lunatic::process", "register@0.6", self._register)
        set_handler("lunatic::process", "unregister@0.6", self._unregister)
        set_handler("lunatic::process", "lookup@0.6", self._lookup)

    def forget(self, number: int) -> None:
        """Nobody holds that early environment any more."""
        for names in self._names.values():
            names.forget(number)

    def _register(self, request: Request) -> int:
        name_at, name_size, version_at, version_size, environment, handle = map(int, request.args)
        name = _text(request, name_at, name_size)
        text = _text(request, version_at, version_size)
        number = _environment(request, environment, keeps_names=True)
        pid = request.native.find_handle(handle)
        if pid == 0:
            raise GuestTrap(f"{request.full_name}: this process has no process of id {handle}")
        try:
            version = Version.parse(text)
        except SemverError:
            return MALFORMED
        names = self._names[request.environment]
        entries = names.entries(number, name)
        if version not in entries:
            if len(entries) >= MAX_VERSIONS:
                raise GuestTrap(f"{request.full_name}: at most {MAX_VERSIONS} versions of a name")
            if names.count >= MAX_NAMES and trio.current_time() >= names.next_sweep_s:
                names.next_sweep_s = trio.current_time() + SWEEP_INTERVAL_S
                names.forget_dead(self._exists)
            if names.count >= MAX_NAMES:
                raise GuestTrap(f"{request.full_name}: at most {MAX_NAMES} names")
        names.put(number, name, version, pid)
        return REGISTERED

    def _unregister(self, request: Request) -> int:
        name_at, name_size, version_at, version_size, environment = map(int, request.args)
        name = _text(request, name_at, name_size)
        text = _text(request, version_at, version_size)
        number = _environment(request, environment)
        names = self._names[request.environment]
        entries = names.entries(number, name)
        if not entries:
            return UNKNOWN  # Lunatic does not look at the version then
        try:
            version = Version.parse(text)
        except SemverError:
            return MALFORMED
        if version not in entries:
            return UNKNOWN
        names.remove(number, name, version)
        return REMOVED

    def _lookup(self, request: Request) -> int:
        name_at, name_size, query_at, query_size, out = map(int, request.args)
        name = _text(request, name_at, name_size)
        query = _text(request, query_at, query_size)
        request.check(out, ID_BYTES)
        entries = self._names[request.environment].entries(request.native.own_environment(), name)
        if not entries:
            return UNKNOWN  # nor at the query
        try:
            requirement = Requirement.parse(query)
        except SemverError:
            return MALFORMED
        for version, pid in reversed(entries.items()):
            if requirement.matches(version) and self._exists(pid):
                handle = request.native.add_handle(pid)
                if handle < 0:
                    raise GuestTrap(f"{request.full_name}: this process holds too many processes: drop some")
                request.write_u64(out, handle)
                return FOUND
        return UNKNOWN


def _text(request: Request, pointer: int, size: int) -> str:
    if size & 0xFFFF_FFFF > MAX_PROCESS_NAME_BYTES:
        raise GuestTrap(f"{request.full_name}: a name or version has at most {MAX_PROCESS_NAME_BYTES} bytes")
    return request.read_text(pointer, size)


def _environment(request: Request, id_: int, *, keeps_names: bool = False) -> int:
    number = request.native.find_environment(id_, keeps_names)
    if number is None:
        raise GuestTrap(f"{request.full_name}: this process has no environment of id {id_}")
    return number
