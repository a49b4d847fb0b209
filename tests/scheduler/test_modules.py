"""Loading modules: what is accepted, what is said about the rest, and the cache of compiled code."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import structlog
import trio
import wasmtime

from luna.proto.errors import InvalidError
from luna.scheduler import ProcessConfig, modules
from luna.scheduler.code_cache import LOCK
from luna.scheduler.engine import Engine
from luna.scheduler.modules import data_segment_bytes, module_id
from luna.scheduler.relay import relay_source

from .lab import Lab, open_lab, wait_for
from .wat import guest

START = '(func (export "_start")'
WASM = bytes(
    wasmtime.wat2wasm(
        '(module (func (export "_start")) (func (export "f") (param i32 i64) (result f32) unreachable))'
    )
)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "x.wasm is empty"),
        (b"\0asm", "not a valid WebAssembly module"),
        (WASM[:18], "not a valid WebAssembly module"),
        (WASM[:-1], "not a valid WebAssembly module"),
        (WASM + b"\x0c\xff", "not a valid WebAssembly module"),
        (b"\x7fELF" + bytes(60), "is not WebAssembly"),
        (b"\xff\xfe\x00", "is not WebAssembly"),
        (b"#!/bin/sh\n", "is not WebAssembly"),
        (b"(module", "not valid WebAssembly text"),
        (b"(module (func (i32.add)))", "not a valid WebAssembly module"),
        (b"\0asm\x0d\0\x01\0", "not a valid WebAssembly module"),  # a component
    ],
)
async def test_what_is_no_module_is_refused_with_a_reason(lab: Lab, data: bytes, text: str) -> None:
    with pytest.raises(InvalidError, match=r"x\.wasm") as caught:
        await lab.load(data, "x.wasm")
    assert text in caught.value.message


@pytest.mark.parametrize(
    ("imports", "texts"),
    [
        ('(import "env" "f" (func))', ["env::f is unknown: there is no namespace env"]),
        ('(import "lunatic::process" "fork" (func))', ["lunatic::process::fork is unknown"]),
        (
            '(import "lunatic::process" "link" (func (param i64)))',
            ["lunatic::process::link is imported as (i64) -> (), but it is i64 i64 ->"],
        ),
        (
            '(import "wasi_snapshot_preview1" "fd_write" (func (param v128 externref) (result f32)))',
            ["fd_write is imported as (v128, externref) -> (f32), but it is i32 i32 i32 i32 -> i32"],
        ),
        ('(import "lunatic::process" "link" (memory 1))', ["link is not a function"]),
        ('(import "lunatic::process" "link" (global v128))', ["link is not a function"]),
        ('(import "a" "b" (func)) (import "c" "d" (func))', ["a::b is unknown", "c::d is unknown"]),
    ],
)
async def test_an_import_that_does_not_fit_is_named_with_what_was_expected(
    lab: Lab, imports: str, texts: list[str]
) -> None:
    with pytest.raises(InvalidError) as caught:
        await lab.load(f"(module {imports})".encode(), "x.wasm")
    for text in texts:
        assert text in caught.value.message


async def test_a_module_tells_its_exported_functions(lab: Lab) -> None:
    module = await lab.load(
        b"""(module (memory (export "m") 1)
            (func (export "f") (param i32 i64 f32 f64) (result v128) unreachable)
            (func (export "g") (param funcref externref)))""",
        "x.wasm",
    )
    assert {name: str(kind) for name, kind in module.exports.items()} == {
        "f": "(i32, i64, f32, f64) -> (v128)",
        "g": "(funcref, externref) -> ()",
    }
    assert module.name == "x.wasm"


@pytest.mark.parametrize(
    "body",
    [
        '(tag (export "t")) (func (export "_start"))',
        '(global (export "g") v128 (v128.const i64x2 0 0)) (func (export "_start"))',
        '(type $t (struct)) (func (export "f") (param (ref null $t))) (func (export "_start"))',
        '(func (export "f") (param (ref null any) i31ref)) (func (export "_start"))',
        '(table (export "t") 1 (ref null any)) (func (export "_start"))',
        '(memory (export "memory") i64 1) (func (export "_start"))',
        '(memory (export "memory") 1) (memory (export "m2") 1) (func (export "_start"))',
    ],
)
async def test_features_of_later_proposals_load_or_are_refused_but_harm_nobody(lab: Lab, body: str) -> None:
    try:
        module = await lab.load(f"(module {body})".encode())
    except InvalidError:
        return
    try:
        await lab.run(module)
    except InvalidError:
        return


async def test_text_and_binary_of_one_module_are_the_same_module(lab: Lab) -> None:
    text = b'(module (func (export "_start")))'
    module = await lab.load(text, "a.wat")
    assert await lab.load(bytes(wasmtime.wat2wasm(text.decode())), "b.wasm") is module
    assert module.source.startswith(b"\0asm")
    assert lab.runtime.find_module(module.sha256) is module
    assert lab.runtime.find_module_by_id(module_id(module.sha256)) is module
    assert lab.runtime.find_module(bytes(32)) is None
    assert lab.runtime.find_module_by_id(5) is None


async def test_a_module_too_large_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "MAX_MODULE_BYTES", 10)
    with pytest.raises(InvalidError, match="at most 10"):
        await lab.load(WASM)


def large_guest() -> bytes:
    """Takes some hundredths of a second to compile."""
    return guest(START + ")" + "".join(f"(func (result i32) (i32.add {n}:i32 1:i32))" for n in range(3000)))


async def test_one_module_asked_for_at_once_is_compiled_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    compile_ = modules.Modules._compile

    def counting(self: modules.Modules, *args: object) -> object:
        compiled.append(args)
        return compile_(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(modules.Modules, "_compile", counting)
    found = []

    async def load() -> None:
        found.append(await lab.load(large_guest()))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(load)
    assert len(compiled) == 1
    assert len({id(module) for module in found}) == 1


async def test_a_cancelled_load_leaves_the_others_waiting_for_it_well(lab: Lab) -> None:
    source = large_guest()
    async with trio.open_nursery() as nursery:
        cancelled = await nursery.start(_load_cancelled, lab, source)
        nursery.start_soon(lab.load, source)
        cancelled.cancel()
    await lab.passes(source)


async def _load_cancelled(lab: Lab, source: bytes, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await lab.load(source)


async def test_bad_modules_are_not_remembered(lab: Lab) -> None:
    for _ in range(2):
        with pytest.raises(InvalidError):
            await lab.load(WASM[:-1])


async def test_the_least_used_modules_are_dropped(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "MODULES_KEPT", 2)
    one, two = await lab.load(f"{START})"), await lab.load(f"{START} (nop))")
    pid = await lab.spawn(f"{START} (call $park))")
    assert lab.runtime.find_module(one.sha256) is None
    assert lab.runtime.find_module_by_id(one.id) is None
    assert lab.runtime.find_module(two.sha256) is two
    await lab.load(f"{START} (nop) (nop))")
    assert [process.pid for process in lab.runtime.processes()] == [pid]
    await lab.passes(one)


async def test_modules_that_processes_run_are_never_dropped(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may spawn more of its own module, however many were loaded since it began."""
    monkeypatch.setattr(modules, "MODULES_KEPT", 2)
    source = f"""{START} (gate)
        (report (i64.extend_i32_u
          (process.get_or_spawn @"name" 0:i64 -1:i64 -1:i64 @"child" 0:i32 0:i32 0:i32 8:i32))))
        (func (export "child"))"""
    sha256 = (await lab.load(source)).sha256
    pid = await lab.spawn(source)
    for number in range(6):
        await lab.load(f'{START}) (func (export "f{number}"))')
    kept = lab.runtime.find_module(sha256)
    assert kept is not None
    assert lab.runtime.find_module_by_id(module_id(sha256)) is kept
    del kept
    lab.gate.set()
    await lab.wait_exit(pid)
    assert lab.reports == [0]
    # What nobody runs any more goes with the next that is loaded.
    await wait_for(lambda: lab.runtime.statistics().processes == 0)
    for number in range(6):
        await lab.load(f'{START} (nop)) (func (export "f{number}"))')
    assert lab.runtime.find_module(sha256) is None


async def test_code_with_a_compute_limit_is_compiled_once_for_all_who_want_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    compile_ = modules.Modules._compile

    def counting(self: modules.Modules, engine: Engine, *args: object) -> object:
        if engine.mode.fuel:
            counted.append(args)
        return compile_(self, engine, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(modules.Modules, "_compile", counting)
    module = await lab.load(f"{START})")

    async def run() -> None:
        await lab.passes(module, config=ProcessConfig.program(max_fuel=10))

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(run)
    assert len(counted) == 1


# -- the cache of compiled code -------------------------------------------------------------------


def cached(folder: Path) -> list[Path]:
    """The files of compiled guests."""
    relay = hashlib.sha256(bytes(wasmtime.wat2wasm(relay_source()))).hexdigest()
    return sorted(
        path for path in folder.iterdir() if path.suffix == ".cwasm" and not path.name.startswith(relay)
    )


async def test_compiled_code_is_found_by_the_next_start(tmp_path: Path) -> None:
    """The code of one module is put in the place of another's: what runs tells where it came from."""
    one, two = (f"{START} (wasi.proc_exit {code}:i32))" for code in (1, 2))
    async with open_lab(cache_dir=tmp_path / "cache") as lab:
        assert (await lab.run(one)).code == 1
        (first,) = cached(tmp_path / "cache")
        assert (await lab.run(two)).code == 2
        (second,) = set(cached(tmp_path / "cache")) - {first}
    first.write_bytes(second.read_bytes())
    async with open_lab(cache_dir=tmp_path / "cache") as lab:
        assert (await lab.run(one)).code == 2


@pytest.mark.parametrize("content", [b"", b"garbage", None], ids=["empty", "garbage", "cut short"])
async def test_a_broken_file_in_the_cache_is_made_anew(tmp_path: Path, content: bytes | None) -> None:
    source = f"{START} (wasi.proc_exit 5:i32))"
    async with open_lab(cache_dir=tmp_path) as lab:
        await lab.run(source)
    (path,) = cached(tmp_path)
    code = path.read_bytes()
    path.write_bytes(code[: len(code) // 2] if content is None else content)
    async with open_lab(cache_dir=tmp_path) as lab:
        assert (await lab.run(source)).code == 5
    assert path.read_bytes() == code


async def test_a_cache_that_cannot_be_written_is_a_warning_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with structlog.testing.capture_logs() as logs:
        async with open_lab(cache_dir=tmp_path / "file" / "cache") as lab:
            await lab.passes(f"{START})")
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("warning", "compiled code not cached")
    ]


async def test_a_full_disk_is_a_warning_only_and_leaves_no_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(Path, "replace", full)
    with structlog.testing.capture_logs() as logs:
        async with open_lab(cache_dir=tmp_path) as lab:
            await lab.passes(f"{START})")
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert [path for path in tmp_path.iterdir() if path.suffix != LOCK] == []


async def test_cached_code_is_for_the_owner_only(tmp_path: Path) -> None:
    async with open_lab(cache_dir=tmp_path / "cache") as lab:
        await lab.load(WASM)
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "cache").iterdir())


# -- the size of the data section ------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 100, 20000, 100000])
def test_the_size_of_data_segments_is_read_from_the_binary(size: int) -> None:
    source = bytes(wasmtime.wat2wasm(f'(module (memory 2) (data (i32.const 0) "{"a" * size}"))'))
    assert 0 <= data_segment_bytes(source) - size <= 12


def test_binaries_cut_short_anywhere_are_read_without_error() -> None:
    source = bytes(wasmtime.wat2wasm('(module (memory 2) (data (i32.const 0) "abc"))'))
    for end in range(len(source)):
        assert data_segment_bytes(source[:end]) >= 0


async def test_a_module_with_much_data_runs_many_times_with_data_of_its_own(lab: Lab) -> None:
    data = "x" * 100_000
    module = await lab.load(f"""
        (memory (export "memory") 3)
        (data (i32.const 8192) "{data}")
        {START} (is32 (i32.load8_u 50000:i32) 0x78:i32) (i32.store8 50000:i32 1:i32))""")
    for _ in range(20):
        await lab.passes(module)
