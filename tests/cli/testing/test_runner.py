"""How tests are run: at once or in turn, with what of the runtime, and what is left of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
import wasmtime
from tests.scheduler.lab import Lab, open_lab, wait_for
from tests.scheduler.wat import guest

from luna.cli.testing import runner as runner_module
from luna.cli.testing.binary import find_tests
from luna.cli.testing.options import TestOptions
from luna.cli.testing.report import Report
from luna.cli.testing.runner import TestRunner
from luna.cli.testing.selection import Selection
from luna.scheduler import ProcessConfig


@dataclass
class Rig:
    """A runtime, and the ends of the tests that ran on it."""

    lab: Lab
    written: bytearray = field(default_factory=bytearray)

    async def run(self, *bodies: str, more: str = "", threads: int | None = None) -> Report:
        """Run tests with these bodies, named m::0 and so on."""
        functions = "".join(
            f'(func (export "#lunatic_test_m::{number}") {body})' for number, body in enumerate(bodies)
        )
        data = bytes(wasmtime.wat2wasm(guest(functions + more).decode()))
        module = await self.lab.runtime.load_module(data, "m.wasm")
        selection = Selection(tuple(find_tests(data)), 0)
        options = TestOptions(threads=threads)
        report = Report(self.written.extend, options, selection, colors=False)
        config = ProcessConfig.program()
        await TestRunner(self.lab.runtime, module, config, options, report, _no_echo).run(selection.tests)
        return report


def _no_echo(stream: int, data: bytes) -> None:
    raise AssertionError(f"{data!r} is captured")


@asynccontextmanager
async def open_rig() -> AsyncIterator[Rig]:
    async with open_lab() as lab:
        yield Rig(lab)


async def test_all_run_at_the_same_time() -> None:
    async with open_rig() as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.run, *["(gate)"] * 20)
        await wait_for(lambda: rig.lab.at_gate == 20)
        rig.lab.gate.set()


async def test_no_more_than_asked_for_run_at_the_same_time() -> None:
    async with open_rig() as rig:
        seen = []

        async def let_pass() -> None:
            for _ in range(6):
                await wait_for(lambda: rig.lab.at_gate)
                seen.append(rig.lab.at_gate)
                gate, rig.lab.gate = rig.lab.gate, trio.Event()
                gate.set()
                await wait_for(lambda: not rig.lab.at_gate or rig.lab.gate.statistics().tasks_waiting)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(let_pass)
            report = await rig.run(*["(gate)"] * 6, threads=1)
        assert seen == [1] * 6
        assert [output.name for output in report.passed] == [f"m::{number}" for number in range(6)]


async def test_environments_are_apart_and_pids_are_not_shared() -> None:
    async with open_rig() as rig:
        await rig.run(*["(report (process.environment_id))"] * 3)
        assert len(set(rig.lab.reports)) == 3


CHILDREN = """
    (func (export "child") (drop (call $spawn @"grandchild")) (call $spin))
    (func (export "orphan") (drop (call $spawn @"grandchild")))
    (func (export "grandchild") (call $park))"""


@pytest.mark.parametrize("threads", [None, 1, 2])
async def test_what_a_test_leaves_behind_is_killed(threads: int | None) -> None:
    async with open_rig() as rig:
        body = '(drop (call $spawn @"child")) (drop (call $spawn @"child"))'
        report = await rig.run(*[body] * 4, more=CHILDREN, threads=threads)
        assert len(report.passed) == 4
        await wait_for(lambda: rig.lab.runtime.statistics().processes == 0)


async def test_grandchild_whose_parent_is_gone_is_killed_while_other_tests_run() -> None:
    async with open_rig() as rig, trio.open_nursery() as nursery:
        # The monitor tells the test that the child is gone, and so that nothing leads to the grandchild.
        body = """(local $child i64) (local.set $child (call $spawn @"orphan"))
            (process.monitor (local.get $child)) (drop (call $receive_any -1:i64))"""
        nursery.start_soon(partial(rig.run, "(gate)", body, more=CHILDREN))
        await wait_for(lambda: b"test m::1 ... ok\n" in rig.written)
        await wait_for(lambda: rig.lab.runtime.statistics().processes == 1)
        rig.lab.gate.set()


async def test_children_of_a_running_test_live_while_others_end() -> None:
    async with open_rig() as rig, trio.open_nursery() as nursery:
        waiting = '(drop (call $spawn @"child")) (call $park)'
        child = '(func (export "child") (gate) (report 7:i64))'
        nursery.start_soon(partial(rig.run, waiting, *[""] * 5, more=child))
        await wait_for(lambda: rig.written.count(b" ... ok\n") == 5)
        await wait_for(lambda: rig.lab.at_gate == 1)
        rig.lab.gate.set()
        await wait_for(lambda: rig.lab.reports == [7])
        nursery.cancel_scope.cancel()


async def test_test_that_takes_long_is_named_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "SLOW_S", 0.01)
    async with open_rig() as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.run, "(gate)")
        await wait_for(lambda: b"test m::0 has been running for over" in rig.written)
        rig.lab.gate.set()
        await wait_for(lambda: b"test m::0 ... ok\n" in rig.written)


async def test_output_of_thousands_of_lines_is_whole() -> None:
    async with open_rig() as rig:
        printing = """(local $n i32) (i32.store 400:i32 (i32.const 1024)) (i32.store 404:i32 100:i32)
            (loop $again (drop (wasi.fd_write 1:i32 400:i32 1:i32 408:i32))
              (local.set $n (i32.add (local.get $n) 1:i32))
              (br_if $again (i32.lt_u (local.get $n) 20000:i32)))"""
        report = await rig.run(printing)
        assert [len(output.printed) for output in report.passed] == [2_000_000]
