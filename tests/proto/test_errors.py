"""The error tree: what an error carries, and that the kinds stay apart."""

from __future__ import annotations

import pickle

import pytest

from luna.proto import errors
from luna.proto.errors import InvalidError, LunaError, RefusedError

KINDS = [
    errors.ClosedError,
    errors.BrokenError,
    errors.BusyError,
    errors.WouldBlockError,
    errors.StaleError,
    errors.RefusedError,
    errors.NotFoundError,
    errors.InvalidError,
    errors.InternalError,
]


def test_text_of_an_error_is_its_message_without_the_hint() -> None:
    error = RefusedError("the name is taken", hint="give --name")
    assert str(error) == error.message == "the name is taken"
    assert error.hint == "give --name"


def test_hint_is_optional() -> None:
    assert InvalidError("no").hint is None


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_luna_error_and_none_is_a_kind_of_another(kind: type[LunaError]) -> None:
    bases: list[type] = [LunaError, *KINDS]
    assert [base for base in bases if issubclass(kind, base)] == [LunaError, kind]


def test_an_error_survives_pickling_with_its_hint() -> None:
    copy = pickle.loads(pickle.dumps(RefusedError("no", hint="ask")))
    assert (type(copy), copy.message, copy.hint) == (RefusedError, "no", "ask")
