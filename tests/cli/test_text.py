"""How values are written for people."""

from __future__ import annotations

import pytest

from luna.cli.result import Column, Facts, Table
from luna.cli.text import bytes_text, duration_text, plain_facts, plain_table, printable


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_572_864, "1.5 MiB"),
        (2**32, "4.0 GiB"),
        (2**60, "1048576.0 TiB"),
    ],
)
def test_bytes_have_binary_units(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0ms"),
        (999, "999ms"),
        (1000, "1s"),
        (59_999, "59s"),
        (185_000, "3m05s"),
        (7_620_000, "2h07m"),
        (349_200_000, "4d01h"),
    ],
)
def test_duration_has_its_two_largest_units(milliseconds: int, text: str) -> None:
    assert duration_text(milliseconds) == text


def test_text_from_elsewhere_cannot_steer_the_terminal() -> None:
    assert printable("plain \u00e4 \u4e16") == "plain \u00e4 \u4e16"
    assert printable("a\x1b[31mb\r\n\x07\u202e\udcff") == "a\\x1b[31mb\\r\\n\\x07\\u202e\\udcff"


def test_plain_table_is_aligned_without_trailing_space() -> None:
    table = Table(
        (Column("NAME"), Column("N", number=True), Column("X")),
        (("a", "10", ""), ("long", "5", "y\tz")),
        "none",
    )
    assert plain_table(table) == ["NAME   N  X", "a     10  -", "long   5  y\\tz"]


def test_plain_facts_are_aligned() -> None:
    assert plain_facts(Facts((("name", "a"), ("os pid", "")))) == ["name:    a", "os pid:  -"]
