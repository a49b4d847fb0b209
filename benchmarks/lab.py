"""Where measuring happens: folders, the sizes that were asked for, and the tools that are there.

Owns the scratch folder's layout and the builds of the floors and of the Erlang counterpart; measures nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from benchmarks.model import BenchmarkError

__all__ = ["GUESTS", "Lab", "build_erlang", "build_floors"]

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = Path(__file__).resolve().parent
GUESTS: Final = ROOT / "build" / "guests"
BUILD: Final = ROOT / "build" / "benchmarks"


@final
@dataclass(frozen=True, slots=True)
class Lab:
    """What a probe is given."""

    folder: Path
    """a short-lived folder for logs and state; its path is short, for unix sockets."""
    floors: Path
    """the floors' program."""
    erlang: Path | None
    """the folder with the compiled Erlang counterpart; None without Erlang."""
    quick: bool = False
    """a tenth of the usual size: to see that everything runs."""
    million: bool = False

    @property
    def scale(self) -> float:
        """What to multiply times and counts with."""
        return 0.1 if self.quick else 1.0

    def log(self, name: str) -> Path:
        """A file for what a child of this name says on stderr; the last one of a name is kept."""
        return self.folder / f"{name}.log"


def build_floors() -> Path:
    """The floors' program, compiled when it is older than its source. Raises BenchmarkError."""
    source, target = SOURCES / "native" / "floors.c", BUILD / "floors"
    command = [sys.executable, "-m", "ziglang", "cc", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread"]
    return _build(source, target, [*command, str(source), "-o", str(target)])


def build_erlang() -> Path | None:
    """The folder of the compiled Erlang module; None where Erlang is not installed."""
    if shutil.which("erl") is None or shutil.which("erlc") is None:
        return None
    source, target = SOURCES / "erlang" / "luna_bench.erl", BUILD / "luna_bench.beam"
    return _build(source, target, ["erlc", "-o", str(BUILD), str(source)]).parent


def _build(source: Path, target: Path, command: list[str]) -> Path:
    if target.exists() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns:
        return target
    BUILD.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"{source.name} does not compile:\n{done.stdout}{done.stderr}")
    return target
