"""`luna health`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from grpc_health.v1 import health_pb2
from tests.cli.conftest import AddNode, Luna, Outcome
from tests.cli.fake_control import FakeControl, FakeServer


@pytest.fixture
def server(control: FakeControl, add_node: AddNode) -> Iterator[FakeServer]:
    """A node with a health service, which a test may set."""
    with FakeServer(control, f"unix:{add_node('alpha').socket}") as server:
        yield server


def test_a_node_that_serves_is_a_success(luna: Luna, server: FakeServer) -> None:
    assert luna("health") == Outcome(0, "SERVING\n", "")


def test_a_node_that_does_not_serve_is_a_failure(luna: Luna, server: FakeServer) -> None:
    server.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    assert luna("health") == Outcome(1, "NOT_SERVING\n", "")


def test_where_nobody_answers_the_code_is_that_of_no_node(luna: Luna, add_node: AddNode) -> None:
    add_node("alpha")
    outcome = luna("health")
    assert outcome.code == 3
    assert outcome.stderr.startswith("luna: no node answers at node alpha: ")
