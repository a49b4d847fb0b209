"""Which test a process belongs to, as far as that can be seen from the processes that live. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

__all__ = ["Families"]


@final
class Families:
    """The tests that run, and the processes that descend from them.

    A process knows its parent's pid only, so one whose parent died before anybody looked belongs to no test;
    unless just one test runs and none is being started: then everything is that test's.
    """

    def __init__(self) -> None:
        self._starting = 0
        self._running: set[int] = set()
        self._test_of: dict[int, int] = {}

    def begin(self) -> None:
        """A test is about to be started; from now on there may be processes of it."""
        self._starting += 1

    def add(self, test: int) -> None:
        """The test that was begun runs as the process `test`."""
        self._starting -= 1
        self._running.add(test)
        self._test_of[test] = test

    def remove(self, test: int) -> None:
        """A test is over and what it left behind is dead."""
        self._running.discard(test)
        self._test_of = {pid: owner for pid, owner in self._test_of.items() if owner != test}

    def left_behind(self, test: int, processes: Iterable[tuple[int, int]]) -> list[int]:
        """Those of the live `processes`, (pid, parent) in order of birth, that belong to `test`."""
        found = []
        for pid, parent in processes:
            owner = self._test_of.get(pid) or self._test_of.get(parent)
            if owner is not None:
                self._test_of[pid] = owner
            elif self._running == {test} and not self._starting:
                owner = test
            if owner == test:
                found.append(pid)
        return found
