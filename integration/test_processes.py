"""Processes on real nodes: started, followed and killed from anywhere, and told when a node is gone."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
from pathlib import Path

import pytest

from .node_process import BIN, NodeProcess, NodeStarter, wait_for

GUESTS = Path(__file__).parent.parent / "build" / "guests"

REMOTE = """
(module
  (import "lunatic::distributed" "get_nodes" (func $get_nodes (param i32 i32) (result i32)))
  (import "lunatic::distributed" "nodes_count" (func $nodes_count (result i32)))
  (import "lunatic::distributed" "node_id" (func $node_id (result i64)))
  (import "lunatic::distributed" "module_id" (func $module_id (result i64)))
  (import "lunatic::distributed" "spawn"
    (func $spawn (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::process" "link" (func $link (param i64 i64)))
  (import "lunatic::process" "monitor" (func $monitor (param i64)))
  (import "lunatic::process" "die_when_link_dies" (func $die_when_link_dies (param i32)))
  (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
  (import "lunatic::error" "string_size" (func $string_size (param i64) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "wait")
  (func (export "wait") (drop (call $receive (i32.const 0) (i32.const 0) (i64.const -1))))

  (func $other (result i64)
    (drop (call $get_nodes (i32.const 64) (i32.const 2)))
    (if (result i64) (i64.eq (i64.load (i32.const 64)) (call $node_id))
      (then (i64.load (i32.const 72)))
      (else (i64.load (i32.const 64)))))

  (func $start (param $node i64) (param $module i64) (result i32)
    (call $spawn (local.get $node) (i64.const -1) (local.get $module)
      (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 128)))

  (func $end_with_next_message (param $base i32)
    (call $die_when_link_dies (i32.const 0))
    (call $exit (i32.add (local.get $base)
      (call $receive (i32.const 0) (i32.const 0) (i64.const 20000)))))

  (func (export "linked")
    (if (call $start (call $other) (call $module_id)) (then (call $exit (i32.const 99))))
    (call $link (i64.const 7) (i64.load (i32.const 128)))
    (call $end_with_next_message (i32.const 40)))

  (func (export "monitoring")
    (if (call $start (call $other) (call $module_id)) (then (call $exit (i32.const 99))))
    (call $monitor (i64.load (i32.const 128)))
    (call $end_with_next_message (i32.const 50)))

  (func $code_with_text (param $code i32) (result i32)
    ;; the error id is good: its text has a length
    (if (i32.eqz (call $string_size (i64.load (i32.const 128)))) (then (call $exit (i32.const 98))))
    (local.get $code))

  (func (export "nowhere")
    (call $exit (i32.add (i32.const 60)
      (call $code_with_text (call $start (i64.const 8388607) (call $module_id))))))

  (func (export "no_module")
    (call $exit (i32.add (i32.const 70)
      (call $code_with_text (call $start (call $other) (i64.const 1))))))

  (func (export "count") (call $exit (i32.add (i32.const 80) (call $nodes_count))))

  (func (export "here")
    (call $exit (i32.add (i32.const 90) (call $start (call $node_id) (call $module_id))))))
"""


# Prints its parameter's number of blocks of 2048 numbered lines, 16 KiB, as fast as it can.
BURST = """
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\00\\40\\00\\00")  ;; one buffer: at 16, 16384 bytes
  (func $line (param $at i32) (param $number i32)
    (local $digit i32)
    (i32.store8 offset=7 (local.get $at) (i32.const 10))
    (local.set $digit (i32.add (local.get $at) (i32.const 6)))
    (loop $next
      (i32.store8 (local.get $digit)
        (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
      (local.set $digit (i32.sub (local.get $digit) (i32.const 1)))
      (br_if $next (i32.ge_s (local.get $digit) (local.get $at)))))
  (func (export "burst") (param $blocks i32)
    (local $number i32) (local $index i32)
    (loop $block
      (local.set $index (i32.const 0))
      (loop $fill
        (call $line (i32.add (i32.const 16) (i32.mul (local.get $index) (i32.const 8)))
          (local.get $number))
        (local.set $number (i32.add (local.get $number) (i32.const 1)))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (br_if $fill (i32.lt_u (local.get $index) (i32.const 2048))))
      (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
      (if (i32.ne (i32.load (i32.const 8)) (i32.const 16384)) (then unreachable))
      (local.set $blocks (i32.sub (local.get $blocks) (i32.const 1)))
      (br_if $block (local.get $blocks)))))
"""


@pytest.fixture
def pair(nodes: NodeStarter) -> tuple[NodeProcess, NodeProcess]:
    """Two connected nodes, a and b."""
    a = nodes.start("a")
    b = nodes.start("b", "--join", a.address)
    wait_for(lambda: a.sees("a", "b") and b.sees("a", "b"), "a and b connected")
    return a, b


@pytest.fixture
def remote(nodes: NodeStarter) -> Path:
    """The guest above, as a file."""
    path = nodes.folder / "remote.wat"
    path.write_text(REMOTE)
    return path


@pytest.fixture
def burst(nodes: NodeStarter) -> Path:
    """The printing guest above, as a file."""
    path = nodes.folder / "burst.wat"
    path.write_text(BURST)
    return path


def spawn_and_follow(node: NodeProcess, entry: str, module: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BIN / "luna", "spawn", "--follow", "--entry", entry, str(module)],
        env={**node.environment, "LUNA_CONNECT": node.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("where", ["a", "b"])
def test_a_program_runs_where_it_is_asked_to(pair: tuple[NodeProcess, NodeProcess], where: str) -> None:
    done = pair[0].luna("spawn", "--node", where, "--follow", str(GUESTS / "hello.wasm"))
    assert done.returncode == 0, done.stderr
    assert 'the child says "hello, world"' in done.stdout
    assert f"@{where}" in done.stderr


@pytest.mark.parametrize("where", ["a", "b"])
@pytest.mark.parametrize(("guest", "code"), [("exit3", 3), ("trap", 1), ("overflow", 1), ("oob", 1)])
def test_a_program_s_end_is_the_command_s_exit_code(
    pair: tuple[NodeProcess, NodeProcess], where: str, guest: str, code: int
) -> None:
    done = pair[0].luna("spawn", "--node", where, "--follow", str(GUESTS / f"{guest}.wasm"))
    assert done.returncode == code, done.stderr
    assert pair[0].sees("a", "b")


def test_one_program_lives_on_every_node(nodes: NodeStarter, pair: tuple[NodeProcess, NodeProcess]) -> None:
    a, b = pair
    c = nodes.start("c", "--join", b.address)
    wait_for(lambda: all(node.sees("a", "b", "c") for node in (a, b, c)), "three nodes connected")
    done = a.luna("spawn", "--follow", str(GUESTS / "cluster.wasm"))
    assert done.returncode == 0, done.stdout + done.stderr
    for node in (a, b, c):
        assert f"it runs on node {node.id}" in done.stdout
    assert "its death came over the link" in done.stdout
    assert "the monitor told us that it ended" in done.stdout
    wait_for(lambda: a.luna_json("ps") in ({"processes": [], "unreachable": []}, []), "every worker ended")


def test_a_group_of_workers_on_every_node(pair: tuple[NodeProcess, NodeProcess]) -> None:
    done = pair[0].luna("spawn", "--follow", str(GUESTS / "groups.wasm"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "node b is up\n6 workers on 2 nodes, 6 reached, 6 answered\n"


def test_a_group_without_a_cluster(pair: tuple[NodeProcess, NodeProcess]) -> None:
    done = pair[0].luna("run", str(GUESTS / "groups.wasm"))
    assert (done.returncode, done.stdout) == (0, "3 workers on 1 node, 3 reached, 3 answered\n"), done.stderr


@pytest.mark.parametrize(("entry", "code"), [("linked", 41), ("monitoring", 52)])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_node_that_goes_away_fires_links_and_monitors(
    pair: tuple[NodeProcess, NodeProcess], remote: Path, entry: str, code: int, how: signal.Signals
) -> None:
    a, b = pair
    with spawn_and_follow(a, entry, remote) as program:
        wait_for(lambda: b.nodes()["b"].processes == 1, "the child lives on b")
        # The link or monitor is on its way when the child is there; a round trip later it has arrived.
        wait_for(lambda: a.luna("ps", "--node", "b").returncode == 0, "b answers a")
        b.process.send_signal(how)
        assert program.wait(15) == code, program.stderr.read() if program.stderr else ""


def test_guests_find_nodes_by_the_labels_they_were_started_with(nodes: NodeStarter) -> None:
    a = nodes.start("a", "--label", "zone=x", "--label", "disk=ssd")
    b = nodes.start("b", "--label", "zone=x", "--join", a.address)
    c = nodes.start("c", "--label", "zone=a b", "--join", a.address)
    wait_for(lambda: all(node.sees("a", "b", "c") for node in (a, b, c)), "three nodes connected")
    for number, (query, found) in enumerate(
        {
            "": [a, b, c],
            "zone=x": [a, b],
            "zone=x&disk=ssd": [a],
            "zone=a+b": [c],
            "zone=a%20b": [c],
            "zone=y": [],
        }.items()
    ):
        program = nodes.folder / f"lookup{number}.wat"
        program.write_text(lookup(query, sorted(node.id for node in found)))
        # c joined a and learned of b from it.
        done = c.luna("spawn", "--follow", str(program))
        assert done.returncode == 0, [query, done.stderr]


def lookup(query: str, ids: list[int]) -> str:
    """A program that looks nodes up, and ends with the number of the check that failed: 1, 2, ..."""
    copy = "(call $copy (i64.load (i32.const 0)) (i32.const 32) (i32.const 8) (i32.const 16))"
    checks = [
        f"(call $ask (i32.const 4096) (i32.const {len(query)}) (i32.const 0) (i32.const 8) (i32.const 16))",
        f"(i32.ne (i32.load (i32.const 8)) (i32.const {len(ids)}))",
        f"(i32.ne {copy} (i32.const {len(ids)}))",
        *(f"(i64.ne (i64.load (i32.const {32 + 8 * at})) (i64.const {id_}))" for at, id_ in enumerate(ids)),
    ]
    body = "\n".join(
        f"(if {check} (then (call $exit (i32.const {number}))))" for number, check in enumerate(checks, 1)
    )
    return f"""
        (module
          (import "lunatic::distributed" "exec_lookup_nodes"
            (func $ask (param i32 i32 i32 i32 i32) (result i32)))
          (import "lunatic::distributed" "copy_lookup_nodes_results"
            (func $copy (param i64 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          (data (i32.const 4096) "{query}")
          (func (export "_start") {body}))"""


@pytest.mark.parametrize(("entry", "code"), [("nowhere", 61), ("no_module", 72), ("count", 82), ("here", 90)])
def test_what_a_guest_is_told_about_nodes_and_spawns(
    pair: tuple[NodeProcess, NodeProcess], remote: Path, entry: str, code: int
) -> None:
    done = pair[0].luna("spawn", "--follow", "--entry", entry, str(remote))
    assert done.returncode == code, done.stderr


def test_a_module_is_shipped_by_its_hash_and_kept(
    nodes: NodeStarter, pair: tuple[NodeProcess, NodeProcess], remote: Path
) -> None:
    a, b = pair
    kept = nodes.folder / "state/luna/b/modules"
    assert list(kept.iterdir()) == []
    with spawn_and_follow(a, "linked", remote) as program:
        wait_for(lambda: b.nodes()["b"].processes == 1, "the child lives on b")
        (path,) = kept.iterdir()
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
        assert b.stop() == 0
        assert program.wait(15) == 41


def test_processes_are_listed_killed_and_read_across_nodes(pair: tuple[NodeProcess, NodeProcess]) -> None:
    a, b = pair
    pid = a.luna("spawn", "--node", "b", str(GUESTS / "spin.wasm")).stdout.strip()
    assert pid.endswith("@b")
    assert pid in a.luna("ps").stdout
    assert pid in b.luna("ps").stdout
    done = a.luna("kill", pid)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: pid not in a.luna("ps").stdout, "it is gone")
    logs = a.luna("logs", "--follow", pid)
    assert logs.returncode == 1
    assert "killed" in logs.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("spawn", "--node", "nobody", str(GUESTS / "hello.wasm")), "no live node named nobody"),
        (("spawn", "--node", "b", str(Path(__file__))), "not WebAssembly"),
        (("spawn", "--node", "b", "--entry", "nope", str(GUESTS / "hello.wasm")), "exports no function nope"),
        (("spawn", "--param", "i32:1", str(GUESTS / "hello.wasm")), "cannot be called with"),
        (("kill", "123@b"), "there is no process 123@b"),
        (("kill", "123@a"), "there is no process 123@a"),
        (("logs", "123@b"), "there is no process 123@b"),
        (("logs", "--follow", "123@a"), "there is no process 123@a"),
        (("ps", "--node", "nobody"), "no live node named nobody"),
        (("leave", "nobody"), "no live node named nobody"),
        (("join", "127.0.0.1:1"), "luna: 127.0.0.1:1 does not answer: connection refused (asked "),
        (("join", "192.0.2.1:7"), "not encrypted"),
    ],
    ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, tuple) else "",
)
def test_a_bad_request_is_one_clear_error_and_harms_nobody(
    pair: tuple[NodeProcess, NodeProcess], arguments: tuple[str, ...], said: str
) -> None:
    done = pair[0].luna(*arguments)
    assert done.returncode in {1, 3}
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert pair[0].sees("a", "b")
    for node in pair:
        assert "internal error" not in node.errors()


@pytest.mark.parametrize("where", ["a", "b"])
def test_what_a_followed_process_prints_in_a_burst_arrives_whole(
    pair: tuple[NodeProcess, NodeProcess], burst: Path, where: str
) -> None:
    blocks = 320  # 5 MiB, twenty times what a node keeps
    done = pair[0].luna(
        "spawn", "--node", where, "--follow", "--entry", "burst", "--param", f"i32:{blocks}", str(burst)
    )
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
    assert done.stdout == "".join(f"{number:07}\n" for number in range(blocks * 2048))


@pytest.mark.parametrize("where", ["a", "b"])
def test_a_follower_that_stops_reading_holds_the_process_until_it_dies(
    pair: tuple[NodeProcess, NodeProcess], burst: Path, where: str
) -> None:
    a = pair[0]
    arguments = ("--node", where, "--follow", "--entry", "burst", "--param", "i32:4000")  # 62 MiB
    program = subprocess.Popen(
        [BIN / "luna", "spawn", *arguments, str(burst)],
        env={**a.environment, "LUNA_CONNECT": a.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )

    def states() -> list[str]:
        return [process["state"] for process in a.luna_json("ps")["processes"]]

    with program:
        wait_for(lambda: all(states() == ["waiting"] for _ in range(5)), "it waits for its reader")
        program.kill()
        wait_for(lambda: states() == [], "it went on and ended")


def test_a_program_that_traps_tells_its_cause_and_below_it_its_frames(
    pair: tuple[NodeProcess, NodeProcess],
) -> None:
    done = pair[0].luna("spawn", "--node", "b", "--follow", str(GUESTS / "overflow.wasm"))
    _, cause, *frames = done.stderr.splitlines()
    assert re.fullmatch(r"luna: [0-9]+@b: trap: .+", cause)
    assert frames
    assert all(re.match(r" +([0-9]+: deeper|\.\.\. )", frame) for frame in frames), done.stderr


def test_a_module_is_called_by_its_file_on_every_node(
    pair: tuple[NodeProcess, NodeProcess], remote: Path
) -> None:
    a, b = pair
    with spawn_and_follow(a, "linked", remote) as program:
        wait_for(lambda: b.nodes()["b"].processes == 1, "the child lives on b")
        assert {process["module"] for process in a.luna_json("ps")["processes"]} == {"remote.wat"}
        b.kill()
        assert program.wait(15) == 41


def test_a_large_module_is_sent_to_a_node_once(
    nodes: NodeStarter, pair: tuple[NodeProcess, NodeProcess]
) -> None:
    a, _ = pair
    path = nodes.folder / "large.wasm"
    size = 1 << 19  # of a custom section, in LEB128
    leb128 = bytes((size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14))
    path.write_bytes((GUESTS / "spin.wasm").read_bytes() + b"\0" + leb128 + b"\4luna" + bytes(size - 5))
    for name in ("large.wasm", "again.wasm"):
        path = path.rename(nodes.folder / name)
        assert a.luna("spawn", "--node", "b", str(path)).returncode == 0
    processes = a.luna_json("ps")["processes"]
    assert [process["module"] for process in processes] == ["large.wasm", "large.wasm"]
    assert len(list((nodes.folder / "state/luna/b/modules").iterdir())) == 1


def test_following_a_process_of_a_node_that_dies_ends_with_an_error(
    pair: tuple[NodeProcess, NodeProcess],
) -> None:
    a, b = pair
    program = subprocess.Popen(
        [BIN / "luna", "spawn", "--node", "b", "--follow", str(GUESTS / "spin.wasm")],
        env={**a.environment, "LUNA_CONNECT": a.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with program:
        wait_for(lambda: b.nodes()["b"].processes == 1, "it lives on b")
        b.kill()
        _, errors = program.communicate(timeout=15)
    assert program.returncode not in {0, None}
    assert "Traceback" not in errors
    wait_for(lambda: a.sees("a"), "b is dead")


def test_a_node_full_of_running_processes_stops_in_time(pair: tuple[NodeProcess, NodeProcess]) -> None:
    a, b = pair
    for _ in range(4):
        assert a.luna("spawn", "--node", "b", str(GUESTS / "spin.wasm")).returncode == 0
    assert b.stop() == 0
