"""docs/cli.md names what the command has: verbs, options, documents, exit codes, kinds of errors."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from luna.cli.errors import _KINDS, ExitCode
from luna.cli.luna import root
from luna.cli.verbs import VERBS, VerbInfo

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text()


def section_of(verb: str) -> str:
    return TEXT.partition(f"\n## luna {verb}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_has_an_example_its_document_and_its_options(verb: VerbInfo) -> None:
    text = section_of(verb.name)
    assert f"$ luna {verb.name}" in text
    assert f"`luna.{verb.name}/1`" in text
    row = f"| [`{verb.name}`](#luna-{verb.name}) |"
    [line] = [line for line in TEXT.splitlines() if line.startswith(row)]
    assert line.endswith("| yes |" if verb.changes else "| no |")
    command = root.get_command(click.Context(root), verb.name)
    assert command is not None
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name not in {"json", "connect"}:
            assert any(f"`{option}" in text for option in parameter.opts), parameter.opts


def test_every_exit_code_and_kind_of_error_is_explained() -> None:
    for code in ExitCode:
        assert f"\n| {int(code)} | " in TEXT
    for _, kind in _KINDS:
        assert f"`{kind}`" in TEXT
    for kind in ("usage", "interrupted", "failed"):
        assert f"`{kind}`" in TEXT
