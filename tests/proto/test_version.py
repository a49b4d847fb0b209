"""Versions of the protocol and of the package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata

import pytest

from luna.proto import version


@pytest.fixture(autouse=True)
def fresh_cache() -> Iterator[None]:
    version.package_version.cache_clear()
    yield
    version.package_version.cache_clear()


def test_the_protocol_range_is_not_empty() -> None:
    assert 1 <= version.PROTOCOL_MIN <= version.PROTOCOL_MAX


def test_the_version_is_that_of_the_installed_distribution() -> None:
    assert version.package_version() == metadata.version("luna-node")


def test_sources_that_are_not_installed_have_an_unknown_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "DISTRIBUTION", "luna-node-that-is-not-installed")
    assert version.package_version() == "unknown"


def test_importing_the_package_loads_neither_protobuf_nor_grpc() -> None:
    script = "import sys, luna.proto; print([m for m in sys.modules if m.startswith(('google', 'grpc'))])"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
