"""The mixed workload: which processes run on which nodes, before, during and after faults.

Owns the processes: begun on all nodes and between each two, orphaned when a node ends, finished at the end.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from integration.node_process import NodeProcess

from .follow import Followed
from .judge import COMPLETE, Finding, judge_pair
from .judge_others import judge_holders, judge_names, judge_nursery, judge_timers
from .ledger import Ledger, Pair

KIB = 1024

FINISH_S = 120.0
"""seconds all may take to come to their ends on a healthy cluster: what waits must get through before"""

FLOOD = (64, 2 * KIB, 50, 50)
"""a flood's messages: bytes, from and to; how many at a time; milliseconds between: near 1000 a second"""
BULK = (64 * KIB, 1024 * KIB, 1, 1000)
"""large messages, likewise"""
CHAT_PAUSE_MS = 10
"""milliseconds between an answer and the next question"""
TIMERS_PAUSE_MS = 500
"""milliseconds between two rounds of timers"""
BRIEF, BRIEF_PAUSE_MS = 0, 10
"""children that greet and end: their kind, and milliseconds between two births"""
CRASHING, CRASHING_PAUSE_MS = 1, 200
"""children that greet and trap"""
NAMES_PAUSE_MS = 50
"""milliseconds between two rounds of names"""


@dataclass(frozen=True, slots=True)
class Work:
    """Some processes that work together; the first one leads, and is asked to finish."""

    kind: str
    name: str
    parts: Sequence[Followed]
    judge: Callable[[], Iterator[Finding]]


class Workload:
    """Everything that runs on a cluster for one soak."""

    def __init__(self, nodes: Mapping[str, NodeProcess]) -> None:
        self.works: list[Work] = []
        self._nodes = nodes
        self._orphans: list[Followed] = []
        self._views: list[Ledger] = []

    def begin(self) -> None:
        """Start every kind of work on all nodes, and between each two."""
        for node in self._nodes.values():
            self.works.extend(_on(node))
        for one, other in itertools.permutations(self._nodes.values(), 2):
            self.works.extend(_between(one, other))

    def lose(self, node: NodeProcess) -> None:
        """A node has ended, and its processes with it."""
        for work in self.works:
            lost = [part for part in work.parts if part.node is node]
            for part in lost:
                part.lose()
            if lost:
                self._orphans.extend(part for part in work.parts if part.node is not node)

    def replace(self, node: NodeProcess) -> None:
        """A node runs in the place of one that ended: start its work, and end what worked with the former."""
        self.works.extend(_on(node))
        for other in self._nodes.values():
            if other is not node:
                self.works.extend((*_between(node, other), *_between(other, node)))
        for orphan in self._orphans:
            if not orphan.ledger.is_lost:
                orphan.stop(orphaned=True)
        self._orphans.clear()

    def finish(self) -> None:
        """Have all come to their ends; waits until they have, at most FINISH_S."""
        deadline = time.monotonic() + FINISH_S
        for work in self.works:
            if not any(part.ledger.is_lost for part in work.parts):
                work.parts[0].stop(orphaned=False)
        for work in self.works:
            _join(work.parts, deadline)
        views = [Followed(node, "holders", 0) for node in self._nodes.values()]
        _join(views, deadline)
        self._views = [view.ledger for view in views]
        _join([Followed(node, "holders", 1) for node in self._nodes.values()], deadline)

    def judge(self) -> Iterator[Finding]:
        """Whatever is wrong with the ledgers."""
        yield from judge_holders(self._views)
        for work in self.works:
            yield from work.judge()
            for part in work.parts:
                if part.problem:
                    yield Finding(COMPLETE, f"{part.ledger.process} of {work.name}: {part.problem}")


def _join(parts: Sequence[Followed], deadline: float) -> None:
    for part in parts:
        part.join(max(0.0, deadline - time.monotonic()))


def _on(node: NodeProcess) -> Iterator[Work]:
    yield _alone(
        "spawns", node, ("nursery", BRIEF, BRIEF_PAUSE_MS), partial(judge_nursery, is_crashing=False)
    )
    yield _alone(
        "crashes", node, ("nursery", CRASHING, CRASHING_PAUSE_MS), partial(judge_nursery, is_crashing=True)
    )
    yield _alone("names", node, ("names", NAMES_PAUSE_MS), judge_names)


def _between(source: NodeProcess, target: NodeProcess) -> Iterator[Work]:
    yield _pair("flood", source, ("flood", *FLOOD), target, "sink", judge_pair)
    yield _pair("bulk", source, ("flood", *BULK), target, "sink", judge_pair)
    yield _pair("chat", source, ("asker", CHAT_PAUSE_MS), target, "answerer", judge_pair)
    yield _pair("timers", source, ("timers", TIMERS_PAUSE_MS), target, "clock", judge_timers)


Call = tuple[str, *tuple[int, ...]]
"""a function of the guest, and its parameters"""


def _alone(
    kind: str,
    node: NodeProcess,
    call: Call,
    judge: Callable[[Ledger], Iterator[Finding]],
) -> Work:
    entry, *params = call
    process = Followed(node, entry, *params)
    return Work(kind, f"{kind} on {node.name}", [process], partial(judge, process.ledger))


def _pair(
    kind: str,
    source: NodeProcess,
    call: Call,
    target: NodeProcess,
    takes: str,
    judge: Callable[[Pair], Iterator[Finding]],
) -> Work:
    entry, *params = call
    name = f"{kind} {source.name} -> {target.name}"
    taker = Followed(target, takes)
    sender = Followed(source, entry, taker.pid, *params)
    pair = Pair(name, sender.ledger, taker.ledger, answers=kind == "chat")
    return Work(kind, name, [sender, taker], partial(judge, pair))
