"""Rows of earlier interfaces: what they had besides today's, or with another type or meaning.

A row that has the name and the type of one of today's is for modules that also
import something only its own interface had.
"""

from __future__ import annotations

from typing import Final

from luna.scheduler._hostcall import HostCall

ROWS: Final[tuple[HostCall, ...]] = ()
