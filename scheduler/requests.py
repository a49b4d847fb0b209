"""Host calls that Python answers: the request a handler gets, and its errors.

While a handler works, the calling process is parked. A handler may fail only
its own caller: what it raises traps that process.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, final

from luna.proto.errors import NotFoundError
from luna.scheduler._handles import NativeRequest, ProcessGoneError
from luna.scheduler.config import ProcessConfig
from luna.scheduler.hostcalls import ALL_CALLS
from luna.scheduler.resources import MAX_RESOURCES, Resource, ResourceKind, Resources

if TYPE_CHECKING:
    from luna.scheduler.modules import Module

__all__ = ["Answer", "FoundModule", "GuestData", "GuestTrap", "Handler", "Request"]

OWN: Final = -1
"""id a guest passes for its own module or config."""


_FLOATS: Final = {row.index: row.params for row in ALL_CALLS if "f" in row.params}
"""Parameter letters of the few host calls that take floats."""


class GuestTrap(Exception):
    """Raised by a handler to trap its caller with a text."""


@final
@dataclass(frozen=True, slots=True)
class GuestData:
    """Answer of a host call that hands bytes to the guest: its row is REQUEST_DATA.

    They are placed where the guest's `lunatic_alloc` says, whose address becomes the
    call's result; the length is stored at `size_out`, 4 bytes little endian.
    """

    data: bytes
    size_out: int


@final
@dataclass(frozen=True, slots=True)
class FoundModule:
    """Answer of a native call that needs a module which was not in memory: the core goes on with it."""

    module: Module


@final
class Request:
    """One parked host call. Every method raises ProcessGoneError once the process has died."""

    def __init__(
        self, native: NativeRequest, find_module: Callable[[bytes], Module | None], resources: Resources
    ) -> None:
        self._native = native
        self._find_module = find_module
        self._resources = resources
        self._row = ALL_CALLS[native.row]
        self.pid: Final[int] = native.pid
        self.environment: Final[int] = native.environment
        floats = _FLOATS.get(native.row)
        self.args: Final[tuple[int | float, ...]] = (
            native.arguments if floats is None else _with_floats(native.arguments, floats)
        )
        """i32 and i64 as signed integers, f64 as floats."""

    @property
    def native(self) -> NativeRequest:
        """For the scheduler's own handlers."""
        return self._native

    @property
    def namespace(self) -> str:
        """Import module of the called function."""
        return self._row.namespace

    @property
    def name(self) -> str:
        """Import name of the called function."""
        return self._row.name

    @property
    def full_name(self) -> str:
        """`namespace::name`."""
        return self._row.full_name

    @property
    def config(self) -> ProcessConfig:
        """The calling process's own config."""
        return self.lookup_config(OWN)

    @property
    def module(self) -> Module:
        """The calling process's own module. Raises NotFoundError when it was dropped from memory."""
        return self.lookup_module(OWN)

    def lookup_config(self, id_: int) -> ProcessConfig:
        """A config of the process by its id, -1 for its own. Raises GuestTrap if unknown."""
        values = self._native.config(id_)
        if values is None:
            raise GuestTrap(f"{self.full_name}: this process has no config of id {id_}")
        return ProcessConfig(*values)

    def lookup_module(self, id_: int) -> Module:
        """A module of the process by its id, -1 for its own.

        Raises GuestTrap if unknown, NotFoundError when its bytes were dropped from memory.
        """
        native = self._native.module(id_)
        if native is None:
            raise GuestTrap(f"{self.full_name}: this process has no module of id {id_}")
        module = self._find_module(native.sha256)
        if module is None:
            raise NotFoundError(f"module {native.sha256.hex()[:12]} is no longer kept by this node")
        return module

    def read(self, pointer: int, size: int) -> bytes:
        """Copy guest memory. `pointer` and `size` may be signed i32. Raises GuestTrap when out of bounds."""
        data = self._native.read(pointer & 0xFFFF_FFFF, size & 0xFFFF_FFFF)
        if data is None:
            raise self._out_of_bounds()
        return data

    def read_text(self, pointer: int, size: int) -> str:
        """Copy a guest string. Raises GuestTrap when out of bounds or not UTF-8."""
        try:
            return self.read(pointer, size).decode()
        except UnicodeDecodeError:
            raise GuestTrap(f"{self.full_name}: the text is not UTF-8") from None

    def write(self, pointer: int, data: bytes) -> None:
        """Copy into guest memory. Raises GuestTrap when out of bounds."""
        if not self._native.write(pointer & 0xFFFF_FFFF, data):
            raise self._out_of_bounds()

    def check(self, pointer: int, size: int) -> None:
        """Raise GuestTrap when these bytes are out of bounds, without copying them.

        `size` may be a signed i32, or larger than memory can be.
        """
        if size < 0:
            size &= 0xFFFF_FFFF
        last = (pointer & 0xFFFF_FFFF) + max(size - 1, 0)
        if self._native.read(last, min(size, 1)) is None:
            raise self._out_of_bounds()

    def write_u64(self, pointer: int, value: int) -> None:
        """Store 8 bytes, little endian."""
        self.write(pointer, struct.pack("<Q", value & 0xFFFF_FFFF_FFFF_FFFF))

    def write_u32(self, pointer: int, value: int) -> None:
        """Store 4 bytes, little endian."""
        self.write(pointer, struct.pack("<I", value & 0xFFFF_FFFF))

    def add_error(self, text: str) -> int:
        """Id of a new entry in the process's table of errors."""
        return self._native.add_error(text.replace("\0", "").encode())

    # -- resources ------------------------------------------------------------------

    def add_resource(self, kind: ResourceKind, resource: Resource) -> int:
        """Give the process a resource; its id. Raises GuestTrap when it has too many of the kind.

        The resource is closed when the process ends, and now if it cannot have it.
        """
        try:
            self._native.own()
        except ProcessGoneError:
            resource.close()
            raise
        id_ = self._resources.add(self.pid, kind, resource)
        if id_ is None:
            resource.close()
            raise GuestTrap(
                f"{self.full_name}: a process holds at most {MAX_RESOURCES} of a kind: {kind.label}"
            )
        return id_

    def resource(self, kind: ResourceKind, id_: float) -> Resource:
        """A resource of the process. Raises GuestTrap if it has none of that id."""
        resource = self._resources.find(self.pid, kind, int(id_))
        if resource is None:
            raise self._no_resource(kind, id_)
        return resource

    def remove_resource(self, kind: ResourceKind, id_: float) -> Resource:
        """Take a resource from the process, unclosed. Raises GuestTrap if it has none of that id."""
        resource = self._resources.remove(self.pid, kind, int(id_))
        if resource is None:
            raise self._no_resource(kind, id_)
        return resource

    def push_resource(self, kind: ResourceKind, id_: float) -> int:
        """Move a resource of the process into its scratch message; the index there.

        Raises GuestTrap if it has none of that id, no data message, or one with too
        many; in the latter cases the resource is lost, as it was in Lunatic.
        """
        number = self._resources.send(self.remove_resource(kind, id_))
        try:
            index, problem = self._native.push_resource(kind.number, number)
        except ProcessGoneError:
            self._resources.lose(number)
            raise
        if problem is not None:
            self._resources.lose(number)
            raise GuestTrap(f"{self.full_name}: {problem}")
        return index

    def take_resource(self, kind: ResourceKind, index: float) -> int:
        """Move a resource from the scratch message to the process; its id. Raises GuestTrap if none."""
        number, problem = self._native.take_resource(kind.number, int(index))
        if problem is not None:
            raise GuestTrap(f"{self.full_name}: {problem}")
        return self.add_resource(kind, self._resources.receive(number))

    def _no_resource(self, kind: ResourceKind, id_: float) -> GuestTrap:
        return GuestTrap(f"{self.full_name}: this process has no {kind.label} of id {int(id_)}")

    def _out_of_bounds(self) -> GuestTrap:
        return GuestTrap(
            f"{self.full_name}: a pointer or length lies outside the guest's memory, or it exports none"
        )


def _with_floats(raw: tuple[int, ...], letters: str) -> tuple[int | float, ...]:
    return tuple(
        struct.unpack("<d", struct.pack("<q", value))[0] if letter == "f" else value
        for letter, value in zip(letters, raw, strict=True)
    )


Answer: TypeAlias = int | GuestData | FoundModule | None
"""The wasm result of a host call; None for a function without one."""

Handler: TypeAlias = Callable[[Request], Answer | Awaitable[Answer]]
"""Answers a host call: at once, or with what a task then awaits, which costs more."""
