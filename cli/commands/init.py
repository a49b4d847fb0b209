"""`luna init`: make `luna run` the runner of a cargo project."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import click

from luna.cli.cargo_config import FILE, RUNNER, TRIPLES, choose_triple, configured, read_config
from luna.cli.options import Verb, json_option
from luna.cli.result import Line, Result
from luna.proto.errors import InvalidError, RefusedError

EARLIER_FILE: Final = Path(".cargo/config")
"""the name that cargo had before 1.39 and prefers to this day"""
COMPILER_S: Final = 20.0
"""seconds for the compiler to say what it knows; rustup may install one first, which is not waited for"""


@dataclass(frozen=True, slots=True)
class InitResult(Result):
    """What the project is configured for; `changed` is False if it was so already."""

    schema: ClassVar[str] = "luna.init/1"
    target: str
    changed: bool
    advice: tuple[str, ...]

    def data(self) -> Mapping[str, object]:
        """`file`, `target`, `runner` and `changed`."""
        return {"file": FILE, "target": self.target, "runner": RUNNER, "changed": self.changed}

    def view(self) -> Line:
        """What was written."""
        verb = "wrote" if self.changed else "nothing to do:"
        return Line(f'{verb} {FILE}: programs are built for {self.target} and run by "{RUNNER}"')

    def notes(self) -> tuple[str, ...]:
        """What to do next."""
        return self.advice


@click.command("init", cls=Verb)
@click.option(
    "--target",
    type=click.Choice(TRIPLES),
    help="What cargo builds for. Default: what the installed Rust has; wasm32-wasip1 since Rust 1.78.",
)
@click.option("--force", is_flag=True, help="Replace another target or runner.")
@json_option
def command(target: str | None, force: bool) -> InitResult:
    """Make luna run the runner of the cargo project in this directory.

    Writes .cargo/config.toml, or adds to it: then cargo run, cargo test and cargo bench build for
    WebAssembly and run on Luna.
    """
    path = Path(FILE)
    if EARLIER_FILE.exists():
        raise RefusedError(
            f"there is {EARLIER_FILE}, which cargo reads instead of {FILE}", hint=f"rename it to {FILE} first"
        )
    text = _read(path)
    config = read_config(text)
    compiler = shutil.which("rustc")
    if target is None:
        target = choose_triple(config, _known_triples(compiler))
    edited = configured(text, target, force)
    if edited != text:
        _write(path, edited)
    return InitResult(target, edited != text, _advice(target, compiler))


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"cannot read {path}: {error}") from error


def _write(path: Path, text: str) -> None:
    """The whole file or none of it."""
    try:
        path = path.resolve()
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(text.encode())
            if path.exists():
                shutil.copymode(path, temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InvalidError(f"cannot write {FILE}: {error}") from error


def _known_triples(compiler: str | None) -> frozenset[str]:
    """The targets the compiler knows, whether installed or not; none if it does not say."""
    return frozenset((_ask(compiler, "target-list") or "").split())


def _advice(target: str, compiler: str | None) -> tuple[str, ...]:
    advice = []
    if not Path("Cargo.toml").exists():
        advice.append("there is no Cargo.toml here: make a project with `cargo init`")
    if shutil.which("luna") is None:
        advice.append("luna is not in PATH, where cargo will look for it")
    if compiler is None:
        advice.append("rustc is not in PATH: install Rust, see https://rustup.rs")
    sysroot = _ask(compiler, "sysroot")
    if sysroot is None or not (Path(sysroot.strip()) / "lib" / "rustlib" / target).is_dir():
        advice.append(f"next: rustup target add {target}")
    return (*advice, "then: cargo run, cargo test")


def _ask(compiler: str | None, what: str) -> str | None:
    if compiler is None:
        return None
    try:
        done = subprocess.run(
            [compiler, "--print", what], capture_output=True, text=True, timeout=COMPILER_S, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout
