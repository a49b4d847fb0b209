"""`luna kill`."""

from __future__ import annotations

import json

import grpc
import pytest
from tests.cli.conftest import Luna, Outcome
from tests.cli.fake_control import ID_B, FakeControl, pid

from luna.proto.run_directory import NodeRecord


def test_kills_and_names_the_process(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    assert luna("kill", "7@beta") == Outcome(0, "killed 7@beta\n", "")
    process = control.requests[0].process
    assert (process.serial, process.node, process.pid) == (7, "beta", 0)


def test_absolute_pid_is_taken_too(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    text = str(pid(ID_B, 7))
    assert luna("kill", text) == Outcome(0, f"killed {text}\n", "")
    process = control.requests[0].process
    assert (process.serial, process.node, process.pid) == (0, "", pid(ID_B, 7))


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_process_that_was_dead_is_a_failure(
    luna: Luna, node: NodeRecord, control: FakeControl, options: list[str]
) -> None:
    control.alive = False
    outcome = luna("kill", "7@beta", *options)
    assert (outcome.code, outcome.stderr) == (1, "luna: 7@beta is not running\n")
    if options:
        assert json.loads(outcome.stdout)["data"] == {"pid": "7@beta", "was_alive": False}
    else:
        assert outcome.stdout == ""


def test_unknown_process_is_told(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    control.failures["KillProcess"] = (grpc.StatusCode.NOT_FOUND, "there is no process 7@beta")
    assert luna("kill", "7@beta") == Outcome(1, "", "luna: there is no process 7@beta\n")
