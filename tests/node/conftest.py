"""What most tests of nodes begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from luna.node.bridge import Bridge, open_bridge

from .whole_node import Pair, open_whole_pair


@pytest.fixture
async def bridge() -> AsyncIterator[Bridge]:
    """The asyncio thread that all nodes of a test share: grpc.aio does not bear several event loops."""
    async with open_bridge() as bridge:
        yield bridge


@pytest.fixture
async def pair(bridge: Bridge, tmp_path: Path) -> AsyncIterator[Pair]:
    """Two whole nodes that are connected."""
    async with open_whole_pair(bridge, tmp_path) as pair:
        yield pair
