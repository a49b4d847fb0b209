"""One running node: every part in its place, started and stopped in one visible order.

Owns that order and nothing else. What a part does stands in its own module.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc.aio
import structlog
import trio

from luna.cluster.keeping import Timings
from luna.cluster.members import NodeInfo
from luna.cluster.membership import Membership
from luna.node.bridge import Bridge, open_bridge
from luna.node.config import Address, NodeOptions, advertised_host, candidate_ports, check_reach
from luna.node.control import ControlService, add_services
from luna.node.events import Events
from luna.node.groups import NodeGroups
from luna.node.joining import Joiner
from luna.node.message_modules import MessageModules
from luna.node.modules import MAX_STORED_BYTES
from luna.node.moving import Discovering, follow_address
from luna.node.names import ClusterNames
from luna.node.node_modules import NodeModules, open_modules
from luna.node.node_queries import NodeQueries
from luna.node.node_watch import NodeNews
from luna.node.operations import Operations
from luna.node.peer_services import PeerServices
from luna.node.peers import Peers
from luna.node.remote_spawn import RemoteSpawn
from luna.node.state import NodeState, announced, open_state
from luna.node.transport import Transport
from luna.proto.errors import LunaError
from luna.proto.ids import draw_node_id
from luna.proto.run_directory import NodeRecord
from luna.scheduler.runtime import MAX_PROCESSES, Runtime, open_runtime

_log = structlog.get_logger(__name__)

LEAVE_TIMEOUT_S = 2.0
"""seconds for telling the peers that this node leaves; those that do not read it find out by themselves."""


class Node:
    """Handle on a running node: who it is, and how to stop it (trio)."""

    def __init__(self) -> None:
        self.error: LunaError | None = None
        self._stopping = trio.Event()
        self._reason = ""

    def stop(self, reason: str) -> None:
        """Have the node leave its cluster and end. Later calls change nothing."""
        if not self._stopping.is_set():
            self._reason = reason
            self._stopping.set()

    def fail(self, error: LunaError) -> None:
        """The node cannot go on: it ends, and `run_node` raises `error`."""
        if not self._stopping.is_set():  # what comes of leaving is no failure
            self.error = error
            self.stop(error.message)

    async def wait_stopping(self) -> str:
        """Wait until the node is to end; the reason."""
        await self._stopping.wait()
        return self._reason


async def run_node(
    options: NodeOptions,
    *,
    node: Node | None = None,
    on_ready: Callable[[NodeRecord], None] = lambda record: None,
) -> None:
    """Run a node until `node.stop` is called, or until the cluster has no place for it.

    `on_ready` is called once, when the node serves and the first round of joining is over.
    Raises a LunaError that says why the node could not start or go on: RefusedError, BusyError and
    BrokenError for the address and the state directory, JoinRefusedError if a peer turned it away,
    StaleError if its node id is spent: it left, or was expelled for what it sent.
    """
    node = Node() if node is None else node
    try:
        await _run(options, node, on_ready)
    except BaseExceptionGroup as group:
        problems, others = group.split(LunaError)
        if others is not None or problems is None:
            raise
        # The nurseries inside wrap what goes wrong; of several reasons the first one is the cause.
        raise _first(problems) from None
    if node.error is not None:
        raise node.error


async def _run(options: NodeOptions, node: Node, on_ready: Callable[[NodeRecord], None]) -> None:
    await trio.to_thread.run_sync(_check_reach, options)
    with open_state(options) as state:
        async with (
            open_bridge() as bridge,
            _bound_transport(options, state, bridge) as (transport, listen, runtime),
            trio.open_nursery() as nursery,
        ):
            own = _describe(options, state, listen, runtime.node_id)
            parts = await _assemble(options, node, state, own, bridge, transport, runtime, nursery)
            await _serve_metrics(options.metrics, own, parts, runtime, nursery)
            await bridge.run(transport.start, parts.peers, parts.peers.hand_over, parts.add_services)
            record = NodeRecord(own.name, own.id, str(state.socket), own.address, os.getpid(), own.started_ms)
            with announced(state, record):
                nursery.start_soon(
                    _join, options, node, parts.peers, listen, bridge, nursery, record, on_ready
                )
                reason = await node.wait_stopping()
            _log.info("stopping", why=reason)
            with trio.move_on_after(LEAVE_TIMEOUT_S):
                await parts.peers.leave(reason)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _bound_transport(
    options: NodeOptions, state: NodeState, bridge: Bridge
) -> AsyncIterator[tuple[Transport, Address, Runtime]]:
    """The runtime, and the transport bound to its addresses; its sockets close before the runtime does."""
    node_id = draw_node_id(random.SystemRandom())
    async with open_runtime(
        node_id=node_id,
        threads=options.threads,
        cache_dir=state.cache,
        max_processes=MAX_PROCESSES if options.max_processes is None else options.max_processes,
        trace=options.trace,
    ) as runtime:
        transport = Transport(bridge, runtime.peers, Timings(options.node_timeout_s))
        try:
            host, ports = candidate_ports(options.listen)
            port = await bridge.run(transport.bind, host, ports, state.socket)
            yield transport, Address(host, port), runtime
        finally:
            with trio.CancelScope(shield=True):
                await bridge.run(transport.stop)


@dataclass(frozen=True, slots=True)
class _Parts:
    peers: Peers
    modules: NodeModules
    add_services: Callable[[grpc.aio.Server], None]


async def _assemble(
    options: NodeOptions,
    node: Node,
    state: NodeState,
    own: NodeInfo,
    bridge: Bridge,
    transport: Transport,
    runtime: Runtime,
    nursery: trio.Nursery,
) -> _Parts:
    membership = Membership(own)
    modules = await open_modules(
        bridge,
        runtime,
        state.modules,
        lambda: [member.node for member in membership.peers()],
        max_stored_bytes=(
            MAX_STORED_BYTES if options.module_cache_bytes is None else options.module_cache_bytes
        ),
    )
    library = modules.library
    spawns = RemoteSpawn(nursery, runtime, library)
    spawns.register()
    MessageModules(runtime, library, membership).register()
    events = Events()
    names = ClusterNames(runtime.node_id, runtime.names, runtime.peers.send, runtime.kill, events)
    runtime.use_names(names)
    nursery.start_soon(names.run, name="names")
    NodeQueries(runtime, membership).register()
    groups = NodeGroups(runtime.groups, runtime.peers.send)
    groups.register()
    news = NodeNews(runtime.node_watch, membership)
    news.register()
    peers = Peers(
        nursery=nursery,
        bridge=bridge,
        transport=transport,
        gateway=runtime.peers,
        membership=membership,
        services=PeerServices(spawns, names, groups, news),
        events=events,
        fatal=node.fail,
        insecure=options.insecure,
        timings=Timings(options.node_timeout_s),
    )
    operations = Operations(nursery, runtime, library, peers, own.started_ms, node.stop)
    control = ControlService(bridge, operations, transport)

    def add_all(server: grpc.aio.Server) -> None:
        modules.add_to(server)
        add_services(server, control)

    return _Parts(peers, modules, add_all)


async def _serve_metrics(
    address: Address | None, own: NodeInfo, parts: _Parts, runtime: Runtime, nursery: trio.Nursery
) -> None:
    if address is None:
        return
    # Prometheus's library takes a good part of a node's start, and most nodes show no metrics.
    from luna.node.metrics import MetricsPage, PeerFigures
    from luna.node.metrics_server import start_metrics_server

    def others() -> list[PeerFigures]:
        return [
            PeerFigures(
                peer.info.name,
                peer.id,
                peer.stream is not None,
                peer.link.statistics().kept_bytes if peer.link is not None else 0,
            )
            for peer in peering.peers()
        ]

    peering = parts.peers.peering
    labels = {"node": own.name, "cluster": own.cluster}
    page = MetricsPage(runtime, labels, others, peering.statistics, parts.modules.figures)
    await start_metrics_server(nursery, address, page.render)


async def _join(
    options: NodeOptions,
    node: Node,
    peers: Peers,
    listen: Address,
    bridge: Bridge,
    nursery: trio.Nursery,
    record: NodeRecord,
    on_ready: Callable[[NodeRecord], None],
) -> None:
    joiner = Joiner(peers, node.fail)
    try:
        await joiner.join_first(options.join)
    except LunaError as error:
        node.fail(error)
        return
    for target in options.join:
        nursery.start_soon(joiner.keep_joined, target, name=f"join {target}")
    discovering = Discovering(bridge, peers, joiner)
    if options.discovery:
        nursery.start_soon(joiner.meet_found, name="meet discovered nodes")
        nursery.start_soon(discovering.run, name="discovery")
    nursery.start_soon(follow_address, listen.host, peers, discovering.again, name="address")
    on_ready(record)


def _first(group: BaseExceptionGroup[LunaError]) -> LunaError:
    error: LunaError | BaseExceptionGroup[LunaError] = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _check_reach(options: NodeOptions) -> None:
    if options.listen is not None:
        check_reach(options.listen, insecure=options.insecure, purpose="listen on")
    for target in options.join:
        check_reach(target, insecure=options.insecure, purpose="join")


def _describe(options: NodeOptions, state: NodeState, listen: Address, node_id: int) -> NodeInfo:
    return NodeInfo(
        id=node_id,
        name=state.name,
        cluster=options.cluster,
        address=str(Address(advertised_host(listen.host), listen.port)),
        labels=options.labels,
        started_ms=time.time_ns() // 1_000_000,
    )
