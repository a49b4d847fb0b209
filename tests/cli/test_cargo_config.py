"""Cargo's configuration file: what is added where, what is kept, and what is refused."""

from __future__ import annotations

import tomllib

import pytest

from luna.cli.cargo_config import choose_triple, configured, read_config
from luna.proto.errors import InvalidError, RefusedError

P1, OLD = "wasm32-wasip1", "wasm32-wasi"
TARGET, RUNNER = 'target = "wasm32-wasip1"\n', 'runner = "luna run"\n'
NEW = """\
[build]
target = "wasm32-wasip1"

[target.wasm32-wasip1]
runner = "luna run"
"""


def test_new_file() -> None:
    assert configured("", P1, force=False) == NEW
    assert configured("", OLD, force=False) == NEW.replace(P1, OLD)


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("# mine\n", "# mine\n\n" + NEW),
        (
            "[build]\njobs = 2 # two\n[net]\n",
            f"[build]\n{TARGET}jobs = 2 # two\n[net]\n\n[target.{P1}]\n{RUNNER}",
        ),
        (f"[target.{P1}]\nlinker = 'x'\n", f"[target.{P1}]\n{RUNNER}linker = 'x'\n\n[build]\n{TARGET}"),
        ("build.jobs = 2\n[net]\n", f"build.{TARGET}build.jobs = 2\n[net]\n\n[target.{P1}]\n{RUNNER}"),
        ("[net] # no end of line", f"[net] # no end of line\n\n{NEW}"),
        ("[build]\r\njobs = 2\r\n", '[build]\r\ntarget = "wasm32-wasip1"\r\njobs = 2\r\n'),
        ('x = """\n[build]\n"""\n', 'x = """\n[build]\n"""\n\n' + NEW),
        ("x = [\n[1],\n]\n", "x = [\n[1],\n]\n\n" + NEW),
    ],
)
def test_what_is_missing_is_added_and_the_rest_stays(text: str, edited: str) -> None:
    result = configured(text, P1, force=False)
    assert result.startswith(edited)
    config = tomllib.loads(result)
    assert config["build"]["target"] == P1
    assert config["target"][P1]["runner"] == "luna run"
    before = tomllib.loads(text)
    assert {key: config[key] for key in before if key not in ("build", "target")} == {
        key: before[key] for key in before if key not in ("build", "target")
    }
    assert configured(result, P1, force=False) == result


@pytest.mark.parametrize(
    "text",
    [
        NEW,
        NEW.replace('"luna run"', '"/opt/bin/luna run --dir data"'),
        NEW.replace('"luna run"', '["luna", "run"]'),
        NEW.replace('"luna run"', '"luna"'),
        NEW.replace(f'"{P1}"', f'["{P1}", "x86_64-unknown-linux-gnu"]'),
        f"build = {{ target = '{P1}' }}\ntarget = {{ {P1} = {{ runner = 'luna run' }} }}",
    ],
)
def test_what_is_there_already_stays_as_it_is(text: str) -> None:
    assert configured(text, P1, force=False) == text
    assert configured(text, P1, force=True) == text


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[build]\ntarget = 'wasm32-wasi'\n", 'build.target = "wasm32-wasi", not "wasm32-wasip1"'),
        ("[build]\ntarget = ['a', 'b']\n", 'build.target = ["a", "b"]'),
        ("build.target = 'a'\n", "build.target"),
        ("build = { target = 'a' }\n", "build.target"),
        (
            '[target.wasm32-wasip1]\nrunner = "lunatic run"\n',
            'target.wasm32-wasip1.runner = "lunatic run", not "luna run"',
        ),
        ("[target.wasm32-wasip1]\nrunner = ['wasmtime', 'run']\n", "target.wasm32-wasip1.runner"),
        ("[target.wasm32-wasip1]\nrunner = []\n", "target.wasm32-wasip1.runner"),
    ],
)
def test_another_target_or_runner_is_named_and_replaced_only_by_force(text: str, key: str) -> None:
    text = f"# first\n{text}# last\n"
    with pytest.raises(RefusedError) as error:
        configured(text, P1, force=False)
    assert key in error.value.message
    result = configured(text, P1, force=True)
    assert result.startswith("# first\n")
    assert "# last\n" in result
    config = tomllib.loads(result)
    assert (config["build"]["target"], config["target"][P1]["runner"]) == (P1, "luna run")


def test_a_project_for_lunatic_is_changed_over_by_force() -> None:
    text = '[build]\ntarget = "wasm32-wasi"\n\n[target.wasm32-wasi]\nrunner = "lunatic run"\n'
    assert configured(text, P1, force=True) == (
        '[build]\ntarget = "wasm32-wasip1"\n\n[target.wasm32-wasi]\nrunner = "lunatic run"\n'
        '\n[target.wasm32-wasip1]\nrunner = "luna run"\n'
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[build\n", "not valid TOML"),
        ("build = 3\n", "something else than a table where build.target belongs"),
        ("target = []\n", "something else than a table where target.wasm32-wasip1.runner belongs"),
        ("build = { jobs = 2 }\n", "cannot be changed safely"),
        ("[build]\ntarget = [\n'a',\n]\n", "cannot be changed safely"),
    ],
)
def test_what_cannot_be_changed_is_left_to_its_owner(text: str, said: str) -> None:
    with pytest.raises(InvalidError) as error:
        configured(text, P1, force=True)
    assert said in error.value.message


@pytest.mark.parametrize(
    ("text", "known", "triple"),
    [
        ("", {P1}, P1),
        ("", {P1, OLD}, P1),
        ("", {OLD}, OLD),
        ("", {}, P1),
        ("", {"x86_64"}, P1),
        (f"build.target = '{OLD}'", {P1, OLD}, OLD),
        (f"build.target = '{OLD}'", {}, OLD),
        (f"build.target = '{OLD}'", {P1}, P1),
        ("build.target = 'x86_64'", {P1}, P1),
        ("build.target = ['x']", {OLD}, OLD),
        ("build = 3", {OLD}, OLD),
    ],
)
def test_target_is_the_one_that_is_set_or_the_toolchain_s(text: str, known: set[str], triple: str) -> None:
    assert choose_triple(read_config(text), frozenset(known)) == triple
