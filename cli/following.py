"""Passing on what a process writes until the stream ends: shared by `logs` and `spawn --follow`.

Output goes straight to our stdout and stderr, or is collected for a JSON document. Never starts a process.
"""

from __future__ import annotations

import base64
import textwrap
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from luna.proto.limits import MIB

if TYPE_CHECKING:
    from luna.cli.client import Client
    from luna.cli.output import Output
    from luna.cli.params import ProcessName
    from luna.proto.control_pb2 import ProcessExit

MAX_COLLECTED_BYTES = 64 * MIB
"""bytes of output in one JSON document, which is held in memory; the oldest output is dropped and counted."""

_STREAMS = {1: "stdout", 2: "stderr"}


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended. `kind` is normal, failure, killed, link_died, no_process or no_connection."""

    kind: str
    code: int
    reason: str

    def data(self) -> dict[str, object]:
        """The JSON object."""
        return {"kind": self.kind, "code": self.code, "reason": self.reason}

    def remark(self) -> str | None:
        """What to tell the user; None if the exit code says it all."""
        if self.kind == "normal" or self.reason == f"exited with code {self.code}":
            return None
        first, newline, frames = (self.reason or self.kind).partition("\n")
        return first + newline + textwrap.dedent(frames)


@dataclass(slots=True)
class Transcript:
    """What was received of a process's output so far; `parts` only if it is collected."""

    parts: deque[tuple[int, bytes]] = field(default_factory=deque)
    collected_bytes: int = 0
    dropped_bytes: int = 0
    exit: Exit | None = None

    def collect(self, stream: int, data: bytes) -> None:
        """Keep a part of the output, dropping the oldest parts beyond the bound."""
        self.parts.append((stream, data))
        self.collected_bytes += len(data)
        while self.collected_bytes > MAX_COLLECTED_BYTES:
            _, oldest = self.parts.popleft()
            self.collected_bytes -= len(oldest)
            self.dropped_bytes += len(oldest)

    def remarks(self) -> tuple[str, ...]:
        """What is to be said about the output: once, since a process that writes fast may lose often."""
        if not self.dropped_bytes:
            return ()
        return (f"{self.dropped_bytes} bytes of output are lost: only the latest are kept",)

    def data(self) -> dict[str, object]:
        """`output`, `dropped_bytes` and `exit` of a JSON document; `exit` is null while the process lives."""
        return {
            "output": [_part(stream, data) for stream, data in _merged(self.parts)],
            "dropped_bytes": self.dropped_bytes,
            "exit": None if self.exit is None else self.exit.data(),
        }


def receive(
    client: Client, process: ProcessName, follow: bool, output: Output, transcript: Transcript
) -> None:
    """Read the output of `process` into `transcript`, or to `output` at once unless JSON was asked for.

    Returns when the process ended, or, without `follow`, when all was read. Raises KeyboardInterrupt as it
    comes; then the transcript holds what was received. Raises BrokenError if the stream ends before a
    followed process.
    """
    from luna.proto.errors import BrokenError

    for reply in client.logs(process, follow):
        transcript.dropped_bytes += reply.dropped_bytes
        part = reply.WhichOneof("part")
        if part == "exit":
            transcript.exit = _exit(reply.exit)
        elif part is not None:
            stream, data = (1, reply.stdout) if part == "stdout" else (2, reply.stderr)
            if output.json:
                transcript.collect(stream, data)
            else:
                output.guest(stream, data)
    if follow and transcript.exit is None:
        raise BrokenError(f"the node stopped sending the output of {process.text} before it ended")


def shell_code(code: int) -> int:
    """The exit code a shell can see: 0..255, and never 0 for a failure."""
    return code if 0 <= code <= 255 else (code & 255) or 1


def _exit(message: ProcessExit) -> Exit:
    from luna.proto.node_pb2 import ExitKind

    try:
        kind = ExitKind.Name(message.kind).removeprefix("EXIT_").lower()
    except ValueError:
        kind = "failure"  # a kind of a newer protocol; its code and reason still say what happened
    return Exit(kind, message.code, message.reason)


def _merged(parts: deque[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Neighbouring parts of one stream as one, since where the node cut them means nothing."""
    merged: list[tuple[int, list[bytes]]] = []
    for stream, data in parts:
        if merged and merged[-1][0] == stream:
            merged[-1][1].append(data)
        else:
            merged.append((stream, [data]))
    return [(stream, b"".join(pieces)) for stream, pieces in merged]


def _part(stream: int, data: bytes) -> dict[str, object]:
    """Output as `text`, or as `base64` if it is not UTF-8."""
    try:
        return {"stream": _STREAMS[stream], "text": data.decode()}
    except UnicodeDecodeError:
        return {"stream": _STREAMS[stream], "base64": base64.b64encode(data).decode()}
