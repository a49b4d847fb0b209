"""`luna ps`."""

from __future__ import annotations

import json

import grpc
from tests.cli.conftest import Luna, Outcome
from tests.cli.fake_control import ID_B, FakeControl, pid

from luna.proto.run_directory import NodeRecord

TABLE = """\
PID      MODULE      ENTRY   STATE    MESSAGES     MEMORY  PARENT     AGE
1@alpha  hello.wasm  _start  running         0  128.0 KiB  -        250ms
7@beta   ring.wasm   link    waiting         2   64.0 KiB  1@alpha  1m01s
"""


def test_lists_processes_by_node_and_serial(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    assert luna("ps") == Outcome(0, TABLE, "")
    assert control.requests[0].node == ""


def test_one_node_can_be_named(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    assert luna("ps", "--node", "beta").code == 0
    assert control.requests[0].node == "beta"


def test_nodes_that_did_not_answer_are_said(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    control.unreachable = ["gamma"]
    said = "luna: node gamma did not answer; its processes are not listed\n"
    assert luna("ps") == Outcome(0, TABLE, said)
    outcome = luna("ps", "--json")
    assert json.loads(outcome.stdout)["data"]["unreachable"] == ["gamma"]
    assert outcome.stderr == said


def test_no_processes_are_said_on_stderr(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    control.processes = []
    assert luna("ps") == Outcome(0, "", "luna: no processes\n")


def test_parent_on_a_node_that_is_not_listed_is_its_absolute_pid(
    luna: Luna, node: NodeRecord, control: FakeControl
) -> None:
    control.processes = control.processes[1:]
    control.processes[0].parent = pid(ID_B, 5)
    assert f"  {pid(ID_B, 5)}  " in luna("ps").stdout


def test_named_node_that_does_not_answer_is_no_node(
    luna: Luna, node: NodeRecord, control: FakeControl
) -> None:
    control.failures["Ps"] = (grpc.StatusCode.UNAVAILABLE, "node beta does not answer")
    assert luna("ps", "--node", "beta") == Outcome(
        3, "", "luna: node beta does not answer (asked node alpha)\n"
    )
