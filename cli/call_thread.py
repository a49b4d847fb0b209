"""The thread in which gRPC runs, so that Ctrl-C can never strike inside it.

A KeyboardInterrupt is raised between any two steps of the main thread, and gRPC's Python code does not
survive that: a call that is half-way made leaves a count behind, and closing the channel waits for it for
ever (one Ctrl-C in ten, at a bad moment). So the main thread only waits here, in a C function made for being
interrupted, while this thread makes the calls, one at a time.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc

_T = TypeVar("_T")

CLOSE_TIMEOUT_S = 2.0
"""seconds for cancelling a call and closing the channel; it takes milliseconds, and at worst the thread, a
daemon, ends with the process."""

NOTICE_S = 0.2
"""seconds after which a wait is begun anew. A Ctrl-C that came just before the wait began does not end it,
since the system saw nothing to interrupt; it is noticed then."""


class CallThread:
    """A channel to `target` (gRPC syntax) and the thread that uses it, while the `with` block runs.

    Leaving the block cancels a call that is under way.
    """

    def __init__(self, target: str, options: tuple[tuple[str, int], ...]) -> None:
        self._target = target
        self._options = options
        # SimpleQueue and not Queue: its methods are single C functions, never left half-done.
        self._work: SimpleQueue[Callable[[grpc.Channel], object] | None] = SimpleQueue()
        self._outcomes: SimpleQueue[_Outcome[Any]] = SimpleQueue()
        self._call: Any = None
        self._cancelled = False
        self._thread = threading.Thread(target=self._serve, name="luna-calls", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with _uninterrupted():
            self.cancel()
            self._work.put(None)
            self._thread.join(CLOSE_TIMEOUT_S)

    def run(self, work: Callable[[grpc.Channel], _T]) -> _T:
        """Run `work` with the channel in the thread and return or raise what it does.

        After a KeyboardInterrupt from here, or `cancel`, nothing more can be run. The calls that `work` makes
        go through `track`, so that they can be cancelled.
        """
        assert not self._cancelled
        self._work.put(work)
        try:
            outcome: _Outcome[_T] = self._wait()
        except KeyboardInterrupt:
            self._cancelled = True  # its outcome, when it comes, must not be taken for another's
            raise
        return outcome.unwrap()

    def _wait(self) -> _Outcome[Any]:
        while True:
            try:
                return self._outcomes.get(timeout=NOTICE_S)
            except Empty:
                continue

    def track(self, call: _T) -> _T:
        """Note the gRPC call under way, for `cancel`, and return it. Called by the work that `run` runs."""
        self._call = call
        # Set and asked in the opposite order by cancel(): whoever comes second cancels.
        if self._cancelled:
            self._call.cancel()
        return call

    def cancel(self) -> None:
        """Cancel the call under way, if there is one."""
        self._cancelled = True
        if self._call is not None:
            self._call.cancel()

    def _serve(self) -> None:
        channel = grpc.insecure_channel(self._target, options=self._options)
        try:
            while (work := self._work.get()) is not None:
                self._outcomes.put(_Outcome.of(work, channel))
        finally:
            channel.close()


class _Outcome(Generic[_T]):
    """What a piece of work returned or raised, on its way to the main thread."""

    def __init__(self, value: _T | None, error: Exception | None) -> None:
        self._value = value
        self._error = error

    @classmethod
    def of(cls, work: Callable[[grpc.Channel], _T], channel: grpc.Channel) -> _Outcome[_T]:
        try:
            return cls(work(channel), None)
        except Exception as error:  # not swallowed: raised again by unwrap
            return cls(None, error)

    def unwrap(self) -> _T:
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # of() set it


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C for the block, which must be short; outside the main thread it does not arrive anyway."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
