"""How many files this OS process may have open, which bounds sockets and directories of guests."""

from __future__ import annotations

import resource
from typing import Final

__all__ = ["raise_descriptor_limit"]

DESCRIPTORS: Final = 1 << 20
"""Descriptors asked for: a million processes with a socket or a directory each; Linux' usual ceiling."""


def raise_descriptor_limit() -> None:
    """Take as many descriptors as the system gives, up to `DESCRIPTORS`.

    Shells give 1024, for the sake of programs that use select(); a process that uses files holds one for each
    of its directories.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
