"""How an error of any kind becomes one clear line, a JSON document and an exit code.

Owns the exit codes and the mapping from exceptions to them. Never prints; `output.py` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import click

from luna.proto.errors import (
    BrokenError,
    BusyError,
    ClosedError,
    InternalError,
    InvalidError,
    LunaError,
    NotFoundError,
    RefusedError,
    StaleError,
)


class ExitCode(IntEnum):
    """Exit codes of the `luna` command (docs/cli.md); `run` and followed programs add their own."""

    OK = 0
    FAILED = 1  # the program or the request failed
    USAGE = 2  # the command line is wrong
    NO_NODE = 3  # no node could be reached
    INTERRUPTED = 130  # Ctrl-C, as shells count it: 128 + SIGINT
    BROKEN_PIPE = 141  # the reader of our output went away: 128 + SIGPIPE


class NoNodeError(BrokenError):
    """No node is running, or the one that was named does not answer."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it is shown: `kind` for programs, `message` and `hint` for people."""

    kind: str
    message: str
    hint: str | None
    exit_code: int


# The first class that matches wins, so subclasses come before their bases.
_KINDS: tuple[tuple[type[LunaError], str], ...] = (
    (NoNodeError, "no_node"),
    (NotFoundError, "not_found"),
    (InvalidError, "invalid"),
    (RefusedError, "refused"),
    (BusyError, "busy"),
    (StaleError, "stale"),
    (ClosedError, "closed"),
    (BrokenError, "broken"),
    (InternalError, "internal"),
)


def describe(error: BaseException) -> Failure:
    """The failure to show for `error`; of a group, the one that matters (see `_spokesman`)."""
    error = _spokesman(error)
    if isinstance(error, KeyboardInterrupt | click.exceptions.Abort):
        return Failure("interrupted", "interrupted", None, ExitCode.INTERRUPTED)
    if isinstance(error, click.ClickException):
        return Failure("usage", error.format_message(), _usage_hint(error), ExitCode.USAGE)
    if isinstance(error, LunaError):
        kind = next((kind for cls, kind in _KINDS if isinstance(error, cls)), "failed")
        code = ExitCode.NO_NODE if kind == "no_node" else ExitCode.FAILED
        return Failure(kind, error.message, error.hint, code)
    return Failure(
        "internal",
        f"internal error: {type(error).__name__}: {error}",
        "this is a bug in Luna; please report it with the traceback above",
        ExitCode.FAILED,
    )


def is_bug(error: BaseException) -> bool:
    """Whether `error` is none that a user can cause, so that its traceback is worth showing."""
    error = _spokesman(error)
    return not isinstance(
        error, LunaError | click.ClickException | click.exceptions.Abort | KeyboardInterrupt
    )


def _spokesman(error: BaseException) -> BaseException:
    """The exception that speaks for a group: an interruption if there is one, else the first leaf."""
    if isinstance(error, BaseExceptionGroup):
        interruption = error.subgroup(KeyboardInterrupt)
        error = interruption if interruption is not None else error
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _usage_hint(error: click.ClickException) -> str | None:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"see: {error.ctx.command_path} --help"
    return None
