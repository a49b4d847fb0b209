"""The bytes in which SQLite's values cross between host and guest: bincode 1.3.

Its fixed-width form: little endian, an enum's variant as u32, a length as u64, an
option as one byte. Pure; the layouts are those of `lunatic-sqlite-api`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, final

__all__ = [
    "Key",
    "MalformedError",
    "Value",
    "decode_bindings",
    "encode_error",
    "encode_names",
    "encode_row",
    "encode_value",
]

Value = None | int | float | str | bytes
"""What SQLite stores: NULL, INTEGER (64 bits), REAL, TEXT or BLOB."""

Key = None | int | str
"""The parameter a value is for: none said, its number from 1, or its name."""

_NULL, _BLOB, _TEXT, _DOUBLE, _INTEGER = range(5)
"""Variants of a value that the host sends; its integers have 64 bits. Of a guest, 4 has 32 and 5 has 64."""

_U32: Final = struct.Struct("<I")
_I32: Final = struct.Struct("<i")
_U64: Final = struct.Struct("<Q")
_I64: Final = struct.Struct("<q")
_F64: Final = struct.Struct("<d")
_SOME: Final = b"\1"


@final
class MalformedError(Exception):
    """The guest's bytes are not of the layout; the text says where."""


def decode_bindings(data: bytes) -> list[tuple[Key, Value]]:
    """A `BindList`: u64 count, then keys with their values. Bytes behind it are ignored, as bincode does.

    Raises MalformedError.
    """
    reader = _Reader(data)
    pairs: list[tuple[Key, Value]] = []
    # Not by a count the guest made up: each pair takes bytes, and those end.
    remaining = reader.unpack(_U64)
    while remaining:
        pairs.append((reader.key(), reader.value()))
        remaining -= 1
    return pairs


def encode_value(value: Value) -> bytes:
    """A `SqliteValue`."""
    match value:
        case None:
            return _U32.pack(_NULL)
        case bytes():
            return _U32.pack(_BLOB) + _U64.pack(len(value)) + value
        case str():
            return _U32.pack(_TEXT) + _string(value)
        case float():
            return _U32.pack(_DOUBLE) + _F64.pack(value)
        case int():
            return _U32.pack(_INTEGER) + _I64.pack(value)


def encode_row(values: Sequence[Value]) -> bytes:
    """A `SqliteRow`: u64 count, then the values."""
    return _U64.pack(len(values)) + b"".join(map(encode_value, values))


def encode_names(names: Sequence[str]) -> bytes:
    """A list of strings."""
    return _U64.pack(len(names)) + b"".join(map(_string, names))


def encode_error(code: int, message: str) -> bytes:
    """A `SqliteError`: an optional u32 and an optional string, here always both."""
    return _SOME + _U32.pack(code) + _SOME + _string(message)


def _string(text: str) -> bytes:
    data = text.encode(errors="replace")
    return _U64.pack(len(data)) + data


class _Reader:
    """Takes values off the front of bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def unpack(self, layout: struct.Struct) -> int:
        return int(layout.unpack(self._take(layout.size))[0])

    def key(self) -> Key:
        match self.unpack(_U32):
            case 0:
                return None
            case 1:
                return self.unpack(_U64)
            case 2:
                return self._text()
            case variant:
                raise MalformedError(f"there is no key of variant {variant}")

    def value(self) -> Value:
        match self.unpack(_U32):
            case 0:
                return None
            case 1:
                return self._take(self.unpack(_U64))
            case 2:
                return self._text()
            case 3:
                return float(_F64.unpack(self._take(_F64.size))[0])
            case 4:
                return self.unpack(_I32)
            case 5:
                return self.unpack(_I64)
            case variant:
                raise MalformedError(f"there is no value of variant {variant}")

    def _text(self) -> str:
        try:
            return self._take(self.unpack(_U64)).decode()
        except UnicodeDecodeError:
            raise MalformedError("a text is not UTF-8") from None

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise MalformedError(f"the bytes end at {len(self._data)}, before a value that needs {end}")
        taken = self._data[self._at : end]
        self._at = end
        return taken
