"""`luna events`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import grpc
from tests.cli.conftest import Luna, Outcome
from tests.cli.fake_control import FakeControl

from luna.proto.run_directory import NodeRecord

LINES = """\
2023-11-14T22:13:20.123Z  joined         beta  at 127.0.0.1:7002
2023-11-14T22:13:21.000Z  refused        -  evil: no
2023-11-14T22:13:22.000Z  up             beta
"""
LOST = "luna: 4 events are lost: more happened than was read\n"


def test_events_are_listed(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    table = """\
TIME                      EVENT    NODE  DETAIL
2023-11-14T22:13:20.123Z  joined   beta  at 127.0.0.1:7002
2023-11-14T22:13:21.000Z  refused  -     evil: no
2023-11-14T22:13:22.000Z  up       beta  -
"""
    assert luna("events", "--node", "beta") == Outcome(0, table, LOST)
    assert (control.requests[0].node, control.requests[0].follow) == ("beta", False)


def test_nothing_happened_yet(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    control.events = []
    assert luna("events") == Outcome(0, "", "luna: nothing has happened yet\n")


def follow_and_interrupt(control: FakeControl, *options: str) -> tuple[int, list[str], str]:
    """(exit code, the three lines that come, stderr) of a command that is interrupted then."""
    process = subprocess.Popen(
        [sys.executable, "-m", "luna.cli.luna", "events", "--follow", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGINT)
    rest, stderr = process.communicate(timeout=30)
    assert rest == ""
    assert control.cancelled.wait(30)
    return process.returncode, lines, stderr


def test_following_goes_on_until_interrupted(node: NodeRecord, control: FakeControl) -> None:
    code, lines, stderr = follow_and_interrupt(control)
    assert (code, "".join(lines), stderr) == (130, LINES, LOST)


def test_following_as_json_is_a_document_for_each_event(node: NodeRecord, control: FakeControl) -> None:
    code, lines, _ = follow_and_interrupt(control, "--json")
    assert code == 130
    documents = [json.loads(line) for line in lines]
    assert [document["schema"] for document in documents] == ["luna.events/1"] * 3
    assert [document["data"]["events"][0]["sequence"] for document in documents] == [1, 2, 7]
    assert [document["data"]["lost"] for document in documents] == [0, 0, 4]
    assert documents[1]["data"]["events"][0]["node"] is None


def test_a_node_that_stops_sending_is_an_error(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    control.release.set()
    assert luna("events", "-f") == Outcome(1, LINES, LOST + "luna: the node stopped sending events\n")


def test_an_unknown_node_is_told(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    control.failures["Events"] = (grpc.StatusCode.NOT_FOUND, "there is no node gamma")
    assert luna("events", "--node", "gamma") == Outcome(1, "", "luna: there is no node gamma\n")
