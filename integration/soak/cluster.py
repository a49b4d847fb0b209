"""The cluster a soak runs on. The one place that knows what it is made of."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from integration.fault_cluster import FaultCluster
from integration.network import open_network, why_not
from integration.node_process import NodeStarter


@contextlib.contextmanager
def open_cluster(names: Sequence[str], seed: int) -> Iterator[FaultCluster]:
    """Hosts of these names, no node on them yet; `seed` decides which packets a bad network loses.

    Raises RuntimeError where there can be none, with the reason.
    """
    reason = why_not()
    if reason is not None:
        raise RuntimeError(f"no network with faults can be made: {reason}")
    folder = Path(tempfile.mkdtemp(prefix="luna-soak-"))  # the path of a unix socket is short
    starter = NodeStarter(folder, f"soak-{secrets.token_hex(6)}")
    try:
        with open_network(names, seed) as network:
            yield FaultCluster(starter, network)
            starter.close()
    finally:
        starter.close()
        shutil.rmtree(folder, ignore_errors=True)
