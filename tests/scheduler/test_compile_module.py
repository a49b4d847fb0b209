"""Modules that guests compile."""

from __future__ import annotations

import pytest

from luna.scheduler import ProcessConfig

from .lab import Lab

START = '(func (export "_start")'
PRINT_ERROR = """
    (error.to_string (i64.load 0:i32) 1000:i32)
    (i32.store 400:i32 1000:i32) (i32.store 404:i32 (error.string_size (i64.load 0:i32)))
    (drop (wasi.fd_write 1:i32 400:i32 1:i32 408:i32))"""


async def test_a_compiled_module_can_be_spawned_with_its_own_data(lab: Lab) -> None:
    child = (
        r"(module (import \"lunatic::message\" \"create_data\" (func $c (param i64 i64)))"
        r"(import \"lunatic::message\" \"send\" (func $s (param i64) (result i32)))"
        r"(func (export \"f\") (call $c (i64.const 77) (i64.const 0)) (drop (call $s (i64.const 1)))))"
    )
    await lab.passes(f"""{START}
        (is32 (process.compile_module @"{child}" 0:i32) 0:i32)
        (is64 (i64.load 0:i32) 0:i64)
        (is32 (process.spawn 0:i64 -1:i64 0:i64 @"f" 0:i32 0:i32 8:i32) 0:i32)
        (is32 (call $receive_any 10000:i64) 0:i32)
        (is64 (message.get_tag) 77:i64))""")


async def test_without_the_right_it_is_minus_1_and_nothing_written(lab: Lab) -> None:
    await lab.passes(
        f"""{START}
          (i64.store 0:i32 99:i64)
          (is32 (process.compile_module @"(module)" 0:i32) -1:i32)
          (is64 (i64.load 0:i32) 99:i64))""",
        config=ProcessConfig(),
    )


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("", "is empty"),
        ("garbage", "is not WebAssembly"),
        (r"\00asm", "not a valid WebAssembly module"),
        (r"(module (func (export \"f\") (i32.add)))", "not a valid WebAssembly module"),
        ("(module (wrong))", "not valid WebAssembly text"),
        (r"(module (import \"a\" \"b\" (func)))", "there is no namespace a"),
        (
            r"(module (import \"lunatic::process\" \"spawn\" (func)))",
            "lunatic::process::spawn is imported as",
        ),
    ],
)
async def test_a_bad_module_is_code_1_with_a_text(lab: Lab, source: str, text: str) -> None:
    pid = await lab.spawn(f'{START} (is32 (process.compile_module @"{source}" 0:i32) 1:i32) {PRINT_ERROR})')
    assert text in (await lab.output(pid)).decode()


async def test_module_ids_grow_and_dropped_ones_are_unknown(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (is32 (process.compile_module @"(module)" 0:i32) 0:i32) (is64 (i64.load 0:i32) 0:i64)
        (is32 (process.compile_module @"(module)" 0:i32) 0:i32) (is64 (i64.load 0:i32) 1:i64)
        (process.drop_module 0:i64)
        (is32 (process.compile_module @"(module)" 0:i32) 0:i32) (is64 (i64.load 0:i32) 2:i64))""")
    for drop in ("(process.drop_module 0:i64)", "(process.drop_module -1:i64)"):
        assert "no module of that id" in await lab.traps(f"{START} {drop})")


@pytest.mark.parametrize(
    "call",
    ["(process.compile_module 65536:i32 1:i32 0:i32)", '(process.compile_module @"(module)" 65529:i32)'],
)
async def test_a_bad_pointer_traps(lab: Lab, call: str) -> None:
    assert "outside the guest's memory" in await lab.traps(f"{START} (drop {call}))")


async def test_a_running_child_keeps_its_dropped_module(lab: Lab) -> None:
    await lab.passes(rf"""{START}
        (is32 (process.compile_module @"(module (func (export \"f\")))" 0:i32) 0:i32)
        (is32 (process.spawn 0:i64 -1:i64 0:i64 @"f" 0:i32 0:i32 8:i32) 0:i32)
        (process.drop_module 0:i64)
        (process.monitor (i64.load 8:i32))
        (is32 (call $receive_any 10000:i64) 2:i32))""")


# Takes module 0 out of messages that it made, until the process holds a million ids.
FILL_TABLE = """
    (func $fill (local $held i32) (local $index i64)
      (local.set $held 1:i32)
      (loop $message
        (message.create_data 0:i64 0:i64)
        (local.set $index 0:i64)
        (loop $resource
          (drop (message.push_module 0:i64))
          (drop (message.take_module (local.get $index)))
          (local.set $index (i64.add (local.get $index) 1:i64))
          (local.set $held (i32.add (local.get $held) 1:i32))
          (br_if 2 (i32.eq (local.get $held) 1000000:i32))
          (br_if $resource (i64.lt_u (local.get $index) 4096:i64)))
        (br $message)))"""


@pytest.mark.parametrize(
    "call",
    [
        'process.compile_module @"(module)" 8:i32',
        "message.take_module (message.push_module 0:i64)",
    ],
)
async def test_a_process_holds_a_million_modules_and_no_more(lab: Lab, call: str) -> None:
    reason = await lab.traps(f"""{FILL_TABLE}
        {START}
          (is32 (process.compile_module @"(module)" 0:i32) 0:i32)
          (call $fill)
          (message.create_data 0:i64 0:i64)
          (report 1:i64)
          (drop ({call})))""")
    assert "at most 1000000 modules" in reason
    assert lab.reports == [1]


async def test_text_and_binary_are_both_compiled(lab: Lab) -> None:
    binary = (
        r"\00asm\01\00\00\00\01\04\01\60\00\00\03\02\01\00"  # a type, a function of it
        r"\07\05\01\01f\00\00\0a\05\01\03\00\01\0b"  # exported as f, with nop for a body
    )
    await lab.passes(rf"""{START}
        (is32 (process.compile_module @"{binary}" 0:i32) 0:i32)
        (is32 (process.spawn 0:i64 -1:i64 (i64.load 0:i32) @"f" 0:i32 0:i32 8:i32) 0:i32)
        (process.monitor (i64.load 8:i32))
        (is32 (call $receive_any 10000:i64) 2:i32)
        (is32 (process.compile_module @"(module)" 0:i32) 0:i32))""")


async def test_module_ids_mean_nothing_to_other_processes(lab: Lab) -> None:
    await lab.passes(f"""
        {START}
          (process.die_when_link_dies 0:i32)
          (is32 (process.compile_module @"(module)" 0:i32) 0:i32)
          (drop (call $spawn_link 1:i64 @"child"))
          (is32 (call $receive_any 10000:i64) 1:i32)
          (process.drop_module 0:i64))
        (func (export "child") (process.drop_module 0:i64))""")


async def test_a_compiled_module_has_an_id_for_other_nodes_only_in_a_cluster(lab: Lab) -> None:
    child = (
        r"(module (import \"lunatic::distributed\" \"module_id\" (func $id (result i64)))"
        r"(func (export \"f\") (if (i64.ne (call $id) (i64.const 0)) (then (unreachable)))))"
    )
    await lab.passes(f"""{START}
        (is32 (process.compile_module @"{child}" 0:i32) 0:i32)
        (is32 (process.spawn 1:i64 -1:i64 (i64.load 0:i32) @"f" 0:i32 0:i32 8:i32) 0:i32)
        (process.monitor (i64.load 8:i32))
        (is32 (call $receive_any 10000:i64) 2:i32))""")
