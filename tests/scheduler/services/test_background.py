"""Tasks that outlive host calls, and computing in threads: whom their failures touch."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
import structlog.testing
import trio
import trio.testing
from tests.scheduler.lab import wait_for

from luna.scheduler.services.background import Background
from luna.scheduler.services.threads import compute


async def test_tasks_run_until_the_runtime_ends() -> None:
    background = Background()
    ended = []

    async def task(name: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(name)

    assert not background.start("too early", task, "too early")
    async with trio.open_nursery() as nursery:
        await nursery.start(background.run)
        assert background.start("first", task, "first")
        assert background.start("second", task, "second")
        await trio.testing.wait_all_tasks_blocked()
        assert not ended
        nursery.cancel_scope.cancel()
    assert sorted(ended) == ["first", "second"]
    assert not background.start("too late", task, "too late")


async def test_a_task_that_fails_is_logged_and_ends_nothing_else() -> None:
    background = Background()
    done = trio.Event()

    async def fail() -> None:
        raise ZeroDivisionError

    async def go_on() -> None:
        await trio.testing.wait_all_tasks_blocked()
        done.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(background.run)
        with structlog.testing.capture_logs() as logs:
            background.start("fails", fail)
            background.start("goes on", go_on)
            await done.wait()
        nursery.cancel_scope.cancel()
    assert [(log["event"], log["task"]) for log in logs] == [("background task failed", "fails")]


async def test_computing_gives_what_the_function_gives_and_raises_what_it_raises() -> None:
    limiter = trio.CapacityLimiter(1)

    def fail(error: Exception) -> None:
        raise error

    def nothing() -> object:
        return None

    assert await compute(limiter, lambda number: number + 1, 1) == 2
    assert await compute(limiter, nothing) is None
    assert await compute(limiter, threading.get_ident) != threading.get_ident()
    for error in (ValueError("bad"), OSError(2, "gone"), KeyError("bug")):
        with pytest.raises(type(error)) as caught:
            await compute(limiter, fail, error)
        assert caught.value is error


class Held:
    """Something of a caller's."""


async def test_an_error_of_computing_keeps_nothing_of_its_callers_alive() -> None:
    limiter = trio.CapacityLimiter(1)

    def fail() -> None:
        try:
            raise OSError
        except OSError:
            raise ValueError from None

    async def call() -> weakref.ref[Held]:
        held = Held()
        try:
            await compute(limiter, fail)
        except ValueError:
            pass
        return weakref.ref(held)

    gc.disable()
    try:
        reference = await call()
        # The thread may still be on its way out.
        await wait_for(lambda: reference() is None)
    finally:
        gc.enable()
