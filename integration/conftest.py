"""Fixtures of the integration tests: nodes as real processes."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .node_process import NodeStarter


@pytest.fixture
def nodes() -> Iterator[NodeStarter]:
    """Starts nodes in an environment and a cluster of their own; all of them end with the test."""
    # Not tmp_path: the path of a unix socket is short.
    folder = Path(tempfile.mkdtemp(prefix="luna-"))
    starter = NodeStarter(folder, f"test-{secrets.token_hex(6)}")
    try:
        yield starter
    finally:
        starter.close()
        shutil.rmtree(folder, ignore_errors=True)
