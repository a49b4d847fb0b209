"""Discovery without a network: nodes of one `MemoryNetwork` find each other at once."""

from __future__ import annotations

import asyncio

from luna.cluster.discovery import FoundNode, OnFound
from luna.cluster.members import NodeInfo


class MemoryNetwork:
    """Who announces themselves, and who listens."""

    def __init__(self) -> None:
        self._running: dict[MemoryDiscovery, OnFound] = {}

    def enter(self, newcomer: MemoryDiscovery, on_found: OnFound) -> None:
        for other, other_on_found in list(self._running.items()):
            other.tell(newcomer.own, other_on_found)
            newcomer.tell(other.own, on_found)
        self._running[newcomer] = on_found

    def leave(self, node: MemoryDiscovery) -> None:
        del self._running[node]


class MemoryDiscovery:
    """`Discovery` on a `MemoryNetwork`."""

    def __init__(self, network: MemoryNetwork, own: NodeInfo) -> None:
        self.own = own
        self._network = network

    async def run(self, on_found: OnFound) -> None:
        self._network.enter(self, on_found)
        try:
            await asyncio.Event().wait()
        finally:
            self._network.leave(self)

    def tell(self, node: NodeInfo, on_found: OnFound) -> None:
        found = FoundNode(node.address, node.id, node.name, node.cluster)
        if found.cluster == self.own.cluster and found.node_id != self.own.id:
            on_found(found.address, found.node_id, found.name, found.cluster)
