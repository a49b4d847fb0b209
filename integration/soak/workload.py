"""The mixed workload: which processes run on which nodes, before, during and after faults.

Owns the pairs of processes: begun for each two nodes, orphaned when a node ends, finished at the end.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from integration.node_process import NodeProcess

from .follow import Followed
from .judge import COMPLETE, Finding, judge_pair
from .ledger import Pair

KIB = 1024

FINISH_S = 120.0
"""seconds a pair may take to come to its end on a healthy cluster: all that waits must get through before"""

FLOOD = (64, 2 * KIB, 50, 50)
"""a flood's messages: bytes, from and to; how many at a time; milliseconds between: near 1000 a second"""
BULK = (64 * KIB, 1024 * KIB, 1, 1000)
"""large messages, likewise"""
CHAT_PAUSE_MS = 10
"""milliseconds between an answer and the next question"""


@dataclass(slots=True)
class Work:
    """Two processes that work together."""

    name: str
    source: Followed
    target: Followed
    answers: bool

    @property
    def pair(self) -> Pair:
        """For the judge."""
        return Pair(self.name, self.source.ledger, self.target.ledger, self.answers)

    def runs_on(self, node: NodeProcess) -> bool:
        """Whether one of the two does."""
        return node in (self.source.node, self.target.node)


class Workload:
    """Everything that runs on a cluster for one soak."""

    def __init__(self, nodes: Mapping[str, NodeProcess]) -> None:
        self._nodes = nodes
        self.works: list[Work] = []
        self._orphaned: list[Work] = []

    def begin(self) -> None:
        """Start every kind of work between all nodes."""
        for one, other in itertools.permutations(self._nodes, 2):
            self.works.extend(self._between(self._nodes[one], self._nodes[other]))

    def lose(self, node: NodeProcess) -> None:
        """A node has ended, and its processes with it."""
        for work in self._with(node):
            for followed in (work.source, work.target):
                if followed.node is node:
                    followed.lose()
            self._orphaned.append(work)

    def replace(self, node: NodeProcess) -> None:
        """A node runs in the place of one that ended: start its work, and end what worked with the former."""
        for name in self._nodes:
            other = self._nodes[name]
            if other is not node:
                self.works.extend((*self._between(node, other), *self._between(other, node)))
        for work in self._orphaned:
            for followed in (work.source, work.target):
                if not followed.ledger.is_lost and followed.node.process.poll() is None:
                    followed.stop(orphaned=True)
        self._orphaned.clear()

    def finish(self) -> None:
        """Have all come to their ends; waits until they have, at most FINISH_S."""
        for work in self.works:
            if not work.source.ledger.has_ended and not work.source.ledger.is_lost:
                work.source.stop(orphaned=False)
        deadline = time.monotonic() + FINISH_S
        for work in self.works:
            for followed in (work.source, work.target):
                followed.join(max(0.0, deadline - time.monotonic()))

    def judge(self) -> Iterator[Finding]:
        """Whatever is wrong with the ledgers."""
        for work in self.works:
            yield from judge_pair(work.pair)
            for followed in (work.source, work.target):
                if followed.problem:
                    yield Finding(COMPLETE, f"{followed.ledger.process} of {work.name}: {followed.problem}")

    def _with(self, node: NodeProcess) -> list[Work]:
        return [work for work in self.works if work.runs_on(node)]

    def _between(self, source: NodeProcess, target: NodeProcess) -> Iterator[Work]:
        yield self._work("flood", source, target, "sink", *FLOOD)
        yield self._work("bulk", source, target, "sink", *BULK)
        yield self._work("chat", source, target, "answerer", CHAT_PAUSE_MS)

    def _work(self, kind: str, source: NodeProcess, target: NodeProcess, takes: str, *params: int) -> Work:
        taker = Followed(target, takes)
        sender = Followed(source, "asker" if kind == "chat" else "flood", taker.pid, *params)
        return Work(f"{kind} {source.name} -> {target.name}", sender, taker, answers=kind == "chat")
