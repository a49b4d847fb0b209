"""Process groups (`luna::group`): what processes of this runtime are members of, and the host calls.

Owns the memberships of the runtime's own processes, in every environment. Those of other nodes' processes
come from a source that the node gives with `connect`; a runtime without a cluster has none. How nodes tell
each other is no business of the scheduler. For one trio thread.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol, final

from luna.proto.limits import MAX_GROUP_NAME_BYTES, MAX_GROUPS, MAX_GROUPS_OF_PROCESS, MAX_MEMBERSHIPS
from luna.scheduler.requests import GuestData, GuestTrap, Request

__all__ = ["Groups", "RemoteGroups"]

JOINED, ALREADY_MEMBER, LIMIT = 0, 1, 2
LEFT, NO_MEMBER = 0, 1

_NAMESPACE: Final = "luna::group"
_U32: Final = 0xFFFF_FFFF


class RemoteGroups(Protocol):
    """Where memberships of other nodes' processes come from, and those of this node's are told to."""

    def members(self, environment: int, name: str) -> Iterable[int]:
        """The members on other nodes, as far as this one knows."""

    def joined(self, environment: int, name: str, pid: int) -> None:
        """A process of this node became a member."""

    def left(self, environment: int, name: str, pid: int) -> None:
        """A process of this node is a member no more: it left, or ended."""


@final
class Groups:
    """The groups that processes of one runtime are in. A process is in a group once, or not."""

    def __init__(self, exists: Callable[[int], bool]) -> None:
        """`exists(pid)` tells whether a process of this runtime lives."""
        self._exists = exists
        self._remote: RemoteGroups | None = None
        # Dicts without values: sets in the order of joining.
        self._members: dict[int, dict[str, dict[int, None]]] = {}  # by environment, then name
        self._names: dict[int, tuple[int, dict[str, None]]] = {}  # by pid: its environment, its groups
        self._count = 0

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve these host calls."""
        set_handler(_NAMESPACE, "join", self._on_join)
        set_handler(_NAMESPACE, "leave", self._on_leave)
        set_handler(_NAMESPACE, "members", self._on_members)
        set_handler(_NAMESPACE, "broadcast", self._on_broadcast)

    # -- for the node ---------------------------------------------------------------

    def connect(self, remote: RemoteGroups) -> None:
        """Have groups span the nodes of a cluster; to be called before there are processes."""
        assert self._remote is None, "connected once"
        self._remote = remote

    def own(self) -> Iterator[tuple[int, str, int]]:
        """(environment, name, pid) of every membership of this node's processes."""
        for pid, (environment, names) in self._names.items():
            for name in names:
                yield environment, name, pid

    # -- memberships ----------------------------------------------------------------

    def join(self, environment: int, name: str, pid: int) -> int:
        """Make a process of this node a member: JOINED, ALREADY_MEMBER or LIMIT."""
        members = self._members.get(environment, {}).get(name, {})
        if pid in members:
            return ALREADY_MEMBER
        _, names = self._names.get(pid, (environment, {}))
        groups = len(self._members.get(environment, {}))
        if self._count >= MAX_MEMBERSHIPS or len(names) >= MAX_GROUPS_OF_PROCESS:
            return LIMIT
        if not members and groups >= MAX_GROUPS:
            return LIMIT
        self._members.setdefault(environment, {}).setdefault(name, members)[pid] = None
        self._names.setdefault(pid, (environment, names))[1][name] = None
        self._count += 1
        if self._remote is not None:
            self._remote.joined(environment, name, pid)
        return JOINED

    def leave(self, environment: int, name: str, pid: int) -> int:
        """Make it a member no more: LEFT, or NO_MEMBER if it was none."""
        _, names = self._names.get(pid, (environment, {}))
        if name not in names:
            return NO_MEMBER
        del names[name]
        if not names:
            del self._names[pid]
        groups = self._members[environment]
        del groups[name][pid]
        if not groups[name]:
            del groups[name]
        if not groups:
            del self._members[environment]
        self._count -= 1
        if self._remote is not None:
            self._remote.left(environment, name, pid)
        return LEFT

    def ended(self, pid: int) -> None:
        """A process has ended: it leaves all its groups."""
        environment, names = self._names.get(pid, (0, {}))
        for name in list(names):
            self.leave(environment, name, pid)

    def members(self, environment: int, name: str) -> list[int]:
        """The members, those of this node first, each in the order in which this node learned of them."""
        own = self._members.get(environment, {}).get(name, {})
        # A process may have died, and others know it, before that is told here.
        pids = [pid for pid in own if self._exists(pid)]
        if self._remote is not None:
            pids.extend(self._remote.members(environment, name))
        return pids

    # -- host calls -------------------------------------------------------------------

    def _on_join(self, request: Request) -> int:
        name = _name(request)
        request.native.own()  # before it is a member: now its end will be told
        return self.join(request.environment, name, request.pid)

    def _on_leave(self, request: Request) -> int:
        return self.leave(request.environment, _name(request), request.pid)

    def _on_members(self, request: Request) -> int:
        _, _, pointer, capacity = map(int, request.args)
        pids = self.members(request.environment, _name(request))
        request.write(pointer, _packed(pids[: capacity & _U32]))
        return len(pids)

    def _on_broadcast(self, request: Request) -> GuestData:
        # For the core, which sends to them; nothing of this gets to the guest.
        return GuestData(_packed(self.members(request.environment, _name(request))), 0)


def _name(request: Request) -> str:
    pointer, size = map(int, request.args[:2])
    if size & _U32 > MAX_GROUP_NAME_BYTES:
        raise GuestTrap(f"{request.full_name}: a group's name has at most {MAX_GROUP_NAME_BYTES} bytes")
    return request.read_text(pointer, size)


def _packed(pids: list[int]) -> bytes:
    return struct.pack(f"<{len(pids)}q", *pids)
