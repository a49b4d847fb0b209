"""Settings in cargo's configuration file, changed without a touch on its comments, order and white space.

An edit is made in the text and then proved: read again, the file must be what it was but for that setting.
Pure; source: the Cargo Book, "Configuration" (build.target, target.<triple>.runner).
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, Final

from luna.proto.errors import InvalidError, RefusedError

__all__ = ["FILE", "RUNNER", "TRIPLES", "choose_triple", "configured", "read_config"]

FILE: Final = ".cargo/config.toml"
RUNNER: Final = "luna run"
TRIPLES: Final = ("wasm32-wasip1", "wasm32-wasi")
"""names of one and the same target; Rust 1.78 to 1.83 know both, later versions the first, earlier ones the
second"""

_VALUE: Final = r"""(?:"[^"\n]*"|'[^'\n]*'|\[[^\]\n]*\])"""
"""a string or a list, on one line"""

Path = tuple[str, ...]


def read_config(text: str) -> dict[str, Any]:
    """What the file says. Raises InvalidError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidError(f"{FILE} is not valid TOML: {error}") from None


def choose_triple(config: dict[str, Any], known: frozenset[str]) -> str:
    """The target to build for: the one that is set, if it is one of ours, else what the toolchain knows.

    `known` are the targets of the installed compiler; none if there is no compiler.
    """
    usable = [triple for triple in TRIPLES if triple in known or not known]
    current = _get(config, ("build", "target"))
    if isinstance(current, str) and current in usable:
        return current
    return usable[0] if usable else TRIPLES[0]


def configured(text: str, triple: str, force: bool) -> str:
    """The text of a file with the target `triple` and its runner; the same text if it has them.

    Raises InvalidError (no TOML, or a form that cannot be changed safely), and RefusedError when it has
    another target or runner, which `force` replaces.
    """
    text = _with(text, ("build", "target"), triple, _is_target, force)
    return _with(text, ("target", triple, "runner"), RUNNER, _is_luna, force)


def _is_target(value: object, wanted: str) -> bool:
    return value == wanted or (isinstance(value, list) and wanted in value)


def _is_luna(value: object, wanted: str) -> bool:
    """Options and the path of the command may differ."""
    words = value.split() if isinstance(value, str) else value
    return isinstance(words, list) and bool(words) and PurePath(str(words[0])).name == wanted.split()[0]


def _with(text: str, path: Path, value: str, is_right: Any, force: bool) -> str:
    config = read_config(text)
    current = _get(config, path)
    if current is not None and is_right(current, value):
        return text
    key = _dotted(path)
    if current is not None and not force:
        raise RefusedError(
            f"{FILE} has {key} = {json.dumps(current)}, not {json.dumps(value)}",
            hint="change it by hand, or replace it with `luna init --force`",
        )
    wanted = copy.deepcopy(config)
    try:
        _set(wanted, path, value)
    except TypeError:
        raise InvalidError(f"{FILE} has something else than a table where {key} belongs") from None
    edits = _additions(text, path, value) if current is None else _replacements(text, path, value)
    for edited in edits:
        if _says(edited, wanted):
            return edited
    raise InvalidError(
        f"{FILE} cannot be changed safely", hint=f"set it by hand: {key} = {json.dumps(value)}"
    )


def _additions(text: str, path: Path, value: str) -> Iterator[str]:
    """Texts in which the setting was added: to its table, in a new one, or before all tables."""
    end = "\r\n" if "\r\n" in text else "\n"
    setting = f"{path[-1]} = {json.dumps(value)}{end}"
    for header in re.finditer(r"^[ \t]*\[[^\n]*\n", text, re.MULTILINE):
        yield text[: header.end()] + setting + text[header.end() :]
    whole = text if not text or text.endswith("\n") else text + end
    yield f"{whole}{end if whole else ''}[{_dotted(path[:-1])}]{end}{setting}"
    yield f"{_dotted(path)} = {json.dumps(value)}{end}{text}"


def _replacements(text: str, path: Path, value: str) -> Iterator[str]:
    """Texts in which some setting that has this key was given the value."""
    for setting in re.finditer(rf"\b{path[-1]}[\"']?[ \t]*=[ \t]*(?P<value>{_VALUE})", text):
        yield text[: setting.start("value")] + json.dumps(value) + text[setting.end("value") :]


def _says(text: str, wanted: dict[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        return False


def _get(config: Any, path: Path) -> object:
    for key in path:
        config = config.get(key) if isinstance(config, dict) else None
    return config


def _set(config: dict[str, Any], path: Path, value: str) -> None:
    for key in path[:-1]:
        config = config.setdefault(key, {})
        if not isinstance(config, dict):
            raise TypeError(key)
    config[path[-1]] = value


def _dotted(path: Path) -> str:
    return ".".join(path)
