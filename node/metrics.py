"""The figures of a node and of its guests, as one page in Prometheus's text format.

Owns which figures a node shows and under which names. The guests' own ones are kept by the
scheduler; who asks for the page is the business of `metrics_server`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar, final

import trio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from luna.cluster.peer import PeeringStatistics
from luna.proto.errors import NotFoundError
from luna.scheduler.runtime import Runtime
from luna.scheduler.services.metric_families import GuestMetrics
from luna.scheduler.services.metrics import NODE_PREFIX

if TYPE_CHECKING:  # `luna run` shows metrics, and needs nothing of what is between nodes
    from luna.node.node_modules import ModuleFigures

RENDERERS = 1
"""pages made at a time: a page of many metrics takes a thread for a moment, and one is enough to scrape."""

_TRAFFIC = (
    ("bytes_received", "Bytes of frames of signals that came from another node.", "bytes_in"),
    ("bytes_sent", "Bytes of frames of signals that went to another node.", "bytes_out"),
    ("signals_received", "Signals that came from another node.", "envelopes_in"),
    ("signals_sent", "Signals that went to another node.", "envelopes_out"),
)
_TOTALS = (
    ("sessions_begun", "Sessions with other nodes that began."),
    ("sessions_ended", "Sessions with other nodes that ended for good."),
    ("streams_resumed", "Times a session went on with a new connection."),
    ("hellos_refused", "Times a node was turned away."),
    ("nodes_expelled", "Nodes that sent what no correct node sends."),
)

_HELD = (
    "stores",
    "futures",
    "stacks",
    "signals",
    "configs",
    "modules",
    "outputs",
    "requests",
    "timers",
    "environments",
)
"""what the native core counts of what it holds; all but modules, outputs and environments is nothing when
nothing runs"""

_MODULES = (
    ("stored_bytes", "Bytes of modules in the store on disk."),
    ("memory_bytes", "Bytes of modules kept in memory for want of a disk."),
    ("stored", "Modules in the store."),
)
_MODULE_EVENTS = (
    ("evicted", "Modules that had to go from the store for others."),
    ("damaged", "Modules of the store that turned out to be damaged."),
    ("fetched", "Modules fetched from other nodes."),
    ("fetches_failed", "Modules that no other node could send."),
    ("bytes_received", "Bytes of modules that came from other nodes."),
    ("resumed", "Times that fetching a module went on after a break."),
    ("refused", "Times that other nodes sent wrong bytes for a module."),
    ("served", "Times that a module was sent to another node, or the rest of one."),
    ("bytes_sent", "Bytes of modules sent to other nodes."),
)


Family = TypeVar("Family", GaugeMetricFamily, CounterMetricFamily)


class PeerFigures(NamedTuple):
    """Another node, for this page."""

    name: str
    id: int
    connected: bool
    kept_bytes: int = 0
    """sent and not acknowledged"""


@final
class MetricsPage(Collector):
    """Everything there is to see of one node."""

    def __init__(
        self,
        runtime: Runtime,
        labels: Mapping[str, str],
        peers: Callable[[], Iterable[PeerFigures]] = tuple,
        totals: Callable[[], PeeringStatistics] = PeeringStatistics,
        modules: Callable[[], ModuleFigures] | None = None,
    ) -> None:
        """`labels` go on every sample; `peers()` are the live nodes besides this one, `totals()` what this
        node counts of its dealings with them.

        Without `modules` there is no module store, as in a runtime without a cluster.
        """
        self._runtime = runtime
        self._labels = dict(labels)
        self._peers = peers
        self._totals = totals
        self._modules = modules
        self._figures: list[Metric] = []
        self._limiter = trio.CapacityLimiter(RENDERERS)
        self._registry = CollectorRegistry()
        self._registry.register(GuestMetrics(runtime.metrics, self._labels))
        self._registry.register(self)

    async def render(self) -> bytes:
        """The page as it is now."""
        async with self._limiter:
            self._figures = list(self._take())
            return await trio.to_thread.run_sync(generate_latest, self._registry)

    def collect(self) -> Iterable[Metric]:
        """For the registry: what `render` has just taken, since this runs in another thread."""
        return self._figures

    def _take(self) -> Iterator[Metric]:
        statistics = self._runtime.statistics()
        yield self._gauge("processes", "Processes that live now.", statistics.processes)
        yield self._gauge("scheduler_threads", "Threads that run processes.", statistics.threads)
        yield self._counter("processes_spawned", "Processes that were started.", statistics.spawned)
        yield self._counter("processes_exited", "Processes that have ended.", statistics.exited)
        yield self._counter("messages_sent", "Messages sent by processes.", statistics.messages_sent)
        yield self._counter(
            "signals_sent_remote",
            "Messages and other signals sent to other nodes.",
            statistics.messages_sent_remote,
        )
        yield self._counter("preemptions", "Times a process used up its time slice.", statistics.preempted)
        held = self._family(GaugeMetricFamily, "held", "Things that the native core holds now.", "kind")
        counters = self._runtime.counters()
        for kind in _HELD:
            held.add_metric([*self._labels.values(), kind], counters[kind])
        yield held
        totals = self._totals()
        for name, text in _TOTALS:
            yield self._counter(name, text, getattr(totals, name))
        yield from self._of_peers()
        if self._modules is not None:
            figures = self._modules()
            for name, text in _MODULES:
                yield self._gauge(f"modules_{name}", text, getattr(figures, name))
            for name, text in _MODULE_EVENTS:
                yield self._counter(f"modules_{name}", text, getattr(figures, name))

    def _of_peers(self) -> Iterator[Metric]:
        peers = list(self._peers())
        yield self._gauge("peers", "Other live nodes of the cluster.", len(peers))
        connected = self._family(
            GaugeMetricFamily, "peer_connected", "Whether there is a session with it.", "peer"
        )
        queued = self._family(
            GaugeMetricFamily, "peer_queued_bytes", "Bytes that wait to be sent to it.", "peer"
        )
        traffic = [
            (self._family(CounterMetricFamily, f"peer_{name}", text, "peer"), field)
            for name, text, field in _TRAFFIC
        ]
        kept = self._family(
            GaugeMetricFamily, "peer_kept_bytes", "Bytes sent to it and not acknowledged.", "peer"
        )
        refused = self._family(
            CounterMetricFamily,
            "peer_spawns_refused",
            "Spawns it asked for while too many were under way.",
            "peer",
        )
        for peer in peers:
            labels = [*self._labels.values(), peer.name]
            connected.add_metric(labels, peer.connected)
            kept.add_metric(labels, peer.kept_bytes)
            try:
                statistics = self._runtime.peers.statistics(peer.id)
            except NotFoundError:
                continue  # heard of, but no peer yet
            queued.add_metric(labels, statistics.queued_bytes)
            refused.add_metric(labels, self._runtime.peers.spawns(peer.id).refused)
            for family, field in traffic:
                family.add_metric(labels, getattr(statistics, field))
        yield connected
        yield queued
        yield kept
        yield refused
        yield from (family for family, _ in traffic)

    def _family(self, kind: type[Family], name: str, text: str, *labels: str) -> Family:
        return kind(NODE_PREFIX + name, text, labels=[*self._labels, *labels])

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = self._family(GaugeMetricFamily, name, text)
        family.add_metric(list(self._labels.values()), value)
        return family

    def _counter(self, name: str, text: str, value: float) -> Metric:
        family = self._family(CounterMetricFamily, name, text)
        family.add_metric(list(self._labels.values()), value)
        return family
