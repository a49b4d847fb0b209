"""The error tree of Luna, split by whose fault an error is.

Owns the exception classes and nothing else. How an error becomes a gRPC status or an exit code
is decided at the edge that sends it (the control service, the command line), never here.
"""

from __future__ import annotations


class LunaError(Exception):
    """Something Luna could not do; catch one of the subclasses where the reason matters.

    `message` (str) says what happened, in one sentence for people. `hint` (str or None) says what
    to try. `str(error)` is the message alone, so that an edge can print the hint its own way.
    """

    message: str
    hint: str | None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ClosedError(LunaError):
    """The caller's own side closed this: a runtime, node or reader that was already stopped."""


class BrokenError(LunaError):
    """The peer or the world broke it: a lost connection, a file system that failed."""


class BusyError(LunaError):
    """Another task or process already holds what must have one user at a time."""


class WouldBlockError(LunaError):
    """A `*_nowait` operation found nothing ready."""


class StaleError(LunaError):
    """An old incarnation was meant: a node that was declared dead, or a pid of one."""


class RefusedError(LunaError):
    """A limit, a permission or a policy said no; nothing was done."""


class NotFoundError(LunaError):
    """No such node, process, module or name."""


class InvalidError(LunaError):
    """The input is wrong: a malformed module, parameter, frame, name or address."""


class InternalError(LunaError):
    """A bug in Luna; the message is for the report."""
