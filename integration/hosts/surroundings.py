"""What a node finds around it, besides the network: how much disk and memory, and what the clock says."""

from __future__ import annotations

import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
"""where Debian's libfaketime is, which tells a program another time than the machine's"""

MEMORY_CGROUPS = Path("/sys/fs/cgroup/memory")
"""the memory controller of cgroups of the first version"""


class NotHereError(Exception):
    """These surroundings cannot be made on this machine; the text says why, and what would help."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`None` everywhere: what the machine has."""

    modules_bytes: int | None = None
    """the size of the disk that modules are kept on"""
    memory_bytes: int | None = None
    """memory of the node, beyond which the kernel ends it"""
    clock: str | None = None
    """as libfaketime has it: `-3600 x1.5` is an hour behind, and half as fast again"""
    image: str | None = None
    """another image than the usual one, of a container"""

    def environment(self) -> dict[str, str]:
        """The variables that make the clock. Raises NotHereError."""
        if self.clock is None:
            return {}
        if not FAKETIME.exists():
            raise NotHereError(f"{FAKETIME} is not here (Debian: apt-get install libfaketime)")
        # Monotonic clocks cannot be set on a real machine either.
        return {"LD_PRELOAD": str(FAKETIME), "FAKETIME": self.clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


ORDINARY = Surroundings()


@functools.cache
def why_no_memory_cgroups() -> str | None:
    """Why no process of this machine can be given less memory, or None."""
    probe = MEMORY_CGROUPS / "luna-test-probe"
    try:
        probe.mkdir(exist_ok=True)
        probe.rmdir()
    except OSError as error:
        return f"no memory cgroup can be made at {MEMORY_CGROUPS}: {error.strerror}"
    return None


@functools.cache
def why_no_private_mounts() -> str | None:
    """Why no process can have a file system of its own, or None."""
    done = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return f"no tmpfs can be mounted: {done.stderr.strip()}" if done.returncode else None
