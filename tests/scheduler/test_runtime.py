"""The runtime as Python uses it: spawning, waiting, stopping, and several runtimes at once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from luna.proto.errors import ClosedError, InvalidError, NotFoundError, RefusedError
from luna.proto.limits import DEAD_LOGS_KEPT
from luna.scheduler import ExitKind, GuestTrap, Param, ProcessConfig, Request, open_runtime

from .lab import Lab, open_lab, wait_for
from .wat import guest

START = '(func (export "_start")'


# -- spawning -------------------------------------------------------------------------------------


async def test_parameters_of_every_type_reach_the_entry(lab: Lab) -> None:
    await lab.passes(
        """(func (export "f") (param i32 i32 i64 i64 v128)
          (is32 (local.get 0) -1:i32) (is32 (local.get 1) 0x80000000:i32)
          (is64 (local.get 2) -9223372036854775808:i64) (is64 (local.get 3) -1:i64)
          (is64 (i64x2.extract_lane 0 (local.get 4)) 0x0706050403020100:i64))""",
        entry="f",
        params=[
            Param.i32(-1), Param.i32(0x8000_0000), Param.i64(-(1 << 63)), Param.i64((1 << 64) - 1),
            Param.v128(bytes(range(16))),
        ],
    )  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda: Param.i32(1 << 32),
        lambda: Param.i32(-(1 << 31) - 1),
        lambda: Param.i64(1 << 64),
        lambda: Param.i64(-(1 << 63) - 1),
        lambda: Param.v128(bytes(15)),
        lambda: Param.v128(bytes(17)),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused(make: Callable[[], Param]) -> None:
    with pytest.raises(InvalidError):
        make()


@pytest.mark.parametrize(
    ("entry", "params", "text"),
    [
        ("missing", [], "exports no function missing"),
        ("memory", [], "exports no function memory"),
        ("a\0b", [], "a\0b"),
        ("takes", [], r"takes is \(i32\) -> \(\) and cannot be called with \(\)"),
        ("takes", [Param.i64(1)], r"cannot be called with \(i64\)"),
        ("takes", [Param.i32(1)] * 2, r"cannot be called with \(i32, i32\)"),
        ("returns", [], "must not return a value"),
    ],
)
async def test_an_entry_that_cannot_be_called_is_refused(
    lab: Lab, entry: str, params: list[Param], text: str
) -> None:
    module = await lab.load(
        '(func (export "takes") (param i32)) (func (export "returns") (result i32) 1:i32)'
    )
    with pytest.raises(InvalidError, match=text):
        await lab.runtime.spawn(module, entry=entry, params=params)
    assert lab.runtime.statistics().spawned == 0


async def test_a_start_section_that_traps_is_refused_with_its_reason(
    lab: Lab, built: Callable[[str], bytes]
) -> None:
    with pytest.raises(InvalidError, match="unreachable"):
        await lab.spawn(built("start_trap"))
    await wait_for(lambda: lab.runtime.statistics().processes == 0)


BAD_TEXTS = {"a zero byte": "a\0b", "half a surrogate pair": "a\udc80"}


@pytest.mark.parametrize("text", BAD_TEXTS.values(), ids=BAD_TEXTS.keys())
@pytest.mark.parametrize(
    "place",
    [
        lambda text: ProcessConfig.program(arguments=["ok", text]),
        lambda text: ProcessConfig.program(environment_variables=[(text, "value")]),
        lambda text: ProcessConfig.program(environment_variables=[("KEY", text)]),
        lambda text: ProcessConfig.program(preopens=[(text, ".")]),
        lambda text: ProcessConfig.program(preopens=[(".", text)]),
    ],
    ids=["argument", "variable name", "variable value", "guest's directory", "host's directory"],
)
async def test_a_text_that_no_guest_can_be_given_is_refused(
    lab: Lab, place: Callable[[str], ProcessConfig], text: str
) -> None:
    with pytest.raises(InvalidError, match="is not text a guest can be given"):
        await lab.spawn(f"{START})", config=place(text))
    assert lab.runtime.statistics().spawned == 0


async def test_the_limit_of_processes_is_refused() -> None:
    async with open_lab(max_processes=1) as lab:
        pid = await lab.spawn(f"{START} (call $park))")
        with pytest.raises(RefusedError, match="as many processes as it may"):
            await lab.spawn(f"{START})")
        lab.runtime.kill(pid)
        await lab.wait_exit(pid)
        await lab.passes(f"{START})")


async def test_a_cancelled_spawn_leaves_no_process(lab: Lab) -> None:
    module = await lab.load(f"{START} (call $park))")
    for _ in range(20):
        with trio.CancelScope() as scope:
            scope.cancel()
            await lab.runtime.spawn(module)
        assert scope.cancelled_caught
    await wait_for(lambda: lab.runtime.statistics().processes == 0)


async def test_a_spawn_cancelled_during_the_start_section_leaves_nothing(lab: Lab) -> None:
    module = await lab.load('(start $s) (func $s (call $spin)) (func (export "_start"))')
    with trio.move_on_after(0.02) as scope:
        await lab.runtime.spawn(module)
    assert scope.cancelled_caught
    await wait_for(lambda: lab.runtime.statistics().processes == 0)
    assert lab.runtime._lives._watched == {}


async def test_many_tasks_can_spawn_at_once(lab: Lab) -> None:
    module = await lab.load(f"{START} (process.sleep_ms 1:i64))")
    statuses = []

    async def run() -> None:
        statuses.extend([await lab.run(module) for _ in range(20)])

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(run)
    assert len(statuses) == 400
    assert {status.kind for status in statuses} == {ExitKind.NORMAL}


# -- waiting --------------------------------------------------------------------------------------------


async def test_everyone_who_waits_for_an_exit_gets_the_status(lab: Lab) -> None:
    pid = await lab.spawn(f"{START} (gate) (wasi.proc_exit 4:i32))")
    codes = []

    async def wait() -> None:
        codes.append((await lab.wait_exit(pid)).code)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
        await wait_for(lambda: lab.at_gate == 1)
        lab.gate.set()
    assert codes == [4, 4, 4]
    assert (await lab.wait_exit(pid)).code == 4
    status = lab.runtime.exit_status(pid)
    assert status is not None
    assert status.code == 4


async def test_a_cancelled_wait_can_be_repeated(lab: Lab) -> None:
    pid = await lab.spawn(f"{START} (gate))")
    with trio.move_on_after(0.01) as scope:
        await lab.runtime.wait_exit(pid)
    assert scope.cancelled_caught
    lab.gate.set()
    assert (await lab.wait_exit(pid)).kind is ExitKind.NORMAL


async def test_who_waits_gets_the_status_however_many_end_at_once(lab: Lab) -> None:
    module = await lab.load(f"{START} (gate) (wasi.proc_exit 4:i32))")
    pids = [await lab.spawn(module) for _ in range(2 * DEAD_LOGS_KEPT)]
    codes = []

    async def wait(pid: int) -> None:
        codes.append((await lab.wait_exit(pid)).code)

    async with trio.open_nursery() as nursery:
        for pid in pids:
            nursery.start_soon(wait, pid)
        await wait_for(lambda: lab.at_gate == len(pids))
        lab.gate.set()
    assert codes == [4] * len(pids)


async def test_only_watched_processes_can_be_waited_for(lab: Lab) -> None:
    pid = await lab.spawn(f"{START} (call $park))", watch=False)
    for unknown in (pid, 999, 0):
        with pytest.raises(NotFoundError):
            await lab.runtime.wait_exit(unknown)
    assert lab.runtime.exit_status(pid) is None
    with pytest.raises(NotFoundError):
        lab.runtime.exit_status(999)


# -- what is told about processes ------------------------------------------------------------------------


async def test_processes_are_listed_in_order_of_birth_with_what_they_do(lab: Lab) -> None:
    spinning = await lab.spawn(await lab.load(f"{START} (call $spin))", "spin.wasm"))
    parked = await lab.spawn(
        await lab.load(
            '(memory (export "memory") 3) (func (export "wait") (process.sleep_ms 1000000:i64))', "p.wasm"
        ),
        entry="wait",
        parent=spinning,
    )
    await wait_for(lambda: lab.runtime.processes()[1].state == "waiting")
    await lab.passes(f"{START} (call $send {parked}:i64 0:i64 0:i64))")
    await wait_for(lambda: lab.runtime.processes()[1].messages == 1)
    first, second = lab.runtime.processes()
    assert (first.pid, first.parent, first.module, first.entry) == (spinning, 0, "spin.wasm", "_start")
    assert first.state in ("running", "runnable")
    assert (second.pid, second.parent, second.module, second.entry) == (parked, spinning, "p.wasm", "wait")
    assert second.age_ms >= 0


async def test_killing_and_asking_about_processes(lab: Lab) -> None:
    pid = await lab.spawn(f"{START} (call $park))")
    assert lab.runtime.exists(pid)
    assert lab.runtime.kill(pid)
    await lab.wait_exit(pid)
    assert not lab.runtime.exists(pid)
    assert not lab.runtime.kill(pid)
    assert not lab.runtime.exists(-1)
    assert not lab.runtime.kill(-1)


# -- stopping -----------------------------------------------------------------------------------------------


async def test_whoever_waits_when_the_runtime_stops_is_told() -> None:
    told: list[str] = []

    async def use(make: Callable[[], Awaitable[object]]) -> None:
        try:
            await make()
        except (ClosedError, trio.EndOfChannel) as error:
            told.append(type(error).__name__)

    async with trio.open_nursery() as nursery:
        async with open_lab() as lab:
            module = await lab.load('(start $s) (func $s (call $spin)) (func (export "_start"))')
            pid = await lab.spawn(f"{START} (call $park))")
            runtime = lab.runtime
            nursery.start_soon(use, partial(runtime.wait_exit, pid))
            nursery.start_soon(use, runtime.logs(pid).receive)
            nursery.start_soon(use, partial(runtime.spawn, module))
            await wait_for(lambda: runtime.statistics().spawned == 2)
        with trio.fail_after(5):
            await wait_for(lambda: len(told) == 3)
    assert sorted(told) == ["ClosedError", "ClosedError", "EndOfChannel"]


AFTER_STOP = """
from functools import partial
import trio
from luna.proto.errors import ClosedError, NotFoundError
from luna.scheduler import open_runtime

async def main():
    async with open_runtime(node_id=3, threads=1) as runtime:
        module = await runtime.load_module(b'(module (func (export "_start") (loop $l (br $l))))', "m")
        pid = await runtime.spawn(module)
        runtime.peers.add_peer(5, 1)
    assert not runtime.exists(pid)
    assert not runtime.kill(pid)
    assert not runtime.kill(5 << 40 | 1)
    assert runtime.processes() == []
    for ask in (partial(runtime.logs, pid + 1), partial(runtime.exit_status, pid + 1)):
        try:
            ask()
        except NotFoundError:
            print("not found")
    for use in (runtime.spawn, runtime.wait_exit):
        try:
            await use(module if use == runtime.spawn else pid)
        except ClosedError:
            print("closed")
    runtime.logs(pid)
    assert runtime.exit_status(pid) is None
    assert runtime.find_module(module.sha256) is module
    assert runtime.peers.deliver(5, 1, b"\\x0a\\x00", 0) == []
    assert runtime.peers.take_frame(5, 1, 100, b"") is None
    assert runtime.peers.take_ready() == []
    assert not runtime.peers.send(5, b"")
    runtime.peers.remove_peer(5)
    assert runtime.statistics().processes == 0

trio.run(main)
"""


def test_a_stopped_runtime_answers_and_does_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AFTER_STOP], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "not found\n" * 2 + "closed\n" * 2), done.stderr


WHILE_STOPPING = """
import threading
import trio
from luna.scheduler import open_runtime

async def main():
    for node in range(1, 21):
        ended = threading.Event()
        async with open_runtime(node_id=node, threads=2) as runtime:
            module = await runtime.load_module(
                b'(module (import "lunatic::process" "sleep_ms" (func $sleep (param i64)))'
                b' (func (export "_start") (loop $l (call $sleep (i64.const 1)) (br $l))))', "m")
            pids = [await runtime.spawn(module) for _ in range(20)]
            runtime.peers.add_peer(99, 1)
            def ask():
                while not ended.is_set():
                    for pid in pids:
                        runtime.exists(pid)
                        runtime.kill(pid + (99 << 40))
                    runtime.processes()
                    runtime.counters()
                    runtime.peers.take_ready()
                    runtime.peers.take_frame(99, 1, 1000, b"")
                    runtime.peers.statistics(99)
                    runtime.kill(pids[0])
            threads = [threading.Thread(target=ask) for _ in range(2)]
            for thread in threads:
                thread.start()
            await trio.sleep(0.01)
        ended.set()
        for thread in threads:
            thread.join()
        assert runtime.processes() == []
    print("stopped")

trio.run(main)
"""


def test_a_runtime_can_be_asked_while_it_stops() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WHILE_STOPPING], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr


async def test_an_error_inside_the_block_stops_the_runtime() -> None:
    runtimes = []

    async def fail() -> None:
        async with open_runtime(threads=1) as runtime:
            runtimes.append(runtime)
            await runtime.spawn(await runtime.load_module(guest(f"{START} (call $spin))"), "spin"))
            raise ValueError

    with pytest.raises(ExceptionGroup) as caught:
        await fail()
    assert caught.group_contains(ValueError)
    assert runtimes[0].statistics().processes == 0


async def test_runtimes_come_and_go() -> None:
    for _ in range(5):
        async with open_lab() as lab:
            await lab.passes(f"{START})")


async def test_several_runtimes_live_in_one_os_process() -> None:
    async with open_lab(1) as one, open_lab(2, held=("modules", "outputs", "stacks")) as two:
        source = f"{START} (report (distributed.node_id)) (report (process.process_id)))"
        spinning = await one.spawn(f"{START} (call $spin))")
        await one.passes(source)
        await two.passes(source)
        assert one.reports == [1, 1 << 40 | 2]
        assert two.reports == [2, 2 << 40 | 1]
        assert one.runtime.exists(spinning)
        assert not two.runtime.exists(spinning)
        assert not two.runtime.kill(spinning)


@pytest.mark.parametrize("node_id", [-1, 1 << 23])
async def test_a_node_id_out_of_range_is_refused(node_id: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        async with open_runtime(node_id=node_id):
            pass


# -- host calls answered in Python ---------------------------------------------------------------------------


ASK = f"{START} (report (i64.extend_i32_s (distributed.nodes_count))))"


async def test_a_handler_gives_the_result(lab: Lab) -> None:
    async def answer(request: Request) -> int:
        assert (request.pid, request.environment, request.args) == (1, 1, ())
        assert (request.namespace, request.name) == ("lunatic::distributed", "nodes_count")
        assert request.config.can_spawn_processes
        assert request.module.name == "guest"
        return -5

    lab.runtime.set_handler("lunatic::distributed", "nodes_count", answer)
    await lab.passes(ASK)
    assert lab.reports == [-5]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (lambda: GuestTrap("you may not"), "you may not"),
        (lambda: NotFoundError("no such thing"), "lunatic::distributed::nodes_count: no such thing"),
        (ZeroDivisionError, "lunatic::distributed::nodes_count: internal error, see the node's log"),
    ],
)
async def test_a_handler_that_raises_traps_its_caller_only(
    lab: Lab, error: Callable[[], Exception], text: str
) -> None:
    async def fail(request: Request) -> int:
        raise error()

    lab.runtime.set_handler("lunatic::distributed", "nodes_count", fail)
    assert text in await lab.traps(ASK)
    await lab.passes(f"{START} (report 1:i64))")


async def test_handlers_run_side_by_side(lab: Lab) -> None:
    for _ in range(50):
        await lab.spawn(f"{START} (gate) (report 1:i64))")
    await wait_for(lambda: lab.at_gate == 50)
    lab.gate.set()
    await wait_for(lambda: len(lab.reports) == 50)


async def test_the_death_of_a_caller_cancels_its_handler(lab: Lab) -> None:
    module = await lab.load(f"{START} (gate))")
    for _ in range(100):
        # Killed at every moment of the call.
        lab.runtime.kill(await lab.spawn(module))
    pids = [await lab.spawn(module) for _ in range(50)]
    for pid in pids:
        lab.runtime.kill(pid)
    await wait_for(lambda: lab.runtime.statistics().processes == 0)
    await wait_for(lambda: lab.at_gate == 0 and not lab.runtime._answering._serving)
    assert lab.runtime.counters()["requests"] == 0


async def test_a_request_of_a_dead_process_reads_and_writes_nothing(lab: Lab) -> None:
    outcome: list[str] = []

    async def stubborn(request: Request) -> int:
        outcome.append("called")
        with trio.CancelScope(shield=True):
            await wait_for(lambda: not lab.runtime.exists(request.pid))
        for use in (
            lambda: request.read(0, 1),
            lambda: request.write_u64(0, 1),
            lambda: request.add_error("x"),
        ):
            try:
                use()
            except Exception as error:
                outcome.append(type(error).__name__)
        return 0

    lab.runtime.set_handler("lunatic::distributed", "nodes_count", stubborn)
    pid = await lab.spawn(ASK)
    await wait_for(lambda: outcome == ["called"])
    lab.runtime.kill(pid)
    await lab.wait_exit(pid)
    await wait_for(lambda: len(outcome) == 4)
    assert outcome[1:] == ["ProcessGoneError"] * 3


async def test_a_thousand_requests_are_answered_quickly(lab: Lab) -> None:
    begin = time.monotonic()
    await lab.passes(f"""{START} (local $n i32)
        (loop $again
          (registry.remove @"name")
          (local.set $n (i32.add (local.get $n) 1:i32))
          (br_if $again (i32.lt_u (local.get $n) 1000:i32))))""")
    assert time.monotonic() - begin < 10
