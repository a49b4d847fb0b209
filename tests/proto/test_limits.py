"""Limits: the relations between them that their reasons claim."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from luna.proto import limits

NAMES = [name for name in vars(limits) if name.isupper() and name not in ("KIB", "MIB")]


@pytest.mark.parametrize("name", NAMES)
def test_every_limit_is_positive_and_explained(name: str) -> None:
    assert getattr(limits, name) > 0
    body = ast.parse(inspect.getsource(limits)).body
    at = next(
        index
        for index, statement in enumerate(body)
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name
    )
    following = body[at + 1]
    assert isinstance(following, ast.Expr), f"{name} has no docstring"
    assert isinstance(following.value, ast.Constant)


def test_chunks_fit_into_the_messages_that_carry_them() -> None:
    assert limits.MODULE_CHUNK_BYTES * 2 < limits.MAX_CONTROL_MESSAGE_BYTES
    assert limits.TARGET_FRAME_BYTES < limits.MAX_FRAME_BYTES


def test_a_full_gossip_envelope_with_the_largest_labels_fits_a_frame() -> None:
    utf8_bytes = 4
    label = (limits.MAX_LABEL_KEY_LENGTH + limits.MAX_LABEL_VALUE_LENGTH) * utf8_bytes
    assert limits.MAX_GOSSIP_MEMBERS * limits.MAX_LABELS * label < limits.MAX_FRAME_BYTES


def test_the_longest_address_is_a_dns_name_and_a_port() -> None:
    assert len("d" * 253 + ":65535") <= limits.MAX_ADDRESS_LENGTH


@pytest.mark.parametrize(
    ("name", "native"),
    [
        ("MAX_PARAMS", "ENTRY_PARAMS_MAX"),
        ("PROCESSES_CEILING", "PROCESSES_MAX"),
        ("MAX_ENTRY_BYTES", "ENTRY_NAME_MAX"),
    ],
)
def test_what_may_be_asked_for_is_what_the_native_core_takes(name: str, native: str) -> None:
    text = (Path(__file__).parents[2] / "scheduler" / "_limits.pxd").read_text()
    match = re.search(rf"^ *{native} = ([0-9_]+)$", text, re.MULTILINE)
    assert match is not None
    assert int(match[1]) == getattr(limits, name)
