"""How guests say how long to wait, and how they are told that it was too long."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["FOREVER", "TIMED_OUT", "seconds_of"]

FOREVER: Final = -1
"""milliseconds, as the signed i64 a guest passes: all bits set, wait without end"""
TIMED_OUT: Final = 9027
"""result code of every wait that timed out"""


def seconds_of(milliseconds: float) -> float:
    """Seconds of a guest's unsigned 64-bit milliseconds, read as signed; infinity for FOREVER."""
    if milliseconds == FOREVER:
        return math.inf
    return (int(milliseconds) & 0xFFFF_FFFF_FFFF_FFFF) / 1000
