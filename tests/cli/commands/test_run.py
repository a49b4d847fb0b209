"""`luna run`, on the real runtime with real modules."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import wasmtime
from tests.cli.conftest import Luna, Outcome
from tests.scheduler.wat import guest

from luna.cli.local_runtime import host_environment
from luna.proto.limits import MAX_NAMESPACES

# `{body}` may print to a descriptor and ask for arguments, environment and directories.
PROGRAM = """
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_size (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_size (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $dir (param i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 64) "hello\\n")
  (func $print (param $fd i32) (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $main
    {body})
  (func (export "_start") (call $main)))
"""
HELLO = "(call $print (i32.const 1) (i32.const 64) (i32.const 6))"
ARGUMENTS = """
    (drop (call $args_size (i32.const 16) (i32.const 20)))
    (drop (call $args (i32.const 1024) (i32.const 4096)))
    (call $print (i32.const 1) (i32.const 4096) (i32.load (i32.const 20)))
"""
ENVIRONMENT = """
    (drop (call $env_size (i32.const 16) (i32.const 20)))
    (drop (call $env (i32.const 1024) (i32.const 65536)))
    (call $print (i32.const 1) (i32.const 65536) (i32.load (i32.const 20)))
"""
UNSEEN_CHILD = """
    (func $fails (unreachable))
    (func $child (export "child") (registry.put @"db/worker" 0:i64 (process.process_id)) (call $fails))
    (func (export "_start") (process.monitor (call $spawn @"child")) (drop (call $receive_any -1:i64)))
"""
RECORD = re.compile(r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARN  luna::process\] .*")
# The names of the first two preopened directories, one and three characters long.
DIRECTORIES = """
    (drop (call $dir (i32.const 3) (i32.const 128) (i32.const 1)))
    (drop (call $dir (i32.const 4) (i32.const 129) (i32.const 3)))
    (call $print (i32.const 1) (i32.const 128) (i32.const 4))
"""


@pytest.fixture
def write(own_environment: Path) -> Write:
    return Write(own_environment)


class Write:
    """Writes a module whose main function has the given body."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, body: str, name: str = "p.wasm") -> str:
        text = PROGRAM.replace("{body}", body)
        (self._folder / name).write_bytes(text.encode() if name.endswith(".wat") else wasmtime.wat2wasm(text))
        return name


@pytest.mark.parametrize("name", ["p.wasm", "p.wat"])
def test_output_is_the_program_s_and_success_is_0(luna: Luna, write: Write, name: str) -> None:
    assert luna("run", write(HELLO, name)) == Outcome(0, "hello\n", "")


@pytest.mark.parametrize("code", [0, 1, 3, 125])
def test_exit_code_of_the_program_is_the_exit_code(luna: Luna, write: Write, code: int) -> None:
    assert luna("run", write(f"{HELLO}(call $exit (i32.const {code}))")) == Outcome(code, "hello\n", "")


def test_trap_is_1_with_reason_and_backtrace_on_stderr_once(luna: Luna, write: Write) -> None:
    outcome = luna("run", write(HELLO + "unreachable"))
    assert (outcome.code, outcome.stdout) == (1, "hello\n")
    first, *frames = outcome.stderr.splitlines()
    assert first == "luna: p.wasm: trap: wasm `unreachable` instruction executed"
    assert [frame.split(" (")[0] for frame in frames] == ["  0: main", "  1: function 9"]


def test_only_allowed_host_calls_may_be_made(luna: Luna, write: Write) -> None:
    file = write(HELLO + "(call $exit (i32.const 3))")
    both = ("--allow", "lunatic::", "--allow", "wasi_snapshot_preview1::")
    assert luna("run", *both, file) == Outcome(3, "hello\n", "")
    outcome = luna("run", "--allow", "wasi_snapshot_preview1::fd_", file)
    assert (outcome.code, outcome.stdout) == (1, "hello\n")
    assert "trap: wasi_snapshot_preview1::proc_exit: this process may not call it" in outcome.stderr


def test_children_may_make_no_other_calls(luna: Luna, own_environment: Path) -> None:
    (own_environment / "p.wat").write_bytes(guest(UNSEEN_CHILD))
    allowed = ("lunatic::process::", "lunatic::message::", "lunatic::error::")
    outcome = luna("run", *(word for prefix in allowed for word in ("--allow", prefix)), "p.wat")
    assert outcome.code == 0
    assert "process 2 failed: trap: lunatic::registry::put: this process may not call it" in outcome.stderr


def test_prefixes_beyond_the_limit_are_an_error(luna: Luna, write: Write) -> None:
    allowed = [word for number in range(MAX_NAMESPACES + 1) for word in ("--allow", f"lunatic::x{number}")]
    outcome = luna("run", *allowed, write(HELLO))
    assert (outcome.code, outcome.stdout) == (1, "")
    assert outcome.stderr == f"luna: a config has at most {MAX_NAMESPACES} namespaces\n"


def test_program_that_counts_does_not_load_what_shows_metrics(own_environment: Path) -> None:
    counts = '(func (export "_start") (metrics.increment_counter @"hits"))'
    (own_environment / "counts.wasm").write_bytes(guest(counts))
    script = (
        "import sys; from luna.cli.luna import main; print(main(['run', 'counts.wasm'])); "
        "print('prometheus_client' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\nFalse\n", "")


def test_child_that_fails_unseen_is_told_with_its_name(luna: Luna, own_environment: Path) -> None:
    (own_environment / "p.wat").write_bytes(guest(UNSEEN_CHILD))
    outcome = luna("run", "p.wat")
    assert (outcome.code, outcome.stdout) == (0, "")
    first, *frames = outcome.stderr.splitlines()
    assert RECORD.fullmatch(first), first
    assert first.endswith('] process 2 "db/worker" failed: trap: wasm `unreachable` instruction executed')
    assert [frame.split(" (")[0] for frame in frames] == ["    0: fails", "    1: child"]


def test_document_stays_alone_on_stdout_when_a_child_fails(luna: Luna, own_environment: Path) -> None:
    (own_environment / "p.wat").write_bytes(guest(UNSEEN_CHILD))
    outcome = luna("run", "--json", "p.wat")
    assert json.loads(outcome.stdout)["data"]["exit"]["kind"] == "normal"
    assert 'process 2 "db/worker" failed' in outcome.stderr


@pytest.mark.parametrize("value", ["off", "error", "luna=error", "lunatic=off", "debug,luna::process=error"])
def test_variable_silences_what_fails(
    luna: Luna, own_environment: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    (own_environment / "p.wat").write_bytes(guest(UNSEEN_CHILD))
    monkeypatch.setenv("LUNA_LOG", value)
    assert luna("run", "p.wat") == Outcome(0, "", "")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("LUNA_LOG", "luna=debug"), ("RUST_LOG", "lunatic=debug"), ("LUNA_LOG", "luna::process=debug")],
)
def test_variable_shows_what_processes_do(
    luna: Luna, own_environment: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    (own_environment / "p.wat").write_bytes(guest(UNSEEN_CHILD))
    monkeypatch.setenv(variable, value)
    outcome = luna("run", "p.wat")
    assert (outcome.code, outcome.stdout) == (0, "")
    said = [
        line.partition("] ")[2] for line in outcome.stderr.splitlines() if " DEBUG luna::process " in line
    ]
    for expected in (
        'spawned by 1, runs "child"',
        'lunatic::registry::put("db/worker", 0, 2)',
        "signal: end of a monitored process, failure, from 2",
        "ended, failure: wasm trap: wasm `unreachable` instruction executed",
        "ended, normal: returned",
    ):
        assert expected in said
    assert 'process 2 "db/worker" failed' in outcome.stderr


def test_bad_part_of_the_variable_is_told_once(
    luna: Luna, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNA_LOG", "luna=loud,info")
    outcome = luna("run", write(HELLO))
    assert (outcome.code, outcome.stdout) == (0, "hello\n")
    assert outcome.stderr.count("'luna=loud' is ignored") == outcome.stderr.count("\n") == 1


def test_endless_recursion_is_a_trap(luna: Luna, write: Write) -> None:
    outcome = luna("run", write("(call $main)"))
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "stack" in outcome.stderr


def test_arguments_behind_the_file_belong_to_the_program(luna: Luna, write: Write) -> None:
    outcome = luna("run", write(ARGUMENTS), "--json", "--dir", "x", "--", "-h")
    assert outcome == Outcome(0, "p.wasm\0--json\0--dir\0x\0--\0-h\0", "")


def test_a_program_of_early_lunatic_gets_its_arguments_without_its_name(
    luna: Luna, own_environment: Path
) -> None:
    early = '(module (import "lunatic::process" "this" (func (result i64)))'
    text = PROGRAM.replace("(module", early).replace("{body}", ARGUMENTS)
    (own_environment / "early.wat").write_text(text)
    assert luna("run", "early.wat", "one", "two") == Outcome(0, "one\0two\0", "")


def test_environment_of_the_shell_and_of_the_options_is_passed_on(
    luna: Luna, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROM_SHELL", "1")
    monkeypatch.setenv("BOTH", "shell")
    outcome = luna("run", "--env", "BOTH=option", "--env", "NEW=a=b", write(ENVIRONMENT))
    assert outcome.code == 0
    variables = outcome.stdout.split("\0")
    assert {"FROM_SHELL=1", "BOTH=option", "NEW=a=b"} <= set(variables)
    assert "BOTH=shell" not in variables


def test_variables_that_are_not_utf8_are_left_out() -> None:
    assert host_environment({"A": "1", "B": "\udcff", "\udcff": "c"}) == {"A": "1"}


def test_current_directory_and_the_named_ones_are_open(
    luna: Luna, write: Write, own_environment: Path
) -> None:
    (own_environment / "sub").mkdir()
    assert luna("run", "--dir", "sub", write(DIRECTORIES)) == Outcome(0, ".sub", "")


def test_directory_that_is_missing_is_told(luna: Luna, write: Write) -> None:
    outcome = luna("run", "--dir", "none", write(HELLO))
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "none" in outcome.stderr


def test_json_has_stdout_to_itself(luna: Luna, write: Write) -> None:
    outcome = luna("run", "--json", write(HELLO + "(call $exit (i32.const 3))"))
    assert outcome.code == 3
    assert json.loads(outcome.stdout) == {
        "schema": "luna.run/1",
        "data": {"file": "p.wasm", "exit": {"kind": "failure", "code": 3, "reason": "exited with code 3"}},
    }
    assert outcome.stderr == "hello\n"


def test_interruption_ends_a_busy_program(write: Write) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "luna.cli.luna", "run", write(HELLO + "(loop (br 0))")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "hello\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.strip() == "luna: interrupted"


def test_metrics_are_served_while_the_program_runs(own_environment: Path) -> None:
    (own_environment / "p.wat").write_text("""(module
        (import "lunatic::metrics" "counter" (func $counter (param i32 i32 i64)))
        (memory (export "memory") 1)
        (data (i32.const 0) "answer")
        (func (export "_start")
          (call $counter (i32.const 0) (i32.const 6) (i64.const 42))
          (loop (br 0))))""")
    process = subprocess.Popen(
        [sys.executable, "-m", "luna.cli.luna", "run", "--metrics", "127.0.0.1:0", "p.wat"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said, _, url = process.stderr.readline().strip().rpartition(" ")
    assert said == "luna: metrics at"
    page = ""
    deadline = time.monotonic() + 30
    # The node's figures are taken a moment before those of guests: the program may begin between.
    while not ("answer_total 42.0" in page and "luna_node_processes 1.0" in page):
        assert time.monotonic() < deadline, page
        with urllib.request.urlopen(url, timeout=30) as answer:
            page = answer.read().decode()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("nowhere", 2, "'nowhere' is not an address"),
        ("192.0.2.1:1", 1, "cannot serve metrics on 192.0.2.1:1"),
    ],
)
def test_metrics_that_cannot_be_served(luna: Luna, write: Write, address: str, code: int, said: str) -> None:
    outcome = luna("run", "--metrics", address, write(HELLO))
    assert (outcome.code, outcome.stdout) == (code, "")
    assert said in outcome.stderr
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not wasm at all", "p.wasm"),
        (b"\0asm\1\0\0\0\1", "p.wasm"),
        (wasmtime.wat2wasm('(module (import "env" "f" (func (param i32))))'), "env::f"),
        (wasmtime.wat2wasm('(module (import "lunatic::process" "process_id" (func)))'), "process_id"),
        (wasmtime.wat2wasm("(module)"), "_start"),
    ],
)
def test_file_that_cannot_run_gives_one_clear_error(
    luna: Luna, write: Write, own_environment: Path, content: bytes, said: str
) -> None:
    (own_environment / "p.wasm").write_bytes(content)
    outcome = luna("run", "p.wasm")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert said in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_missing_file_is_told_without_a_runtime(luna: Luna) -> None:
    assert luna("run", "none.wasm") == Outcome(1, "", "luna: there is no file none.wasm\n")
    assert luna("run", os.devnull) == Outcome(
        1, "", f"luna: {os.devnull} is empty, not a WebAssembly module\n"
    )


def test_code_is_kept_for_the_next_run(luna: Luna, write: Write, own_environment: Path) -> None:
    file = write(HELLO)
    assert luna("run", file).code == 0
    sha256 = hashlib.sha256((own_environment / file).read_bytes()).hexdigest()
    [code] = (own_environment / "cache" / "luna" / "code").glob(f"{sha256}-*")
    used = code.stat().st_mtime_ns
    assert luna("run", file) == Outcome(0, "hello\n", "")
    assert code.stat().st_mtime_ns > used


def test_run_without_a_place_for_code_is_as_good(
    luna: Luna, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    assert luna("run", write(HELLO)) == Outcome(0, "hello\n", "")


def test_bench_is_the_last_argument(luna: Luna, write: Write) -> None:
    assert luna("run", "--bench", write(ARGUMENTS), "x") == Outcome(0, "p.wasm\0x\0--bench\0", "")
    assert luna("run", write(ARGUMENTS), "--bench", "x") == Outcome(0, "p.wasm\0--bench\0x\0", "")


@pytest.mark.parametrize(
    "arguments", [["p.wasm", "x"], ["--dir", "sub", "p.wasm", "x"], ["--dir=sub", "p.wasm", "x"]]
)
def test_word_run_may_be_left_out(
    luna: Luna, write: Write, own_environment: Path, arguments: list[str]
) -> None:
    (own_environment / "sub").mkdir()
    write(ARGUMENTS)
    assert luna(*arguments) == Outcome(0, "p.wasm\0x\0", "")
    write(ARGUMENTS, "p.wat")
    assert luna("./p.wat", "x") == Outcome(0, "p.wat\0x\0", "")
    assert luna("--bench", "p.wasm", "x") == Outcome(0, "p.wasm\0x\0--bench\0", "")


def test_word_run_is_implied_by_a_program_alone(luna: Luna) -> None:
    assert luna("none.wasm") == Outcome(1, "", "luna: there is no file none.wasm\n")
    for argument in ("wasm", "x.wast", ".wat", "--benchmark", "--direct"):
        assert luna(argument).code == 2
