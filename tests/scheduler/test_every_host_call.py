"""Every host call links, and traps when it is given a pointer that leaves memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from luna.scheduler import ExitKind, Param

from .lab import Lab


async def test_a_module_that_imports_everything_loads(lab: Lab, built: Callable[[str], bytes]) -> None:
    module = await lab.load(built("all_imports"))
    assert module.exports is not None


async def test_cluster_functions_without_a_cluster(lab: Lab) -> None:
    reason = await lab.traps("""
        (func (export "_start")
          (drop (distributed.spawn 1:i64 -1:i64 1:i64 @"f" 0:i32 0:i32 0:i32)))""")
    assert "belongs to no cluster" in reason


async def test_the_version_is_that_of_the_interface(lab: Lab) -> None:
    await lab.passes("""
        (func (export "_start")
          (is32 (version.major) 0:i32) (is32 (version.minor) 13:i32) (is32 (version.patch) 2:i32))""")


@pytest.mark.parametrize(
    "use", ["(drop (error.string_size 0:i64))", "(error.to_string 0:i64 0:i32)", "(error.drop 0:i64)"]
)
@pytest.mark.parametrize("before", ["", "FAIL (error.drop 0:i64)"], ids=["never was", "dropped"])
async def test_an_unknown_error_traps(lab: Lab, before: str, use: str) -> None:
    fail = '(is32 (process.compile_module @"garbage" 0:i32) 1:i32)'
    reason = await lab.traps(f'(func (export "_start") {before.replace("FAIL", fail)} {use})')
    assert "no error of that id" in reason


async def test_an_error_text_out_of_bounds_traps(lab: Lab) -> None:
    reason = await lab.traps("""
        (func (export "_start")
          (is32 (process.compile_module @"garbage" 0:i32) 1:i32)
          (error.to_string (i64.load 0:i32) 65535:i32))""")
    assert "outside the guest's memory" in reason


async def test_pointers_out_of_bounds_trap_in_every_function_that_takes_one(
    lab: Lab, built: Callable[[str], bytes]
) -> None:
    module = await lab.load(built("oob"))
    entries = [name for name, kind in module.exports.items() if kind.parameters == ("i32",)]
    assert len(entries) > 20
    for entry in entries:
        if entry.startswith("distributed_"):
            continue  # they reach a pointer only in a cluster
        for mode in range(3):
            status = await lab.run(module, entry=entry, params=[Param.i32(mode)])
            assert status.kind is ExitKind.FAILURE, (entry, mode, status)
            text = "at most 65536 tags" if entry == "receive_many" else "outside the guest's memory"
            assert text in status.reason, (entry, mode, status)
