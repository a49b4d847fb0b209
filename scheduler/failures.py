"""Telling the log of processes that failed, also of those nobody watches.

The core tells of some failures of each second in full and counts the others
(`_failure.pyx`); here they become records of the log. For one trio thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

import structlog
import trio

from luna.proto.ids import LOCAL_NODE_ID, node_of, serial_of
from luna.scheduler.reasons import NAME_SHOWN, explain, plain

__all__ = ["Failures"]

NAMES_SHOWN: Final = 3
"""names of one process that are shown; it has one, as a rule. NAMES_TOLD of `_names.pyx`."""
FLOOD_S: Final = 1.0
"""seconds in which failures beyond those told in full are counted, before their number is told."""

_log = structlog.get_logger("luna.process")


@final
class Failures:
    """What the log is told of failed processes of one runtime."""

    def __init__(self, take_counted: Callable[[], int]) -> None:
        """`take_counted()` is how many more failed."""
        self._take_counted = take_counted

    def tell(self, pid: int, links: int, named: int, names: Sequence[str], reason: str) -> None:
        """A process failed that was linked to so many others, and had so many names, these the first."""
        first, _, frames = explain(reason).partition("\n")
        details: dict[str, object] = {}
        if node_of(pid) != LOCAL_NODE_ID:
            details["pid"] = pid
        if links:
            details["links"] = links
        if frames:
            details["stack"] = frames
        _log.warning(f"process {_called(pid, named, names)} failed: {first}", **details)

    async def tell_flood(self) -> None:
        """More fail than are told in full: tell after a while how many they were."""
        await trio.sleep(FLOOD_S)
        self.tell_counted()

    def tell_counted(self) -> None:
        """Tell how many processes failed that were not told of."""
        count = self._take_counted()
        if count:
            _log.warning(f"and {count} more process{'es' if count > 1 else ''} failed")


def _called(pid: int, named: int, names: Sequence[str]) -> str:
    """The number of a process on its node, and its names."""
    shown = [_shortened(name) for name in names[:NAMES_SHOWN]]
    if named > len(shown):
        shown.append(f"and {named - len(shown)} more names")
    return " ".join([str(serial_of(pid)), *shown])


def _shortened(name: str) -> str:
    """A name as it is shown: those that guest libraries make of type names may fill pages."""
    text = plain(name)
    return f'"{text[:NAME_SHOWN]}..."' if len(text) > NAME_SHOWN else f'"{text}"'
