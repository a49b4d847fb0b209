"""A fake clock, one seed, and the hosts of a simulated cluster: what everything in a simulation happens in.

Owns the order of events and which node runs on which host. Every random choice of a simulation comes from
`World.random`, so one seed gives one run. Knows no protocol: nodes are made by whoever builds the world.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from luna.cluster.keeping import DEFAULT_TIMINGS, Timings

from .network import Network
from .promises import Promises, Violation

if TYPE_CHECKING:
    from .node import SimulatedNode

HOP_S = 0.002
"""seconds, at most, from one thread of a node to the other, if nothing else is said."""

TURN_S = 0.003
"""seconds, at most, until a process that got a signal runs."""

MAX_EVENTS_PER_S = 100_000
"""events in one simulated second; beyond it the cluster keeps itself busy."""


class World:
    """The clock and the hosts of one simulation."""

    def __init__(self, seed: int, *, timings: Timings = DEFAULT_TIMINGS, trace: bool = False) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.timings = timings
        self.now_s = 0.0
        self.tracing = trace
        self.network = Network(self)
        self.promises = Promises(self)
        self.running: dict[int, SimulatedNode] = {}
        """by host"""
        self.hop_s = HOP_S
        self.started = 0
        self.names_given: Counter[str] = Counter()
        self.start: Callable[[int], SimulatedNode]
        """Start a node on a host; set by whoever builds the world."""
        self._used_ids: dict[int, int] = {}  # to the host
        self._events: list[tuple[float, int, SimulatedNode | None, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self.events_done = 0

    # --- time -------------------------------------------------------------------------------

    def at(self, at_s: float, owner: SimulatedNode | None, action: Callable[..., None], *args: Any) -> None:
        """Call `action` at a time: later if its owner is frozen then, not at all if it has stopped."""
        self._order += 1
        heapq.heappush(self._events, (at_s, self._order, owner, action, args))

    def after(
        self, delay_s: float, owner: SimulatedNode | None, action: Callable[..., None], *args: Any
    ) -> None:
        """Call `action` after a delay."""
        self._order += 1
        heapq.heappush(self._events, (self.now_s + delay_s, self._order, owner, action, args))

    def hop(self, owner: SimulatedNode, action: Callable[..., None], *args: Any) -> None:
        """Call `action` in another thread of a node."""
        self._order += 1
        at_s = self.now_s + self.random.random() * self.hop_s
        heapq.heappush(self._events, (at_s, self._order, owner, action, args))

    def run_until(self, end_s: float) -> None:
        """Let time pass."""
        events = self._events
        second, done = int(self.now_s), 0
        while events and events[0][0] <= end_s:
            at_s, _, owner, action, args = heapq.heappop(events)
            self.now_s = at_s
            done += 1
            if done > MAX_EVENTS_PER_S:
                if int(at_s) == second:
                    raise Violation(f"livelock: {done} events in second {second}, the last {action!r}")
                second, self.events_done, done = int(at_s), self.events_done + done, 0
            if owner is not None:
                if owner.stopped:
                    continue
                if owner.frozen:
                    owner.deferred.append((action, args))
                    continue
            action(*args)
        self.events_done += done
        self.now_s = end_s

    def run_for(self, seconds: float) -> None:
        """Let some time pass."""
        self.run_until(self.now_s + seconds)

    def run_until_true(self, condition: Callable[[], bool], within_s: float, step_s: float = 0.5) -> bool:
        """Let time pass until a condition holds, looking every step; False if it does not in that time."""
        end_s = self.now_s + within_s
        while not condition():
            if self.now_s >= end_s:
                return False
            self.run_for(step_s)
        return True

    # --- hosts ------------------------------------------------------------------------------

    def draw_id(self, host: int) -> int:
        """A node id that no node of this world has had."""
        while True:
            node_id = self.random.randrange(1, 1 << 23)
            if node_id not in self._used_ids:
                self._used_ids[node_id] = host
                return node_id

    def restart(self, host: int) -> None:
        """Start a node on a host, unless one runs there."""
        if host not in self.running:
            self.start(host)

    def nodes(self) -> list[SimulatedNode]:
        """The nodes that run, frozen ones among them."""
        return list(self.running.values())

    def host_of_id(self, node_id: int) -> int:
        """The host on which a node was started, which need not run any more."""
        return self._used_ids[node_id]

    def node_of(self, pid: int) -> SimulatedNode | None:
        """The running node that a process belongs to."""
        node_id = pid >> 40
        for node in self.running.values():
            if node.id == node_id:
                return node
        return None

    def trace(self, who: object, what: str) -> None:
        """Print what happens; call it only if `tracing`."""
        print(f"{self.now_s:9.4f} {who!s:>8} {what}")
