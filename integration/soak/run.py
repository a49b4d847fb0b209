"""One soak from its beginning to its end."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from .cluster import open_cluster
from .faults import plan
from .inject import Injected, Injector
from .judge import Finding
from .workload import Workload

NODES = ("a", "b", "c")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Outcome:
    """What came of a soak."""

    seed: int
    minutes: float
    faults: list[Injected] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def soak(minutes: float, seed: int) -> Outcome:
    """Run one; raises RuntimeError where there can be no cluster."""
    outcome = Outcome(seed, minutes)
    with open_cluster(NODES, seed) as cluster:
        cluster.start(*NODES)
        workload = Workload(cluster.nodes)
        workload.begin()
        injector = Injector(cluster, workload)
        for fault in plan(seed, NODES, minutes * 60):
            outcome.faults.append(injector.inject(fault))
        _log.info("the end: every process finishes")
        begin_s = time.monotonic()
        workload.finish()
        _log.info("finished after %.1f s", time.monotonic() - begin_s)
        outcome.findings.extend(workload.judge())
        for work in workload.works:
            _log.debug(
                "%s: %s / %s", work.name, work.source.ledger.entries[-1:], work.target.ledger.entries[-1:]
            )
    return outcome
