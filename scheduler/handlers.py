"""Host calls every runtime answers in Python, besides those about names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from luna.proto.errors import InvalidError
from luna.proto.limits import MAX_MODULE_BYTES
from luna.scheduler.modules import Modules
from luna.scheduler.requests import GuestTrap, Request

__all__ = ["BuiltinHandlers"]

COMPILED, FAILED, DENIED = 0, 1, -1
NO_NODES: Final = 0


@final
class BuiltinHandlers:
    """`process::compile_module`, and what a runtime without a cluster says about nodes."""

    def __init__(self, modules: Modules) -> None:
        self._modules = modules

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve these host calls."""
        set_handler("lunatic::process", "compile_module", self._compile_module)
        set_handler("lunatic::distributed", "nodes_count", self._no_nodes)
        set_handler("lunatic::distributed", "get_nodes", self._no_nodes)

    async def _compile_module(self, request: Request) -> int:
        pointer, size, out = map(int, request.args)
        if not request.config.can_compile_modules:
            return DENIED
        if size & 0xFFFF_FFFF > MAX_MODULE_BYTES:
            raise GuestTrap(f"{request.full_name}: a module has at most {MAX_MODULE_BYTES} bytes")
        data = request.read(pointer, size)
        request.write_u64(out, 0)  # a bad pointer traps before the work
        try:
            module = await self._modules.load(data, f"module compiled by process {request.pid}")
        except InvalidError as error:
            request.write_u64(out, request.add_error(error.message))
            return FAILED
        request.write_u64(out, request.native.add_module(module.native))
        return COMPILED

    async def _no_nodes(self, request: Request) -> int:
        return NO_NODES
