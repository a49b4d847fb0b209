"""`luna leave`."""

from __future__ import annotations

from tests.cli.conftest import Luna, Outcome
from tests.cli.fake_control import FakeControl

from luna.proto.run_directory import NodeRecord


def test_the_node_asked_leaves_by_default(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    assert luna("leave") == Outcome(0, "alpha left the cluster test and stops\n", "")
    assert control.requests[0].node == ""


def test_another_node_leaves_by_name(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    assert luna("leave", "beta") == Outcome(0, "beta left the cluster test and stops\n", "")
    assert control.requests[0].node == "beta"


def test_wrong_name_is_a_usage_error(luna: Luna) -> None:
    outcome = luna("leave", "not a name")
    assert (outcome.code, outcome.stdout) == (2, "")
    assert "'not a name' is not a valid node name" in outcome.stderr
