"""What is known of processes besides what the core knows: how they ended, what they printed.

The core forgets a process when it ends. Here the ends of watched processes and
the logs of the last ones that printed are kept, and readers of logs wait. For
one trio thread.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice
from typing import final

import trio

from luna.proto.errors import ClosedError, NotFoundError
from luna.proto.limits import DEAD_LOGS_KEPT
from luna.scheduler._core import Core
from luna.scheduler._handles import NativeOutput
from luna.scheduler.births import Birth, Spawn
from luna.scheduler.facts import ExitStatus
from luna.scheduler.logs import LogReader

__all__ = ["Lives"]


@final
@dataclass(slots=True)
class _Watched:
    output: NativeOutput
    done: trio.Event
    status: ExitStatus | None = None  # None still when done: the runtime stopped first


@final
@dataclass(frozen=True, slots=True)
class _Ended:
    output: NativeOutput
    status: ExitStatus


@final
class Lives:
    """The processes of one runtime that somebody watches, and the last that have ended."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._watched: dict[int, _Watched] = {}
        self._followers: dict[int, NativeOutput] = {}
        self._ended: OrderedDict[int, _Ended] = OrderedDict()
        self._readers: dict[int, set[trio.Event]] = {}
        self._spawning: set[int] = set()  # pids nobody could ask for yet

    def add(self, spawn: Spawn, birth: Birth) -> None:
        """A process was started: watch it, and keep its follower for who will read it."""
        self._spawning.add(birth.pid)
        if spawn.watch:
            self._watched[birth.pid] = _Watched(birth.output, trio.Event())
        if spawn.follow:
            self._followers[birth.pid] = birth.output

    def disown(self, pid: int) -> None:
        """Nobody will ever ask for this process: its spawn failed."""
        self._spawning.discard(pid)
        self._watched.pop(pid, None)
        self._followers.pop(pid, None)

    def spawned(self, pid: int) -> None:
        """Its spawn returns: who asked for it can now ask about it."""
        self._spawning.discard(pid)

    def ended(self, pid: int, status: ExitStatus, output: NativeOutput) -> None:
        """A process has ended; of those kept the oldest are forgotten, unless their spawn is not over."""
        self._ended[pid] = _Ended(output, status)
        watched = self._watched.pop(pid, None)
        if watched is not None:
            watched.status = status
            watched.done.set()
        surplus = islice(self._ended, max(0, len(self._ended) - DEAD_LOGS_KEPT))
        for forgotten in [old for old in surplus if old not in self._spawning]:
            del self._ended[forgotten]
            self._followers.pop(forgotten, None)

    def printed(self, pid: int) -> None:
        """There is something to read in a log, or its end."""
        for reader in self._readers.get(pid, ()):
            reader.set()

    def close(self) -> None:
        """The runtime has stopped: nothing more will happen to any process."""
        for watched in self._watched.values():
            watched.done.set()
        for pid in self._readers:
            self.printed(pid)

    async def wait_exit(self, pid: int) -> ExitStatus:
        """See `Runtime.wait_exit`."""
        watched = self._watched.get(pid)
        if watched is not None:
            await watched.done.wait()
            if watched.status is None:
                raise ClosedError("the runtime has stopped")
            return watched.status
        await trio.lowlevel.checkpoint()
        status = self.exit_status(pid)
        if status is None:
            raise NotFoundError(f"process {pid} was not spawned by this runtime's owner")
        return status

    def exit_status(self, pid: int) -> ExitStatus | None:
        """See `Runtime.exit_status`."""
        ended = self._ended.get(pid)
        if ended is not None:
            return ended.status
        if pid in self._watched or self._core.exists(pid):
            return None
        raise NotFoundError(f"there is no process {pid}, or it ended long ago")

    def reader(self, pid: int, *, follow: bool) -> LogReader:
        """See `Runtime.logs`."""
        follower = self._followers.pop(pid, None) if follow else None
        if follower is not None:
            return LogReader(follower, self._readers, pid)
        if pid in self._watched:
            output: NativeOutput | None = self._watched[pid].output
        elif pid in self._ended:
            output = self._ended[pid].output
        else:
            output = self._core.output_of(pid)
        if output is None:
            raise NotFoundError(f"there is no process {pid}, or it ended long ago")
        return LogReader(output.follow() if follow else output, self._readers, pid)

    def forget_follower(self, pid: int) -> None:
        """See `Runtime.forget_follower`."""
        follower = self._followers.pop(pid, None)
        if follower is not None:
            follower.unfollow()
