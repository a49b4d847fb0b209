"""What is written about every step of every process, for whoever looks for a mistake in a program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

__all__ = ["Trace"]


@final
@dataclass(frozen=True, slots=True)
class Trace:
    """What a runtime writes to stderr, a line for each. Chosen when it starts: what is off costs nothing."""

    lives: bool
    """births and ends of processes"""
    calls: bool
    """their host calls, but those that wasmtime itself answers"""
    signals: bool
    """what other processes do to them"""
    as_json: bool
    """each line a JSON object, and not text for people"""
