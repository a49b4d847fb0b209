"""Modules that guests of early Lunatic compile for an environment (`add_module`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from luna.proto.errors import InvalidError
from luna.proto.limits import MAX_MODULE_BYTES
from luna.scheduler.modules import Modules
from luna.scheduler.requests import GuestTrap, Request

__all__ = ["EarlyModules"]

ID_BYTES: Final = 8
COMPILED, FAILED = 0, 1


@final
class EarlyModules:
    """Answers `process::add_module`."""

    def __init__(self, modules: Modules) -> None:
        self._modules = modules

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve this host call."""
        set_handler("lunatic::process", "add_module@0.6", self._add_module)

    async def _add_module(self, request: Request) -> int:
        environment, pointer, size, out = map(int, request.args)
        if request.native.find_environment(environment, False) is None:
            raise GuestTrap(f"{request.full_name}: this process has no environment of id {environment}")
        request.check(out, ID_BYTES)
        if size & 0xFFFF_FFFF > MAX_MODULE_BYTES:
            raise GuestTrap(f"{request.full_name}: a module has at most {MAX_MODULE_BYTES} bytes")
        data = request.read(pointer, size)
        try:
            if not request.config.can_compile_modules:
                raise InvalidError("this process may not compile modules (config can_compile_modules)")
            module = await self._modules.load(data, f"module compiled by process {request.pid}")
        except InvalidError as error:
            request.write_u64(out, request.add_error(error.message))
            return FAILED
        id_ = request.native.add_module_of(module.native, environment)
        if id_ < 0:
            raise GuestTrap(f"{request.full_name}: this process holds too many modules: drop some")
        request.write_u64(out, id_)
        return COMPILED
