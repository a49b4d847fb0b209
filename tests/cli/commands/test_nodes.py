"""`luna nodes`."""

from __future__ import annotations

import grpc
import pytest
from tests.cli.conftest import Luna, Outcome
from tests.cli.fake_control import FakeControl

from luna.proto import node_pb2
from luna.proto.run_directory import NodeRecord


def test_lists_members_by_name_and_marks_the_one_asked(luna: Luna, node: NodeRecord) -> None:
    assert luna("nodes") == Outcome(
        0,
        "NAME          ID  STATE    ADDRESS         PROCESSES  LABELS\n"
        "alpha *       11  alive    127.0.0.1:7001          2  disk=ssd,zone=z1\n"
        "beta     4000000  suspect  127.0.0.1:7002          0  -\n",
        "",
    )


def test_no_members_are_said_on_stderr(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    control.nodes = []
    assert luna("nodes") == Outcome(0, "", "luna: the node knows no members\n")


def test_name_from_elsewhere_cannot_steer_the_terminal(
    luna: Luna, node: NodeRecord, control: FakeControl
) -> None:
    control.nodes[0].member.node.name = "\x1b[2J"
    outcome = luna("nodes")
    assert "\x1b" not in outcome.stdout
    assert "\\x1b[2J" in outcome.stdout


def test_state_of_a_newer_protocol_is_unknown(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    control.nodes[0].member.state = 9  # type: ignore[assignment]
    assert "  unknown  " in luna("nodes").stdout


@pytest.mark.parametrize(
    ("state", "text"),
    [(node_pb2.ALIVE, "alive"), (node_pb2.DEAD, "dead"), (node_pb2.LEFT, "left")],
)
def test_every_state_has_a_name(
    luna: Luna, node: NodeRecord, control: FakeControl, state: node_pb2.MemberState, text: str
) -> None:
    control.nodes[0].member.state = state
    assert f"  {text}  " in luna("nodes").stdout


def test_node_that_fails_is_an_internal_error(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    control.failures["Nodes"] = (grpc.StatusCode.INTERNAL, "it broke")
    assert luna("nodes") == Outcome(1, "", "luna: node alpha failed: it broke\n")
