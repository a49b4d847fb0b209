"""A node with processes, several of them in this OS process: real runtimes, real gRPC, real membership.

What `luna.node.node` puts together, but for the state directory, discovery and the control service.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from tests.scheduler.wat import guest

from luna.cluster.members import NodeInfo
from luna.cluster.membership import Membership
from luna.node.bridge import Bridge
from luna.node.events import Events
from luna.node.groups import NodeGroups
from luna.node.library import Library
from luna.node.message_modules import MessageModules
from luna.node.names import ClusterNames
from luna.node.node_modules import NodeModules, open_modules
from luna.node.node_queries import NodeQueries
from luna.node.node_watch import NodeNews
from luna.node.peer_services import PeerServices
from luna.node.peers import Peers
from luna.node.remote_spawn import RemoteSpawn
from luna.node.transport import Transport
from luna.proto.errors import LunaError
from luna.scheduler import ExitKind, ExitStatus
from luna.scheduler.requests import Request
from luna.scheduler.runtime import Runtime, open_runtime

PATIENCE_S = 30.0
"""seconds a test waits for what should take milliseconds: this machine may be busy."""

_started_ms = itertools.count(1)


class WholeNode:
    """What a test sees of one node; `reports` is what its guests passed to `metrics.counter`."""

    peers: Peers
    events: Events
    modules: NodeModules
    library: Library
    names: ClusterNames
    address: str

    def __init__(self, node_id: int, name: str, runtime: Runtime) -> None:
        self.id = node_id
        self.name = name
        self.runtime = runtime
        self.reports: list[int] = []
        self.errors: list[LunaError] = []
        runtime.set_handler("lunatic::metrics", "counter", self._report)

    async def _report(self, request: Request) -> None:
        self.reports.append(int(request.args[2]))

    async def spawn(self, source: str, **options: Any) -> int:
        """Start `_start` of a guest, or `entry`; options as of Runtime.spawn."""
        module = await self.library.add(guest(source), "guest")
        return await self.runtime.spawn(module, **options)

    async def run(self, source: str, **options: Any) -> ExitStatus:
        """Run a guest to its end."""
        with trio.fail_after(PATIENCE_S):
            return await self.runtime.wait_exit(await self.spawn(source, **options))

    async def passes(self, source: str, **options: Any) -> None:
        """Run a guest whose own checks must all hold."""
        status = await self.run(source, **options)
        if status.reason.startswith("exited with code") and status.code > 0:
            raise AssertionError(f"the guest's check failed: {source.splitlines()[status.code - 1].strip()}")
        assert status.kind is ExitKind.NORMAL, status

    async def traps(self, source: str, **options: Any) -> str:
        """Run a guest that must end with a trap; what it says."""
        status = await self.run(source, **options)
        assert (status.kind, status.code) == (ExitKind.FAILURE, 1), status
        return status.reason


@asynccontextmanager
async def open_whole_node(
    bridge: Bridge, node_id: int, name: str, folder: Path, labels: Mapping[str, str] | None = None
) -> AsyncIterator[WholeNode]:
    """Serve on loopback; on the way out just vanish, as a node that crashes.

    All nodes of a test share one bridge: grpc.aio does not bear several event loops in one process.
    """
    async with open_runtime(node_id=node_id, threads=1) as runtime, trio.open_nursery() as nursery:
        node = WholeNode(node_id, name, runtime)
        transport = Transport(bridge, runtime.peers)
        port = await bridge.run(transport.bind, "127.0.0.1", [0], folder / f"{name}.sock")
        node.address = f"127.0.0.1:{port}"
        membership = Membership(
            NodeInfo(node_id, name, "test", node.address, labels or {}, started_ms=next(_started_ms))
        )
        modules = await open_modules(
            bridge, runtime, folder / name, lambda: [member.node for member in membership.peers()]
        )
        node.modules, node.library = modules, modules.library
        spawns = RemoteSpawn(nursery, runtime, node.library)
        spawns.register()
        MessageModules(runtime, node.library, membership).register()
        node.events = events = Events()
        node.names = ClusterNames(node_id, runtime.names, runtime.peers.send, runtime.kill, events)
        runtime.use_names(node.names)
        nursery.start_soon(node.names.run)
        NodeQueries(runtime, membership).register()
        groups = NodeGroups(runtime.groups, runtime.peers.send)
        groups.register()
        news = NodeNews(runtime.node_watch, membership)
        news.register()
        node.peers = Peers(
            nursery=nursery,
            bridge=bridge,
            transport=transport,
            gateway=runtime.peers,
            membership=membership,
            services=PeerServices(spawns, node.names, groups, news),
            events=events,
            fatal=node.errors.append,
            insecure=False,
        )
        await bridge.run(transport.start, node.peers, node.peers.hand_over, modules.add_to)
        try:
            yield node
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await bridge.run(transport.stop)


async def connect(one: WholeNode, other: WholeNode) -> None:
    """Have two nodes join, and wait until each has a session with the other."""
    with trio.fail_after(PATIENCE_S):
        await one.peers.join(other.address)
        await one.peers.wait_connected(other.id)
        await other.peers.wait_connected(one.id)


Pair = tuple[WholeNode, WholeNode]


@asynccontextmanager
async def open_whole_pair(bridge: Bridge, folder: Path) -> AsyncIterator[Pair]:
    """Two connected nodes: `a` in zone a, `b` in zone b, both on rack `1 & 2`."""
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(
            open_whole_node(bridge, 5, "a", folder, {"zone": "a", "rack": "1 & 2"})
        )
        b = await stack.enter_async_context(
            open_whole_node(bridge, 7, "b", folder, {"zone": "b", "rack": "1 & 2"})
        )
        await connect(a, b)
        yield a, b
