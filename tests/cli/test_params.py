"""What values on a command line mean, and what is refused."""

from __future__ import annotations

import pytest

from luna.cli.params import (
    MAX_FUEL,
    Parameter,
    ProcessName,
    check_unicode,
    parse_address,
    parse_allowed,
    parse_fuel,
    parse_parameter,
    parse_process,
    parse_size,
    parse_variable,
)
from luna.proto.errors import InvalidError


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("i32:5", "i32", 5),
        ("i32:+5", "i32", 5),
        ("i32:-1", "i32", -1),
        ("i32:-2147483648", "i32", -(2**31)),
        ("i32:4294967295", "i32", -1),
        ("i32:0xffffffff", "i32", -1),
        ("i32:-0x10", "i32", -16),
        ("i64:-1", "i64", -1),
        ("i64:9223372036854775807", "i64", 2**63 - 1),
        ("i64:0xFFFFFFFFFFFFFFFF", "i64", -1),
        ("v128:0x0f", "v128", 15),
        ("v128:0x" + "f" * 32, "v128", 2**128 - 1),
    ],
)
def test_parameter_is_type_and_number(text: str, kind: str, value: int) -> None:
    assert parse_parameter(text) == Parameter(kind, value)


def test_v128_is_little_endian() -> None:
    assert parse_parameter("v128:0x0102").v128_bytes() == b"\x02\x01" + bytes(14)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a parameter"),
        ("5", "is not a parameter"),
        ("f64:1", "is not a parameter"),
        ("I32:1", "is not a parameter"),
        ("i32:", "is not a number"),
        ("i32:five", "is not a number"),
        ("i32:1.5", "is not a number"),
        ("i32:1_000", "is not a number"),
        ("i32: 1", "is not a number"),
        ("i32:1\n", "is not a number"),
        ("i32:" + "1" * 5000, "is not a number"),
        ("i32:4294967296", "does not fit in i32"),
        ("i32:-2147483649", "does not fit in i32"),
        ("i64:18446744073709551616", "does not fit in i64"),
        ("v128:5", "is not a v128 value"),
        ("v128:0x", "is not a v128 value"),
        ("v128:0x" + "0" * 33, "is not a v128 value"),
    ],
)
def test_wrong_parameter_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(InvalidError, match=message) as caught:
        parse_parameter(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("65536", 65_536),
        ("1B", 1),
        ("64KiB", 65_536),
        ("64MiB", 2**26),
        ("64mib", 2**26),
        ("1 GiB", 2**30),
        ("1kB", 1000),
        ("1MB", 10**6),
        ("1GB", 10**9),
        ("2K", 2048),
        ("2M", 2**21),
        ("2g", 2**31),
    ],
)
def test_size_has_binary_and_decimal_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.5MiB", "1TiB", "64MiBs", "1" * 30, "1\n", "\u0661"])
def test_wrong_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="is not a size"):
        parse_size(text)


def test_compute_limit_has_a_range() -> None:
    assert parse_fuel("0") == 0
    assert parse_fuel(str(MAX_FUEL)) == MAX_FUEL
    for text in ("-1", "", "x", "1e3", str(MAX_FUEL + 1), "9" * 5000):
        with pytest.raises(InvalidError, match="is not a compute limit"):
            parse_fuel(text)


@pytest.mark.parametrize(
    ("text", "pair"), [("A=1", ("A", "1")), ("A=", ("A", "")), ("A=b=c", ("A", "b=c")), ("A= x", ("A", " x"))]
)
def test_variable_is_name_and_value(text: str, pair: tuple[str, str]) -> None:
    assert parse_variable(text) == pair


@pytest.mark.parametrize("text", ["", "A", "=1", "A=\0"])
def test_wrong_variable_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        parse_variable(text)


@pytest.mark.parametrize("text", ["l", "lunatic::", "lunatic::message::se", "wasi_snapshot_preview1::fd_"])
def test_allowed_is_how_names_of_host_calls_begin(text: str) -> None:
    assert parse_allowed(text) == text


@pytest.mark.parametrize(
    "text", ["", "lunatic::*", "Lunatic::", " lunatic", "::message", "lunatic::a\n", "1x"]
)
def test_what_begins_no_name_of_a_host_call_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="no host call's name begins with"):
        parse_allowed(text)


def test_process_is_serial_and_node_or_an_absolute_pid() -> None:
    assert parse_process("17@alpha") == ProcessName("17@alpha", serial=17, node="alpha")
    pid = 11 << 40 | 17
    assert parse_process(str(pid)) == ProcessName(str(pid), pid=pid)


@pytest.mark.parametrize(
    "text", ["", "17", "0@alpha", "17@", "@alpha", "17@-x", "x@alpha", str(11 << 40), str(2**63)]
)
def test_wrong_process_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        parse_process(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7400", ("127.0.0.1", 7400)),
        ("node.example:1", ("node.example", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_address_is_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "host", "host:", ":1", "host:0", "host:65536", "host:x"),
        *("::1:80", "[::1]", "[a]:1", "a b:1", "http://h:1", "a\x1b:1"),
        "h" * 300 + ":1",
    ],
)
def test_wrong_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="is not an address"):
        parse_address(text)


def test_text_that_is_not_utf8_is_refused() -> None:
    check_unicode(["plain", "\u00e4\U0001f600"])
    with pytest.raises(InvalidError, match="not UTF-8"):
        check_unicode(["\udcff"])
