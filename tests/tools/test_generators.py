"""The generators: the tree is current, a stale file is found, and the header is the table in C."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

from luna.scheduler.hostcalls import HOST_CALLS, WASI_NAMESPACE

ROOT = Path(__file__).resolve().parents[2]

GENERATED = {
    "generate_header.py": "sdk/c/luna.h",
    "generate_all_imports.py": "integration/guests/all_imports.wat",
    "generate_hostcall_docs.py": "docs/host-calls.md",
    "generate_compatibility.py": "docs/compatibility.md",
}


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """The generators in a tree of their own, where nothing is generated yet."""
    return Path(shutil.copytree(ROOT / "tools", tmp_path / "tools"))


@pytest.mark.parametrize("script", GENERATED)
def test_generated_file_of_the_tree_is_current(script: str) -> None:
    done = run(ROOT / "tools" / script, "--check")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("script", "target"), GENERATED.items())
def test_check_fails_until_the_file_is_generated_and_after_it_changed(
    script: str, target: str, tools: Path
) -> None:
    file = tools.parent / target
    missing = run(tools / script, "--check")
    assert missing.returncode == 1
    assert missing.stderr == f"{target} is stale; run python tools/{script}\n"
    assert not file.exists()

    assert run(tools / script).returncode == 0
    assert file.read_text() == (ROOT / target).read_text()
    assert run(tools / script, "--check").returncode == 0

    file.write_text(file.read_text() + "\n")
    assert run(tools / script, "--check").returncode == 1


def test_unknown_argument_is_refused(tools: Path) -> None:
    done = run(tools / "generate_header.py", "--chekc")
    assert done.returncode == 2
    assert "--chekc" in done.stderr
    assert not (tools.parent / "sdk").exists()


def imports_of(module: wasmtime.Module) -> dict[tuple[str, str | None], str]:
    found = {}
    for item in module.imports:
        assert isinstance(item.type, wasmtime.FuncType)
        params = " ".join(str(value) for value in item.type.params)
        result = " ".join(str(value) for value in item.type.results)
        found[item.module, item.name] = f"{params} -> {result}".strip()
    return found


TABLE = {(row.namespace, row.name): row.type for row in HOST_CALLS}


def test_all_imports_guest_imports_the_whole_table() -> None:
    text = (ROOT / "integration" / "guests" / "all_imports.wat").read_text()
    assert imports_of(wasmtime.Module(wasmtime.Engine(), text)) == TABLE


def test_header_declares_every_host_call_with_its_type(tmp_path: Path) -> None:
    names = [
        ("wasi" if row.namespace == WASI_NAMESPACE else row.namespace.replace("::", "_")) + f"_{row.name}"
        for row in HOST_CALLS
    ]
    source = tmp_path / "all.c"
    # An address that is taken keeps its import in the module.
    uses = "\n".join(f"    sink = (void *){name};" for name in names)
    source.write_text(
        f'#include "luna.h"\nvoid *volatile sink;\nLUNA_EXPORT("use") void use(void) {{\n{uses}\n}}\n'
    )
    target = tmp_path / "all.wasm"
    command = "cc -target wasm32-freestanding -nostdlib -DLUNA_NO_LIBC -Wl,--no-entry -Wall -Wextra -Werror"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "ziglang",
            *command.split(),
            f"-I{ROOT}/sdk/c",
            str(source),
            "-o",
            str(target),
        ],
        check=True,
    )
    assert imports_of(wasmtime.Module(wasmtime.Engine(), target.read_bytes())) == TABLE
