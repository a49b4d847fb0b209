"""How values are written for people: sizes, durations, plain tables, text that came from elsewhere.

Pure functions from values to text.
"""

from __future__ import annotations

import unicodedata

from luna.cli.result import Facts, Table

_GAP = "  "


def printable(text: str) -> str:
    """`text` with everything that could steer a terminal, or break a line, written as an escape.

    Names and messages come from other machines and from guests.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or unicodedata.category(character) == "Zs"
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def bytes_text(count: int) -> str:
    """A number of bytes with a binary unit: `512 B`, `64.0 KiB`, `1.5 GiB`."""
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def duration_text(milliseconds: int) -> str:
    """A duration in its two largest units: `350ms`, `12s`, `3m05s`, `2h07m`, `4d01h`."""
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    seconds = milliseconds // 1000
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    if seconds < 86_400:
        return f"{seconds // 3600}h{seconds // 60 % 60:02d}m"
    return f"{seconds // 86_400}d{seconds // 3600 % 24:02d}h"


def plain_table(table: Table) -> list[str]:
    """The lines of a table for pipes and files: aligned columns, no colour, nothing cut off."""
    cells = [tuple(column.heading for column in table.columns)]
    cells += [tuple(printable(cell) or "-" for cell in row) for row in table.rows]
    widths = [max(len(row[index]) for row in cells) for index in range(len(table.columns))]
    return [
        _GAP.join(
            cell.rjust(width) if column.number else cell.ljust(width)
            for cell, width, column in zip(row, widths, table.columns, strict=True)
        ).rstrip()
        for row in cells
    ]


def plain_facts(facts: Facts) -> list[str]:
    """The lines of named values: `name:  value`, values aligned."""
    width = max((len(name) for name, _ in facts.pairs), default=0) + 1
    return [f"{name + ':':<{width}}{_GAP}{printable(value) or '-'}" for name, value in facts.pairs]
