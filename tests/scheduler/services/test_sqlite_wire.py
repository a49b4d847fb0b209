"""The byte layouts of SQLite's values, against bytes written down by hand."""

from __future__ import annotations

import math
import struct

import pytest

from luna.scheduler.services.sqlite_wire import (
    Key,
    MalformedError,
    Value,
    decode_bindings,
    encode_error,
    encode_names,
    encode_row,
    encode_value,
)


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


NO_KEY = u32(0)
NULL = u32(0)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (None, "00000000"),
        (b"", "01000000 0000000000000000"),
        (b"\x00\xff", "01000000 0200000000000000 00ff"),
        ("", "02000000 0000000000000000"),
        ("aä\0", "02000000 0400000000000000 61c3a400"),
        (1.5, "03000000 000000000000f83f"),
        (-math.inf, "03000000 000000000000f0ff"),
        (0, "04000000 0000000000000000"),
        (-2, "04000000 feffffffffffffff"),
        (2**63 - 1, "04000000 ffffffffffffff7f"),
    ],
)
def test_a_value_is_its_variant_and_its_bytes(value: Value, data: str) -> None:
    assert encode_value(value) == bytes.fromhex(data)


def test_a_row_is_a_counted_list_of_values() -> None:
    assert encode_row([]) == u64(0)
    assert encode_row([None, "a"]) == u64(2) + NULL + u32(2) + u64(1) + b"a"


def test_names_are_a_counted_list_of_strings() -> None:
    assert encode_names([]) == u64(0)
    assert encode_names(["id", ""]) == u64(2) + u64(2) + b"id" + u64(0)


def test_an_error_is_an_optional_code_and_an_optional_message() -> None:
    assert encode_error(1, "m") == bytes.fromhex("01 01000000 01 0100000000000000 6d")


@pytest.mark.parametrize(
    ("data", "pair"),
    [
        (NO_KEY + NULL, (None, None)),
        (u32(1) + u64(1) + NULL, (1, None)),
        (u32(1) + u64(2**64 - 1) + NULL, (2**64 - 1, None)),
        (u32(2) + u64(2) + b":a" + NULL, (":a", None)),
        (NO_KEY + u32(1) + u64(2) + b"\0\xff", (None, b"\0\xff")),
        (NO_KEY + u32(2) + u64(2) + "ä".encode(), (None, "ä")),
        (NO_KEY + u32(3) + struct.pack("<d", -0.5), (None, -0.5)),
        (NO_KEY + u32(4) + struct.pack("<i", -7), (None, -7)),
        (NO_KEY + u32(5) + struct.pack("<q", -(2**63)), (None, -(2**63))),
    ],
)
def test_a_binding_is_a_key_and_a_value(data: bytes, pair: tuple[Key, Value]) -> None:
    assert decode_bindings(u64(1) + data) == [pair]


def test_a_double_stays_a_double_and_an_integer_an_integer() -> None:
    [(_, double), (_, integer)] = decode_bindings(
        u64(2) + NO_KEY + u32(3) + struct.pack("<d", 2) + NO_KEY + u32(4) + struct.pack("<i", 2)
    )
    assert (type(double), type(integer)) == (float, int)


def test_bindings_keep_their_order_and_what_follows_them_is_ignored() -> None:
    data = u64(2) + u32(1) + u64(2) + NULL + NO_KEY + u32(4) + struct.pack("<i", 3) + b"more"
    assert decode_bindings(data) == [(2, None), (None, 3)]
    assert decode_bindings(u64(0) + b"\xff") == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "end at 0"),
        (b"\0" * 7, "end at 7"),
        (u64(1), "end at 8"),
        (u64(2) + NO_KEY + NULL, "end at 16"),
        (u64(2**64 - 1), "end at 8"),
        (u64(1) + u32(3) + NULL, "no key of variant 3"),
        (u64(1) + NO_KEY + u32(6), "no value of variant 6"),
        (u64(1) + NO_KEY + u32(1) + u64(2**64 - 1) + b"abc", "end at"),
        (u64(1) + NO_KEY + u32(2) + u64(1) + b"\xff", "not UTF-8"),
        (u64(1) + u32(2) + u64(2) + b"\xc3\x28" + NULL, "not UTF-8"),
        (u64(1) + NO_KEY + u32(4) + b"\0\0\0", "end at"),
        (u64(1) + NO_KEY + u32(3) + b"\0\0\0\0", "end at"),
    ],
)
def test_other_bytes_are_malformed(data: bytes, said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        decode_bindings(data)
