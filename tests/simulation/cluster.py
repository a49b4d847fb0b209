"""A simulated cluster with processes that talk, and the last act of every simulation: all must come to rest.

Owns what the guests do. Which faults they live through is decided by `faults` and by the scenarios.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

from luna.cluster.keeping import DEFAULT_TIMINGS, Timings

from .node import SimulatedNode
from .processes import Process
from .services import Service
from .world import World

PROCESSES_PER_NODE = 3

ACTIONS = {
    "send": 44, "burst": 6, "link": 9, "unlink": 3, "monitor": 12, "stop monitoring": 3, "exists": 5,
    "kill": 3, "die": 4, "spawn": 6,
}  # fmt: skip
"""what a guest does next, and how often of the sum"""

_NAMES, _WEIGHTS = list(ACTIONS), list(accumulate(ACTIONS.values()))

SERVICE_SHARE = 0.3
"""of what guests do that goes to services, if there are any"""

BURST = 60
"""messages in a burst: more than a queue takes before its senders are suspended."""

DRAIN_S = 3.0
"""seconds in which all that is under way arrives once the cluster has converged."""


class Cluster:
    """Nodes on hosts 0..n-1, and what their guests do."""

    def __init__(
        self,
        seed: int,
        hosts: int,
        *,
        timings: Timings = DEFAULT_TIMINGS,
        rejoins: bool = True,
        trace: bool = False,
        pause_s: float = 0.1,
        services: Sequence[Callable[[SimulatedNode], Service]] = (),
    ) -> None:
        """`pause_s`: seconds between two things that guests do, on average; `rejoins`: see SimulatedNode."""
        self.world = World(seed, timings=timings, trace=trace)
        self.world.start = self.start
        self.random = self.world.random
        self.hosts = list(range(hosts))
        self._rejoins = rejoins
        self._pause_s = pause_s
        self._services = services
        self._pids: list[int] = []
        self._resting = False
        self.act()

    @property
    def nodes(self) -> dict[int, SimulatedNode]:
        """The running nodes by host."""
        return self.world.running

    def start(self, host: int, name: str | None = None, *, skew_s: float = 0.0) -> SimulatedNode:
        """Start a node with some processes, which joins two others; if no name is given, that of its host.

        `skew_s`: how far its clock is ahead.
        """
        others = [other for other in self.hosts if other != host]
        seeds = self.random.sample(others, min(2, len(others)))
        node = SimulatedNode(self.world, host, seeds, rejoins=self._rejoins, name=name, skew_s=skew_s)
        node.services = [service(node) for service in self._services]
        for _ in range(PROCESSES_PER_NODE):
            self._spawn(node)
        return node

    def start_all(self, *, within_s: float = 0.5, formed_within_s: float = 30.0) -> None:
        """Start a node on every host, and wait until they are a cluster."""
        for host in self.hosts:
            self.world.after(self.random.uniform(0.0, within_s), None, self.world.restart, host)
        self.world.run_for(within_s)
        self.converge(formed_within_s)

    # --- guests -----------------------------------------------------------------------------

    def _spawn(self, node: SimulatedNode) -> None:
        process = node.core.spawn(survives=self.random.random() < 0.6)
        self._pids.append(process.pid)
        if len(self._pids) > 200:
            del self._pids[:100]

    def act(self) -> None:
        """Have a process do something, and the next one later."""
        if self._resting:
            return
        random = self.random
        self.world.after(random.expovariate(1 / self._pause_s), None, self.act)
        nodes = [node for node in self.world.nodes() if not node.frozen]
        if not nodes:
            return
        node = random.choice(nodes)
        processes = [process for process in node.core.processes.values() if process.waits_for is None]
        if not processes:
            if len(node.core.processes) < PROCESSES_PER_NODE:
                self._spawn(node)
            return
        if node.services and random.random() < SERVICE_SHARE:
            random.choice(node.services).act()
            return
        target = random.choice(self._pids)
        self._do(node, random.choice(processes), target, random.choices(_NAMES, cum_weights=_WEIGHTS)[0])

    def _do(self, node: SimulatedNode, process: Process, target: int, action: str) -> None:
        if action == "spawn" or len(node.core.processes) < 2:
            if len(node.core.processes) < 3 * PROCESSES_PER_NODE:
                self._spawn(node)
        elif action == "die":
            process.die(self.random.choice(["normal", "failure"]))
        elif target == process.pid:
            pass
        elif action == "send":
            process.send_message(target)
        elif action == "burst":
            for _ in range(BURST):
                if process.waits_for is None:
                    process.send_message(target)
        elif action == "link":
            # One side of a pair only: a link that crosses an unlink is either, as both sides see it.
            if process.pid < target and target not in process.links:
                process.link(target)
        elif action == "unlink":
            mine = [peer for peer in process.links if process.pid < peer]
            if mine:
                process.unlink(self.random.choice(mine))
        elif action == "monitor":
            if target not in process.watching:
                process.monitor(target)
        elif action == "stop monitoring":
            if process.watching:
                process.stop_monitoring(self.random.choice(list(process.watching)))
        elif action == "exists":
            process.ask_exists(target)
        elif action == "kill":
            process.kill(target)

    # --- coming to rest ---------------------------------------------------------------------

    def converge(self, within_s: float) -> None:
        """Wait until every running node is a member for every other, with one session for each pair."""
        world = self.world
        if not world.run_until_true(world.promises.is_converged, within_s):
            world.promises.broken(f"not converged after {within_s:.0f} s: {world.promises.difference()}")

    def rest(self, within_s: float) -> None:
        """No faults any more: the cluster converges, everything arrives, and nobody waits for ever."""
        self.converge(within_s)
        self._resting = True
        self.world.run_for(DRAIN_S)
        self.converge(within_s)
        self.world.promises.check_at_rest()
        self._check_services()
        self._check_everybody_reaches_everybody()

    def _check_services(self) -> None:
        nodes = {node.id: node for node in self.world.nodes()}
        services = [(node, service) for node in nodes.values() for service in node.services]
        for _, service in services:
            service.begin_check()
        if services:
            self.world.run_for(DRAIN_S)
        for node, service in services:
            problem = service.check(nodes)
            if problem is not None:
                self.world.promises.broken(f"{node}: {problem}")

    def _check_everybody_reaches_everybody(self) -> None:
        nodes = self.world.nodes()
        before, expected = self.world.promises.messages, 0
        for node in nodes:
            sender = node.core.spawn(survives=True)
            for other in nodes:
                if other is not node:
                    sender.send_message(other.core.spawn(survives=True).pid)
                    expected += 1
        self.world.run_for(DRAIN_S)
        arrived = self.world.promises.messages - before
        if arrived != expected:
            self.world.promises.broken(
                f"of {expected} messages, one for each pair of nodes, {arrived} arrived"
            )


def sides_of(hosts: Sequence[int], side: Sequence[int]) -> list[tuple[int, int]]:
    """Every path, in both directions, between one side and the rest."""
    rest = [host for host in hosts if host not in side]
    return [pair for a in side for b in rest for pair in ((a, b), (b, a))]
