"""Computing of services in worker threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

__all__ = ["compute"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def compute(limiter: trio.CapacityLimiter, function: Callable[[*Ts], T], *args: *Ts) -> T:
    """`function(*args)` in a worker thread, which cancelling does not abandon. Raises what it raises.

    The frames of a thread hold what came out of it. An exception that holds them in turn is a
    reference cycle, and with it all frames that let it pass: a guest's request would live on
    until the garbage collector comes by. So OSError and ValueError come out without theirs.
    """

    def attempt() -> tuple[T, None] | tuple[None, OSError | ValueError]:
        try:
            return function(*args), None
        except (OSError, ValueError) as error:
            error.__traceback__ = error.__context__ = None
            return None, error

    value, error = await trio.to_thread.run_sync(attempt, limiter=limiter)
    try:
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # there is one, be it None, without an error
    finally:
        del error
