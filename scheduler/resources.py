"""What processes own besides their memory: sockets, databases and other things of Python's.

Each process has a table of each kind, with ids of its own; a resource in a
message belongs to nobody until it is taken. The core knows those by a number
and tells when a process ends or a message is lost, so that nothing is leaked.
For one trio thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol, final

__all__ = ["MAX_RESOURCES", "Resource", "ResourceKind", "Resources"]

MAX_RESOURCES: Final = 1_000_000
"""entries of one table of one process; RESOURCES_MAX of `_limits.pxd`."""


@final
class ResourceKind(Enum):
    """A kind of resource, and its number in messages of the core; from RESOURCE_FOREIGN of `_types.pxd`."""

    DNS_ITERATOR = ("DNS iterator", 16)
    TCP_LISTENER = ("TCP listener", 17)
    TCP_STREAM = ("TCP stream", 18)
    TLS_LISTENER = ("TLS listener", 19)
    TLS_STREAM = ("TLS stream", 20)
    UDP_SOCKET = ("UDP socket", 21)
    SQLITE_CONNECTION = ("SQLite connection", 22)
    SQLITE_STATEMENT = ("SQLite statement", 23)
    NODE_QUERY = ("node query", 24)

    def __init__(self, label: str, number: int) -> None:
        self.label: Final = label
        """for people"""
        self.number: Final = number


class Resource(Protocol):
    """Something a process owns."""

    def close(self) -> None:
        """Give it up: it was dropped, its process ended or its message was lost.

        Idempotent; must not raise. Wakes tasks that use it.
        """


@dataclass(slots=True)
class _Table:
    next_id: int = 0
    entries: dict[int, Resource] = field(default_factory=dict)


@final
class Resources:
    """The resources of all processes of a runtime, and those on their way in messages."""

    def __init__(self) -> None:
        self._owners: dict[int, dict[ResourceKind, _Table]] = {}
        self._sent: dict[int, Resource] = {}
        self._last_sent = 0

    def add(self, pid: int, kind: ResourceKind, resource: Resource) -> int | None:
        """The id in a process's table; from 0, never used again. None when the table is full."""
        table = self._owners.setdefault(pid, {}).setdefault(kind, _Table())
        if len(table.entries) >= MAX_RESOURCES:
            return None
        id_ = table.next_id
        table.next_id += 1
        table.entries[id_] = resource
        return id_

    def find(self, pid: int, kind: ResourceKind, id_: int) -> Resource | None:
        """A resource of a process."""
        table = self._owners.get(pid, {}).get(kind)
        return None if table is None else table.entries.get(id_)

    def remove(self, pid: int, kind: ResourceKind, id_: int) -> Resource | None:
        """Take a resource out of a process's table; it is the caller's now."""
        table = self._owners.get(pid, {}).get(kind)
        return None if table is None else table.entries.pop(id_, None)

    def send(self, resource: Resource) -> int:
        """The number by which the core knows a resource in a message."""
        self._last_sent += 1
        self._sent[self._last_sent] = resource
        return self._last_sent

    def receive(self, number: int) -> Resource:
        """A resource taken out of a message."""
        return self._sent.pop(number)

    def lose(self, number: int) -> None:
        """Its message will never be received."""
        self._sent.pop(number).close()

    def release(self, pid: int) -> None:
        """Its process has ended."""
        for table in self._owners.pop(pid, {}).values():
            for resource in table.entries.values():
                resource.close()

    def close(self) -> None:
        """The runtime has stopped."""
        for pid in list(self._owners):
            self.release(pid)
        for number in list(self._sent):
            self.lose(number)
