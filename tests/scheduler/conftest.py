"""Fixtures of the scheduler's tests: a runtime that is checked for leftovers, and the built guests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import wasmtime

from .lab import Lab, open_lab

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session", autouse=True)
def _compiling_threads() -> None:
    """The threads that wasmtime compiles with start now and stay: they are nobody's leftovers."""
    functions = "(func (nop))" * 64
    wasmtime.Module(wasmtime.Engine(), f"(module {functions})")


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    """A runtime without a cluster, of two scheduler threads."""
    async with open_lab(held=()) as lab:
        yield lab


@pytest.fixture(scope="session")
def built() -> Callable[[str], bytes]:
    """The bytes of a guest of examples/ or integration/guests/, by its name."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "build_guests.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return lambda name: (ROOT / "build" / "guests" / f"{name}.wasm").read_bytes()
