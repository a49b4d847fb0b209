"""What a process is spawned with: its rights and limits, and the parameters of its entry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Self, final

from luna.proto.errors import InvalidError
from luna.proto.limits import MAX_NAMESPACES

__all__ = ["Param", "ProcessConfig"]

MAX_MEMORY_BYTES = 0xFFFF_FFFF
"""Bytes: the default of Lunatic's `create_config`, 65 535 wasm pages."""
V128_BYTES = 16


@final
@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """What a process may do and use; fixed when it is spawned.

    The defaults are those of a guest's `create_config`: no rights at all.
    """

    max_memory_bytes: int = MAX_MEMORY_BYTES
    max_fuel: int = 0
    """Units of 100 000 instructions; 0: no limit."""
    can_compile_modules: bool = False
    can_create_configs: bool = False
    can_spawn_processes: bool = False
    preopens: tuple[tuple[str, str], ...] = ()
    """(guest name, host path) of each directory it may open files in."""
    arguments: tuple[str, ...] = ()
    environment_variables: tuple[tuple[str, str], ...] = ()
    namespaces: tuple[str, ...] | None = None
    """Prefixes of the names (`namespace::name`) of the host calls it may make; None: all."""

    @classmethod
    def program(
        cls,
        *,
        preopens: Iterable[tuple[str, str]] = (),
        arguments: Iterable[str] = (),
        environment_variables: Iterable[tuple[str, str]] = (),
        max_memory_bytes: int = MAX_MEMORY_BYTES,
        max_fuel: int = 0,
        namespaces: Iterable[str] | None = None,
    ) -> Self:
        """The config of a program started from outside: it may spawn, compile and make configs."""
        return cls(
            max_memory_bytes=max_memory_bytes,
            max_fuel=max_fuel,
            can_compile_modules=True,
            can_create_configs=True,
            can_spawn_processes=True,
            preopens=tuple(preopens),
            arguments=tuple(arguments),
            environment_variables=tuple(environment_variables),
            namespaces=None if namespaces is None else tuple(namespaces),
        )

    def check_texts(self) -> None:
        """Raise InvalidError unless every text can be given to a guest, or for too many namespaces."""
        if self.namespaces is not None and len(self.namespaces) > MAX_NAMESPACES:
            raise InvalidError(f"a config has at most {MAX_NAMESPACES} namespaces")
        texts = (
            *(self.namespaces or ()),
            *self.arguments,
            *(text for pair in self.environment_variables for text in pair),
            *(text for pair in self.preopens for text in pair),
        )
        for text in texts:
            try:
                whole = b"\0" not in text.encode()
            except UnicodeEncodeError:
                whole = False
            if not whole:
                raise InvalidError(
                    f"{text!r} is not text a guest can be given: it is no UTF-8, or has a zero byte"
                )

    def within(self, parent: Self) -> Self:
        """This config cut to what its parent has: a child never gets more."""
        fuel = [units for units in (self.max_fuel, parent.max_fuel) if units]
        return replace(
            self,
            max_memory_bytes=min(self.max_memory_bytes, parent.max_memory_bytes),
            max_fuel=min(fuel, default=0),
            can_compile_modules=self.can_compile_modules and parent.can_compile_modules,
            can_create_configs=self.can_create_configs and parent.can_create_configs,
            can_spawn_processes=self.can_spawn_processes and parent.can_spawn_processes,
            namespaces=_common(self.namespaces, parent.namespaces),
        )


def _common(ours: tuple[str, ...] | None, theirs: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """As many prefixes of what both allow as one has. Of two that allow a call, one begins with the other."""
    if ours is None or theirs is None:
        return theirs if ours is None else ours
    both = [
        max(one, other, key=len)
        for one in ours
        for other in theirs
        if one.startswith(other) or other.startswith(one)
    ]
    return tuple(dict.fromkeys(both))[:MAX_NAMESPACES]


@final
@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of an entry function."""

    kind: Literal["i32", "i64", "v128"]
    data: bytes
    """16 bytes, little endian; a narrow value is in the first ones."""

    @classmethod
    def i32(cls, value: int) -> Self:
        """A 32-bit integer, signed or unsigned. Raises InvalidError if it does not fit."""
        return cls("i32", _little_endian(value, 32))

    @classmethod
    def i64(cls, value: int) -> Self:
        """A 64-bit integer, signed or unsigned. Raises InvalidError if it does not fit."""
        return cls("i64", _little_endian(value, 64))

    @classmethod
    def v128(cls, data: bytes) -> Self:
        """A vector of exactly 16 bytes. Raises InvalidError otherwise."""
        if len(data) != V128_BYTES:
            raise InvalidError(f"a v128 is 16 bytes, not {len(data)}")
        return cls("v128", bytes(data))


def _little_endian(value: int, bits: int) -> bytes:
    if not -(1 << bits - 1) <= value < 1 << bits:
        raise InvalidError(f"{value} does not fit an i{bits}")
    return (value & (1 << bits) - 1).to_bytes(V128_BYTES, "little")
