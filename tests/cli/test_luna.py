"""The command as a whole: help, version, wrong verbs, no node, and what it loads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from luna.cli.luna import main, root
from luna.cli.verbs import SECTIONS, VERBS
from luna.proto.run_directory import NodeRecord

from .conftest import AddNode, Luna, Outcome
from .fake_control import FakeControl, FakeServer

HEAVY = {"grpc", "wasmtime", "trio", "google.protobuf", "rich", "zeroconf", "luna.node", "luna.scheduler"}

NO_NODE = """\
luna: no node is running on this machine
  start one with `luna-node start`, or name a node elsewhere: luna --connect HOST:PORT, or LUNA_CONNECT
"""


def test_help_lists_every_verb_by_section(luna: Luna) -> None:
    outcome = luna("--help")
    assert outcome.code == 0
    assert outcome.stderr == ""
    for section in SECTIONS:
        assert f"\n{section}:\n" in outcome.stdout
    for verb in VERBS:
        assert verb.section in SECTIONS
        assert f"\n  {verb.name} " in outcome.stdout


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_every_verb_has_help_json_and_a_way_to_choose_the_node(luna: Luna, verb: str) -> None:
    outcome = luna(verb, "--help")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert f"Usage: luna {verb}" in outcome.stdout
    assert "--json" in outcome.stdout
    assert ("--connect" in outcome.stdout) == (verb not in ("run", "init"))


def test_every_command_module_is_in_the_table() -> None:
    import luna.cli.commands

    [folder] = luna.cli.commands.__path__
    modules = {path.stem for path in Path(folder).glob("*.py")} - {"__init__"}
    assert modules == {verb.name for verb in VERBS}


def test_version(luna: Luna) -> None:
    assert luna("--version") == Outcome(0, "luna 0.1.0\n", "")


def test_without_a_verb_the_help_goes_to_stderr(luna: Luna) -> None:
    outcome = luna()
    assert (outcome.code, outcome.stdout) == (2, "")
    assert "Usage: luna" in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sapwn"], "there is no command 'sapwn'; did you mean 'spawn'?\n  see: luna --help"),
        (["xyzzy"], "there is no command 'xyzzy'\n  see: luna --help"),
        (
            ["--connect", "x", "a.wasm"],
            "there is no command 'a.wasm'; did you mean `luna run a.wasm`?\n  see: luna --help",
        ),
        (["kill"], "Missing argument 'PID'.\n  see: luna kill --help"),
        (
            ["kill", "5"],
            (
                "Invalid value for 'PID': 5 is not the pid of a process in a cluster: write SERIAL@NODE; "
                "see `luna ps`\n  see: luna kill --help"
            ),
        ),
        (
            ["join", "x"],
            (
                "Invalid value for 'HOST:PORT': 'x' is not an address: write HOST:PORT, "
                "for example 192.0.2.7:7400\n  see: luna join --help"
            ),
        ),
    ],
)
def test_wrong_command_line_is_answered_with_what_would_be_right(
    luna: Luna, arguments: list[str], said: str
) -> None:
    assert luna(*arguments) == Outcome(2, "", f"luna: {said}\n")


def test_mistyped_option_names_the_nearest(luna: Luna) -> None:
    outcome = luna("ps", "--nodes", "a")
    assert (outcome.code, outcome.stdout) == (2, "")
    assert "'--nodes'" in outcome.stderr
    assert "--node" in outcome.stderr.replace("--nodes", "")


@pytest.mark.parametrize("arguments", [["ps", "--bogus", "--json"], ["sapwn", "--json"], ["kill", "--json"]])
def test_usage_errors_are_json_if_json_was_asked_for(luna: Luna, arguments: list[str]) -> None:
    outcome = luna(*arguments)
    assert outcome.code == 2
    document = json.loads(outcome.stdout)
    assert document["schema"] == "luna.error/1"
    assert document["data"]["kind"] == "usage"
    assert document["data"]["exit_code"] == 2
    assert outcome.stderr.startswith("luna: ")


@pytest.mark.parametrize(
    "arguments", [["nodes"], ["status"], ["ps"], ["kill", "1@a"], ["logs", "1@a"], ["leave"], ["join", "h:1"]]
)
def test_without_a_node_every_verb_says_how_to_start_one(luna: Luna, arguments: list[str]) -> None:
    assert luna(*arguments) == Outcome(3, "", NO_NODE)


def test_without_a_node_json_holds_the_error(luna: Luna) -> None:
    outcome = luna("ps", "--json")
    assert outcome.code == 3
    assert json.loads(outcome.stdout) == {
        "schema": "luna.error/1",
        "data": {
            "kind": "no_node",
            "message": "no node is running on this machine",
            "hint": "start one with `luna-node start`, or name a node elsewhere: luna --connect HOST:PORT, "
            "or LUNA_CONNECT",
            "exit_code": 3,
        },
    }
    assert outcome.stderr == NO_NODE


def test_record_of_a_node_that_does_not_answer_is_no_node(luna: Luna, add_node: AddNode) -> None:
    add_node("gone")
    outcome = luna("nodes")
    assert (outcome.code, outcome.stdout) == (3, "")
    assert "no node answers at node gone: No such file or directory" in outcome.stderr


def test_run_directory_of_others_is_not_trusted(luna: Luna, add_node: AddNode, own_environment: Path) -> None:
    add_node("alpha")
    (own_environment / "luna").chmod(0o777)
    outcome = luna("nodes")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "can be written by others" in outcome.stderr


def test_of_several_nodes_the_first_started_is_asked_and_said(
    luna: Luna, node: NodeRecord, add_node: AddNode
) -> None:
    add_node("later", started_ms=2)
    outcome = luna("status")
    assert outcome.code == 0
    assert outcome.stderr == (
        "luna: 2 nodes run on this machine (alpha, later); asking alpha, the one started first "
        "(pick another with --connect NAME)\n"
    )


def test_node_is_chosen_by_option_before_or_behind_the_verb_or_by_variable(
    luna: Luna, control: FakeControl, own_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = own_environment / "other.sock"
    with FakeServer(control, f"unix:{socket}"), FakeServer(control, "127.0.0.1:0") as tcp:
        assert luna("--connect", f"unix:{socket}", "nodes").code == 0
        assert luna("nodes", "--connect", f"unix:{socket}").code == 0
        assert luna("--connect", f"127.0.0.1:{tcp.port}", "nodes").code == 0
        monkeypatch.setenv("LUNA_CONNECT", f"unix:{socket}")
        assert luna("nodes").code == 0
        monkeypatch.setenv("LUNA_CONNECT", "unix:/nowhere.sock")
        assert luna("--connect", f"unix:{socket}", "nodes").code == 0
        assert luna("nodes").code == 3


def test_bug_is_told_with_its_traceback(luna: Luna, monkeypatch: pytest.MonkeyPatch) -> None:
    from luna.cli.commands import nodes

    def broken() -> None:
        raise ZeroDivisionError("surprise")

    monkeypatch.setattr(nodes, "command", click.Command("nodes", callback=broken))
    outcome = luna("nodes")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "Traceback" in outcome.stderr
    assert "luna: internal error: ZeroDivisionError: surprise\n" in outcome.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([verb.name, "--help"] for verb in VERBS), ["xyzzy"]]
)
def test_help_version_and_mistakes_load_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys; from luna.cli.luna import main; main(sys.argv[1:]); "
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [["nodes"], ["nodes", "--json"], ["logs", "1@alpha"]])
def test_reader_that_goes_away_ends_the_command_silently(
    node: NodeRecord, control: FakeControl, arguments: list[str]
) -> None:
    control.output = control.output[:1]
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "luna.cli.luna", *arguments],
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (141, "")


def test_interrupted_following_exits_like_a_shell_counts_it(node: NodeRecord, control: FakeControl) -> None:
    control.exit = None
    process = subprocess.Popen(
        [sys.executable, "-m", "luna.cli.luna", "logs", "--follow", "2@alpha"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert control.following.wait(30)
    assert process.stdout is not None
    assert [process.stdout.readline(), process.stdout.readline()] == ["one\n", "two\n"]
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stdout == ""
    assert stderr == "careful\nluna: stopped following; 2@alpha goes on\n"
    assert control.cancelled.wait(30)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_interrupted_request_is_an_error_of_its_own(
    node: NodeRecord, control: FakeControl, options: list[str]
) -> None:
    control.hangs = True
    process = subprocess.Popen(
        [sys.executable, "-m", "luna.cli.luna", "status", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert control.following.wait(30)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr.strip()) == (130, "luna: interrupted")
    if options:
        assert json.loads(stdout)["data"]["kind"] == "interrupted"
    else:
        assert stdout == ""
    assert control.cancelled.wait(30)


def test_root_is_the_group_of_the_table() -> None:
    context = click.Context(root)
    assert root.list_commands(context) == [verb.name for verb in VERBS]
    assert main(["nodes", "--help"]) == 0
