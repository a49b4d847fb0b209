"""Libraries that take long to load are loaded when a guest first uses what needs them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import trio
from tests.scheduler.lab import Lab

from luna.scheduler import Request
from luna.scheduler.services.late import LateService


def test_the_scheduler_loads_none_of_them() -> None:
    heavy = ("apsw", "cryptography")
    code = f"import sys, luna.scheduler; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


class Doubler:
    def __init__(self) -> None:
        self.calls = 0

    def install(self, set_handler: Callable[..., None]) -> None:
        set_handler("lunatic::distributed", "nodes_count", self._now)
        set_handler("lunatic::distributed", "get_nodes", self._later)

    def _now(self, request: Request) -> int:
        self.calls += 1
        return 2

    async def _later(self, request: Request) -> int:
        self.calls += 1
        await trio.lowlevel.checkpoint()
        return 4


async def test_a_service_is_loaded_once_however_many_ask_at_once(lab: Lab) -> None:
    made: list[Doubler] = []

    def load() -> Doubler:
        made.append(Doubler())
        return made[-1]

    LateService(load, lambda row: row.name in ("nodes_count", "get_nodes")).install(lab.runtime.set_handler)
    body = """(func (export "_start")
        (is32 (distributed.nodes_count) 2:i32)
        (is32 (distributed.get_nodes 0:i32 0:i32) 4:i32)
        (is32 (distributed.nodes_count) 2:i32))"""
    module = await lab.load(body)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(lab.passes, module)
    assert [doubler.calls for doubler in made] == [15]


async def test_a_failure_to_load_hurts_who_asked_and_the_next_tries_again(lab: Lab) -> None:
    attempts: list[int] = []

    def load() -> Doubler:
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("no such library")
        return Doubler()

    LateService(load, lambda row: row.name == "nodes_count").install(lab.runtime.set_handler)
    body = '(func (export "_start") (is32 (distributed.nodes_count) 2:i32))'
    assert "internal error" in await lab.traps(body)
    await lab.passes(body)


@pytest.mark.parametrize("use", ["(drop (sqlite.column_count 0:i64))", "(drop (distributed.sign_node ARGS))"])
async def test_the_real_ones_answer(lab: Lab, use: str) -> None:
    arguments = " ".join(["0:i32"] * 7)
    reason = await lab.traps(f'(func (export "_start") {use.replace("ARGS", arguments)})')
    assert "internal error" not in reason
