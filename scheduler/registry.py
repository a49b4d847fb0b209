"""Names for processes (`lunatic::registry`) and `process::get_or_spawn`, on one node.

One map of names per environment. A name is forgotten when its process, if it is
one of this node, is dead; `get_or_spawn` holds its name until the child is born,
so that two callers at once get one process.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, final

import trio

from luna.proto.errors import LunaError
from luna.proto.ids import node_of
from luna.proto.limits import MAX_ENTRY_BYTES, MAX_PARAMS
from luna.scheduler.config import Param
from luna.scheduler.requests import GuestTrap, Request

if TYPE_CHECKING:
    from luna.scheduler.runtime import Runtime

__all__ = ["Registry"]

MAX_NAMES: Final = 1_000_000
"""names in one environment; a guest that registers without end must not take the node's memory."""
MAX_NAME_BYTES: Final = 4096
"""bytes of one name; guest libraries make them of type names."""

FOUND, NOT_FOUND = 0, 1
SPAWNED, SPAWN_FAILED, EXISTED = 0, 1, 2
PARAM_RECORD = struct.Struct("<B16s")
PARAM_KINDS: Final = {0x7F: "i32", 0x7E: "i64", 0x7B: "v128"}


@final
@dataclass(slots=True)
class _Names:
    entries: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> node id, pid
    held: dict[str, trio.Event] = field(default_factory=dict)  # names being spawned for


@final
class Registry:
    """The names of every environment of one runtime. For one trio thread."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._environments: defaultdict[int, _Names] = defaultdict(_Names)
        self._by_pid: dict[
            int, dict[tuple[int, str], None]
        ] = {}  # pid -> environment and name of its entries

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve the host calls about names."""
        set_handler("lunatic::registry", "put", self._put)
        set_handler("lunatic::registry", "get", self._get)
        set_handler("lunatic::registry", "remove", self._remove)
        set_handler("lunatic::process", "get_or_spawn", self._get_or_spawn)

    def lookup(self, environment: int, name: str) -> tuple[int, int] | None:
        """(node id, pid) registered under a name; None if there is none or it has died."""
        names = self._environments[environment]
        entry = names.entries.get(name)
        if entry is None:
            return None
        pid = entry[1]
        if node_of(pid) == self._runtime.node_id and not self._runtime.exists(pid):
            self._remove_entry(environment, name)
            return None
        return entry

    def names_of(self, pid: int) -> list[str]:
        """The names that stand for a process, the oldest first; also of one that has just ended."""
        return [name for _, name in self._by_pid.get(pid, ())]

    def put(self, environment: int, name: str, node_id: int, pid: int) -> None:
        """Register a name, in place of what it stood for. Raises GuestTrap when there are too many."""
        entries = self._environments[environment].entries
        if name not in entries and len(entries) >= MAX_NAMES:
            self._forget_dead(environment)
            if len(entries) >= MAX_NAMES:
                raise GuestTrap(f"lunatic::registry::put: at most {MAX_NAMES} names")
        self._remove_entry(environment, name)
        entries[name] = (node_id, pid)
        self._by_pid.setdefault(pid, {})[environment, name] = None

    def _remove_entry(self, environment: int, name: str) -> None:
        """Forget a name, if there is such a one."""
        entry = self._environments[environment].entries.pop(name, None)
        if entry is None:
            return
        names = self._by_pid[entry[1]]
        del names[environment, name]
        if not names:
            del self._by_pid[entry[1]]

    def _forget_dead(self, environment: int) -> None:
        for name in list(self._environments[environment].entries):
            self.lookup(environment, name)

    @asynccontextmanager
    async def _holding(self, environment: int, name: str) -> AsyncIterator[None]:
        """Keep others from using a name that a process is being spawned for."""
        held = self._environments[environment].held
        await self._settled(environment, name)
        done = held[name] = trio.Event()
        try:
            yield
        finally:
            del held[name]
            done.set()

    async def _settled(self, environment: int, name: str) -> None:
        held = self._environments[environment].held
        while name in held:
            await held[name].wait()

    @staticmethod
    def _name(request: Request, pointer: float, size: float) -> str:
        if int(size) & 0xFFFF_FFFF > MAX_NAME_BYTES:
            raise GuestTrap(f"{request.full_name}: a name has at most {MAX_NAME_BYTES} bytes")
        return request.read_text(int(pointer), int(size))

    async def _put(self, request: Request) -> None:
        pointer, size, node_id, pid = request.args
        name = self._name(request, pointer, size)
        await self._settled(request.environment, name)
        self.put(request.environment, name, int(node_id), int(pid))

    async def _get(self, request: Request) -> int:
        pointer, size, node_out, pid_out = map(int, request.args)
        name = self._name(request, pointer, size)
        await self._settled(request.environment, name)
        entry = self.lookup(request.environment, name)
        if entry is None:
            return NOT_FOUND
        request.write_u64(node_out, entry[0])
        request.write_u64(pid_out, entry[1])
        return FOUND

    async def _remove(self, request: Request) -> None:
        pointer, size = request.args
        name = self._name(request, pointer, size)
        await self._settled(request.environment, name)
        self._remove_entry(request.environment, name)

    async def _get_or_spawn(self, request: Request) -> int:
        (
            name_at, name_size, link_tag, config_id, module_id,
            function_at, function_size, params_at, params_size, node_out, pid_out,
        ) = map(int, request.args)  # fmt: skip
        name = self._name(request, name_at, name_size)
        async with self._holding(request.environment, name):
            entry = self.lookup(request.environment, name)
            if entry is not None:
                request.write_u64(node_out, entry[0])
                request.write_u64(pid_out, entry[1])
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
            self.put(request.environment, name, self._runtime.node_id, pid)
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
