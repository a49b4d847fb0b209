"""Which image Luna's own is built on, and what is said where none can be had."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from integration.hosts.base import LOCAL_BASE, PUBLIC_BASE, choose_base, recipe_of, why_not_make


def only(*images: str) -> Callable[[str], bool]:
    return lambda image: image in images


def forbidden(image: str) -> bool:
    raise AssertionError(f"{image} was looked for in a registry")


@pytest.mark.parametrize("local", [True, False])
def test_the_one_that_is_named_is_taken_whatever_is_here(local: bool) -> None:
    assert choose_base("mine:1", only(PUBLIC_BASE), forbidden, lambda: local) == "mine:1"


def test_the_public_one_is_taken_if_it_is_here() -> None:
    assert choose_base(None, only(PUBLIC_BASE, LOCAL_BASE), forbidden, lambda: True) == PUBLIC_BASE


def test_one_that_was_made_here_is_taken_before_a_registry_is_asked_again() -> None:
    assert choose_base(None, only(), forbidden, lambda: True) == LOCAL_BASE


def test_the_public_one_is_fetched_if_nothing_is_here() -> None:
    assert choose_base(None, only(), only(PUBLIC_BASE), lambda: False) == PUBLIC_BASE


def test_one_is_made_where_the_public_one_cannot_be_fetched() -> None:
    assert choose_base(None, only(), only(), lambda: False) is None


def test_another_mirror_or_other_authorities_make_another_base() -> None:
    recipes = {recipe_of("http://a", b""), recipe_of("http://b", b""), recipe_of("http://a", b"x")}
    assert len(recipes) == 3
    assert recipe_of("http://a", b"x") in recipes


def test_who_cannot_make_one_is_told_what_to_do() -> None:
    assert why_not_make(is_root=True, debootstrap="/usr/sbin/debootstrap") is None
    assert "run this as root" in (why_not_make(is_root=False, debootstrap="/usr/sbin/debootstrap") or "")
    assert "apt-get install debootstrap" in (why_not_make(is_root=True, debootstrap=None) or "")
