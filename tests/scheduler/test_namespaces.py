"""Which host calls a process may make: those its config names, and its parent may make too."""

from __future__ import annotations

import pytest

from luna.scheduler import ExitKind, ProcessConfig
from luna.scheduler.hostcalls import HOST_CALLS

from .lab import Lab, wait_for

REFUSED = "its config does not allow that namespace"
START = '(func (export "_start")'


async def ends(lab: Lab, source: str, *namespaces: str) -> str:
    """How a program ends that may make only those host calls."""
    status = await lab.run(source, config=ProcessConfig.program(namespaces=namespaces))
    return status.reason


@pytest.mark.parametrize(
    "allowed", ["lunatic::process::", "lunatic::pro", "lunatic::process::process_id", ""]
)
async def test_a_prefix_allows_what_begins_with_it(lab: Lab, allowed: str) -> None:
    assert await ends(lab, f"{START} (drop (process.process_id)))", allowed) == "returned"


@pytest.mark.parametrize(
    "allowed", [(), ("lunatic::process::process_ids",), ("lunatic::message::",), ("LUNATIC::",), ("process",)]
)
async def test_other_calls_trap_and_are_named(lab: Lab, allowed: tuple[str, ...]) -> None:
    reason = await ends(lab, f"{START} (drop (process.process_id)))", *allowed)
    assert f"lunatic::process::process_id: this process may not call it: {REFUSED}" in reason


@pytest.mark.parametrize(
    "call",
    [
        "(drop (process.process_id))",
        "(process.sleep_ms 0:i64)",
        '(drop (registry.get @"n" 0:i32 0:i32))',
        "(drop (wasi.sched_yield))",
        "(drop (wasi.fd_write 1:i32 0:i32 0:i32 0:i32))",
        "(wasi.proc_exit 0:i32)",
        "(drop (sqlite.last_error 0:i64 0:i32))",
    ],
    ids=["plain", "suspending", "request", "our WASI", "wasmtime's WASI", "exit", "request with data"],
)
async def test_every_kind_of_host_call_can_be_refused(lab: Lab, call: str) -> None:
    assert REFUSED in await ends(lab, f"{START} {call})", "lunatic::error")


async def test_a_module_with_refused_imports_runs_as_long_as_it_does_not_call_them(lab: Lab) -> None:
    assert await ends(lab, f"{START} (if (i32.const 0) (then (process.sleep_ms 0:i64))))") == "returned"


async def test_a_config_without_namespaces_allows_everything(lab: Lab) -> None:
    pid = await lab.spawn(
        f"""(func (export "child") (report (process.process_id)))
        {START} (drop (process.create_config)) (drop (call $spawn_with 0:i64 @"child")) (gate))"""
    )
    await wait_for(lambda: lab.reports == [pid + 1])


CHILD = """(func (export "child")
  (report 1:i64)
  (drop (process.process_id))
  (report 2:i64)
  (drop (version.major))
  (report 3:i64))"""


async def test_a_guest_restricts_its_child(lab: Lab) -> None:
    pid = await lab.spawn(
        f"""{CHILD}
        {START}
          (drop (process.create_config))
          (process.config_allow_namespace 0:i64 @"lunatic::distributed::")
          (process.config_allow_namespace 0:i64 @"lunatic::process::process_id")
          (process.monitor (call $spawn_with 0:i64 @"child"))
          (is32 (call $receive_any -1:i64) 2:i32)
          (report 9:i64))"""
    )
    assert (await lab.wait_exit(pid)).kind is ExitKind.NORMAL
    assert lab.reports == [1, 2, 9]


async def test_what_was_spawned_keeps_its_rights_when_the_config_changes(lab: Lab) -> None:
    await lab.passes(
        f"""(func (export "child") (drop (call $receive)) (report (i64.extend_i32_s (version.minor))))
        {START} (local $child i64)
          (drop (process.create_config))
          (local.set $child (call $spawn_with 0:i64 @"child"))
          (process.config_allow_namespace 0:i64 @"nothing")
          (process.monitor (local.get $child))
          (call $send (local.get $child) 0:i64 0:i64)
          (is32 (call $receive_any -1:i64) 2:i32))"""
    )
    assert lab.reports == [13]


async def test_a_childs_rights_never_exceed_its_parents(lab: Lab) -> None:
    # The parent may make some calls only; whatever it grants, its child may make no other.
    parent = ProcessConfig.program(
        namespaces=["lunatic::process", "lunatic::distributed", "lunatic::message", "wasi"]
    )
    source = f"""{CHILD}
        {START} (local $child i64)
          (drop (process.create_config))
          GRANT
          (process.monitor (call $spawn_with 0:i64 @"child"))
          (is32 (call $receive_any -1:i64) 2:i32))"""
    for grant in (
        "",
        '(process.config_allow_namespace 0:i64 @"")',
        '(process.config_allow_namespace 0:i64 @"l")',
    ):
        lab.reports.clear()
        status = await lab.run(source.replace("GRANT", grant), config=parent)
        assert status.reason == "returned"
        assert lab.reports == [1, 2]


async def test_a_grandchild_is_bound_as_well(lab: Lab) -> None:
    pid = await lab.spawn(
        f"""{CHILD}
        (func (export "between") (drop (call $spawn @"child")))
        {START}
          (drop (process.create_config))
          (process.config_set_can_spawn_processes 0:i64 1:i32)
          (process.config_allow_namespace 0:i64 @"lunatic::distributed::")
          (process.config_allow_namespace 0:i64 @"lunatic::process::")
          (drop (call $spawn_with 0:i64 @"between"))
          (gate))"""
    )
    await wait_for(lambda: len(lab.runtime.processes()) == 1 and len(lab.reports) >= 2)
    lab.gate.set()
    await lab.wait_exit(pid)
    assert lab.reports == [1, 2]


async def test_a_refused_call_can_be_caught(lab: Lab) -> None:
    await lab.passes(
        f"""(func (export "_lunatic_catch_trap") (param i32 i32) (result i32)
          (drop (version.major)) 1:i32)
        (func (export "child") (report (i64.extend_i32_s (trap.catch 0:i32 0:i32))))
        {START}
          (drop (process.create_config))
          (process.config_allow_namespace 0:i64 @"lunatic::distributed::")
          (process.config_allow_namespace 0:i64 @"lunatic::trap::")
          (process.monitor (call $spawn_with 0:i64 @"child"))
          (is32 (call $receive_any -1:i64) 2:i32))"""
    )
    assert lab.reports == [0]


async def test_with_a_compute_limit_as_well(lab: Lab) -> None:
    config = ProcessConfig.program(namespaces=["lunatic::version::"], max_fuel=1)
    assert (await lab.run(f"{START} (drop (version.major)))", config=config)).reason == "returned"
    assert REFUSED in (await lab.run(f"{START} (drop (process.process_id)))", config=config)).reason
    assert "compute limit" in (await lab.run(f"{START} (loop $l (br $l)))", config=config)).reason


async def test_more_different_sets_than_are_kept_linked(lab: Lab) -> None:
    # Each process may call another function, and one more may never be called.
    module = await lab.load(f"{START} (drop (version.major)) (drop (process.process_id)))")
    for row in HOST_CALLS[:90]:
        namespaces = ["lunatic::version::major", row.full_name]
        reason = (await lab.run(module, config=ProcessConfig.program(namespaces=namespaces))).reason
        assert (reason == "returned") == (row.name == "process_id"), row.full_name


async def test_bad_input(lab: Lab) -> None:
    make = "(drop (process.create_config))"
    assert "no config of that id" in await lab.traps(f'{START} (process.config_allow_namespace 0:i64 @"x"))')
    assert "not UTF-8" in await lab.traps(f'{START} {make} (process.config_allow_namespace 0:i64 @"\\ff"))')
    assert "outside" in await lab.traps(
        f"{START} {make} (process.config_allow_namespace 0:i64 65535:i32 2:i32))"
    )
    many = '(process.config_allow_namespace 0:i64 @"x")' * 65
    assert "at most 64 namespaces" in await lab.traps(f"{START} {make} {many})")


def test_what_two_lists_of_prefixes_have_in_common() -> None:
    def common(one: list[str] | None, other: list[str] | None) -> tuple[str, ...] | None:
        child, parent = ProcessConfig.program(namespaces=one), ProcessConfig.program(namespaces=other)
        return child.within(parent).namespaces

    assert common(None, None) is None
    assert common(None, ["a"]) == ("a",)
    assert common(["a"], None) == ("a",)
    assert common(["a"], []) == ()
    assert common(["ab", "c"], ["a", "cd", "x"]) == ("ab", "cd")
    assert common([""], ["a", "b"]) == ("a", "b")
    assert common(["a", "ab"], ["a"]) == ("a", "ab")


async def test_what_two_configs_allow_has_a_bound_too(lab: Lab) -> None:
    # Sixty prefixes of each are longer than one of the other: 122 of both, and a config has 64.
    own = ("lunatic::", "wasi", "b", *(f"a{number}" for number in range(60)))
    allow = "".join(
        f'(process.config_allow_namespace 0:i64 @"{prefix}")'
        for prefix in ("lunatic::", "wasi", "a", *(f"b{number}" for number in range(60)))
    )
    await lab.passes(
        f"""(func (export "_start")
          (is64 (process.create_config) 0:i64) {allow}
          (process.config_set_can_spawn_processes 0:i64 1:i32)
          (drop (call $spawn_with 0:i64 @"child"))
          (is64 (call $receive) 0:i64))
        (func (export "child")
          (is32 (process.get_or_spawn @"name" 0:i64 -1:i64 -1:i64 @"grandchild"
            0:i32 0:i32 0:i32 8:i32) 0:i32))
        (func (export "grandchild") (call $send 1:i64 0:i64 0:i64))""",
        config=ProcessConfig.program(namespaces=own),
    )


def test_what_two_configs_allow_is_never_too_much_for_a_third() -> None:
    one = ProcessConfig(namespaces=("b", *(f"a{number}" for number in range(63))))
    other = ProcessConfig(namespaces=("a", *(f"b{number}" for number in range(63))))
    one.within(other).check_texts()
