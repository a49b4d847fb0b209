"""Answering host calls in Python: at once, or in a task that ends with its process.

What a handler raises traps its caller, and harms nobody else.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import final

import structlog
import trio

from luna.proto.errors import LunaError
from luna.scheduler._handles import NativeRequest, ProcessGoneError
from luna.scheduler.hostcalls import ALL_CALLS
from luna.scheduler.modules import Modules
from luna.scheduler.requests import Answer, FoundModule, GuestData, GuestTrap, Handler, Request
from luna.scheduler.resources import Resources

__all__ = ["Answering"]

_log = structlog.get_logger("luna.runtime")


@final
class Answering:
    """The handlers of one runtime and the host calls they are at. For one trio thread."""

    def __init__(self, modules: Modules, resources: Resources) -> None:
        self._modules = modules
        self._resources = resources
        self._handlers: dict[tuple[str, str], Handler] = {}
        self._serving: dict[int, trio.CancelScope] = {}

    def set_handler(self, namespace: str, name: str, handler: Handler) -> None:
        """See `Runtime.set_handler`."""
        self._handlers[namespace, name] = handler

    def cancel(self, request_id: int) -> None:
        """The calling process has died."""
        serving = self._serving.get(request_id)
        if serving is not None:
            serving.cancel()

    def begin(self, nursery: trio.Nursery, native: NativeRequest) -> None:
        """Answer a host call now, or start a task if its handler has to wait."""
        row = ALL_CALLS[native.row]
        try:
            handler = self._handlers.get((row.namespace, row.key))
            if handler is None:
                raise GuestTrap(f"{row.full_name}: this runtime belongs to no cluster")
            result = handler(Request(native, self._modules.find, self._resources))
            if not isinstance(result, Awaitable):
                _complete(native, result)
                return
        except Exception as error:
            _refuse(native, error)
            return
        # Before the task runs: its process may be dead in this very batch of events.
        scope = self._serving[native.id] = trio.CancelScope()
        nursery.start_soon(self._serve, native, result, scope, name="host call")

    async def _serve(self, native: NativeRequest, answer: Awaitable[Answer], scope: trio.CancelScope) -> None:
        with scope:
            try:
                _complete(native, await answer)
            except Exception as error:
                _refuse(native, error)
            finally:
                del self._serving[native.id]


def _complete(native: NativeRequest, answer: Answer) -> None:
    if isinstance(answer, GuestData):
        native.complete_with_data(answer.data, answer.size_out & 0xFFFF_FFFF)
    elif isinstance(answer, FoundModule):
        native.complete_with_module(answer.module.native)
    else:
        native.complete(0 if answer is None else answer)


def _refuse(native: NativeRequest, error: Exception) -> None:
    """Trap the caller of a host call whose handler raised `error`."""
    row = ALL_CALLS[native.row]
    match error:
        case GuestTrap():
            native.trap(str(error).encode(errors="replace"))
        case LunaError():
            native.trap(f"{row.full_name}: {error.message}".encode(errors="replace"))
        case ProcessGoneError():
            pass
        case _:
            # A guest must not take the node down with a bug of ours.
            _log.error("host call failed", function=row.full_name, pid=native.pid, exc_info=error)
            native.trap(f"{row.full_name}: internal error, see the node's log".encode())
