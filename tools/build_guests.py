"""Builds the guests: examples/*.c and integration/guests/*.{c,wat} into build/guests/*.wasm.

A folder with C files, as examples/chat, is one program of that name. A guest is built again only when one of
its sources, the header or this script is newer than it.
Every module is checked before it is put in place: it validates, and each import is in the
host-call table with exactly that type. C is compiled by the `ziglang` package, so no
WebAssembly tool chain has to be installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import wasmtime

from generated_file import ROOT
from luna.scheduler.hostcalls import find

HEADER = ROOT / "sdk" / "c" / "luna.h"
OUTPUT = ROOT / "build" / "guests"
FOLDERS = (ROOT / "examples", ROOT / "integration" / "guests")

PARALLEL = 2  # compilers at once; each takes a few hundred MB

COMMON = ["-O2", "-s", "-Wall", "-Wextra", "-Werror", f"-I{HEADER.parent}"]
# 64 KiB of stack instead of zig's 16 MiB, which every process would pay for in memory.
PROGRAM = ["-target", "wasm32-wasi", "-Wl,-z,stack-size=65536"]
# A source with this line is built without libc into one page of memory, as benchmarks need it.
FREESTANDING_MARK = "// build: freestanding"
FREESTANDING = [
    "-target",
    "wasm32-freestanding",
    "-nostdlib",
    "-fno-builtin",  # else loops become calls of a libc that is not there
    "-DLUNA_NO_LIBC",
    "-Wl,--no-entry",
    "-Wl,-z,stack-size=16384",
    "-Wl,--initial-memory=65536",
]


class BuildError(Exception):
    """A guest does not compile or does not fit the interface; the text says why."""


def sources() -> list[Path]:
    """Every guest source, a file or a folder, sorted; raises BuildError when two would share an output."""
    found = sorted(
        path
        for folder in FOLDERS
        for path in folder.iterdir()
        if path.suffix in (".c", ".wat") or any(path.glob("*.c"))
    )
    stems: dict[str, Path] = {}
    for path in found:
        if path.stem in stems:
            raise BuildError(f"{path} and {stems[path.stem]} would both become {path.stem}.wasm; rename one")
        stems[path.stem] = path
    return found


def parts(source: Path) -> list[Path]:
    """The files of a source, sorted."""
    return (
        sorted(path for path in source.iterdir() if path.suffix in (".c", ".h"))
        if source.is_dir()
        else [source]
    )


def is_stale(source: Path, target: Path) -> bool:
    if not target.exists():
        return True
    # A folder is among them: it is newer than what was built when a file has gone.
    inputs = [source, *parts(source), Path(__file__)] + ([] if source.suffix == ".wat" else [HEADER])
    return any(path.stat().st_mtime_ns > target.stat().st_mtime_ns for path in inputs)


def check(data: bytes, name: str) -> None:
    """Raise BuildError unless the module validates and all its imports are host calls."""
    try:
        module = wasmtime.Module(wasmtime.Engine(), data)
    except wasmtime.WasmtimeError as error:
        raise BuildError(f"{name}: {error}") from error
    for item in module.imports:
        row = find(item.module, item.name or "")
        if row is None:
            raise BuildError(f"{name}: imports {item.module}::{item.name}, which is no host call")
        if not isinstance(item.type, wasmtime.FuncType):
            raise BuildError(f"{name}: imports {row.full_name} as something other than a function")
        params = " ".join(str(value) for value in item.type.params)
        result = " ".join(str(value) for value in item.type.results)
        if f"{params} -> {result}".strip() != row.type:
            raise BuildError(f"{name}: imports {row.full_name} as {params} -> {result}, it is {row.type}")
    if not isinstance(
        next((item.type for item in module.exports if item.name == "memory"), None), wasmtime.MemoryType
    ):
        raise BuildError(f"{name}: does not export its memory")


def compile_c(source: Path, target: Path) -> None:
    files = [path for path in parts(source) if path.suffix == ".c"]
    kind = FREESTANDING if FREESTANDING_MARK in files[0].read_text().splitlines() else PROGRAM
    command = [sys.executable, "-m", "ziglang", "cc", *COMMON, *kind, *map(str, files), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{source.relative_to(ROOT)} does not compile:\n{done.stderr}")


def assemble_wat(source: Path, target: Path) -> None:
    try:
        target.write_bytes(wasmtime.wat2wasm(source.read_text()))
    except wasmtime.WasmtimeError as error:
        raise BuildError(f"{source.relative_to(ROOT)}: {error}") from error


def build(source: Path) -> Path:
    """Build and check one guest; it appears under its name only when it is good."""
    target = OUTPUT / f"{source.stem}.wasm"
    fresh = target.with_suffix(f".{os.getpid()}.new")  # another build may run at the same time
    try:
        if source.suffix == ".wat":
            assemble_wat(source, fresh)
        else:
            compile_c(source, fresh)
        check(fresh.read_bytes(), str(source.relative_to(ROOT)))
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
    return target


def main() -> int:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    try:
        stale = [path for path in sources() if is_stale(path, OUTPUT / f"{path.stem}.wasm")]
        with ThreadPoolExecutor(PARALLEL) as pool:
            for target in pool.map(build, stale):
                print(f"built {target.relative_to(ROOT)} ({target.stat().st_size} bytes)")
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
