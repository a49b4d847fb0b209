"""Nodes that take the place of others: of the next release, or under a name that another one had."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from luna.proto.ids import serial_of
from luna.proto.version import PROTOCOL_MAX

from ..node_process import NodeProcess
from .containers import ContainerHosts
from .engine import docker
from .fault_cluster import PATIENCE_S, FaultCluster
from .image import BUILD_TIMEOUT_S
from .surroundings import NotHereError, Surroundings
from .test_cluster import hold, wait_holder

pytestmark = pytest.mark.timeout(600)

NEXT_VERSION = "99.0.0"

# As a release that speaks one version of the protocol more would be, and has another version itself.
NEXT_RELEASE = f"""
FROM {{image}}
USER root
RUN cd /opt/luna/lib/python3*/site-packages \\
    && sed -i 's/^PROTOCOL_MAX = .*/PROTOCOL_MAX = {PROTOCOL_MAX + 1}/' luna/proto/version.py \\
    && grep -q '^PROTOCOL_MAX = {PROTOCOL_MAX + 1}$' luna/proto/version.py \\
    && sed -i 's/^Version: .*/Version: {NEXT_VERSION}/' luna_node-*.dist-info/METADATA
USER luna
"""


def next_release(image: str) -> str:
    """Build the image of the release after the one of `image`; its id."""
    with tempfile.TemporaryDirectory(prefix="luna-next-") as folder:
        Path(folder, "Dockerfile").write_text(NEXT_RELEASE.format(image=image))
        result = Path(folder, "id")
        docker("build", "--iidfile", str(result), folder, timeout_s=BUILD_TIMEOUT_S)
        return result.read_text().strip()


def version_of(node: NodeProcess) -> str:
    """The version that a node says it has."""
    version: str = node.luna_json("status")["version"]
    return version


def test_a_cluster_goes_over_to_the_next_release_node_by_node(cluster: FaultCluster) -> None:
    if not isinstance(cluster.hosts, ContainerHosts):
        raise NotHereError("another release of Luna is another image, which takes a container engine")
    image = next_release(cluster.hosts.image)
    cluster.start("a", "b", "c")
    for name in ("a", "b", "c"):
        others = [other for other in cluster.nodes if other != name]
        kept = [cluster.flow(*others), cluster.flow(*reversed(others))]
        watches = cluster.watches("a", "b", "c")
        held = hold(cluster.nodes[others[0]])
        wait_holder(list(cluster.nodes.values()), held.pid)
        assert cluster.nodes[name].stop() == 0
        cluster.wait_gone(name, *others)
        node = cluster.start_one(name, around=Surroundings(image=image))
        cluster.wait_complete()
        assert version_of(node) == NEXT_VERSION
        for (one, other), watch in watches.items():
            if one != name:
                watch.check(1 if other == name else 0)
        for flow in [*kept, *(cluster.flow(one, other) for one, other in watches)]:
            flow.finish()
        wait_holder(list(cluster.nodes.values()), held.pid)
        assert cluster.nodes[others[0]].luna("kill", f"{serial_of(held.pid)}@{others[0]}").returncode == 0


def test_a_frozen_node_that_was_replaced_under_its_name_stops_when_it_thaws(cluster: FaultCluster) -> None:
    cluster.start("a", "b", "c")
    watches = cluster.watches("a", "b", "c")
    kept = cluster.flow("a", "b")
    frozen = cluster.nodes.pop("c")
    frozen.pause()
    cluster.wait_gone("c", "a", "b")
    heir = cluster.start_one("d", called="c")
    for name in ("a", "b"):
        watches[name, "c"].wait_told()
        assert cluster.nodes[name].nodes()["c"].member.node.id == heir.id
    frozen.resume()
    assert frozen.wait_exit(PATIENCE_S) == 1
    assert "the name c is taken" in frozen.errors()
    for name in ("a", "b"):
        node = cluster.nodes[name]
        assert node.sees("a", "b", "c")
        assert node.nodes()["c"].member.node.id == heir.id
        watches[name, "c"].check(1)
        cluster.flow(name, "d").finish()
    watches["a", "b"].check(0)
    kept.finish()
