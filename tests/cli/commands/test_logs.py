"""`luna logs`."""

from __future__ import annotations

import json

import grpc
from tests.cli.conftest import Luna, Outcome
from tests.cli.fake_control import FakeControl

from luna.proto import control_pb2 as pb
from luna.proto import node_pb2
from luna.proto.run_directory import NodeRecord


def test_output_goes_where_the_process_wrote_it(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    assert luna("logs", "1@alpha") == Outcome(0, "one\ntwo\n", "careful\n")
    request = control.requests[0]
    assert (request.process.serial, request.process.node, request.follow) == (1, "alpha", False)


def test_output_of_a_living_process_ends_without_an_exit(
    luna: Luna, node: NodeRecord, control: FakeControl
) -> None:
    control.exit = None
    assert luna("logs", "2@alpha") == Outcome(0, "one\ntwo\n", "careful\n")
    data = json.loads(luna("logs", "2@alpha", "--json").stdout)["data"]
    assert data["exit"] is None


def test_following_ends_with_the_exit_code_of_the_process(luna: Luna, node: NodeRecord) -> None:
    assert luna("logs", "--follow", "1@alpha") == Outcome(3, "one\ntwo\n", "careful\n")


def test_reason_of_a_trap_is_told(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    control.output = []
    control.exit = pb.ProcessExit(kind=node_pb2.EXIT_FAILURE, code=1, reason="trap: unreachable")
    assert luna("logs", "-f", "1@alpha") == Outcome(1, "", "luna: 1@alpha: trap: unreachable\n")
    assert luna("logs", "1@alpha") == Outcome(0, "", "")


def test_lost_output_is_told_once(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    control.output = [
        pb.LogsReply(stdout=b"middle\n", dropped_bytes=30),
        pb.LogsReply(stdout=b"end\n", dropped_bytes=40),
    ]
    assert luna("logs", "1@alpha") == Outcome(
        0, "middle\nend\n", "luna: 70 bytes of output are lost: only the latest are kept\n"
    )
    assert json.loads(luna("logs", "1@alpha", "--json").stdout)["data"]["dropped_bytes"] == 70


def test_followed_stream_that_ends_before_the_process_is_broken(
    luna: Luna, node: NodeRecord, control: FakeControl
) -> None:
    control.exit = None
    control.release.set()
    assert luna("logs", "-f", "2@alpha") == Outcome(
        1,
        "one\ntwo\n",
        "careful\nluna: the node stopped sending the output of 2@alpha before it ended\n",
    )


def test_unknown_process_is_told(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    control.failures["Logs"] = (grpc.StatusCode.NOT_FOUND, "there is no process 5@alpha")
    assert luna("logs", "5@alpha") == Outcome(1, "", "luna: there is no process 5@alpha\n")
