"""Host calls about the names of processes (`lunatic::registry`) and `process::get_or_spawn`.

Reads what a guest asks, and asks the runtime's name service; the native core calls here only for what it
does not know itself.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, final

from luna.proto.errors import LunaError, WouldBlockError
from luna.proto.limits import MAX_ENTRY_BYTES, MAX_PARAMS, MAX_PROCESS_NAME_BYTES
from luna.scheduler.config import Param
from luna.scheduler.name_service import NameService, Registered
from luna.scheduler.requests import GuestTrap, Request

if TYPE_CHECKING:
    from luna.scheduler.runtime import Runtime

__all__ = ["Registry"]

FOUND, NOT_FOUND = 0, 1
SPAWNED, SPAWN_FAILED, EXISTED = 0, 1, 2
PARAM_RECORD = struct.Struct("<B16s")
PARAM_KINDS: Final = {0x7F: "i32", 0x7E: "i64", 0x7B: "v128"}


@final
class Registry:
    """Answers the host calls about names that the core does not. For one trio thread."""

    def __init__(self, runtime: Runtime, service: NameService) -> None:
        self._runtime = runtime
        self.service = service

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve these host calls."""
        set_handler("lunatic::registry", "put", self._put)
        set_handler("lunatic::registry", "get", self._get)
        set_handler("lunatic::registry", "remove", self._remove)
        set_handler("lunatic::process", "get_or_spawn", self._get_or_spawn)

    @staticmethod
    def _name(request: Request, pointer: float, size: float) -> str:
        if int(size) & 0xFFFF_FFFF > MAX_PROCESS_NAME_BYTES:
            raise GuestTrap(f"{request.full_name}: a name has at most {MAX_PROCESS_NAME_BYTES} bytes")
        return request.read_text(int(pointer), int(size))

    async def _put(self, request: Request) -> None:
        pointer, size, node_id, pid = request.args
        name = self._name(request, pointer, size)
        await self.service.put(request.environment, name, int(node_id), int(pid))

    def _get(self, request: Request) -> int | Awaitable[int]:
        pointer, size, _, _ = request.args
        name = self._name(request, pointer, size)
        try:
            entry = self.service.get_nowait(request.environment, name)
        except WouldBlockError:
            return self._get_later(request, name)
        return self._found(request, entry)

    async def _get_later(self, request: Request, name: str) -> int:
        return self._found(request, await self.service.get(request.environment, name))

    @staticmethod
    def _found(request: Request, entry: Registered | None) -> int:
        _, _, node_out, pid_out = map(int, request.args)
        if entry is None:
            return NOT_FOUND
        request.write_u64(node_out, entry.node_id)
        request.write_u64(pid_out, entry.pid)
        return FOUND

    async def _remove(self, request: Request) -> None:
        pointer, size = request.args
        name = self._name(request, pointer, size)
        await self.service.remove(request.environment, name)

    async def _get_or_spawn(self, request: Request) -> int:
        (
            name_at, name_size, link_tag, config_id, module_id,
            function_at, function_size, params_at, params_size, node_out, pid_out,
        ) = map(int, request.args)  # fmt: skip
        name = self._name(request, name_at, name_size)
        async with self.service.reserve(request.environment, name) as reservation:
            entry = reservation.found
            if entry is not None:
                request.write_u64(node_out, entry.node_id)
                request.write_u64(pid_out, entry.pid)
                return EXISTED
            if request.native.starting:
                # Its child would run the start section as well, and wait for the name that is held here.
                raise GuestTrap(f"{request.full_name}: not possible in the start section of a module")
            if not request.config.can_spawn_processes:
                raise GuestTrap("lunatic::process::get_or_spawn: this process may not spawn processes")
            config = request.lookup_config(config_id).within(request.config)
            if not 0 <= function_size <= MAX_ENTRY_BYTES:
                raise GuestTrap(f"{request.full_name}: a function name has at most {MAX_ENTRY_BYTES} bytes")
            function = request.read_text(function_at, function_size)
            params = read_params(request, params_at, params_size)
            # A bad pointer traps now and not when the child already runs.
            request.write_u64(node_out, 0)
            request.write_u64(pid_out, 0)
            try:
                pid = await self._runtime.spawn_child(
                    request, request.lookup_module(module_id), function, params, config, link_tag
                )
            except LunaError as error:
                request.write_u64(pid_out, request.add_error(error.message))
                return SPAWN_FAILED
            reservation.commit(self._runtime.node_id, pid)
            request.write_u64(node_out, self._runtime.node_id)
            request.write_u64(pid_out, pid)
            return SPAWNED


def read_params(request: Request, pointer: int, size: int) -> list[Param]:
    """Decode the guest's 17-byte parameter records. Raises GuestTrap when they are malformed."""
    if not 0 <= size <= MAX_PARAMS * PARAM_RECORD.size:
        raise GuestTrap(f"{request.full_name}: at most {MAX_PARAMS} parameters")
    if size % PARAM_RECORD.size != 0:
        raise GuestTrap(f"{request.full_name}: the parameters are not a whole number of 17-byte records")
    params = []
    for kind, data in PARAM_RECORD.iter_unpack(request.read(pointer, size)):
        match PARAM_KINDS.get(kind):
            case "i32":
                params.append(Param("i32", data))
            case "i64":
                params.append(Param("i64", data))
            case "v128":
                params.append(Param("v128", data))
            case _:
                raise GuestTrap(
                    f"{request.full_name}: a parameter type is not 0x7F (i32), 0x7E (i64) or 0x7B (v128)"
                )
    return params
