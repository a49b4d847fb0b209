"""`luna spawn`."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from tests.cli.conftest import Luna, Outcome
from tests.cli.fake_control import ID_A, FakeControl, pid

from luna.proto import control_pb2 as pb
from luna.proto import node_pb2
from luna.proto.limits import MODULE_CHUNK_BYTES
from luna.proto.run_directory import NodeRecord

WASM = b"\0asm\1\0\0\0"


@pytest.fixture(autouse=True)
def program(own_environment: Path) -> Path:
    path = own_environment / "p.wasm"
    path.write_bytes(WASM)
    return path


def spec_of(control: FakeControl) -> pb.SpawnSpec:
    return control.requests[0][0].spec  # type: ignore[no-any-return]


def test_prints_the_pid(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    assert luna("spawn", "p.wasm") == Outcome(0, "9@alpha\n", "")
    spec = spec_of(control)
    assert (spec.node, spec.module_name, spec.entry, spec.module) == ("", "p.wasm", "", b"")
    assert spec.config == node_pb2.ProcessConfig(
        max_memory_bytes=2**32 - 1,
        can_compile_modules=True,
        can_create_configs=True,
        can_spawn_processes=True,
        arguments=["p.wasm"],
    )
    assert [part.data for part in control.requests[0][1:]] == [WASM]


def test_every_option_reaches_the_node(
    luna: Luna, node: NodeRecord, control: FakeControl, own_environment: Path
) -> None:
    outcome = luna(
        *("spawn", "--node", "beta", "--entry", "go", "--param", "i32:-5", "--param", "i64:7"),
        *("--param", "v128:0x01", "--arg", "first", "--env", "A=1", "--env", "B=x=y", "--dir", "data"),
        *("--allow", "lunatic::message::", "--allow", "wasi_"),
        *(
            "--dir",
            "/abs",
            "--max-memory",
            "64MiB",
            "--max-fuel",
            "12",
            "p.wasm",
            "--node",
            "mine",
            "--",
            "-x",
        ),
    )
    assert outcome == Outcome(0, "9@beta\n", "")
    spec = spec_of(control)
    assert (spec.node, spec.entry) == ("beta", "go")
    assert list(spec.params) == [
        node_pb2.Param(i32=-5),
        node_pb2.Param(i64=7),
        node_pb2.Param(v128=b"\1" + bytes(15)),
    ]
    assert list(spec.config.arguments) == ["p.wasm", "first", "--node", "mine", "--", "-x"]
    assert [(v.key, v.value) for v in spec.config.environment_variables] == [("A", "1"), ("B", "x=y")]
    assert [(d.guest, d.host) for d in spec.config.preopens] == [
        ("data", str(own_environment / "data")),
        ("/abs", "/abs"),
    ]
    assert (spec.config.max_memory_bytes, spec.config.max_fuel) == (2**26, 12)
    assert list(spec.config.namespaces.prefixes) == ["lunatic::message::", "wasi_"]


def test_zero_parameters_are_values_and_not_absent(
    luna: Luna, node: NodeRecord, control: FakeControl
) -> None:
    assert luna("spawn", "--param", "i32:0", "p.wasm").code == 0
    assert spec_of(control).params[0].WhichOneof("value") == "i32"


@pytest.mark.parametrize("start", [WASM, b"(module"])
def test_module_the_node_lacks_is_sent_in_chunks(
    luna: Luna, node: NodeRecord, control: FakeControl, program: Path, start: bytes
) -> None:
    data = start + bytes(2 * MODULE_CHUNK_BYTES)
    program.write_bytes(data)
    assert luna("spawn", "p.wasm").code == 0
    spec, *parts = control.requests[-1]
    chunks = [part.data for part in parts]
    assert [len(chunk) for chunk in chunks] == [MODULE_CHUNK_BYTES, MODULE_CHUNK_BYTES, len(start)]
    assert b"".join(chunks) == data
    assert spec.spec.module == b""


def test_module_the_node_holds_is_not_sent(
    luna: Luna, node: NodeRecord, control: FakeControl, program: Path
) -> None:
    data = WASM + bytes(MODULE_CHUNK_BYTES)
    program.write_bytes(data)
    control.modules.add(hashlib.sha256(data).digest())
    assert luna("spawn", "p.wasm") == Outcome(0, "9@alpha\n", "")
    ((part,),) = control.requests
    assert part.spec.module == hashlib.sha256(data).digest()
    assert part.spec.module_name == "p.wasm"


def test_small_module_is_sent_at_once(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    assert luna("spawn", "p.wasm").code == 0
    assert len(control.requests) == 1


def test_following_streams_the_output_and_ends_with_its_exit_code(
    luna: Luna, node: NodeRecord, control: FakeControl
) -> None:
    assert luna("spawn", "--follow", "p.wasm") == Outcome(3, "one\ntwo\n", "luna: spawned 9@alpha\ncareful\n")
    assert control.requests[1].process.pid == pid(ID_A, 9)
    assert spec_of(control).follow
    assert control.requests[1].follow


def test_process_that_is_not_followed_waits_for_nobody(
    luna: Luna, node: NodeRecord, control: FakeControl
) -> None:
    assert luna("spawn", "p.wasm").code == 0
    assert not spec_of(control).follow


@pytest.mark.parametrize(
    ("kind", "code", "reason", "expected", "said"),
    [
        (node_pb2.EXIT_NORMAL, 0, "", 0, ""),
        (node_pb2.EXIT_FAILURE, 1, "trap: out of bounds", 1, "luna: 9@alpha: trap: out of bounds\n"),
        (node_pb2.EXIT_KILLED, 1, "killed", 1, "luna: 9@alpha: killed\n"),
        (
            node_pb2.EXIT_FAILURE,
            1,
            "trap: \x1b[2J\n    0: 0x21 - bad\x07\n    1: 0x42 - main",
            1,
            "luna: 9@alpha: trap: \\x1b[2J\n  0: 0x21 - bad\\x07\n  1: 0x42 - main\n",
        ),
        (node_pb2.EXIT_FAILURE, 256, "exited with code 256", 1, ""),
        (node_pb2.EXIT_FAILURE, 255, "exited with code 255", 255, ""),
    ],
)
def test_end_of_the_followed_process_is_the_end_of_the_command(
    luna: Luna,
    node: NodeRecord,
    control: FakeControl,
    kind: node_pb2.ExitKind,
    code: int,
    reason: str,
    expected: int,
    said: str,
) -> None:
    control.output = []
    control.exit = pb.ProcessExit(kind=kind, code=code, reason=reason)
    assert luna("spawn", "-f", "p.wasm") == Outcome(expected, "", "luna: spawned 9@alpha\n" + said)


def test_following_with_json_collects_the_output(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    control.output.insert(1, pb.LogsReply(stdout=b"\xff"))
    outcome = luna("spawn", "--follow", "--json", "p.wasm")
    assert (outcome.code, outcome.stderr) == (3, "")
    assert json.loads(outcome.stdout)["data"] == {
        "pid": "9@alpha",
        "absolute_pid": str(pid(ID_A, 9)),
        "node": "alpha",
        "module": "p.wasm",
        "output": [
            {"stream": "stdout", "base64": "b25lCv8="},
            {"stream": "stderr", "text": "careful\n"},
            {"stream": "stdout", "text": "two\n"},
        ],
        "dropped_bytes": 0,
        "exit": {"kind": "failure", "code": 3, "reason": "exited with code 3"},
    }


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_interruption_stops_following_and_not_the_process(
    node: NodeRecord, control: FakeControl, options: list[str]
) -> None:
    control.exit = None
    process = subprocess.Popen(
        [sys.executable, "-m", "luna.cli.luna", "spawn", "--follow", *options, "p.wasm"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert control.following.wait(30)
    if not options:
        assert process.stdout is not None
        assert [process.stdout.readline(), process.stdout.readline()] == ["one\n", "two\n"]
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.endswith("luna: stopped following; 9@alpha goes on (luna logs --follow 9@alpha)\n")
    if options:
        data = json.loads(stdout)["data"]
        assert (data["pid"], data["exit"]) == ("9@alpha", None)
    assert control.cancelled.wait(30)
    assert len(control.requests) == 2  # spawn and logs: nobody asked for its death


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("none.wasm", "there is no file none.wasm"),
        (".", ". is a directory, not a WebAssembly module"),
        ("empty.wasm", "empty.wasm is empty, not a WebAssembly module"),
    ],
)
def test_file_that_cannot_be_a_module_is_told_before_a_node_is_asked(
    luna: Luna, own_environment: Path, file: str, said: str
) -> None:
    (own_environment / "empty.wasm").touch()
    assert luna("spawn", file) == Outcome(1, "", f"luna: {said}\n")


def test_refusal_of_the_node_keeps_its_lines(luna: Luna, node: NodeRecord, control: FakeControl) -> None:
    control.failures["SpawnProcess"] = (
        grpc.StatusCode.INVALID_ARGUMENT,
        "p.wasm cannot be linked:\nenv::f: unknown import\nhint: build it for wasm32-wasi",
    )
    assert luna("spawn", "p.wasm") == Outcome(
        1,
        "",
        "luna: p.wasm cannot be linked:\n  env::f: unknown import\n  build it for wasm32-wasi\n",
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--param", "f32:1"], "'f32:1' is not a parameter"),
        (["--max-memory", "lots"], "'lots' is not a size"),
        (["--max-fuel", "-1"], "'-1' is not a compute limit"),
        (["--env", "A"], "'A' is not an environment variable"),
        (["--allow", "*"], "no host call's name begins with '*'"),
        (["--node", "a b"], "'a b' is not a valid node name"),
    ],
)
def test_wrong_values_are_usage_errors(luna: Luna, options: list[str], said: str) -> None:
    outcome = luna("spawn", *options, "p.wasm")
    assert (outcome.code, outcome.stdout) == (2, "")
    assert said in outcome.stderr
    assert outcome.stderr.endswith("  see: luna spawn --help\n")


def test_argument_that_is_not_utf8_is_refused(luna: Luna) -> None:
    outcome = luna("spawn", "p.wasm", "\udcff")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "'\\udcff' is not UTF-8 text" in outcome.stderr
