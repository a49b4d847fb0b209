"""What goes wrong in a simulation, at random: each fault begins at some time and ends at another.

A gentle run has only faults that every session must survive: connections that break, interruptions shorter
than anybody's patience, slow readers. In the others anything may happen.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from unittest.mock import patch

from luna.cluster import link_layer
from luna.cluster.keeping import Timings

from .cluster import Cluster, sides_of
from .conversions import remembered_conversions
from .groups import SimulatedGroups
from .names import SimulatedNames
from .node import SimulatedNode
from .promises import Promises
from .services import Service

FAULTY_S = 14.0
"""seconds in which faults begin."""

SHORT_S = (0.02, 0.3)
MIDDLE_S = (0.3, 4.0)
LONG_S = (4.0, 16.0)
VERDICT = (0.35, 1.8)
"""of the timeout of a node: the fault ends when one side has given its verdict, and the other perhaps not"""

WINDOW_BYTES = 4096
WINDOW_FRAMES = 12
"""a window so small that it fills."""

SERVICES: tuple[Callable[[SimulatedNode], Service], ...] = (SimulatedNames, SimulatedGroups)
"""what lives on top of sessions; in some simulations, since it costs time"""

REST_S = 40.0
REST_PER_START_S = 4.0
"""seconds until a cluster has healed: the dead are tried one by one, those that never come back as well."""


class Faults:
    """The faults of one cluster."""

    def __init__(self, cluster: Cluster, *, gentle: bool) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._random = cluster.random
        self._gentle = gentle
        self._kinds: list[Callable[[float], None]] = [self.break_connections, self.flaky, self.slow, self.far]
        if gentle:
            self._kinds.append(self.cut)
        else:
            self._kinds += [
                self.cut, self.cut_one_way, self.split, self.split, self.isolate, self.freeze, self.crash,
                self.crash_unplugged, self.leave, self.replace,
            ]  # fmt: skip
        self._open: list[Callable[[], None]] = []
        self._over = False

    def run(self, count: int, during_s: float = FAULTY_S) -> None:
        """Let some faults begin, and undo all of them."""
        world = self._world
        for _ in range(count):
            world.after(self._random.uniform(0.0, during_s), None, self._begin)
        world.run_for(during_s + 2.0)
        self._over = True
        for undo in list(self._open):
            undo()
        for host in self._cluster.hosts:
            world.restart(host)

    def _begin(self) -> None:
        lengths = SHORT_S if self._gentle else self._random.choice([SHORT_S, MIDDLE_S, LONG_S, VERDICT])
        fault = self._random.choice(self._kinds)
        lasting_s = self._random.uniform(*lengths)
        if lengths is VERDICT:
            lasting_s *= self._world.timings.node_timeout_s
        if self._world.tracing:
            self._world.trace("FAULT", f"{fault.__name__} for {lasting_s:.2f} s")
        fault(lasting_s)

    def _until(self, lasting_s: float, undo: Callable[[], None]) -> None:
        def undo_once() -> None:
            if undo_once in self._open:
                self._open.remove(undo_once)
                undo()

        self._open.append(undo_once)
        self._world.after(lasting_s, None, undo_once)

    def _host(self) -> int:
        return self._random.choice(self._cluster.hosts)

    def _block(self, paths: list[tuple[int, int]], lasting_s: float) -> None:
        network = self._world.network
        if self._world.tracing:
            self._world.trace("FAULT", f"blocks {paths}")
        for path in paths:
            network.block(*path)

        def undo() -> None:
            if self._world.tracing:
                self._world.trace("FAULT", f"unblocks {paths}")
            for path in paths:
                network.unblock(*path)

        self._until(lasting_s, undo)

    # --- connections ------------------------------------------------------------------------

    def break_connections(self, lasting_s: float) -> None:
        """Some connections break, once."""
        network = self._world.network
        ends = list(network.ends)
        for end in self._random.sample(ends, min(len(ends), self._random.randint(1, 4))):
            network.reset(end)

    def flaky(self, lasting_s: float) -> None:
        """Connections of a host break again and again."""
        host, until_s = self._host(), self._world.now_s + 4 * lasting_s

        def again() -> None:
            if self._over:
                return
            network = self._world.network
            ends = [end for end in network.ends if end.node.host == host]
            if ends:
                network.reset(self._random.choice(ends))
            if self._world.now_s < until_s:
                self._world.after(self._random.uniform(0.03, 0.4), None, again)

        again()

    def slow(self, lasting_s: float) -> None:
        """A host reads slowly."""
        host, slow_hosts = self._host(), self._world.network.slow_hosts
        slow_hosts[host] = self._random.uniform(0.005, 0.05)
        self._until(lasting_s, lambda: void(slow_hosts.pop(host, None)))

    def far(self, lasting_s: float) -> None:
        """Two hosts get far from each other, in one direction."""
        path, extra = (self._host(), self._host()), self._world.network.extra_latency_s
        extra[path] = self._random.uniform(0.01, 0.06 if self._gentle else 0.4)
        self._until(lasting_s, lambda: void(extra.pop(path, None)))

    # --- paths ------------------------------------------------------------------------------

    def cut(self, lasting_s: float) -> None:
        """Two hosts do not reach each other."""
        if len(self._cluster.hosts) > 1:
            a, b = self._random.sample(self._cluster.hosts, 2)
            self._block([(a, b), (b, a)], lasting_s)

    def cut_one_way(self, lasting_s: float) -> None:
        """One host does not reach another, which reaches it."""
        if len(self._cluster.hosts) > 1:
            a, b = self._random.sample(self._cluster.hosts, 2)
            self._block([(a, b)], lasting_s)

    def split(self, lasting_s: float) -> None:
        """The hosts fall into two halves."""
        hosts = self._cluster.hosts
        side = self._random.sample(hosts, self._random.randint(1, max(1, len(hosts) // 2)))
        self._block(sides_of(hosts, side), lasting_s)

    def isolate(self, lasting_s: float) -> None:
        """A host is alone, in both directions or in one."""
        paths = sides_of(self._cluster.hosts, [self._host()])
        direction = self._random.choice([0, 1, None])
        self._block(paths if direction is None else paths[direction::2], lasting_s)

    # --- nodes ------------------------------------------------------------------------------

    def freeze(self, lasting_s: float) -> None:
        """A node stands still, and goes on."""
        node = self._cluster.nodes.get(self._host())
        if node is not None and not node.frozen:
            node.freeze()
            self._until(lasting_s, node.thaw)

    def crash(self, lasting_s: float) -> None:
        """A node's process ends; another is started on its host, at once or later."""
        host = self._host()
        node = self._cluster.nodes.get(host)
        if node is not None:
            node.crash()
            self._world.after(self._random.choice([0.05, lasting_s]), None, self._world.restart, host)

    def crash_unplugged(self, lasting_s: float) -> None:
        """A machine loses its power: nobody hears of it, until it runs again."""
        host = self._host()
        node = self._cluster.nodes.get(host)
        if node is not None:
            self._block(sides_of(self._cluster.hosts, [host]), lasting_s)
            node.crash()
            self._world.after(lasting_s + 0.1, None, self._world.restart, host)

    def replace(self, lasting_s: float) -> None:
        """A node stands still, one of its name is started on another host, and then it goes on."""
        host, spare = self._host(), len(self._cluster.hosts)
        node = self._cluster.nodes.get(host)
        if node is not None and not node.frozen and spare not in self._cluster.nodes:
            node.freeze()
            self._until(lasting_s, node.thaw)
            successor = self._cluster.start(spare, node.name)
            self._until(2 * lasting_s, successor.crash)

    def leave(self, lasting_s: float) -> None:
        """A node says goodbye; another is started on its host later."""
        host = self._host()
        node = self._cluster.nodes.get(host)
        if node is not None and not node.frozen:
            node.leave()
            self._world.after(max(lasting_s, 1.5), None, self._world.restart, host)


def never(host: int, peer_host: int) -> bool:
    """No session may end."""
    return False


def void(_: object) -> None:
    """Nothing comes of it."""


def simulate(seed: int, *, trace: bool = False) -> Promises:
    """One random simulation; raises Violation if a promise was broken."""
    random = Random(seed)
    gentle = random.random() < 0.25
    hosts = random.choices([2, 3, 4, 5, 7, 12], [22, 38, 25, 10, 4, 1])[0]
    timings = Timings() if gentle else Timings(random.choice([5.0, 5.0, 5.0, 2.0, 1.0, 12.0]))
    small_window = patch.multiple(link_layer, WINDOW_BYTES=WINDOW_BYTES, WINDOW_FRAMES=WINDOW_FRAMES)
    with small_window, remembered_conversions():
        cluster = Cluster(
            seed,
            hosts,
            timings=timings,
            rejoins=random.random() < 0.5,
            pause_s=random.choice([0.08, 0.16, 0.3]),
            trace=trace,
            services=SERVICES if random.random() < 0.3 else (),
        )
        world = cluster.world
        if not gentle:
            world.network.max_latency_s = random.choice([0.003, 0.003, 0.05])
            world.hop_s = random.choice([0.002, 0.002, 0.02]) if timings.node_timeout_s >= 5 else 0.002
        cluster.start_all()
        if gentle:
            world.promises.may_end = never
        count, during_s = random.randint(2, 9), FAULTY_S
        if random.random() < 0.05:
            count, during_s = 30, 5 * FAULTY_S
        Faults(cluster, gentle=gentle).run(count, during_s)
        cluster.rest(REST_S + REST_PER_START_S * world.started)
        return world.promises
