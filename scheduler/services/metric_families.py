"""What guests count, as the families of samples that Prometheus's library prints.

Nothing imports this but who shows metrics: the library takes tens of milliseconds to load, which is a good
part of the time `luna run` needs for a small program.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import final

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from luna.scheduler.services.metrics import BUCKETS, Counter, Gauge, Histogram, MetricsHandlers

__all__ = ["GuestMetrics"]


@final
class GuestMetrics(Collector):
    """All metrics of a runtime's guests, for a registry."""

    def __init__(self, metrics: MetricsHandlers, labels: Mapping[str, str]) -> None:
        """`labels` go on every sample."""
        self._metrics = metrics
        self._names = list(labels)
        self._values = list(labels.values())

    def collect(self) -> Iterator[Metric]:
        """Every metric as it is now; from any thread."""
        for exposed, name, metric in self._metrics.entries():
            yield self._family(exposed, name, metric)

    def _family(self, exposed: str, help_: str, metric: Counter | Gauge | Histogram) -> Metric:
        if isinstance(metric, Counter):
            counter = CounterMetricFamily(exposed, help_, labels=self._names)
            counter.add_metric(self._values, metric.value)
            return counter
        if isinstance(metric, Gauge):
            gauge = GaugeMetricFamily(exposed, help_, labels=self._names)
            gauge.add_metric(self._values, metric.value)
            return gauge
        bounds = map(floatToGoString, (*BUCKETS, math.inf))
        histogram = HistogramMetricFamily(exposed, help_, labels=self._names)
        histogram.add_metric(
            self._values,
            buckets=list(zip(bounds, accumulate(tuple(metric.counts)), strict=True)),
            sum_value=metric.sum,
        )
        return histogram
