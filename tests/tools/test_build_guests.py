"""The guest builder: builds what changed, refuses what does not fit the interface, leaves no half file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

ROOT = Path(__file__).resolve().parents[2]

GOOD = """\
// build: freestanding
#include "luna.h"
LUNA_EXPORT("_start") void start(void) { luna_spawn("_start", 0, LUNA_OWN, LUNA_PARAMS(luna_i64(1))); }
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project with the builder and the header, and no guests yet."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    shutil.copytree(ROOT / "sdk", tmp_path / "sdk")
    (tmp_path / "examples").mkdir()
    (tmp_path / "integration" / "guests").mkdir(parents=True)
    return tmp_path


def build(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(tree / "tools" / "build_guests.py")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def outputs(tree: Path) -> list[str]:
    return sorted(path.name for path in (tree / "build" / "guests").iterdir())


def test_source_is_built_once_until_it_or_the_header_changes(tree: Path) -> None:
    source = tree / "examples" / "good.c"
    source.write_text(GOOD)
    first = build(tree)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("built build/guests/good.wasm")
    assert build(tree).stdout == ""

    later = (tree / "build" / "guests" / "good.wasm").stat().st_mtime + 10
    os.utime(tree / "sdk" / "c" / "luna.h", (later, later))
    assert build(tree).stdout.startswith("built build/guests/good.wasm")


def test_folder_with_c_files_is_one_guest_and_built_again_when_one_changes(tree: Path) -> None:
    folder = tree / "examples" / "whole"
    folder.mkdir()
    (folder / "whole.h").write_text("int answer(void);\n")
    (folder / "answer.c").write_text('#include "whole.h"\nint answer(void) { return 42; }\n')
    (folder / "main.c").write_text('#include "whole.h"\nint main(void) { return answer(); }\n')
    (tree / "examples" / "other").mkdir()
    (tree / "examples" / "other" / "notes.md").write_text("no program\n")
    first = build(tree)
    assert first.returncode == 0, first.stderr
    assert outputs(tree) == ["whole.wasm"]
    assert build(tree).stdout == ""

    later = (tree / "build" / "guests" / "whole.wasm").stat().st_mtime + 10
    os.utime(folder / "whole.h", (later, later))
    assert build(tree).stdout.startswith("built build/guests/whole.wasm")


def test_freestanding_guest_has_one_page_and_only_the_imports_it_uses(tree: Path) -> None:
    (tree / "integration" / "guests" / "good.c").write_text(GOOD)
    assert build(tree).returncode == 0
    module = wasmtime.Module.from_file(wasmtime.Engine(), str(tree / "build" / "guests" / "good.wasm"))
    assert {(item.module, item.name) for item in module.imports} == {
        ("lunatic::process", "spawn"),
        ("lunatic::error", "drop"),
    }
    memory = next(item.type for item in module.exports if item.name == "memory")
    assert isinstance(memory, wasmtime.MemoryType)
    assert memory.limits.min == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("broken.c", "// build: freestanding\nint x = ;\n", "broken.c does not compile"),
        ("broken.wat", "(module", "broken.wat: "),
        (
            "unknown.wat",
            '(module (import "lunatic::message" "sned" (func)) (memory (export "memory") 1))',
            "imports lunatic::message::sned, which is no host call",
        ),
        (
            "mistyped.wat",
            '(module (import "lunatic::message" "send" (func (param i32))) (memory (export "memory") 1))',
            "imports lunatic::message::send as i32 -> , it is i64 -> i32",
        ),
        (
            "global.wat",
            '(module (import "lunatic::message" "send" (global i32)) (memory (export "memory") 1))',
            "as something other than a function",
        ),
        ("closed.wat", "(module (memory 1))", "does not export its memory"),
    ],
)
def test_bad_guest_is_refused_by_name_and_not_put_in_place(
    name: str, text: str, message: str, tree: Path
) -> None:
    (tree / "integration" / "guests" / name).write_text(text)
    done = build(tree)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert outputs(tree) == []


def test_two_sources_of_one_name_are_refused(tree: Path) -> None:
    (tree / "examples" / "same.c").write_text(GOOD)
    (tree / "integration" / "guests" / "same.wat").write_text('(module (memory (export "memory") 1))')
    done = build(tree)
    assert done.returncode == 1
    assert "would both become same.wasm" in done.stderr
