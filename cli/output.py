"""The one renderer: results and errors as text for people, or as one JSON document.

Owns stdout and stderr of the command: stdout gets the data, stderr everything that is said about it.
Never decides what a command does.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

from luna.cli.errors import Failure
from luna.cli.result import Facts, Result, Table, View
from luna.cli.text import plain_facts, plain_table, printable

ERROR_SCHEMA = "luna.error/1"

_STATE_STYLES = {"alive": "green", "suspect": "yellow", "dead": "red", "left": "dim"}


class ReaderGoneError(Exception):
    """Nobody reads our output any more. Not an OSError: click would answer a BrokenPipeError by itself."""


class Output:
    """Writes what a command has to say. `json` is set when the user asked for a JSON document."""

    def __init__(self) -> None:
        self.json = False

    def result(self, result: Result) -> None:
        """Show a result: the document, or its view; its notes go to stderr either way."""
        if self.json:
            self._document(result.schema, result.data())
        else:
            self._view(result.view())
        for note in result.notes():
            self.note(note)

    def failure(self, failure: Failure) -> None:
        """Show an error on stderr, and as the document on stdout if one was asked for."""
        if self.json:
            data = {
                "kind": failure.kind,
                "message": failure.message,
                "hint": failure.hint,
                "exit_code": int(failure.exit_code),
            }
            self._document(ERROR_SCHEMA, data)
        self.note(failure.message)
        if failure.hint:
            print(f"  {printable(failure.hint)}", file=sys.stderr)
        sys.stderr.flush()

    def note(self, text: str) -> None:
        """Say something to the user, on stderr; further lines of it are indented."""
        # A list of unlinkable imports, say, or the frames of a trapped program.
        first, *others = text.splitlines() or [""]
        print(f"luna: {printable(first)}", file=sys.stderr)
        for line in others:
            print(f"  {printable(line)}", file=sys.stderr)
        sys.stderr.flush()

    def part(self, result: Result, text: str) -> None:
        """Show a part of what goes on for as long as the user wants: the document of `result`, or `text`."""
        if self.json:
            self._document(result.schema, result.data())
        else:
            _lines([printable(text)])

    def guest(self, stream: int, data: bytes) -> None:
        """Pass on what a guest wrote to its stdout (1) or stderr (2), byte for byte, at once.

        Raises ReaderGoneError if there is no reader.
        """
        target = sys.stdout if stream == 1 else sys.stderr
        try:
            target.flush()
            target.buffer.write(data)
            target.buffer.flush()
        except BrokenPipeError as error:
            raise ReaderGoneError from error

    def _document(self, schema: str, data: Mapping[str, object]) -> None:
        # Readable on a terminal, one line elsewhere. Only ASCII: nothing in it can steer a terminal.
        indent = 2 if sys.stdout.isatty() else None
        print(json.dumps({"schema": schema, "data": data}, indent=indent), flush=True)

    def _view(self, view: View) -> None:
        if isinstance(view, Table):
            if not view.rows:
                self.note(view.empty)
            elif _is_rich_terminal():
                _rich_table(view)
            else:
                _lines(plain_table(view))
        elif isinstance(view, Facts):
            _lines(plain_facts(view))
        elif view.text:
            _lines([printable(view.text)])


def _lines(lines: list[str]) -> None:
    print("\n".join(lines), flush=True)


def _is_rich_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _rich_table(view: Table) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable(box=None, pad_edge=False, header_style="bold")
    for column in view.columns:
        table.add_column(column.heading, justify="right" if column.number else "left", overflow="fold")
    for row in view.rows:
        # Text objects: a name such as [red] is a name, not markup.
        cells = [Text(printable(cell) or "-") for cell in row]
        for cell, column in zip(cells, view.columns, strict=True):
            if column.heading == "STATE":
                cell.stylize(_STATE_STYLES.get(cell.plain, ""))
        table.add_row(*cells)
    Console(highlight=False).print(table)  # honours NO_COLOR by itself
