"""How errors become exit codes and kinds."""

from __future__ import annotations

import click
import pytest

from luna.cli.errors import ExitCode, Failure, NoNodeError, describe, is_bug
from luna.proto import errors


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (NoNodeError("x"), "no_node", 3),
        (errors.NotFoundError("x"), "not_found", 1),
        (errors.InvalidError("x"), "invalid", 1),
        (errors.RefusedError("x"), "refused", 1),
        (errors.BusyError("x"), "busy", 1),
        (errors.StaleError("x"), "stale", 1),
        (errors.ClosedError("x"), "closed", 1),
        (errors.BrokenError("x"), "broken", 1),
        (errors.InternalError("x"), "internal", 1),
        (errors.WouldBlockError("x"), "failed", 1),
        (click.UsageError("x"), "usage", 2),
        (click.exceptions.Abort(), "interrupted", 130),
        (KeyboardInterrupt(), "interrupted", 130),
        (ZeroDivisionError("x"), "internal", 1),
    ],
)
def test_every_error_has_a_kind_and_an_exit_code(error: BaseException, kind: str, code: int) -> None:
    failure = describe(error)
    assert (failure.kind, failure.exit_code) == (kind, code)


def test_hint_is_kept() -> None:
    assert describe(errors.InvalidError("what", hint="try")) == Failure(
        "invalid", "what", "try", ExitCode.FAILED
    )


def test_group_is_unwrapped_to_its_first_leaf() -> None:
    group = ExceptionGroup("g", [ExceptionGroup("h", [errors.NotFoundError("x")]), ValueError("y")])
    assert describe(group).kind == "not_found"
    assert not is_bug(group)


def test_interruption_speaks_for_its_group() -> None:
    group = BaseExceptionGroup("g", [errors.ClosedError("x"), BaseExceptionGroup("h", [KeyboardInterrupt()])])
    assert describe(group).exit_code == 130
    assert not is_bug(group)


def test_error_that_no_user_can_cause_is_a_bug() -> None:
    assert is_bug(ZeroDivisionError())
    assert is_bug(ExceptionGroup("g", [KeyError("x")]))
    assert "please report" in (describe(ZeroDivisionError()).hint or "")
