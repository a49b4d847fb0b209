"""Tasks of services that outlive the host call that began them, and end with the runtime."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVarTuple, Unpack, final

import structlog
import trio

__all__ = ["Background"]

Args = TypeVarTuple("Args")
_log = structlog.get_logger("luna.runtime")


@final
class Background:
    """Where such tasks run. For one trio thread."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run tasks until cancelled; the runtime starts it."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def start(self, name: str, task: Callable[[Unpack[Args]], Awaitable[None]], *args: *Args) -> bool:
        """Start a task; False once the runtime has stopped. An exception is logged and ends nothing else."""
        if self._nursery is None:
            return False
        self._nursery.start_soon(_run_logged, name, task, *args, name=name)
        return True


async def _run_logged(name: str, task: Callable[[Unpack[Args]], Awaitable[None]], *args: *Args) -> None:
    try:
        await task(*args)
    except Exception:
        # A guest must not take the node down with a bug of ours.
        _log.exception("background task failed", task=name)
