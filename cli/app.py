"""What one invocation of `luna` shares between its parts: the output, and the way to a node."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from luna.cli import target
from luna.cli.output import Output
from luna.proto.errors import RefusedError
from luna.proto.run_directory import NodeRecord, read_records, run_directory

if TYPE_CHECKING:
    from luna.cli.client import Client


class App:
    """The object every command gets. `connect` is the text of --connect, None if it was not given."""

    def __init__(self) -> None:
        self.output = Output()
        self.connect: str | None = None

    def client(self) -> Client:
        """A connection to the chosen node, to be used in a `with` block.

        Raises InvalidError for a wrong --connect or LUNA_CONNECT, NoNodeError if nothing answers there.
        """
        from luna.cli.client import Client  # imports gRPC: only when a node is asked

        source = "--connect" if self.connect is not None else target.VARIABLE
        text = self.connect if self.connect is not None else os.environ.get(target.VARIABLE)
        choice = target.choose(text, source, _records)
        if choice.note is not None:
            self.output.note(choice.note)
        return Client(choice.target)


def _records() -> list[NodeRecord]:
    try:
        return read_records(run_directory(os.environ, os.getuid()))
    except PermissionError as error:
        raise RefusedError(str(error)) from error
