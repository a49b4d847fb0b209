"""`lunatic::metrics`: what guests count, kept for whoever collects it in Prometheus's format.

Owns the numbers and their names; `metric_families` shows them to Prometheus's library, which is loaded only
where somebody wants to see them. One metric for each name, for all guests of a runtime together. Lunatic's
functions have no errors besides bad memory: what cannot be kept is left out, and the log says so once for
each name.
"""

from __future__ import annotations

import hashlib
import math
import re
from bisect import bisect_left
from collections.abc import Callable
from typing import Final, TypeVar, final

import structlog

from luna.scheduler.requests import Request

__all__ = ["BUCKETS", "NODE_PREFIX", "Counter", "Gauge", "Histogram", "MetricsHandlers"]

MAX_METRICS: Final = 4096
"""metrics of all guests of a node: a guest that makes names without end must not take its memory."""
MAX_NAME_BYTES: Final = 1024
"""bytes of the name of a metric"""
MAX_TOLD: Final = 256
"""names of metrics that were left out and told of in the log; further ones are left out silently."""
BUCKETS: Final = tuple(factor * 10.0**exponent for exponent in range(-4, 7) for factor in (1.0, 2.5, 5.0))
"""upper bounds of a histogram's buckets: three for each power of ten, since nobody says what the values are.
As seconds they go from a tenth of a millisecond to 58 days, as bytes up to 5 MB."""
NODE_PREFIX: Final = "luna_node_"
"""begins the names of a node's own metrics; guests get none of those."""

_log = structlog.get_logger("luna.metrics")

U64_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF


@final
class Counter:
    """A number that only grows, as long as it fits 64 bits."""

    def __init__(self) -> None:
        self.value = 0

    @staticmethod
    def samples(name: str) -> set[str]:
        """The names of what Prometheus sees of it."""
        return {f"{name.removesuffix('_total')}_total"}


@final
class Gauge:
    """A number."""

    def __init__(self) -> None:
        self.value = 0.0

    @staticmethod
    def samples(name: str) -> set[str]:
        """The names of what Prometheus sees of it."""
        return {name}


@final
class Histogram:
    """How many values fell between the bounds `BUCKETS`, and their sum."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)  # the last one is of those above every bound
        self.sum = 0.0

    @staticmethod
    def samples(name: str) -> set[str]:
        """The names of what Prometheus sees of it."""
        return {name, f"{name}_bucket", f"{name}_count", f"{name}_sum"}


_Kind = TypeVar("_Kind", Counter, Gauge, Histogram)


@final
class MetricsHandlers:
    """Answers the host calls of `lunatic::metrics`."""

    def __init__(self) -> None:
        self._metrics: dict[str, tuple[str, Counter | Gauge | Histogram]] = {}  # by the guest's name
        self._taken: set[str] = set()  # names of samples
        self._told: set[str] = set()

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve these host calls."""
        for name, handler in (
            ("counter", self._counter),
            ("increment_counter", self._increment_counter),
            ("gauge", self._gauge),
            ("increment_gauge", self._increment_gauge),
            ("decrement_gauge", self._decrement_gauge),
            ("histogram", self._histogram),
        ):
            set_handler("lunatic::metrics", name, handler)

    def entries(self) -> list[tuple[str, str, Counter | Gauge | Histogram]]:
        """(name by Prometheus's rules, the guest's name, the number) of every metric; from any thread."""
        return [(exposed, name, metric) for name, (exposed, metric) in list(self._metrics.items())]

    # -- host calls -------------------------------------------------------------------

    def _counter(self, request: Request) -> None:
        counter = self._find(request, Counter)
        if counter is not None:
            # A counter never falls: Lunatic's takes the larger one as well.
            counter.value = max(counter.value, int(request.args[2]) & U64_MASK)

    def _increment_counter(self, request: Request) -> None:
        counter = self._find(request, Counter)
        if counter is not None:
            counter.value = (counter.value + 1) & U64_MASK

    def _gauge(self, request: Request) -> None:
        gauge = self._find(request, Gauge)
        if gauge is not None:
            gauge.value = float(request.args[2])

    def _increment_gauge(self, request: Request) -> None:
        gauge = self._find(request, Gauge)
        if gauge is not None:
            gauge.value += request.args[2]

    def _decrement_gauge(self, request: Request) -> None:
        gauge = self._find(request, Gauge)
        if gauge is not None:
            gauge.value -= request.args[2]

    def _histogram(self, request: Request) -> None:
        histogram = self._find(request, Histogram)
        value = float(request.args[2])
        if histogram is not None and not math.isnan(value):  # which would be in no bucket
            histogram.counts[bisect_left(BUCKETS, value)] += 1
            histogram.sum += value

    # -- names ------------------------------------------------------------------------

    def _find(self, request: Request, kind: type[_Kind]) -> _Kind | None:
        """The metric a call names, made if there is none; None if it is left out. Raises GuestTrap."""
        pointer, size = int(request.args[0]), int(request.args[1])
        if size & 0xFFFF_FFFF > MAX_NAME_BYTES:
            request.check(pointer, size)
            self._leave_out("", f"a name has more than {MAX_NAME_BYTES} bytes")
            return None
        name = request.read_text(pointer, size)
        known = self._metrics.get(name)
        if known is None:
            return self._make(name, kind)
        metric = known[1]
        if isinstance(metric, kind):
            return metric
        self._leave_out(name, f"it is a {_name_of(type(metric))} already, and no {_name_of(kind)}")
        return None

    def _make(self, name: str, kind: type[_Kind]) -> _Kind | None:
        if len(self._metrics) >= MAX_METRICS:
            self._leave_out(name, f"a node keeps {MAX_METRICS} metrics of guests at most")
            return None
        exposed = exposed_name(name)
        if exposed.startswith(NODE_PREFIX):
            self._leave_out(name, f"names that begin with {NODE_PREFIX} are the node's own")
            return None
        if not self._taken.isdisjoint(kind.samples(exposed)):
            # Another name looks the same to Prometheus; this one is told apart by a hash of the real one.
            exposed = f"{exposed.removesuffix('_total')}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
            if not self._taken.isdisjoint(kind.samples(exposed)):
                self._leave_out(name, "another metric has a name that cannot be told from it")
                return None
        self._taken |= kind.samples(exposed)
        metric = kind()
        self._metrics[name] = exposed, metric
        return metric

    def _leave_out(self, name: str, why: str) -> None:
        if name not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(name)
            _log.warning("a metric of a guest is left out", metric=name, why=why)


def exposed_name(name: str) -> str:
    """A name by Prometheus's rules: `_` in place of all but ASCII letters, digits, `_` and `:`."""
    plain = re.sub(r"[^a-zA-Z0-9_:]", "_", name)
    return plain if re.match(r"[a-zA-Z_:]", plain) else f"_{plain}"


def _name_of(kind: type[Counter | Gauge | Histogram]) -> str:
    return kind.__name__.lower()
