"""Nodes with real runtimes and the cluster's names between them, over queues in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from luna.cluster.members import NodeInfo
from luna.node.events import Events
from luna.node.names import ClusterNames
from luna.proto import node_pb2
from luna.scheduler.runtime import Runtime, open_runtime

from .check_names import Place


class NamesNode:
    """One node: what is queued for it, and from whom."""

    def __init__(self, cluster: NamesCluster, runtime: Runtime) -> None:
        self.id = runtime.node_id
        self.runtime = runtime
        self.info = NodeInfo(self.id, f"n{self.id}", "test", "127.0.0.1:1", started_ms=self.id)
        self.inbox: deque[tuple[NodeInfo, bytes]] = deque()
        self.arrived = trio.Event()
        self.peers: set[int] = set()
        self.names = ClusterNames(
            self.id, runtime.names, lambda peer, data: cluster.send(self, peer, data), runtime.kill, Events()
        )
        runtime.use_names(self.names)

    @property
    def place(self) -> Place:
        return Place(self.runtime, self.names)

    async def run(self) -> None:
        """Take in what comes."""
        while True:
            await self.arrived.wait()
            self.arrived = trio.Event()
            while self.inbox:
                peer, data = self.inbox.popleft()
                self.names.handlers()["names"](peer, node_pb2.Envelope.FromString(data).names)


class NamesCluster:
    """The nodes, and between which of them there is a session."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.nodes: dict[int, NamesNode] = {}

    def add(self, runtime: Runtime) -> NamesNode:
        node = self.nodes[runtime.node_id] = NamesNode(self, runtime)
        self._nursery.start_soon(node.run)
        self._nursery.start_soon(node.names.run)
        return node

    def send(self, sender: NamesNode, peer: int, data: bytes) -> bool:
        if peer not in sender.peers:
            return False
        receiver = self.nodes[peer]
        receiver.inbox.append((sender.info, data))
        receiver.arrived.set()
        return True

    def connect(self, one: NamesNode, other: NamesNode) -> None:
        """A session begins."""
        one.peers.add(other.id)
        other.peers.add(one.id)
        one.names.peer_up(other.info)
        other.names.peer_up(one.info)

    def disconnect(self, one: NamesNode, other: NamesNode) -> None:
        """A session ends, with what is under way."""
        for node, peer in ((one, other), (other, one)):
            node.peers.discard(peer.id)
            node.inbox = deque(item for item in node.inbox if item[0].id != peer.id)
        one.names.peer_lost(other.id)
        other.names.peer_lost(one.id)


@asynccontextmanager
async def open_names_cluster(count: int) -> AsyncIterator[NamesCluster]:
    """Nodes 1 to `count`, connected."""
    async with AsyncExitStack() as stack:
        runtimes = [
            await stack.enter_async_context(open_runtime(node_id=node_id, threads=1))
            for node_id in range(1, count + 1)
        ]
        nursery = await stack.enter_async_context(trio.open_nursery())
        cluster = NamesCluster(nursery)
        for runtime in runtimes:
            node = cluster.add(runtime)
            for other in cluster.nodes.values():
                if other is not node:
                    cluster.connect(node, other)
        yield cluster
        nursery.cancel_scope.cancel()
