"""The names of one node's processes, in the native core, where guests find them without Python.

Here is what has to wait: who spawns for a name holds it until the child is born, so that two callers
at once get one process. When the node comes to share names with others, the service that does
(`luna.node.names`) takes over: it decides, and what is here only follows.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, final

import trio

from luna.proto.errors import RefusedError, WouldBlockError
from luna.scheduler._core import Core
from luna.scheduler.name_service import Registered

__all__ = ["LocalNames", "OwnName", "wall_clock_ms"]

MAX_NAMES: Final = 1_000_000
"""names in one environment; NAMES_MAX of `_limits.pxd`."""


def wall_clock_ms() -> int:
    """Now, as names are stamped with it."""
    return time.time_ns() // 1_000_000


@final
@dataclass(frozen=True, slots=True)
class OwnName:
    """A name of a process of this node; when it was registered, in ms of the wall clock."""

    environment: int
    name: str
    node_id: int
    pid: int
    stamp_ms: int


@final
class LocalNames:
    """A NameService of one node alone. For one trio thread."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._held: dict[tuple[int, str], trio.Event] = {}
        self._born_late: Callable[[int, str, int, int], None] | None = None
        self._died: Callable[[int], None] | None = None

    # --- the service --------------------------------------------------------------------------

    def get_nowait(self, environment: int, name: str) -> Registered | None:
        """See NameService."""
        if (environment, name) in self._held:
            raise WouldBlockError("a process is being spawned for it")
        return self.find(environment, name)

    async def get(self, environment: int, name: str) -> Registered | None:
        """See NameService."""
        await self.wait_unheld(environment, name)
        return self.find(environment, name)

    async def put(self, environment: int, name: str, node_id: int, pid: int) -> None:
        """See NameService."""
        await self.wait_unheld(environment, name)
        self._put(environment, name, node_id, pid)

    async def remove(self, environment: int, name: str) -> None:
        """See NameService."""
        await self.wait_unheld(environment, name)
        self.hide(environment, name)

    @asynccontextmanager
    async def reserve(self, environment: int, name: str) -> AsyncIterator[_Held]:
        """See NameService."""
        await self.wait_unheld(environment, name)
        done = self._held[environment, name] = trio.Event()
        self._core.hold_name(environment, name.encode(), True)
        try:
            yield _Held(self, environment, name)
        finally:
            self._core.hold_name(environment, name.encode(), False)
            del self._held[environment, name]
            done.set()

    # --- for a service that shares names with other nodes -------------------------------------------

    def share(
        self, born_late: Callable[[int, str, int, int], None], died: Callable[[int], None]
    ) -> list[OwnName]:
        """Have guests ask the runtime's service for names not found here; those of this node's processes.

        `born_late(environment, name, node id, pid)` gets processes that were being spawned for a name,
        `died(pid)` those that were claimed and have ended.
        """
        self._born_late = born_late
        self._died = died
        return [
            OwnName(environment, name.decode(), node_id, pid, stamp_ms)
            for environment, name, node_id, pid, stamp_ms in self._core.share_names()
        ]

    def unshare(self) -> None:
        """Nobody shares the names any more: this node decides alone about what is here."""
        self._born_late = None
        self._core.unshare_names()

    def claim(self, pid: int) -> bool:
        """Whether a process of this node lives; if so, its end will be told."""
        return self._core.claim_process(pid)

    def is_alive(self, pid: int) -> bool:
        """Whether a process of this node lives."""
        return self._core.exists(pid)

    def show(self, own: OwnName) -> None:
        """Guests find this process of this node under a name; with too many names they ask for it."""
        self._core.put_name(own.environment, own.name.encode(), own.node_id, own.pid, own.stamp_ms)

    def hide(self, environment: int, name: str) -> None:
        """Guests find nothing here under a name."""
        self._core.remove_name(environment, name.encode())

    def ended(self, pid: int) -> None:
        """A process with names, or one that was claimed, has ended while names are shared."""
        if self._died is not None:
            self._died(pid)

    # --- within -----------------------------------------------------------------------------------------

    def find(self, environment: int, name: str) -> Registered | None:
        """What a name stands for here, held or not."""
        found = self._core.find_name(environment, name.encode())
        return None if found is None else Registered(*found)

    async def wait_unheld(self, environment: int, name: str) -> None:
        """Wait until nobody is spawning for a name here."""
        while (held := self._held.get((environment, name))) is not None:
            await held.wait()

    def commit(self, environment: int, name: str, node_id: int, pid: int) -> None:
        """A process was spawned for a name that was held for it."""
        if self._born_late is None:
            self._put(environment, name, node_id, pid)
        else:
            self._born_late(environment, name, node_id, pid)

    def _put(self, environment: int, name: str, node_id: int, pid: int) -> None:
        if not self._core.put_name(environment, name.encode(), node_id, pid, wall_clock_ms()):
            raise RefusedError(f"an environment has at most {MAX_NAMES} names of 128 MiB together")


@final
class _Held:
    """A name that this node's registry holds for a spawn (Reservation)."""

    def __init__(self, names: LocalNames, environment: int, name: str) -> None:
        self._names = names
        self._key = environment, name
        self.found = names.find(environment, name)

    def commit(self, node_id: int, pid: int) -> None:
        """See Reservation."""
        self._names.commit(*self._key, node_id, pid)
