"""The suite that every implementation of `Discovery` passes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from luna.cluster.discovery import Discovery
from luna.cluster.members import NodeInfo

Found = tuple[str, int, str, str]
Factory = Callable[[NodeInfo], Discovery]

FOUND_WITHIN_S = 20.0  # a deadline for a loaded machine; the loopback interface needs some 0.1 s


class Finder:
    """A running `Discovery`, and what it has found."""

    def __init__(self) -> None:
        self.found: list[Found] = []
        self._changed = asyncio.Event()

    def on_found(self, address: str, node_id: int, name: str, cluster: str) -> None:
        self.found.append((address, node_id, name, cluster))
        self._changed.set()

    async def wait_found(self, *nodes: NodeInfo) -> None:
        expected = {(node.address, node.id, node.name, node.cluster) for node in nodes}
        async with asyncio.timeout(FOUND_WITHIN_S):
            while not expected <= set(self.found):
                self._changed.clear()
                await self._changed.wait()


@contextlib.asynccontextmanager
async def running(discovery: Discovery) -> AsyncIterator[Finder]:
    """Run `discovery` inside the block; stopping it must end it by its cancellation alone."""
    finder = Finder()
    task = asyncio.create_task(discovery.run(finder.on_found))
    try:
        yield finder
        assert not task.done(), "run ends by cancellation only"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def check_discovery(make: Factory, cluster: str) -> None:
    """Run the suite; `make` makes a discovery for a node, `cluster` is a name nobody else uses."""
    alpha = NodeInfo(11, "alpha", cluster, "127.0.0.1:4001")
    beta = NodeInfo(12, "beta", cluster, "127.0.0.1:4002")
    gamma = NodeInfo(13, "gamma", cluster, "127.0.0.1:4003")
    stranger = NodeInfo(14, "stranger", cluster + "-other", "127.0.0.1:4004")
    twin = NodeInfo(15, "alpha", cluster, "127.0.0.1:4005")

    # Nodes find each other both ways, whoever starts first, but neither themselves nor other clusters.
    async with running(make(stranger)) as by_stranger, running(make(alpha)) as by_alpha:
        async with running(make(beta)) as by_beta:
            await by_alpha.wait_found(beta)
            await by_beta.wait_found(alpha)
            async with running(make(gamma)) as by_gamma:
                await by_gamma.wait_found(alpha, beta)
                await by_alpha.wait_found(gamma)
                await by_beta.wait_found(gamma)
            assert {found[1] for found in by_gamma.found} == {alpha.id, beta.id}

        # Two nodes of one name are both found: who must go is not discovery's business.
        async with running(make(twin)) as by_twin:
            await by_alpha.wait_found(twin)
            await by_twin.wait_found(alpha)

        # A node that stopped and came back, with a new id, is found again.
        again = NodeInfo(16, "beta", cluster, "127.0.0.1:4006")
        async with running(make(again)) as by_again:
            await by_alpha.wait_found(again)
            await by_again.wait_found(alpha)
            assert gamma.id not in {found[1] for found in by_again.found}, "a stopped node is withdrawn"

        # Each was reported once, which also means: alpha never found itself, nor the stranger.
        assert sorted(found[1] for found in by_alpha.found) == [beta.id, gamma.id, twin.id, again.id]

        # A node that withdrew its announcement and announces it again is reported again.
        by_alpha.found.clear()
        async with running(make(again)):
            await by_alpha.wait_found(again)
        assert by_stranger.found == []

    # Stopped at once, before anything could be announced: nothing hangs, nothing raises.
    async with running(make(alpha)):
        pass
