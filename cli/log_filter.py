"""What is to be logged: the environment variables LUNA_LOG and RUST_LOG, in the form of Rust's env_logger.

A filter is a comma list of `target=level`, `level` and `target`; the longest target that fits decides.
Pure: reads the mapping it is given, prints nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

VARIABLES: Final = ("LUNA_LOG", "RUST_LOG")
"""The first that is set and not empty counts. Programs written for Lunatic come with habits: RUST_LOG."""

LEVELS: Final = {"off": 100, "error": 40, "warn": 30, "info": 20, "debug": 10, "trace": 5}
"""The levels with their numbers in Python's logging; a record is shown from the filter's number on."""

OFF: Final = LEVELS["off"]
_NUMBERS: Final = {**LEVELS, "warning": LEVELS["warn"]}  # as `luna-node start --log-level` calls it
ROOT: Final = "luna"
MAX_PARTS: Final = 64
"""parts of a filter; each is compared with the target of every record."""
SHOWN_CHARACTERS: Final = 60
"""of a part that is not understood, in the remark about it."""


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which level each target is logged from on; what no part names has the level `default`."""

    default: int
    levels: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    """what is wrong with the variable, for people"""

    def level_of(self, target: str) -> int:
        """The number of the level from which on records of `target` (such as `luna::process`) are shown."""
        while target not in self.levels:
            target, found, _ = target.rpartition("::")
            if not found:
                return self.levels.get("", self.default)
        return self.levels[target]

    def lowest(self) -> int:
        """The number of the lowest level that any target is shown from."""
        return min(self.default, *self.levels.values()) if self.levels else self.default

    def shows(self, target: str, level: int) -> bool:
        """Whether a record is to be shown."""
        return level >= self.level_of(target)


def filter_from(environment: Mapping[str, str], default: str) -> LogFilter:
    """The filter that the environment asks for; what it does not mention has the level called `default`."""
    for variable in VARIABLES:
        if environment.get(variable, "").strip():
            return parse(environment[variable], default, variable)
    return LogFilter(_NUMBERS[default])


def parse(text: str, default: str, variable: str = VARIABLES[0]) -> LogFilter:
    """A filter from its text; parts that are not understood are named in `problems` and left out."""
    levels: dict[str, int] = {}
    problems = []
    directives, slash, _ = text.partition("/")
    if slash:
        problems.append(f"{variable}: a pattern behind a slash is not supported and is ignored")
    parts = [part.strip() for part in directives.split(",")]
    if len(parts) > MAX_PARTS:
        problems.append(f"{variable}: only the first {MAX_PARTS} of {len(parts)} parts count")
    for part in parts[:MAX_PARTS]:
        if not part:
            continue
        target, level = _directive(part)
        if level is None:
            shown = part if len(part) <= SHOWN_CHARACTERS else part[:SHOWN_CHARACTERS] + "..."
            problems.append(
                f"{variable}: {shown!r} is ignored: it is not LEVEL, TARGET or TARGET=LEVEL, "
                f"where LEVEL is one of {', '.join(LEVELS)}"
            )
        else:
            levels[target] = level
    return LogFilter(_NUMBERS[default], levels, tuple(problems))


def _directive(part: str) -> tuple[str, int | None]:
    """Target and level of one part; no level when it is not understood. The empty target is everything."""
    target, equals, level = (text.strip() for text in part.partition("="))
    if not equals and target.lower() in _NUMBERS:
        return "", _NUMBERS[target.lower()]
    if not target or any(character.isspace() for character in target):
        return target, None
    # As in env_logger, a target alone or with an empty level is shown in full.
    return _canonical(target), _NUMBERS.get(level.lower()) if level else LEVELS["trace"]


def _canonical(target: str) -> str:
    """Targets of Lunatic (`lunatic`, `lunatic::process`, its crate `lunatic_process`) as ours."""
    if target == "lunatic" or target.startswith(("lunatic::", "lunatic_")):
        rest = target.removeprefix("lunatic").removeprefix("::").removeprefix("_")
        return f"{ROOT}::{rest}" if rest else ROOT
    return target
