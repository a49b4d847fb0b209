"""The asyncio thread of a node, and the two-way bridge between it and trio.

Owns the thread, its event loop, and every call that crosses. gRPC and zeroconf are asyncio libraries;
everything else is trio. Cancellation crosses both ways, and leaving `open_bridge` ends every
task and the thread. Knows nothing of what runs on either side.

Rules of a crossing call:
- The side that calls waits until the other side has really finished, also when it is cancelled; so
  nothing is ever running for somebody who has gone.
- A call that finished although it was cancelled meanwhile returns its result, as in trio.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar, TypeVarTuple, cast

import outcome
import structlog
import trio

from luna.proto.errors import ClosedError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_log = structlog.get_logger(__name__)

THREAD_NAME = "luna-asyncio"

BLOCKING_THREADS = 4
"""threads, started as they are needed and then kept, for what asyncio cannot wait for otherwise: looking up
addresses, and writing modules that are fetched. A few, so that one slow look-up does not hold up the others;
not more with the cores of the machine, as asyncio would have it: none of it is computing."""

STOP_BOUND_S = 3.0
"""seconds that tasks of the asyncio thread get to end after they were cancelled. Only a task that swallows
its cancellation needs more; it is named in the log and left behind with the (daemon) thread."""


@asynccontextmanager
async def open_bridge() -> AsyncIterator[Bridge]:
    """Start the asyncio thread for the length of the block (trio).

    On the way out calls from asyncio into trio are cancelled, then every asyncio task, then the
    thread is joined, within STOP_BOUND_S.
    """
    async with trio.open_nursery() as nursery:
        bridge = Bridge(nursery, trio.lowlevel.current_trio_token())
        bridge.start()
        try:
            yield bridge
        finally:
            with trio.CancelScope(shield=True):
                await bridge.stop()
            nursery.cancel_scope.cancel()


class Bridge:
    """Calls from trio into the asyncio thread and back. Made by `open_bridge` only."""

    def __init__(self, nursery: trio.Nursery, token: trio.lowlevel.TrioToken) -> None:
        self._nursery = nursery
        self._token = token
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(BLOCKING_THREADS, "luna-blocking"))
        self._thread = threading.Thread(target=self._run_loop, name=THREAD_NAME, daemon=True)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._finishers: dict[asyncio.Task[Any], Callable[[], None]] = {}  # of tasks that trio waits for
        self._closing = False

    # --- from trio --------------------------------------------------------------------------

    async def run(self, function: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Run `await function(*args)` as a task of the asyncio thread and return its result (trio).

        Whatever it raises is raised here. Cancellation cancels the task and waits for its end.
        Raises ClosedError once the bridge is stopping.
        """
        if self._closing:
            await trio.lowlevel.checkpoint()
            raise ClosedError("the node is stopping")
        await trio.lowlevel.checkpoint_if_cancelled()
        waiter = trio.lowlevel.current_task()
        task: asyncio.Task[T] | None = None
        cancelled = False
        raise_cancel: Callable[[], Any] | None = None

        def start() -> None:
            nonlocal task
            task = self._loop.create_task(_awaited(function, args))
            self._finishers[task] = finish
            task.add_done_callback(lambda task: self._finishers.pop(task, lambda: None)())
            if cancelled:
                task.cancel()

        def finish() -> None:
            assert task is not None
            self.post_to_trio(trio.lowlevel.reschedule, waiter, _outcome(task))

        def cancel() -> None:
            nonlocal cancelled
            cancelled = True
            if task is not None:
                task.cancel()

        def abort(raiser: Callable[[], Any]) -> trio.lowlevel.Abort:
            nonlocal raise_cancel
            raise_cancel = raiser
            self._loop.call_soon_threadsafe(cancel)
            return trio.lowlevel.Abort.FAILED  # the task decides when this ends

        self._loop.call_soon_threadsafe(start)
        try:
            return cast(T, await trio.lowlevel.wait_task_rescheduled(abort))
        except asyncio.CancelledError:
            if raise_cancel is not None:
                raise_cancel()
            raise ClosedError("the node is stopping") from None

    def post_to_asyncio(self, function: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call `function(*args)` in the asyncio thread soon, without waiting (any thread).

        Does nothing once that thread has ended: whoever stops has no use for news.
        """
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed
            pass

    # --- from asyncio -----------------------------------------------------------------------

    async def call_trio(self, function: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Run `await function(*args)` as a trio task and return its result (asyncio thread).

        Whatever it raises is raised here. Cancellation cancels the trio task and waits for its end.
        Raises ClosedError once the bridge is stopping, also when that cancels the trio task.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        scope = trio.CancelScope()

        closed: outcome.Outcome[T] = outcome.Error(ClosedError("the node is stopping"))

        def settle(result: outcome.Outcome[T]) -> None:
            if isinstance(result, outcome.Error):
                done.set_exception(result.error)
            else:
                done.set_result(result.unwrap())

        async def task() -> None:
            result = closed
            try:
                with scope:
                    result = outcome.Value(await function(*args))
            except Exception as error:
                result = outcome.Error(error)
            finally:
                self.post_to_asyncio(settle, result)

        def start() -> None:
            if self._closing:
                self.post_to_asyncio(settle, closed)
            else:
                self._nursery.start_soon(task, name=getattr(function, "__qualname__", repr(function)))

        try:
            self._token.run_sync_soon(start)
        except trio.RunFinishedError:
            raise ClosedError("the node is stopping") from None
        cancelled = False
        while not done.done():
            try:
                await asyncio.wait([done])
            except asyncio.CancelledError:
                cancelled = True
                try:
                    self._token.run_sync_soon(scope.cancel)
                except trio.RunFinishedError:
                    break
        if cancelled and (not done.done() or done.exception() is not None):
            raise asyncio.CancelledError
        return done.result()

    def post_to_trio(self, function: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call `function(*args)` in the trio thread soon, without waiting (any thread, in order).

        `function` must not raise: that would take trio down. Does nothing once trio has ended.
        """
        try:
            self._token.run_sync_soon(function, *args)
        except trio.RunFinishedError:
            pass

    def spawn_asyncio(self, function: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> asyncio.Task[Any]:
        """Start a task that lives no longer than the bridge (asyncio thread)."""
        task: asyncio.Task[Any] = self._loop.create_task(_awaited(function, args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- start and stop ---------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread; `open_bridge` does."""
        self._thread.start()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            asyncio.set_event_loop(None)
            self._loop.close()

    async def stop(self) -> None:
        """End every task and the thread; `open_bridge` does."""
        self._closing = True
        # trio tasks first: an asyncio task that waits for one then ends with ClosedError.
        self._nursery.cancel_scope.cancel()
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._cancel_and_stop_loop()))
        await trio.to_thread.run_sync(self._thread.join, STOP_BOUND_S + 1)
        if self._thread.is_alive():
            _log.error("the asyncio thread did not end in time", seconds=STOP_BOUND_S + 1)

    async def _cancel_and_stop_loop(self) -> None:
        own = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not own]
        for task in others:
            task.cancel()
        if others:
            _, stuck = await asyncio.wait(others, timeout=STOP_BOUND_S)
            for task in stuck:
                _log.error("an asyncio task did not end when it was cancelled", task=repr(task.get_coro()))
                # Whoever waits for it in trio must not wait for ever.
                self._finishers.pop(task, lambda: None)()
        self._loop.stop()


async def _awaited(function: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> T:
    # asyncio and outcome want coroutines; callers may pass any awaitable-returning function.
    return await function(*args)


def _outcome(task: asyncio.Task[T]) -> outcome.Outcome[T]:
    if not task.done() or task.cancelled():
        return outcome.Error(asyncio.CancelledError())
    error = task.exception()
    return outcome.Error(error) if error is not None else outcome.Value(task.result())
