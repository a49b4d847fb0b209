"""docs/cli.md names what the command has: verbs, options, documents, exit codes, kinds of errors."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from luna.cli.errors import _KINDS, ExitCode
from luna.cli.luna import root
from luna.cli.luna_node import start
from luna.cli.params import parse_size
from luna.cli.verbs import VERBS, VerbInfo
from luna.node.modules import MAX_STORED_BYTES
from luna.scheduler.runtime import MAX_PROCESSES

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


def test_every_option_and_exit_code_of_a_node_is_explained() -> None:
    text = TEXT.partition("\n## luna-node start\n")[2].partition("\n## ")[0]
    for parameter in start.params:
        assert f"\n| `{parameter.opts[0]}" in text, parameter.name
    assert start.epilog is not None
    codes = re.findall(r"^  ([0-9]+) ", start.epilog, re.MULTILINE)
    assert len(codes) == 6
    for code in codes:
        assert f"\n| {code} | " in text


def test_the_default_of_max_processes_that_is_shown_is_the_one_that_holds() -> None:
    [option] = [parameter for parameter in start.params if parameter.name == "max_processes"]
    assert isinstance(option, click.Option)
    assert f"[default: {MAX_PROCESSES}]" in (option.help or "")
    assert f"| {MAX_PROCESSES:,} |".replace(",", " ") in TEXT


def test_the_default_of_the_module_cache_that_is_shown_is_the_one_that_holds() -> None:
    [option] = [parameter for parameter in start.params if parameter.name == "module_cache"]
    assert isinstance(option, click.Option)
    size = re.search(r"default: (\w+)]", option.help or "")
    assert size is not None
    assert parse_size(size[1]) == MAX_STORED_BYTES
    assert f"| `{size[1]}` |" in TEXT
