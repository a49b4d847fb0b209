"""The bridge between trio and the asyncio thread: results, errors and cancellation, both ways."""

from __future__ import annotations

import asyncio
import threading

import pytest
import trio

from luna.node import bridge as bridge_module
from luna.node.bridge import BLOCKING_THREADS, THREAD_NAME, Bridge, open_bridge
from luna.proto.errors import ClosedError


def bridge_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == THREAD_NAME]


class Probe:
    """An asyncio function that says when it began and how it ended."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.ended: list[str] = []

    async def wait_forever(self) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise

    async def wait_began(self) -> None:
        with trio.fail_after(5):
            while not self.began.is_set():
                await trio.sleep(0.001)


async def test_run_returns_the_result_from_the_asyncio_thread() -> None:
    async def which_thread(word: str) -> tuple[str, str]:
        await asyncio.sleep(0)
        return word, threading.current_thread().name

    async with open_bridge() as bridge:
        assert await bridge.run(which_thread, "here") == ("here", THREAD_NAME)
    assert bridge_threads() == []


async def test_run_raises_what_the_coroutine_raised() -> None:
    async def fail() -> None:
        raise KeyError("k")

    async with open_bridge() as bridge:
        with pytest.raises(KeyError):
            await bridge.run(fail)


async def test_cancelling_run_cancels_the_asyncio_task_and_waits_for_its_end() -> None:
    probe = Probe()
    async with open_bridge() as bridge:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bridge.run, probe.wait_forever)
            await probe.wait_began()
            nursery.cancel_scope.cancel()
        assert probe.ended == ["cancelled"]


async def test_run_that_finished_although_cancelled_keeps_its_result() -> None:
    began = threading.Event()

    async def finish_anyway() -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "finished"
        raise AssertionError

    async with open_bridge() as bridge:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel_later() -> None:
                    while not began.is_set():
                        await trio.sleep(0.001)
                    scope.cancel()

                nursery.start_soon(cancel_later)
                assert await bridge.run(finish_anyway) == "finished"


async def test_run_in_a_cancelled_scope_starts_nothing() -> None:
    probe = Probe()
    async with open_bridge() as bridge:
        with trio.CancelScope() as scope:
            scope.cancel()
            await bridge.run(probe.wait_forever)
        assert scope.cancelled_caught
        assert not probe.began.is_set()


async def test_call_trio_returns_and_raises_what_the_trio_function_does() -> None:
    async def double(number: int) -> int:
        await trio.lowlevel.checkpoint()
        if number < 0:
            raise ValueError("negative")
        return number * 2

    async with open_bridge() as bridge:

        async def both() -> int:
            with pytest.raises(ValueError, match="negative"):
                await bridge.call_trio(double, -1)
            return await bridge.call_trio(double, 21)

        assert await bridge.run(both) == 42


async def test_cancellation_crosses_to_trio_and_back_through_nested_calls() -> None:
    ended: list[str] = []
    began = trio.Event()

    async def in_trio() -> None:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.append("trio")

    async with open_bridge() as bridge:

        async def in_asyncio() -> None:
            try:
                await bridge.call_trio(in_trio)
            finally:
                ended.append("asyncio")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(bridge.run, in_asyncio)
            await began.wait()
            nursery.cancel_scope.cancel()
        assert ended == ["trio", "asyncio"]


async def test_leaving_the_block_ends_tasks_of_both_sides_and_the_thread() -> None:
    probe = Probe()
    seen: list[BaseException] = []
    began = trio.Event()

    async def in_trio() -> None:
        began.set()
        await trio.sleep_forever()

    async with open_bridge() as bridge:

        async def background(bridge: Bridge) -> None:
            try:
                await bridge.call_trio(in_trio)
            except (ClosedError, asyncio.CancelledError) as error:
                seen.append(error)

        async def start() -> None:
            bridge.spawn_asyncio(probe.wait_forever)
            bridge.spawn_asyncio(background, bridge)

        await bridge.run(start)
        await began.wait()
    assert probe.ended == ["cancelled"]
    assert len(seen) == 1
    assert bridge_threads() == []


async def test_what_blocks_has_a_few_threads_and_they_end_with_the_bridge() -> None:
    working = threading.Barrier(BLOCKING_THREADS)

    def block() -> threading.Thread:
        working.wait(5)  # as many at a time, but no more
        return threading.current_thread()

    async def look_up_many() -> list[threading.Thread]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(None, block) for _ in range(5 * BLOCKING_THREADS)))

    async with open_bridge() as bridge:
        threads = set(await bridge.run(look_up_many))
    assert len(threads) == BLOCKING_THREADS
    for thread in threads:
        await trio.to_thread.run_sync(thread.join, 5)
        assert not thread.is_alive()


async def test_a_task_that_ignores_its_cancellation_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(bridge_module, "STOP_BOUND_S", 0.05)
    began = threading.Event()
    ended: list[str] = []

    async def stubborn() -> None:
        began.set()
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    async def wait_for_it(bridge: Bridge) -> None:
        with pytest.raises(ClosedError):
            await bridge.run(stubborn)
        ended.append("waiter")

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery, open_bridge() as bridge:
            nursery.start_soon(wait_for_it, bridge)
            while not began.is_set():
                await trio.sleep(0.001)
    assert ended == ["waiter"]
    assert bridge_threads() == []


async def test_a_stopped_bridge_refuses_and_ignores_calls() -> None:
    probe = Probe()
    async with open_bridge() as bridge:
        pass
    with pytest.raises(ClosedError):
        await bridge.run(probe.wait_forever)
    bridge.post_to_asyncio(probe.began.set)
    assert not probe.began.is_set()


async def test_an_error_in_the_block_still_ends_the_thread() -> None:
    with pytest.RaisesGroup(ZeroDivisionError):
        async with open_bridge():
            raise ZeroDivisionError
    assert bridge_threads() == []


async def test_posts_to_trio_keep_their_order() -> None:
    seen: list[int] = []
    done = trio.Event()
    async with open_bridge() as bridge:

        async def post_many() -> None:
            for number in range(1000):
                bridge.post_to_trio(seen.append, number)
            bridge.post_to_trio(done.set)

        await bridge.run(post_many)
        await done.wait()
    assert seen == list(range(1000))
