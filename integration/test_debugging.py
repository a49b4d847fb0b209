"""What a node's log has of its processes: failures, and with LUNA_LOG every step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .node_process import NodeStarter, wait_for

CHILD = """
(module $app
  (import "lunatic::process" "spawn" (func $spawn (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::process" "process_id" (func $self (result i64)))
  (import "lunatic::registry" "put" (func $put (param i32 i32 i64 i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "childdb/worker")
  (func $fails (unreachable))
  (func $child (export "child")
    (call $put (i32.const 5) (i32.const 9) (i64.const 0) (call $self))
    (call $fails))
  (func (export "_start")
    (drop (call $spawn (i64.const 0) (i64.const -1) (i64.const -1)
      (i32.const 0) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 64)))))
"""
FAILED = 'process 2 "db/worker" failed: trap: wasm `unreachable` instruction executed'


@pytest.fixture
def child(tmp_path: Path) -> str:
    """A program whose child fails, which nobody watches."""
    (tmp_path / "child.wat").write_text(CHILD)
    return str(tmp_path / "child.wat")


def test_failure_that_nobody_watches_is_in_the_log_of_its_node(nodes: NodeStarter, child: str) -> None:
    node = nodes.start("a")
    assert node.luna("spawn", "--follow", child).returncode == 0
    wait_for(lambda: "1: child (app, offset 0x" in node.errors(), "the failure and its frames are logged")
    log = node.errors()
    assert FAILED in log
    assert "0: fails (app, offset 0x" in log
    assert f"pid={node.id << 40 | 2}" in log
    assert " DEBUG luna::process " not in log


def test_variable_adds_what_processes_do_in_the_form_of_the_log(nodes: NodeStarter, child: str) -> None:
    nodes.environment["LUNA_LOG"] = "luna::process=debug"
    node = nodes.start("a", "--log-format", "json")
    assert node.luna("spawn", "--follow", child).returncode == 0
    wait_for(lambda: FAILED.replace('"', '\\"') in node.errors(), "the failure is logged")
    records = [json.loads(line) for line in node.errors().splitlines()]
    said = [record["event"] for record in records if record.get("pid") == node.id << 40 | 2]
    assert 'spawned by 1, runs "child"' in said
    assert 'lunatic::registry::put("db/worker", 0, 2)' in said
    assert FAILED in said


def test_variable_can_silence_failures(nodes: NodeStarter, child: str) -> None:
    nodes.environment["LUNA_LOG"] = "luna::process=off"
    node = nodes.start("a")
    assert node.luna("spawn", "--follow", child).returncode == 0
    wait_for(lambda: node.luna_json("ps")["processes"] == [], "the child has ended")
    assert node.stop() == 0
    assert "failed" not in node.errors()
