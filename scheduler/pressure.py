"""Refuses new processes while the machine is short of memory.

A guest that spawns without end would otherwise have the kernel kill the node.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trio

from luna.scheduler._core import Core

__all__ = ["available_memory", "watch_memory"]

CHECK_S: Final = 0.25
"""seconds between looks while many processes live."""
PROCESSES: Final = 1000
"""processes below which memory is not watched: an idle node stays idle."""
FRACTION: Final = 0.1
"""of the machine's memory; with less available no guest can spawn."""


async def watch_memory(core: Core) -> None:
    """Keep the core's memory pressure up to date until cancelled."""
    while True:
        await trio.sleep(CHECK_S)
        if core.counters()["processes"] < PROCESSES:
            core.set_pressure(False)
            continue
        try:
            available, total = available_memory()
        except OSError:
            continue  # no descriptor is left for the file: what was last known still counts
        core.set_pressure(available < total * FRACTION)


def available_memory() -> tuple[int, int]:
    """(available, total) kibibytes of this machine, as Linux's /proc/meminfo says. Raises OSError."""
    values = {}
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        key, _, rest = line.partition(":")
        values[key] = int(rest.split()[0])
    return values["MemAvailable"], values["MemTotal"]
