"""What a runtime tells about its processes: how they ended, what lives, how much was done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import final

__all__ = ["ExitKind", "ExitStatus", "ProcessInfo", "RuntimeStatistics"]


class ExitKind(IntEnum):
    """How a process ended; the numbers of luna.v1.ExitKind."""

    NORMAL = 0
    FAILURE = 1
    KILLED = 2
    LINK_DIED = 3
    NO_PROCESS = 4
    NO_CONNECTION = 5


@final
@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended."""

    kind: ExitKind
    code: int
    """what a shell sees: 0, N of proc_exit(N), or 1."""
    reason: str
    """for people."""


@final
@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """A live process, as it was a moment ago."""

    pid: int
    parent: int
    environment: int
    """whose processes it can reach by their pids, and names it knows"""
    module: str
    entry: str
    state: str
    messages: int
    memory_bytes: int
    age_ms: int


@final
@dataclass(frozen=True, slots=True)
class RuntimeStatistics:
    """Counters of a runtime. All but `processes` and `threads` only grow."""

    processes: int
    threads: int
    spawned: int
    exited: int
    messages_sent: int
    messages_sent_remote: int
    preempted: int
