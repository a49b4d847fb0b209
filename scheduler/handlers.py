"""Host calls every runtime answers in Python, besides those about names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from luna.proto.errors import InvalidError
from luna.proto.limits import MAX_MODULE_BYTES
from luna.scheduler.modules import Modules
from luna.scheduler.requests import GuestTrap, Request
from luna.scheduler.resources import MAX_RESOURCES

__all__ = ["BuiltinHandlers"]

COMPILED, FAILED, DENIED = 0, 1, -1
NO_NODES: Final = 0
TABLE_FULL: Final = 2**64 - 1
"""what the core gives for an id when a table has RESOURCES_MAX entries."""


@final
class BuiltinHandlers:
    """`process::compile_module`, and what a runtime without a cluster says about nodes."""

    def __init__(self, modules: Modules) -> None:
        self._modules = modules

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve these host calls."""
        set_handler("lunatic::process", "compile_module", self._compile_module)
        set_handler("lunatic::distributed", "nodes_count", self._count_no_nodes)
        set_handler("lunatic::distributed", "get_nodes", self._get_no_nodes)

    async def _compile_module(self, request: Request) -> int:
        pointer, size, out = map(int, request.args)
        if not request.config.can_compile_modules:
            return DENIED
        if size & 0xFFFF_FFFF > MAX_MODULE_BYTES:
            raise GuestTrap(f"{request.full_name}: a module has at most {MAX_MODULE_BYTES} bytes")
        data = request.read(pointer, size)
        request.check(out, 8)  # a bad pointer traps before the work
        try:
            module = await self._modules.load(data, f"module compiled by process {request.pid}")
        except InvalidError as error:
            request.write_u64(out, request.add_error(error.message))
            return FAILED
        module_id = request.native.add_module(module.native)
        if module_id == TABLE_FULL:
            raise GuestTrap(f"{request.full_name}: a process holds at most {MAX_RESOURCES} modules")
        request.write_u64(out, module_id)
        return COMPILED

    def _count_no_nodes(self, request: Request) -> int:
        return NO_NODES

    def _get_no_nodes(self, request: Request) -> int:
        request.check(int(request.args[0]), 0)
        return NO_NODES
