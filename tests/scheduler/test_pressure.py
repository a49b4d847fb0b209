"""Looking after the machine's memory."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from luna.scheduler import pressure

from .lab import Lab


@contextmanager
def _no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_node_without_descriptors_goes_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pressure, "CHECK_S", 0.005)
    monkeypatch.setattr(pressure, "PROCESSES", 0)
    with _no_descriptor_left():
        with pytest.raises(OSError, match="Too many open files"):
            pressure.available_memory()
        await trio.sleep(0.5)  # what was wrong ended the runtime's tasks, and with them the test
    await lab.passes('(func (export "_start"))')
