"""Which node a command talks to.

Pure decisions over the text of --connect or LUNA_CONNECT and the records of the run directory.
Never opens a connection; `client.py` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from luna.cli.errors import NoNodeError
from luna.cli.params import parse_address
from luna.proto.errors import InvalidError
from luna.proto.ids import is_name
from luna.proto.run_directory import NodeRecord

VARIABLE = "LUNA_CONNECT"
_FORMS = "write unix:PATH, HOST:PORT, or the name of a node on this machine"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect: `path` of a unix socket, or `address` (host, port); `text` is how people call it."""

    text: str
    path: str | None = None
    address: tuple[str, int] | None = None

    def grpc_target(self) -> str:
        """The target in gRPC's own syntax."""
        if self.path is not None:
            return f"unix:{self.path}"
        assert self.address is not None
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen target, and a remark for people when the choice was not theirs."""

    target: Target
    note: str | None = None


def choose(text: str | None, source: str, records: Callable[[], Sequence[NodeRecord]]) -> Choice:
    """The node to talk to. `text` is what the user said, if anything, and `source` where (for errors).

    `records` reads the run directory; it is asked only when needed, the node started first comes first.
    Raises InvalidError for a text that names nothing, NoNodeError when no such node is running.
    """
    if text:
        return Choice(_parse(text, source, records))
    found = records()
    if not found:
        raise NoNodeError(
            "no node is running on this machine",
            hint="start one with `luna-node start`, "
            f"or name a node elsewhere: luna --connect HOST:PORT, or {VARIABLE}",
        )
    note = None
    if len(found) > 1:
        names = ", ".join(record.name for record in found)
        note = (
            f"{len(found)} nodes run on this machine ({names}); asking {found[0].name}, "
            "the one started first (pick another with --connect NAME)"
        )
    return Choice(_of_record(found[0]), note)


def _parse(text: str, source: str, records: Callable[[], Sequence[NodeRecord]]) -> Target:
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or "\0" in path:
            raise InvalidError(f"{text!r} (from {source}) names no socket", hint=_FORMS)
        return Target(text=text, path=str(Path(path).absolute()))
    if ":" in text:
        try:
            return Target(text=text, address=parse_address(text))
        except InvalidError as error:
            raise InvalidError(f"{error.message} (from {source})", hint=_FORMS) from None
    if not is_name(text):
        raise InvalidError(f"{text!r} (from {source}) names no node", hint=_FORMS)
    found = records()
    for record in found:
        if record.name == text:
            return _of_record(record)
    names = ", ".join(record.name for record in found)
    raise NoNodeError(
        f"no node named {text} is running on this machine (from {source})",
        hint=f"running here: {names}" if names else "start it with `luna-node start`",
    )


def _of_record(record: NodeRecord) -> Target:
    return Target(text=f"node {record.name}", path=record.socket)
