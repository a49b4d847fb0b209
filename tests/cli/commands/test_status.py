"""`luna status`."""

from __future__ import annotations

from tests.cli.conftest import Luna, Outcome

from luna.proto.run_directory import NodeRecord


def test_shows_the_node_that_is_asked(luna: Luna, node: NodeRecord) -> None:
    assert luna("status") == Outcome(
        0,
        "name:       alpha\n"
        "id:         11\n"
        "cluster:    test\n"
        "address:    127.0.0.1:7001\n"
        "labels:     disk=ssd,zone=z1\n"
        "version:    0.1.0\n"
        "uptime:     2h01m\n"
        "processes:  2\n"
        "threads:    2\n"
        "memory:     50.0 MiB\n"
        "os pid:     4321\n",
        "",
    )
