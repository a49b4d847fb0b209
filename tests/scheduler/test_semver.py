"""Versions and requirements of them, by the rules of Rust's crate semver 1.0."""

from __future__ import annotations

import pytest

from luna.scheduler.semver import Requirement, SemverError, Version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.2.3", Version(1, 2, 3)),
        ("0.0.0", Version(0, 0, 0)),
        ("1.2.3-alpha1", Version(1, 2, 3, "alpha1")),
        ("1.2.3-rc.1+build.05", Version(1, 2, 3, "rc.1", "build.05")),
        ("1.2.3+0", Version(1, 2, 3, "", "0")),
        ("1.2.3--", Version(1, 2, 3, "-")),
        ("1.2.3-0a", Version(1, 2, 3, "0a")),
        ("18446744073709551615.0.0", Version(2**64 - 1, 0, 0)),
    ],
)
def test_versions(text: str, version: Version) -> None:
    assert Version.parse(text) == version


@pytest.mark.parametrize(
    "text",
    [
        "", "1", "1.2", "1.2.", "a.b.c", "1.2.3 ", " 1.2.3", "01.2.3", "1.2.3-", "1.2.3-01", "1.2.3-a..b",
        "1.2.3+", "1.2.3+a.", "1.2.3.4", "v1.2.3", "1.2.-3", "1.2.3-ä", "18446744073709551616.0.0", "١.2.3",
        "9" * 4096 + ".0.0",
    ],
)  # fmt: skip
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(SemverError):
        Version.parse(text)


MATCHES = [
    # caret, the default
    ("1", "1.9.9 1.0.0", "2.0.0 0.9.9 1.0.0-rc.1"),
    ("^1.2", "1.2.0 1.9.0", "1.1.9 2.0.0"),
    ("1.2.3", "1.2.3 1.2.4 1.3.0", "1.2.2 2.0.0 1.2.4-a"),
    ("^0.2.3", "0.2.3 0.2.9", "0.2.2 0.3.0"),
    ("0.2", "0.2.0 0.2.9", "0.3.0 0.1.9"),
    ("^0.0.3", "0.0.3", "0.0.4 0.0.2 0.1.3"),
    ("0.0", "0.0.0 0.0.9", "0.1.0"),
    ("0", "0.0.1 0.9.0", "1.0.0"),
    ("^1.2.3-rc.1", "1.2.3-rc.1 1.2.3-rc.2 1.2.3 1.9.0", "1.2.3-rc.0 1.2.3-beta 1.2.4-rc.1"),
    # tilde
    ("~1", "1.0.0 1.9.0", "2.0.0"),
    ("~1.2", "1.2.0 1.2.9", "1.3.0 1.1.0"),
    ("~1.2.3", "1.2.3 1.2.4", "1.2.2 1.3.0"),
    ("~1.2.3-a", "1.2.3-a 1.2.3-b 1.2.3 1.2.4", "1.2.4-a"),
    # exact
    ("=1.2.3", "1.2.3 1.2.3+b", "1.2.4 1.2.3-a"),
    ("=1.2", "1.2.0 1.2.9", "1.3.0 1.2.0-a"),
    ("=1", "1.9.9", "2.0.0"),
    ("=1.2.3-a", "1.2.3-a", "1.2.3 1.2.3-b"),
    # order
    (">1", "2.0.0", "1.0.0 1.9.9"),
    (">1.2", "1.3.0 2.0.0", "1.2.0 1.2.9"),
    (">1.2.3", "1.2.4 2.0.0", "1.2.3"),
    (">1.2.3-a", "1.2.3-b 1.2.3 1.2.4", "1.2.3-a 1.2.4-b"),
    (">=1.2", "1.2.0 1.9.0", "1.1.0"),
    (">=1.2.3", "1.2.3 3.0.0", "1.2.2"),
    ("<2", "1.9.9 0.0.1", "2.0.0 2.0.0-rc.1"),
    ("<1.2.3", "1.2.2", "1.2.3 1.2.3-a"),
    ("<1.2.3-b", "1.2.3-a 1.2.2", "1.2.3-b 1.2.3"),
    ("<=1.2", "1.2.9 1.1.0", "1.3.0"),
    ("<=1.2.3", "1.2.3 1.0.0", "1.2.4"),
    (">=1.2.3, <1.5", "1.2.3 1.4.9", "1.2.2 1.5.0"),
    (">1,<3 , =2.1", "2.1.7", "2.2.0 2.0.0"),
    # pre-releases: numbers before words, by value; longer behind shorter; only where named
    (">=1.0.0-2", "1.0.0-2 1.0.0-10 1.0.0-a 1.0.0-2.0", "1.0.0-1"),
    (">=1.0.0-a, <2.0.0", "1.0.0-a 1.5.0", "1.5.0-a 2.0.0-a"),
    # wildcards
    ("*", "0.0.0 9.9.9", "1.0.0-a"),
    ("x", "1.0.0", "1.0.0-a"),
    (" X ", "1.0.0", "1.0.0-a"),
    ("1.*", "1.0.0 1.9.0", "2.0.0 1.0.0-a"),
    ("1.2.x", "1.2.0 1.2.9", "1.3.0"),
    ("1.*.*", "1.7.0", "2.0.0"),
    (">=1.*", "1.0.0 2.0.0", "0.9.0"),
    ("^0.*", "0.1.0", "1.0.0"),
    ("  = 1.2.3  ", "1.2.3", "1.2.4"),
    ("1.2.3+build", "1.2.3 1.2.3+other", "1.2.2"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "good", "bad"), MATCHES)
def test_requirements(text: str, good: str, bad: str) -> None:
    requirement = Requirement.parse(text)
    for version in good.split():
        assert requirement.matches(Version.parse(version)), version
    for version in bad.split():
        assert not requirement.matches(Version.parse(version)), version


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ",", "1,", ",1", "1 2", "^", ">", "==1", "=>1", "~>1", "*, 1", "1, *", "* 1", "*.1", "1.*.2",
        "1.x.0", "01", "1.02", "1.2.3-", "1.2.3-01", "1.2-a", "1-a", "1.*-a", "1.2.*-a", "1+b", "1.2.3+", "a",
        "1.a", "1.2.3.4", "1.", "18446744073709551616", "1, " * 32 + "1", "^ ^1", "1\t",
    ],
)  # fmt: skip
def test_what_is_no_requirement(text: str) -> None:
    with pytest.raises(SemverError):
        Requirement.parse(text)


def test_a_requirement_of_32_parts() -> None:
    assert Requirement.parse(", ".join([">1"] * 32)).matches(Version.parse("2.0.0"))
