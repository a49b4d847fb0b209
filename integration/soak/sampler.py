"""Takes the figures of all nodes again and again, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from integration.node_process import NodeProcess

from .figures import Figures, FiguresError, take_figures

INTERVAL_S = 1.0
"""seconds from one sample of a node to the next"""

SETTLE_S = 1.0
"""seconds between two looks at a node that is to come to rest"""
PATIENCE_S = 60.0
"""seconds a node without work may take to come to rest: idle threads of its pools end after ten"""


class Sampler:
    """`samples` are the figures of each node over time, by its name. A frozen node has none for a while."""

    def __init__(self, nodes: Mapping[str, NodeProcess]) -> None:
        self.samples: dict[str, list[Figures]] = defaultdict(list)
        self._nodes = nodes
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ends.wait(INTERVAL_S):
            for name, node in list(self._nodes.items()):
                try:
                    self.samples[name].append(take_figures(node))
                except FiguresError:
                    continue


def settle(node: NodeProcess, is_settled: Callable[[Figures], bool]) -> Figures:
    """The figures of a node once they are as wanted, or after PATIENCE_S the ones there are then.

    Raises FiguresError if it does not tell them at all.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        figures = take_figures(node)
        if is_settled(figures) or time.monotonic() >= deadline:
            return figures
        time.sleep(SETTLE_S)
