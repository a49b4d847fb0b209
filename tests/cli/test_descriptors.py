"""Every command that runs guests may open as many files as the system allows, not as few as shells give."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from luna.cli.descriptors import DESCRIPTORS

LUNA = Path(sys.executable).parent / "luna"

HOLD_MANY = """
(module
  (import "lunatic::process" "spawn"
    (func $spawn (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::process" "sleep_ms" (func $sleep_ms (param i64)))
  (import "lunatic::process" "process_id" (func $process_id (result i64)))
  (import "lunatic::message" "create_data" (func $create_data (param i64 i64)))
  (import "lunatic::message" "send" (func $send (param i64) (result i32)))
  (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "hold\\7e")  ;; the entry, and its parameter: an i64
  (func (export "hold") (param $parent i64)
    (if (call $fd_prestat_get (i32.const 3) (i32.const 64)) (then unreachable))  ;; opens the directory
    (call $create_data (i64.const 0) (i64.const 0))
    (drop (call $send (local.get $parent)))
    (call $sleep_ms (i64.const 60000)))
  (func (export "_start") (local $count i32)
    (i64.store (i32.const 13) (call $process_id))
    (loop $next
      (if (call $spawn (i64.const 1) (i64.const -1) (i64.const -1) (i32.const 8) (i32.const 4)
                       (i32.const 12) (i32.const 17) (i32.const 128))
        (then unreachable))
      (if (call $receive (i32.const 0) (i32.const 0) (i64.const 20000)) (then unreachable))
      (local.set $count (i32.add (local.get $count) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $count) (i32.const 600))))))
"""
"""600 processes at once that each hold the current directory open; linked, so that none fails unseen"""


def test_the_limit_becomes_the_systems() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    script = (
        "import resource as r; from luna.cli.descriptors import raise_descriptor_limit as up;"
        "r.setrlimit(r.RLIMIT_NOFILE, (64, r.getrlimit(r.RLIMIT_NOFILE)[1])); up(); up();"
        "print(*r.getrlimit(r.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(wanted), str(hard)]


def test_a_program_has_more_processes_than_a_shell_gives_descriptors(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip(f"this machine allows no more than {hard} open files")
    guest = tmp_path / "hold_many.wat"
    guest.write_text(HOLD_MANY)
    done = subprocess.run(
        ["sh", "-c", 'ulimit -S -n 300; exec "$0" run "$1"', str(LUNA), str(guest)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
