"""The cluster a soak runs on. The one place that knows what it is made of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from integration.hosts import bed
from integration.hosts.fault_cluster import FaultCluster


@contextlib.contextmanager
def open_cluster(names: Sequence[str], seed: int) -> Iterator[FaultCluster]:
    """Hosts of these names, no node on them yet; `seed` decides which packets a bad network loses.

    Raises RuntimeError where there can be none, with the reason.
    """
    choice = bed.choose_here()
    if not choice.kind:
        raise RuntimeError(f"no network with faults can be made: {'; '.join(choice.lacking)}")
    with bed.open_cluster(choice.kind, names, seed) as cluster:
        yield cluster
