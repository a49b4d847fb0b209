"""Semantic versions, and requirements of them as Cargo reads them (`^1.2`, `~1`, `>=1, <2.3.4-rc.1`, `*`).

Lunatic 0.6 used Rust's crate semver 1.0; rules and their exceptions are those of that
crate. Pure decisions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self, final

__all__ = ["Requirement", "SemverError", "Version"]

MAX_COMPARATORS: Final = 32
"""parts of one requirement, as in the crate."""
MAX_NUMBER: Final = 2**64 - 1

_NUMBER = r"(?:0|[1-9][0-9]*)"
_PRE_PART = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_PRE = rf"{_PRE_PART}(?:\.{_PRE_PART})*"
_BUILD = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_PRE}))?(?:\+({_BUILD}))?")
_COMPARATOR = re.compile(
    rf"(?P<op>>=|<=|[=><~^])? *(?P<major>{_NUMBER})"
    rf"(?:\.(?P<minor>{_NUMBER}|[*xX])"
    rf"(?:\.(?P<patch>{_NUMBER}|[*xX])(?:(?<![*xX])(?:-(?P<pre>{_PRE}))?(?:\+{_BUILD})?)?)?)? *"
)
_WILDCARDS: Final = frozenset("*xX")


class SemverError(ValueError):
    """A text is no version, or no requirement."""


@final
@dataclass(frozen=True, slots=True)
class Version:
    """One version; equal when every part is, the build included."""

    major: int
    minor: int
    patch: int
    pre: str = ""
    build: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `1.2.3-rc.1+build`. Raises SemverError."""
        match = _VERSION.fullmatch(text)
        if match is None:
            raise SemverError(f"{text!r} is no version: it has to be MAJOR.MINOR.PATCH")
        major, minor, patch, pre, build = match.groups("")
        return cls(_number(major), _number(minor), _number(patch), pre, build)


@final
@dataclass(frozen=True, slots=True)
class _Comparator:
    """One part of a requirement. Parts that are not given are None."""

    op: str  # "*" is a wildcard in the place of minor or patch
    major: int
    minor: int | None
    patch: int | None
    pre: str

    def matches(self, version: Version) -> bool:
        match self.op:
            case "=" | "*":
                return self._equals(version)
            case ">":
                return self._order(version) > 0
            case ">=":
                return self._equals(version) or self._order(version) > 0
            case "<":
                return self._order(version) < 0
            case "<=":
                return self._equals(version) or self._order(version) < 0
            case "~":
                return self._is_patch_of(version)
        return self._is_compatible(version)

    def _equals(self, version: Version) -> bool:
        return (
            version.major == self.major
            and self.minor in (None, version.minor)
            and self.patch in (None, version.patch)
            and version.pre == self.pre
        )

    def _order(self, version: Version) -> int:
        """Below 0 for a version before this one, above 0 for one behind it; 1.2.3 is neither to `1.2`."""
        pairs = [(version.major, self.major), (version.minor, self.minor), (version.patch, self.patch)]
        for theirs, ours in pairs:
            if ours is None:
                return 0
            if theirs != ours:
                return 1 if theirs > ours else -1
        theirs_pre, ours_pre = _precedence(version.pre), _precedence(self.pre)
        return (theirs_pre > ours_pre) - (theirs_pre < ours_pre)

    def _is_patch_of(self, version: Version) -> bool:
        if version.major != self.major or self.minor not in (None, version.minor):
            return False
        if self.patch not in (None, version.patch):
            return version.patch > (self.patch or 0)
        return _precedence(version.pre) >= _precedence(self.pre)

    def _is_compatible(self, version: Version) -> bool:
        """No change of the first part that is not 0."""
        if version.major != self.major:
            return False
        if self.minor is None:
            return True
        if self.patch is None:
            return version.minor >= self.minor if self.major > 0 else version.minor == self.minor
        if self.major > 0 and version.minor != self.minor:
            return version.minor > self.minor
        if version.minor != self.minor:
            return False
        if version.patch != self.patch:
            return version.patch > self.patch and (self.major > 0 or self.minor > 0)
        return _precedence(version.pre) >= _precedence(self.pre)

    def admits_pre_releases_of(self, version: Version) -> bool:
        parts = (self.major, self.minor, self.patch)
        return self.pre != "" and parts == (version.major, version.minor, version.patch)


@final
@dataclass(frozen=True, slots=True)
class Requirement:
    """What versions are asked for."""

    comparators: tuple[_Comparator, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read comparators with commas between them, or a lone wildcard. Raises SemverError."""
        text = text.lstrip(" ")
        if text[:1] in _WILDCARDS and text[1:].strip(" ") == "":
            return cls(())
        parts = text.split(",")
        if len(parts) > MAX_COMPARATORS:
            raise SemverError(f"a requirement has at most {MAX_COMPARATORS} parts")
        return cls(
            tuple(_comparator(part.lstrip(" ") if index else part) for index, part in enumerate(parts))
        )

    def matches(self, version: Version) -> bool:
        """Whether a version will do. A pre-release only does where one of the same version is named."""
        if not all(comparator.matches(version) for comparator in self.comparators):
            return False
        return not version.pre or any(part.admits_pre_releases_of(version) for part in self.comparators)


def _comparator(text: str) -> _Comparator:
    match = _COMPARATOR.fullmatch(text)
    if match is None:
        raise SemverError(f"{text!r} is no requirement of a version")
    op, major, minor, patch, pre = match.group("op", "major", "minor", "patch", "pre")
    if minor in _WILDCARDS and patch is not None and patch not in _WILDCARDS:
        raise SemverError(f"{text!r} is no requirement of a version: nothing follows a wildcard")
    wild = minor in _WILDCARDS or patch in _WILDCARDS
    return _Comparator(
        op or ("*" if wild else "^"),
        _number(major),
        None if minor is None or minor in _WILDCARDS else _number(minor),
        None if patch is None or patch in _WILDCARDS else _number(patch),
        pre or "",
    )


def _number(text: str) -> int:
    if len(text) > 20 or int(text) > MAX_NUMBER:
        raise SemverError(f"{text[:30]} is too large for a part of a version")
    return int(text)


def _precedence(pre: str) -> tuple[int, tuple[tuple[int, int, str], ...]]:
    """Orders pre-releases: numbers by value and before words, none at all behind all others."""
    if not pre:
        return (1, ())
    parts = pre.split(".")
    return (0, tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts))
