"""Host calls that Python answers: the request a handler gets, and its errors.

While a handler works, the calling process is parked. A handler may fail only
its own caller: what it raises traps that process.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, final

from luna.proto.errors import NotFoundError
from luna.scheduler._handles import NativeRequest
from luna.scheduler.config import ProcessConfig
from luna.scheduler.hostcalls import HOST_CALLS

if TYPE_CHECKING:
    from luna.scheduler.modules import Module

__all__ = ["GuestTrap", "Handler", "Request"]

OWN: Final = -1
"""id a guest passes for its own module or config."""


_FLOATS: Final = {row.index: row.params for row in HOST_CALLS if "f" in row.params}
"""Parameter letters of the few host calls that take floats."""


class GuestTrap(Exception):
    """Raised by a handler to trap its caller with a text."""


@final
class Request:
    """One parked host call. Every method raises ProcessGoneError once the process has died."""

    def __init__(self, native: NativeRequest, find_module: Callable[[bytes], Module | None]) -> None:
        self._native = native
        self._find_module = find_module
        self._row = HOST_CALLS[native.row]
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

    def write_u64(self, pointer: int, value: int) -> None:
        """Store 8 bytes, little endian."""
        self.write(pointer, struct.pack("<Q", value & 0xFFFF_FFFF_FFFF_FFFF))

    def write_u32(self, pointer: int, value: int) -> None:
        """Store 4 bytes, little endian."""
        self.write(pointer, struct.pack("<I", value & 0xFFFF_FFFF))

    def add_error(self, text: str) -> int:
        """Id of a new entry in the process's table of errors."""
        return self._native.add_error(text.replace("\0", "").encode())

    def _out_of_bounds(self) -> GuestTrap:
        return GuestTrap(
            f"{self.full_name}: a pointer or length lies outside the guest's memory, or it exports none"
        )


def _with_floats(raw: tuple[int, ...], letters: str) -> tuple[int | float, ...]:
    return tuple(
        struct.unpack("<d", struct.pack("<q", value))[0] if letter == "f" else value
        for letter, value in zip(letters, raw, strict=True)
    )


Handler = Callable[[Request], Awaitable[int | None]]
"""Answers a host call with its wasm result, None for a function without one."""
