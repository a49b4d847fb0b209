"""What host calls about names need: the names of processes, on one node or of a whole cluster.

Types only. A name stands for at most one process in its environment, and a process that has died
has none. Operations on one name take effect one after the other. `tests/node/check_names.py` is the suite
that every implementation passes.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

__all__ = ["NameService", "Registered", "Reservation"]


class Registered(NamedTuple):
    """What a name stands for: the pid, and the node id that was given with it, which means nothing."""

    node_id: int
    pid: int


class Reservation(Protocol):
    """What `NameService.reserve` found."""

    @property
    def found(self) -> Registered | None:
        """What the name stands for; None: for nothing, and others wait until this is over."""

    def commit(self, node_id: int, pid: int) -> None:
        """The name that was free stands for this process of this node now. Once, and only if it was free."""


class NameService(Protocol):
    """The names of every environment. For one trio thread; each call may wait, and can be cancelled.

    A name that was reserved is waited for. A `put` or `remove` that is cancelled is done or not. All raise
    RefusedError beyond a limit of the implementation.
    """

    def get_nowait(self, environment: int, name: str) -> Registered | None:
        """What a name stands for. Raises WouldBlockError where only `get` finds out."""

    async def get(self, environment: int, name: str) -> Registered | None:
        """What a name stands for."""

    async def put(self, environment: int, name: str, node_id: int, pid: int) -> None:
        """Have a name stand for a process, whatever it stands for; for one that is dead: for nothing."""

    async def remove(self, environment: int, name: str) -> None:
        """Have a name stand for nothing."""

    def reserve(self, environment: int, name: str) -> AbstractAsyncContextManager[Reservation]:
        """What a name stands for, or the name itself, to `commit` a process before the block ends."""
