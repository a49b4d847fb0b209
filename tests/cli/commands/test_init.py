"""`luna init`: the file it writes, what it says, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Luna, Outcome

CONFIG = """\
[build]
target = "wasm32-wasip1"

[target.wasm32-wasip1]
runner = "luna run"
"""
DONE = 'programs are built for wasm32-wasip1 and run by "luna run"\n'
NEXT = "luna: then: cargo run, cargo test\n"


class Toolchain:
    """A compiler of our own in front of all others."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._folder.mkdir()
        monkeypatch.setenv("PATH", str(folder))
        self._write("luna", "")

    def install(self, *known: str, installed: tuple[str, ...]) -> None:
        """Have a compiler that knows some targets, of which some are installed."""
        for triple in installed:
            (self._folder / "root" / "lib" / "rustlib" / triple).mkdir(parents=True)
        names = "\\n".join(known)
        self._write("rustc", f'[ "$2" = sysroot ] && echo {self._folder}/root || printf "{names}\\n"')

    def _write(self, name: str, script: str) -> None:
        path = self._folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


@pytest.fixture
def toolchain(own_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Toolchain:
    toolchain = Toolchain(own_environment / "bin", monkeypatch)
    (own_environment / "Cargo.toml").write_text("")
    return toolchain


def test_project_is_configured_once(luna: Luna, toolchain: Toolchain) -> None:
    toolchain.install("x86_64", "wasm32-wasip1", installed=("wasm32-wasip1",))
    assert luna("init") == Outcome(0, f"wrote .cargo/config.toml: {DONE}", NEXT)
    path = Path(".cargo/config.toml")
    assert path.read_text() == CONFIG
    assert list(Path(".cargo").iterdir()) == [path]
    written = path.stat().st_mtime_ns
    assert luna("init") == Outcome(0, f"nothing to do: .cargo/config.toml: {DONE}", NEXT)
    assert path.stat().st_mtime_ns == written


def test_target_is_what_the_compiler_knows_or_what_is_asked_for(luna: Luna, toolchain: Toolchain) -> None:
    toolchain.install("x86_64", "wasm32-wasi", installed=())
    outcome = luna("init")
    assert outcome.stdout == f"wrote .cargo/config.toml: {DONE.replace('wasip1', 'wasi')}"
    assert outcome.stderr == f"luna: next: rustup target add wasm32-wasi\n{NEXT}"
    Path(".cargo/config.toml").unlink()
    assert "built for wasm32-wasip1 " in luna("init", "--target", "wasm32-wasip1").stdout
    assert luna("init", "--target", "x86_64-unknown-linux-gnu").code == 2


def test_what_is_missing_around_it_is_told(
    luna: Luna, own_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(own_environment))
    outcome = luna("init")
    assert outcome.code == 0
    for part in ("no Cargo.toml here", "luna is not in PATH", "rustc is not in PATH", "rustup target add"):
        assert part in outcome.stderr


def test_compiler_that_fails_is_none(luna: Luna, toolchain: Toolchain) -> None:
    toolchain._write("rustc", "echo wasm32-wasi; exit 1")
    assert "built for wasm32-wasip1 " in luna("init").stdout


def test_file_that_is_there_keeps_its_rest_and_its_mode(luna: Luna, toolchain: Toolchain) -> None:
    path = Path(".cargo/config.toml")
    path.parent.mkdir()
    path.write_text("# mine\n[net]\noffline = true\n")
    path.chmod(0o640)
    assert luna("init").code == 0
    assert path.read_text() == f"# mine\n[net]\noffline = true\n\n{CONFIG}"
    assert path.stat().st_mode & 0o777 == 0o640


def test_file_behind_a_link_is_the_one_that_is_changed(luna: Luna, toolchain: Toolchain) -> None:
    Path(".cargo").mkdir()
    Path("shared.toml").write_text("")
    Path(".cargo/config.toml").symlink_to("../shared.toml")
    assert luna("init").code == 0
    assert Path("shared.toml").read_text() == CONFIG
    assert Path(".cargo/config.toml").is_symlink()


def test_another_target_is_refused_unless_forced(luna: Luna, toolchain: Toolchain) -> None:
    toolchain.install("wasm32-wasip1", installed=("wasm32-wasip1",))
    path = Path(".cargo/config.toml")
    path.parent.mkdir()
    text = '[build]\ntarget = "wasm32-wasi"\n\n[target.wasm32-wasi]\nrunner = "lunatic run"\n'
    path.write_text(text)
    assert luna("init") == Outcome(
        1,
        "",
        'luna: .cargo/config.toml has build.target = "wasm32-wasi", not "wasm32-wasip1"\n'
        "  change it by hand, or replace it with `luna init --force`\n",
    )
    assert path.read_text() == text
    assert luna("init", "--force").code == 0
    assert 'target = "wasm32-wasip1"' in path.read_text()


def test_what_cannot_be_read_or_written_is_told(luna: Luna, toolchain: Toolchain) -> None:
    path = Path(".cargo/config.toml")
    path.mkdir(parents=True)
    outcome = luna("init")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "cannot read .cargo/config.toml" in outcome.stderr
    path.rmdir()
    path.write_bytes(b"\xff")
    assert "cannot read .cargo/config.toml" in luna("init").stderr
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("")
    outcome = luna("init")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "Traceback" not in outcome.stderr


def test_earlier_name_of_the_file_is_refused(luna: Luna, toolchain: Toolchain) -> None:
    Path(".cargo").mkdir()
    Path(".cargo/config").write_text("")
    outcome = luna("init")
    assert outcome.code == 1
    assert "rename it to .cargo/config.toml first" in outcome.stderr
    assert not Path(".cargo/config.toml").exists()


def test_json(luna: Luna, toolchain: Toolchain) -> None:
    data = {"file": ".cargo/config.toml", "target": "wasm32-wasip1", "runner": "luna run", "changed": True}
    assert json.loads(luna("init", "--json").stdout) == {"schema": "luna.init/1", "data": data}
    assert json.loads(luna("init", "--json").stdout)["data"] == data | {"changed": False}
