"""`luna run` as the runner of `cargo test`, on the real runtime, with binaries as `lunatic::test` makes them.

What cargo does is set a variable and name a file in `deps`.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime
from tests.cli.conftest import Luna, Outcome
from tests.scheduler.wat import guest

PRINT = """
    (func $print (param $stream i32) (param $at i32) (param $size i32)
      (i32.store 400:i32 (local.get $at)) (i32.store 404:i32 (local.get $size))
      (is32 (wasi.fd_write (local.get $stream) 400:i32 1:i32 408:i32) 0:i32))"""
OLD_PANIC = "thread '<unnamed>' panicked at 'it is a#b, really', src/lib.rs:1:2\\n"
NEW_PANIC = "\\nthread '<unnamed>' panicked at src/lib.rs:1:2:\\nit is a#b, really\\n"
PASSES = ("m::passes", '(call $print 1:i32 @"said\\n")')
FAILS = ("m::fails", f'(call $print 1:i32 @"before\\n") (call $print 2:i32 @"{NEW_PANIC}") unreachable')
IGNORED = ("#ignore_m::later", f'(call $print 2:i32 @"{OLD_PANIC}") unreachable')
RESULT = re.compile(r"^test result: .*", re.MULTILINE)


def binary(*tests: tuple[str, str], more: str = "", imports: str = "") -> bytes:
    """A module with a function for each of `tests`: what its name has behind the prefix, and its body."""
    functions = "".join(f'(func (export "#lunatic_test_{name}") {body})\n' for name, body in tests)
    main = '(func (export "_start") (call $print 1:i32 @"main\\n"))'
    text = guest(PRINT + main + functions + more).decode()
    return bytes(wasmtime.wat2wasm(text.replace("(module", f"(module {imports}", 1)))


@pytest.fixture
def project(own_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("CARGO_MANIFEST_DIR", str(own_environment))
    for name in ("RUST_TEST_THREADS", "RUST_TEST_NOCAPTURE"):
        monkeypatch.delenv(name, raising=False)
    return Project(own_environment)


class Project:
    """A cargo project, as far as `luna run` sees one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def built(self, data: bytes, file: str = "target/wasm32-wasip1/debug/deps/m-1.wasm") -> str:
        """The path of a binary as cargo gives it to its runner."""
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return str(path)


def without_time(text: str) -> str:
    return re.sub(r"finished in [0-9.]+s", "finished in 0.00s", text)


def summary(outcome: Outcome) -> str:
    """The counts, without what never changes."""
    [line] = RESULT.finditer(outcome.stdout)
    return line[0].partition("; 0 measured")[0].removeprefix("test result: ")


def test_all_that_a_run_prints(luna: Luna, project: Project) -> None:
    outcome = luna("run", project.built(binary(PASSES, FAILS, IGNORED)), "--test-threads=1")
    assert (outcome.code, outcome.stderr) == (1, "")
    assert (
        without_time(outcome.stdout)
        == """
running 3 tests
test m::passes ... ok
test m::fails ... FAILED
test m::later ... ignored

failures:

---- m::fails stdout ----
before

thread '<unnamed>' panicked at src/lib.rs:1:2:
it is a#b, really


failures:
    m::fails

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

"""
    )


def test_all_at_once_gives_the_same_results(luna: Luna, project: Project) -> None:
    outcome = luna("run", project.built(binary(PASSES, FAILS, IGNORED)))
    assert outcome.code == 1
    lines = outcome.stdout.splitlines()
    assert {"test m::passes ... ok", "test m::fails ... FAILED", "test m::later ... ignored"} <= set(lines)
    assert summary(outcome) == "FAILED. 1 passed; 1 failed; 1 ignored"


@pytest.mark.parametrize("triple", ["wasm32-wasi", "wasm32-wasip1", "wasm32-unknown-unknown"])
@pytest.mark.parametrize("profile", ["debug", "release", "my-profile"])
def test_targets_and_profiles(luna: Luna, project: Project, triple: str, profile: str) -> None:
    outcome = luna("run", project.built(binary(PASSES), f"target/{triple}/{profile}/deps/m.wasm"))
    assert (outcome.code, summary(outcome)) == (0, "ok. 1 passed; 0 failed; 0 ignored")


PANICS = [
    (r"#panic_#m::any", "", "ok"),
    (r"#panic_#m::any_text", f'(call $print 2:i32 @"{NEW_PANIC}")', "ok"),
    (r"#panic_a\\#b#m::new", f'(call $print 2:i32 @"{NEW_PANIC}")', "ok"),
    (r"#panic_a\\#b#m::old", f'(call $print 2:i32 @"{OLD_PANIC}")', "ok"),
    (r"#panic_a\\#c#m::wrong", f'(call $print 2:i32 @"{NEW_PANIC}")', "FAILED"),
    (r"#panic_a\\#b#m::silent", "", "FAILED"),
]


@pytest.mark.parametrize(("name", "body", "result"), PANICS, ids=[name for name, *_ in PANICS])
def test_test_that_should_panic(luna: Luna, project: Project, name: str, body: str, result: str) -> None:
    outcome = luna("run", project.built(binary((name, f"{body} unreachable"))))
    title = name.rpartition("#")[2]
    assert f"\ntest {title} - should panic ... {result}\n" in outcome.stdout
    assert outcome.code == (result == "FAILED")
    if title == "m::wrong":
        assert (
            "note: panic did not contain expected string\n"
            '      panic message: "it is a#b, really",\n expected substring: "a#c"\n'
        ) in outcome.stdout
    if title == "m::silent":
        assert 'but expected a panic that contains "a#b"' in outcome.stdout


def test_test_that_should_panic_and_does_not_has_failed(luna: Luna, project: Project) -> None:
    outcome = luna("run", project.built(binary(("#panic_#m::calm", ""))))
    assert outcome.code == 1
    assert "---- m::calm stdout ----\nnote: test did not panic as expected\n" in outcome.stdout


def test_why_a_test_without_panic_failed_is_told(luna: Luna, project: Project) -> None:
    outcome = luna(
        "run", project.built(binary(("m::traps", "unreachable"), ("m::exits", "(wasi.proc_exit 3:i32)")))
    )
    assert summary(outcome) == "FAILED. 0 passed; 2 failed; 0 ignored"
    assert re.search(r"note: Process trapped or received kill signal\ntrap: .*unreachable", outcome.stdout)
    assert "note: Process trapped or received kill signal\nexited with code 3\n" in outcome.stdout


def test_exit_with_0_is_a_success(luna: Luna, project: Project) -> None:
    outcome = luna("run", project.built(binary(("m::exits", "(wasi.proc_exit 0:i32)"))))
    assert (outcome.code, summary(outcome)) == (0, "ok. 1 passed; 0 failed; 0 ignored")


def test_filters_are_any_of_several(luna: Luna, project: Project) -> None:
    file = project.built(binary(("m::a", ""), ("m::ab", ""), ("m::c", ""), ("#ignore_m::d", "")))
    outcome = luna("run", file, "m::a", "d", "--skip", "b")
    assert summary(outcome) == "ok. 1 passed; 0 failed; 1 ignored"
    assert "; 2 filtered out;" in outcome.stdout
    assert summary(luna("run", file, "--exact", "m::a")) == "ok. 1 passed; 0 failed; 0 ignored"
    assert summary(luna("run", file, "--ignored")) == "ok. 1 passed; 0 failed; 0 ignored"
    assert summary(luna("run", file, "--include-ignored")) == "ok. 4 passed; 0 failed; 0 ignored"
    assert summary(luna("run", file, "nothing")) == "ok. 0 passed; 0 failed; 0 ignored"


def test_names_are_listed_without_a_look_at_the_code(luna: Luna, project: Project) -> None:
    data = binary(("m::b", ""), ("#ignore_m::a", ""), imports='(import "no" "such" (func))')
    file = project.built(data)
    assert luna("run", file, "--list", "--format", "terse") == Outcome(0, "m::b: test\nm::a: test\n", "")
    assert luna("run", file, "--list") == Outcome(0, "m::b: test\nm::a: test\n\n2 tests, 0 benchmarks\n", "")
    listed = luna("run", file, "--list", "--format", "terse", "--ignored")
    assert listed == Outcome(0, "m::a: test\n", "")


def test_binary_of_which_nothing_runs_is_not_even_compiled(luna: Luna, project: Project) -> None:
    file = project.built(binary(("m::a", ""), ("#ignore_m::b", ""), imports='(import "no" "such" (func))'))
    outcome = luna("run", file, "b")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert without_time(outcome.stdout) == (
        "\nrunning 1 test\ntest m::b ... ignored\n\ntest result: ok. 0 passed; 0 failed; 1 ignored; "
        "0 measured; 1 filtered out; finished in 0.00s\n\n"
    )


def test_output_is_shown_as_asked_for(luna: Luna, project: Project) -> None:
    file = project.built(binary(PASSES))
    assert "said" not in luna("run", file).stdout
    assert "\nsuccesses:\n\n---- m::passes stdout ----\nsaid\n" in luna("run", file, "--show-output").stdout
    nocapture = luna("run", file, "--nocapture", "--test-threads", "1").stdout
    assert "\ntest m::passes ... said\nok\n" in nocapture


def test_stderr_is_echoed_to_stderr(luna: Luna, project: Project) -> None:
    outcome = luna(
        "run", project.built(binary(("m::warns", '(call $print 2:i32 @"careful\\n")'))), "--nocapture"
    )
    assert (outcome.code, outcome.stderr) == (0, "careful\n")


def test_terse_and_colors(luna: Luna, project: Project) -> None:
    file = project.built(binary(PASSES, IGNORED))
    assert "\nrunning 2 tests\n.i\ntest result: ok." in luna("run", file, "-q", "--test-threads=1").stdout
    colored = luna("run", file, "--color", "always").stdout
    assert "test m::passes ... \x1b[92mok\x1b[0m\n" in colored
    assert "\x1b" not in luna("run", file, "--color", "auto").stdout


def test_arguments_are_those_behind_two_dashes_alone(luna: Luna, project: Project) -> None:
    body = """(drop (wasi.args_sizes_get 0:i32 4:i32)) (drop (wasi.args_get 8:i32 200:i32))
        (call $print 1:i32 200:i32 (i32.load 4:i32))"""
    file = project.built(binary(("m::args", body)))
    outcome = luna("run", file, "--nocapture", "args", "--", "one", "--list")
    assert (outcome.code, summary(outcome)) == (0, "ok. 1 passed; 0 failed; 0 ignored")
    assert "one\0--list\0" in outcome.stdout
    assert "m-1.wasm" not in outcome.stdout


def test_directories_are_the_current_one_and_those_named(luna: Luna, project: Project) -> None:
    for name in ("sub", "dir"):
        (project.folder / name).mkdir()
    body = """
        (is32 (wasi.fd_prestat_dir_name 3:i32 600:i32 1:i32) 0:i32)
        (is32 (wasi.fd_prestat_dir_name 4:i32 601:i32 3:i32) 0:i32)
        (is32 (wasi.fd_prestat_dir_name 5:i32 604:i32 3:i32) 0:i32)
        (call $print 1:i32 600:i32 7:i32)"""
    file = project.built(binary(("m::dirs", body)))
    outcome = luna("run", "--dir", "sub", file, "--dir", "dir", "--nocapture")
    assert outcome.code == 0
    assert ".subdir" in outcome.stdout


def test_each_test_has_names_of_its_own(luna: Luna, project: Project) -> None:
    body = """
        (is32 (registry.get @"name" 500:i32 508:i32) 1:i32)
        (registry.put @"name" (distributed.node_id) (process.process_id))
        (is32 (registry.get @"name" 500:i32 508:i32) 0:i32)"""
    file = project.built(binary(*((f"m::names{number}", body) for number in range(5))))
    assert summary(luna("run", file)) == "ok. 5 passed; 0 failed; 0 ignored"


def test_what_children_print_belongs_to_the_test(luna: Luna, project: Project) -> None:
    # The child's end tells the test, which is linked to it, that everything is printed.
    body = '(drop (call $spawn_link 1:i64 @"child")) (drop (call $receive))'
    child = '(func (export "child") (call $print 1:i32 @"from the child\\n") unreachable)'
    outcome = luna("run", project.built(binary(("m::parent", body), more=child)))
    assert (outcome.code, summary(outcome)) == (1, "FAILED. 0 passed; 1 failed; 0 ignored")
    assert (
        "---- m::parent stdout ----\n --- process 0 stdout ---\n --- process 1 stdout ---\nfrom the child\n"
        "note: Process trapped or "
    ) in outcome.stdout


PANICKING_CHILD = f"""
    (func $after_child (export "after_child")
      (process.die_when_link_dies 0:i32)
      (drop (call $spawn_link 1:i64 @"child"))
      (is32 (call $receive_any -1:i64) 1:i32))
    (func (export "child") (call $print 2:i32 @"{NEW_PANIC}") unreachable)"""
OTHER_PANIC = "thread '<unnamed>' panicked at src/lib.rs:9:9:\\nmine\\n"


def test_words_of_a_test_and_of_its_child_are_apart(luna: Luna, project: Project) -> None:
    body = '(call $print 1:i32 @"one\\n") (call $after_child) (call $print 1:i32 @"two\\n") unreachable'
    outcome = luna("run", project.built(binary(("m::parent", body), more=PANICKING_CHILD)))
    own = "---- m::parent stdout ----\n --- process 0 stdout ---\none\ntwo\n"
    assert f"{own} --- process 1 stdout ---\n\nthread " in outcome.stdout


def test_panic_of_a_child_is_not_the_test_s(luna: Luna, project: Project) -> None:
    own = f'(call $after_child) (call $print 2:i32 @"{OTHER_PANIC}") unreachable'
    tests = (
        (r"#panic_a\\#b#m::child_s", own),
        ("#panic_mine#m::own", own),
        (r"#panic_a\\#b#m::silent", "(call $after_child) unreachable"),
        ("m::trapped", "(call $after_child) unreachable"),
    )
    outcome = luna("run", project.built(binary(*tests, more=PANICKING_CHILD)), "--test-threads", "1")
    assert re.findall(r"test (m::\w+).* \.\.\. (\w+)", outcome.stdout) == [
        ("m::child_s", "FAILED"),
        ("m::own", "ok"),
        ("m::silent", "FAILED"),
        ("m::trapped", "FAILED"),
    ]
    assert 'panic message: "mine",\n expected substring: "a#b"\n' in outcome.stdout
    assert 'but expected a panic that contains "a#b"' in outcome.stdout
    assert "note: Process trapped or received kill signal\ntrap: " in outcome.stdout


def test_thousand_tests_at_once(luna: Luna, project: Project) -> None:
    file = project.built(
        binary(*((f"m::test{number}", '(call $print 1:i32 @"x")') for number in range(1000)))
    )
    assert summary(luna("run", file)) == "ok. 1000 passed; 0 failed; 0 ignored"


def test_usage_errors_are_2_and_run_nothing(luna: Luna, project: Project) -> None:
    outcome = luna("run", project.built(binary(PASSES)), "--logfile", "x")
    assert (outcome.code, outcome.stdout) == (2, "")
    assert outcome.stderr == (
        "luna: --logfile is not supported: redirect stdout instead\n  see: luna run m-1.wasm --help\n"
    )


def test_help_is_that_of_the_harness(luna: Luna, project: Project) -> None:
    outcome = luna("run", project.built(binary(PASSES)), "--help")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert "--include-ignored" in outcome.stdout


def test_test_that_cannot_start_ends_the_run(luna: Luna, project: Project) -> None:
    file = project.built(binary(PASSES, ("m::wrong", "(param i32)")))
    outcome = luna("run", file)
    assert outcome.code == 1
    assert "luna: cannot start the test m::wrong: " in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_module_that_cannot_be_linked_is_told(luna: Luna, project: Project) -> None:
    outcome = luna("run", project.built(binary(PASSES, imports='(import "no" "such" (func))')))
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "no::such" in outcome.stderr


def test_json_is_a_document_and_the_rest_goes_to_stderr(luna: Luna, project: Project) -> None:
    file = project.built(binary(PASSES, FAILS, IGNORED))
    outcome = luna("run", "--json", file)
    assert outcome.code == 1
    assert json.loads(outcome.stdout) == {
        "schema": "luna.test/1",
        "data": {
            "file": file,
            "tests": ["m::passes", "m::fails", "m::later"],
            "passed": 1,
            "failures": ["m::fails"],
            "ignored": 1,
            "filtered_out": 0,
        },
    }
    assert "\ntest m::fails ... FAILED\n" in outcome.stderr
    listed = luna("run", "--json", file, "--list", "later")
    assert json.loads(listed.stdout)["data"]["tests"] == ["m::later"]


# --- what is run as a program -----------------------------------------------------------------------


def test_binary_without_lunatic_s_tests_is_a_program(luna: Luna, project: Project) -> None:
    body = """(drop (wasi.args_sizes_get 0:i32 4:i32)) (drop (wasi.args_get 8:i32 200:i32))
        (call $print 1:i32 200:i32 (i32.load 4:i32))"""
    file = project.built(bytes(wasmtime.wat2wasm(guest(f'{PRINT} (func (export "_start") {body})').decode())))
    assert luna("run", file, "filter", "--nocapture") == Outcome(0, "m-1.wasm\0filter\0--nocapture\0", "")


def test_benchmark_is_a_program(luna: Luna, project: Project) -> None:
    file = project.built(binary(PASSES))
    assert luna("run", file, "--bench") == Outcome(0, "main\n", "")
    assert luna("run", "--bench", file) == Outcome(0, "main\n", "")


def test_without_cargo_it_is_a_program(luna: Luna, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    file = project.built(binary(PASSES))
    elsewhere = project.built(binary(PASSES), "target/wasm32-wasip1/debug/m.wasm")
    assert luna("run", elsewhere) == Outcome(0, "main\n", "")
    monkeypatch.delenv("CARGO_MANIFEST_DIR")
    assert luna("run", file) == Outcome(0, "main\n", "")


# --- as cargo runs it --------------------------------------------------------------------------------


def test_command_ends_with_the_exit_code_of_the_run(project: Project) -> None:
    for tests, code in (((PASSES,), 0), ((PASSES, FAILS), 1)):
        done = subprocess.run(
            [sys.executable, "-m", "luna.cli.luna", "run", project.built(binary(*tests))],
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (code, "")
        assert f"\nrunning {len(tests)} test" in done.stdout


def test_interruption_ends_the_run_silently(project: Project) -> None:
    file = project.built(binary(("m::spins", '(call $print 1:i32 @"here\\n") (loop (br 0))')))
    process = subprocess.Popen(
        [sys.executable, "-m", "luna.cli.luna", "run", file, "--nocapture"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while process.stdout.readline() != "here\n":
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr.strip()) == (130, "", "luna: interrupted")


def test_reader_that_goes_away_ends_the_run_silently(project: Project) -> None:
    file = project.built(binary(("m::prints", '(loop $on (call $print 1:i32 @"here\\n") (br $on))')))
    process = subprocess.Popen(
        [sys.executable, "-m", "luna.cli.luna", "run", file, "--nocapture"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    while process.stdout.readline() != "here\n":
        assert process.poll() is None
    process.stdout.close()
    assert (process.stderr.read(), process.wait(30)) == ("", 141)
    process.stderr.close()
