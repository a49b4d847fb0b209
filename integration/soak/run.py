"""One soak from its beginning to its end."""

from __future__ import annotations

import logging
import time
from functools import partial

from integration.hosts.bed import keep_evidence, open_cluster
from integration.hosts.fault_cluster import FaultCluster

from .faults import plan
from .figures import METRICS
from .inject import Injector
from .leaks import has_settled, is_at_rest, judge_leaks
from .outcome import Outcome
from .sampler import Sampler, settle
from .workload import Workload

NODES = ("a", "b", "c")

WARM_UP_S = 4.0
"""seconds of each kind of work before the figures that nothing may exceed afterwards"""

_log = logging.getLogger(__name__)


def soak(minutes: float, seed: int, kind: str) -> Outcome:
    """Run one on hosts of that kind, as `integration.hosts.bed` has them. Raises EngineError."""
    outcome = Outcome(seed, minutes)
    with open_cluster(kind, NODES, seed) as cluster:
        cluster.start(*NODES, more=METRICS)
        _warm_up(cluster, outcome)
        workload = Workload(cluster.nodes)
        outcome.works = workload.works
        with Sampler(cluster.nodes) as sampler:
            outcome.samples = sampler.samples
            outcome.begin_s = time.time()
            workload.begin()
            injector = Injector(cluster, workload)
            for fault in plan(seed, NODES, minutes * 60):
                outcome.faults.append(injector.inject(fault))
            _log.info("the end: every process finishes")
            begin_s = time.monotonic()
            workload.finish()
            outcome.end_s = time.time()
            _log.info("finished after %.1f s", time.monotonic() - begin_s)
            outcome.findings.extend(workload.judge())
            for name, node in cluster.nodes.items():
                before = outcome.before[name]
                outcome.after[name] = settle(node, partial(has_settled, before))
                outcome.findings.extend(judge_leaks(name, before, outcome.after[name]))
        if outcome.findings:
            _log.info("the logs of all nodes are in %s", keep_evidence(cluster, "soak"))
    return outcome


def _warm_up(cluster: FaultCluster, outcome: Outcome) -> None:
    workload = Workload(cluster.nodes)
    workload.begin()
    time.sleep(WARM_UP_S)
    workload.finish()
    outcome.findings.extend(workload.judge())
    for name, node in cluster.nodes.items():
        outcome.before[name] = settle(node, is_at_rest)
