"""Carries out what `faults` plans: each fault on a running cluster, and its healing."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial

import grpc
from integration.hosts.fault_cluster import FaultCluster
from integration.node_process import NodeProcess, wait_for

from .faults import Fault, Kind
from .figures import METRICS
from .workload import Workload

RESET_PAUSE_S = 0.2
"""seconds between two resets of the connections of one pair"""
DELAY_S, LOSS = 0.03, 0.1
"""of a bad network: seconds each packet takes, and the share of them that is lost"""
PATIENCE_S = 120.0
"""seconds until a cluster without faults must be whole; it takes some at most"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault that happened: from when to when, and when all was whole again; seconds of the wall clock."""

    fault: Fault
    begin_s: float
    end_s: float
    whole_s: float


class Injector:
    """Makes faults on a cluster that works."""

    def __init__(self, cluster: FaultCluster, workload: Workload) -> None:
        self._cluster = cluster
        self._workload = workload

    def inject(self, fault: Fault) -> Injected:
        """Wait as long as it says, make it, end it, and wait until the cluster is whole.

        Raises AssertionError if that takes longer than PATIENCE_S.
        """
        time.sleep(fault.quiet_s)
        _log.info("%s, %.1f s", fault, fault.duration_s)
        begin_s = time.time()
        self._make(fault)
        end_s = time.time()
        self._cluster.network.heal()
        self._wait_whole()
        return Injected(fault, begin_s, end_s, time.time())

    def _make(self, fault: Fault) -> None:
        network, nodes = self._cluster.network, fault.nodes
        match fault.kind:
            case Kind.KILL | Kind.LEAVE:
                self._replace(nodes[0], fault)
            case Kind.PAUSE_SHORT | Kind.PAUSE_LONG:
                node = self._cluster.nodes[nodes[0]]
                node.pause()
                try:
                    time.sleep(fault.duration_s)
                finally:
                    node.resume()
            case Kind.PARTITION_SHORT | Kind.PARTITION_LONG:
                network.split(nodes, [name for name in self._cluster.nodes if name not in nodes])
                time.sleep(fault.duration_s)
            case Kind.CUT_ONE_WAY:
                network.cut_one_way(*nodes)
                time.sleep(fault.duration_s)
            case Kind.RESET:
                end = time.monotonic() + fault.duration_s
                while time.monotonic() < end:
                    network.reset(*nodes)
                    time.sleep(RESET_PAUSE_S)
            case Kind.DEGRADE:
                network.degrade(delay_s=DELAY_S, loss=LOSS)
                time.sleep(fault.duration_s)

    def _replace(self, name: str, fault: Fault) -> None:
        former: NodeProcess = self._cluster.nodes[name]
        if fault.kind is Kind.LEAVE:
            done = former.luna("leave")
            assert done.returncode == 0, done.stderr
            former.wait_exit()
        else:
            former.kill()
        self._workload.lose(former)
        time.sleep(fault.duration_s)
        self._cluster.start_one(name, *METRICS)
        self._wait_whole()
        self._workload.replace(self._cluster.nodes[name])

    def _wait_whole(self) -> None:
        names = list(self._cluster.nodes)
        for name, node in self._cluster.nodes.items():
            wait_for(partial(_sees, node, names), f"{name} sees {names}", PATIENCE_S)


def _sees(node: NodeProcess, names: list[str]) -> bool:
    try:
        return node.sees(*names)
    except grpc.RpcError:  # busy, or just thawed
        return False
