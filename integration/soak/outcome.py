"""What came of a soak: everything that its report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .figures import Figures
from .inject import Injected
from .judge import Finding
from .workload import Work


@dataclass(slots=True)
class Outcome:
    """Filled while the soak runs; times are seconds of the wall clock, figures by the name of the node."""

    seed: int
    minutes: float
    begin_s: float = 0.0
    end_s: float = 0.0
    faults: list[Injected] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    works: Sequence[Work] = ()
    samples: Mapping[str, Sequence[Figures]] = field(default_factory=dict)
    before: dict[str, Figures] = field(default_factory=dict)
    after: dict[str, Figures] = field(default_factory=dict)
