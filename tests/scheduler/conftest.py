"""Fixtures of the scheduler's tests: a runtime that is checked for leftovers, and the built guests."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import trio

from luna.scheduler import open_runtime

from .lab import Lab, open_lab
from .pump import Pump, open_pump
from .wat import guest

PRINT = '(func (export "_start") (drop (wasi.fd_write 1:i32 0:i32 0:i32 8:i32)))' + "(func (nop))" * 64
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session", autouse=True)
def _what_stays() -> Iterator[None]:
    """Threads and descriptors that wasmtime opens at first use, for as long as the OS process lives."""

    async def print_once() -> None:
        async with open_runtime(threads=1) as runtime:
            module = await runtime.load_module(guest(PRINT), "print")
            await runtime.wait_exit(await runtime.spawn(module))

    trio.run(print_once)
    gc.collect()
    gc.freeze()  # each test collects twice, and most objects are pytest's own
    yield
    gc.unfreeze()


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    """A runtime without a cluster, of two scheduler threads."""
    async with open_lab(held=()) as lab:
        yield lab


@pytest.fixture
async def pump() -> AsyncIterator[Pump]:
    """Two connected runtimes."""
    async with open_pump() as pump:
        yield pump


@pytest.fixture(scope="session")
def built() -> Callable[[str], bytes]:
    """The bytes of a guest of examples/ or integration/guests/, by its name."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "build_guests.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return lambda name: (ROOT / "build" / "guests" / f"{name}.wasm").read_bytes()
