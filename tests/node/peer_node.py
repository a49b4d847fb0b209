"""A node without processes: real gRPC, real membership, and a gateway that only records."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from luna.cluster.members import NodeInfo
from luna.cluster.membership import Membership
from luna.node.bridge import Bridge
from luna.node.events import Events
from luna.node.peer_services import Handler, PeerServices
from luna.node.peers import Peers
from luna.node.transport import Transport
from luna.proto import node_pb2
from luna.proto.errors import LunaError

from .fake_gateway import FakeGateway

PATIENCE_S = 20.0
"""seconds a test waits for what should take milliseconds, a goodbye at most one: this machine may be busy."""

_started_ms = itertools.count(1)


class PeerNode:
    """What a test sees of one node.

    `up`, `lost`, `spawns`, `replies` and `errors` are filled as things happen.
    """

    bridge: Bridge
    transport: Transport
    peers: Peers
    port: int

    def __init__(self, node_id: int, name: str) -> None:
        self.id = node_id
        self.name = name
        self.gateway = FakeGateway()
        self.up: list[int] = []
        self.lost: list[int] = []
        self.spawns: list[node_pb2.Spawn] = []
        self.replies: list[node_pb2.SpawnReply] = []
        self.errors: list[LunaError] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def handlers(self) -> Mapping[str, Handler]:
        return {"spawn": self.spawn_requested, "spawn_reply": self.spawn_replied}

    def spawn_requested(self, peer: NodeInfo, spawn: node_pb2.Spawn) -> None:
        self.spawns.append(spawn)

    def spawn_replied(self, peer: NodeInfo, reply: node_pb2.SpawnReply) -> None:
        self.replies.append(reply)

    def peer_up(self, peer: NodeInfo) -> None:
        self.up.append(peer.id)

    def peer_lost(self, peer_id: int) -> None:
        self.lost.append(peer_id)

    def send(self, node_id: int, data: bytes) -> bool:
        """Queue a message for some process of a peer."""
        message = node_pb2.Message(data=data, to=node_id << 40 | 1)
        return self.gateway.send(node_id, node_pb2.Envelope(message=message).SerializeToString())

    def received(self, node_id: int) -> list[bytes]:
        return [envelope.message.data for envelope in self.gateway.received.get(node_id, [])]

    def live(self) -> list[str]:
        return sorted(member.node.name for member in self.peers.membership.live())


@asynccontextmanager
async def open_peer_node(
    bridge: Bridge,
    node_id: int,
    name: str,
    tmp_path: Path,
    *,
    cluster: str = "test",
    port: int = 0,
    leave: bool = True,
) -> AsyncIterator[PeerNode]:
    """Serve on loopback; on the way out leave the cluster, or with leave=False just vanish.

    All nodes of a test share one bridge: grpc.aio does not bear several event loops in one process.
    """
    node = PeerNode(node_id, name)
    async with trio.open_nursery() as nursery:
        node.bridge = bridge
        node.transport = transport = Transport(bridge, node.gateway)
        node.port = await bridge.run(transport.bind, "127.0.0.1", [port], tmp_path / f"{name}.sock")
        node.peers = Peers(
            nursery=nursery,
            bridge=bridge,
            transport=transport,
            gateway=node.gateway,
            membership=Membership(
                NodeInfo(node_id, name, cluster, node.address, started_ms=next(_started_ms))
            ),
            services=PeerServices(node),
            events=Events(),
            fatal=node.errors.append,
            insecure=False,
        )
        await bridge.run(transport.start, node.peers, node.peers.hand_over, lambda server: None)
        try:
            yield node
            if leave:
                with trio.fail_after(PATIENCE_S):
                    await node.peers.leave("the test is over")
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await bridge.run(transport.stop)
    node.gateway.close()


async def wait_for(condition: Callable[[], object], what: str = "", timeout_s: float = 5.0) -> None:
    """Wait until `condition()` holds; other threads and sockets decide when, so it is polled."""
    with trio.move_on_after(timeout_s):
        while not condition():
            await trio.sleep(0.005)
        return
    raise AssertionError(f"still not true after {timeout_s} s: {what}")
