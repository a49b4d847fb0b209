"""`luna join`."""

from __future__ import annotations

import grpc
from tests.cli.conftest import Luna, Outcome
from tests.cli.fake_control import FakeControl

from luna.proto.run_directory import NodeRecord


def test_asks_the_node_to_join_and_lists_the_members(
    luna: Luna, node: NodeRecord, control: FakeControl
) -> None:
    outcome = luna("join", "192.0.2.7:7400")
    assert outcome == luna("nodes")
    assert control.requests[0].address == "192.0.2.7:7400"


def test_refusal_is_told(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    control.failures["Join"] = (
        grpc.StatusCode.FAILED_PRECONDITION,
        "the name alpha is taken\nhint: start with --name",
    )
    assert luna("join", "192.0.2.7:7400") == Outcome(
        1, "", "luna: the name alpha is taken\n  start with --name\n"
    )
