"""Names and versions of processes in early environments."""

from __future__ import annotations

import pytest

from luna.scheduler.services.early_registry import MAX_VERSIONS

from .lab import Lab, wait_for

START = '(func (export "_start")'
OUTSIDE = "outside the guest's memory"

# The root environment is 0, and this process 0.
BEGIN = "(drop (process.this_env@0.6)) (drop (process.this@0.6))"
REGISTER = '(is32 (process.register@0.6 @"name" @"1.2.3" 0:i64 0:i64) 0:i32)'


def lookup(query: str, result: int, name: str = "name") -> str:
    return f'(is32 (process.lookup@0.6 @"{name}" @"{query}" 0:i32) {result}:i32)'


async def test_a_process_is_found_by_a_version_that_will_do(lab: Lab) -> None:
    await lab.passes(f"""{START}
        {BEGIN} {REGISTER}
        {lookup("^1.2", 0)} (is64 (i64.load 0:i32) 1:i64)
        {lookup("*", 0)} (is64 (i64.load 0:i32) 2:i64)
        {lookup("~1.2.4", 2)} {lookup("2", 2)} {lookup("1", 2, "other")}
        (call $early_send 2:i64 0:i64 5:i64) (is64 (call $early_receive) 5:i64))""")


async def test_what_was_added_last_is_found_and_not_the_highest_version(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "child") (gate))
        (func $found (param $process i64)
          {lookup("1", 0)}
          (process.id@0.6 (i64.load 0:i32) 16:i32)
          (process.id@0.6 (local.get $process) 32:i32)
          (is64 (i64.load 16:i32) (i64.load 32:i32)))
        {START}
          {BEGIN}
          (is64 (call $early_spawn 0:i64 @"child") 1:i64)
          (is64 (call $early_spawn 0:i64 @"child") 2:i64)
          (is32 (process.register@0.6 @"name" @"1.9.0" 0:i64 0:i64) 0:i32)
          (is32 (process.register@0.6 @"name" @"1.5.0" 0:i64 1:i64) 0:i32)
          (call $found 1:i64)
          ;; in the place of the one before, not behind the last
          (is32 (process.register@0.6 @"name" @"1.9.0" 0:i64 2:i64) 0:i32)
          (call $found 1:i64)
          (is32 (process.unregister@0.6 @"name" @"1.5.0" 0:i64) 0:i32)
          (call $found 2:i64))""")


async def test_a_version_of_a_build_is_one_of_its_own(lab: Lab) -> None:
    await lab.passes(f"""{START}
        {BEGIN} {REGISTER}
        (is32 (process.unregister@0.6 @"name" @"1.2.3+build" 0:i64) 2:i32)
        (is32 (process.register@0.6 @"name" @"1.2.3+build" 0:i64 0:i64) 0:i32)
        (is32 (process.unregister@0.6 @"name" @"1.2.3" 0:i64) 0:i32)
        {lookup("1", 0)})""")


async def test_what_is_malformed_is_1_where_something_has_the_name(lab: Lab) -> None:
    await lab.passes(f"""{START}
        {BEGIN}
        (is32 (process.register@0.6 @"name" @"1.2" 0:i64 0:i64) 1:i32)
        {lookup("no query", 2)}
        (is32 (process.unregister@0.6 @"name" @"no version" 0:i64) 2:i32)
        {REGISTER}
        {lookup("no query", 1)}
        (is32 (process.lookup@0.6 @"name" 0:i32 0:i32 0:i32) 1:i32)
        (is32 (process.unregister@0.6 @"name" @"1" 0:i64) 1:i32)
        (is32 (process.unregister@0.6 @"name" @"1.2.3" 0:i64) 0:i32)
        (is32 (process.unregister@0.6 @"name" @"1.2.3" 0:i64) 2:i32))""")


async def test_an_environment_has_names_of_its_own(lab: Lab) -> None:
    # The child sees the names of its environment, the parent can only add to them.
    await lab.passes(f"""
        (func (export "child")
          (report (i64.extend_i32_s (process.lookup@0.6 @"name" @"1" 0:i32)))
          (report (i64.extend_i32_s (process.lookup@0.6 @"there" @"1" 0:i32)))
          (is64 (process.this_env@0.6) 0:i64)
          (report (i64.extend_i32_s (process.unregister@0.6 @"there" @"1.0.0" 0:i64)))
          (report (i64.extend_i32_s (process.lookup@0.6 @"there" @"1" 0:i32))))
        {START} (local $module i64)
          {BEGIN} {REGISTER}
          (local.set $module (call $early_module 0:i32 0:i32))
          (is32 (process.register@0.6 @"there" @"1.0.0" 1:i64 0:i64) 0:i32)
          {lookup("1", 2, "there")}
          (call $early_await_end (call $early_spawn_in (local.get $module) @"child")))""")
    assert lab.reports == [2, 0, 0, 2]


async def test_names_are_forgotten_with_their_environment(lab: Lab) -> None:
    registry = lab.runtime._early_registry
    pid = await lab.spawn(f"""
        {START}
          {BEGIN} {REGISTER}
          (drop (call $early_module 0:i32 0:i32))
          (is32 (process.register@0.6 @"a" @"1.0.0" 1:i64 0:i64) 0:i32)
          (is32 (process.register@0.6 @"b" @"1.0.0" 1:i64 0:i64) 0:i32)
          (process.drop_environment@0.6 1:i64)
          (report 1:i64) (gate)
          (process.drop_module 0:i64)
          (report 2:i64) (process.sleep_ms 60000:i64))""")
    await wait_for(lambda: lab.reports == [1])
    assert registry._names[1].count == 3
    lab.gate.set()
    await wait_for(lambda: registry._names[1].count == 1)
    lab.runtime.kill(pid)


async def test_one_that_has_died_is_not_found(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "child"))
        {START}
          {BEGIN} {REGISTER}
          (is64 (call $early_spawn 0:i64 @"child") 1:i64)
          (is32 (process.register@0.6 @"name" @"1.3.0" 0:i64 1:i64) 0:i32)
          (is32 (process.register@0.6 @"dead" @"1.0.0" 0:i64 1:i64) 0:i32)
          (call $early_await_end 1:i64)
          {lookup("1", 0)}
          (process.id@0.6 (i64.load 0:i32) 16:i32) (process.id@0.6 0:i64 32:i32)
          (is64 (i64.load 16:i32) (i64.load 32:i32))
          {lookup("1", 2, "dead")})""")


async def test_names_of_other_environments_of_today_are_not_seen(lab: Lab) -> None:
    module = await lab.load(f"""
        (func (export "registers") {BEGIN} {REGISTER} (report 1:i64) (gate))
        (func (export "looks") {lookup("1", 2)})""")
    pid = await lab.spawn(module, entry="registers", environment=5)
    await wait_for(lambda: lab.reports == [1])
    await lab.passes(module, entry="looks", environment=6)
    lab.gate.set()
    await lab.wait_exit(pid)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ('register@0.6 @"n" @"1.0.0" 7:i64 0:i64', "no environment of id 7"),
        ('register@0.6 @"n" @"1.0.0" 0:i64 7:i64', "no process of id 7"),
        ('register@0.6 @"\\ff" @"1.0.0" 0:i64 0:i64', "not UTF-8"),
        ('register@0.6 @"n" @"\\ff" 0:i64 0:i64', "not UTF-8"),
        ('register@0.6 65535:i32 2:i32 @"1.0.0" 0:i64 0:i64', OUTSIDE),
        ('register@0.6 @"n" 65535:i32 2:i32 0:i64 0:i64', OUTSIDE),
        ('register@0.6 0:i32 4097:i32 @"1.0.0" 0:i64 0:i64', "at most 4096 bytes"),
        ('unregister@0.6 @"n" @"1.0.0" 7:i64', "no environment of id 7"),
        ('unregister@0.6 @"\\ff" @"1.0.0" 0:i64', "not UTF-8"),
        ('unregister@0.6 @"n" 65535:i32 2:i32 0:i64', OUTSIDE),
        ('lookup@0.6 @"\\ff" @"1" 0:i32', "not UTF-8"),
        ('lookup@0.6 @"n" 65535:i32 2:i32 0:i32', OUTSIDE),
        ('lookup@0.6 @"n" @"1" 65529:i32', OUTSIDE),
        ('lookup@0.6 @"n" 0:i32 -1:i32 0:i32', "at most 4096 bytes"),
    ],
)
async def test_bad_arguments_trap(lab: Lab, call: str, text: str) -> None:
    assert text in await lab.traps(f"{START} {BEGIN} (drop (process.{call})))")


async def test_a_name_has_a_bounded_number_of_versions(lab: Lab) -> None:
    reason = await lab.traps(f"""
        {START} (local $n i32)
          {BEGIN}
          (memory.copy 0:i32 @"1.1.100000")
          (loop $again
            (i64.store 4:i32 0x3030303030303030:i64)
            (i32.store8 4:i32 0x31:i32)
            (i32.store8 5:i32 (i32.add 0x30:i32 (i32.div_u (local.get $n) 1000:i32)))
            (i32.store8 6:i32 (i32.add 0x30:i32 (i32.rem_u (i32.div_u (local.get $n) 100:i32) 10:i32)))
            (i32.store8 7:i32 (i32.add 0x30:i32 (i32.rem_u (i32.div_u (local.get $n) 10:i32) 10:i32)))
            (i32.store8 8:i32 (i32.add 0x30:i32 (i32.rem_u (local.get $n) 10:i32)))
            (is32 (process.register@0.6 @"name" 0:i32 9:i32 0:i64 0:i64) 0:i32)
            (br_if $again (i32.lt_s (local.tee $n (i32.add (local.get $n) 1:i32)) 2000:i32))))""")
    assert f"at most {MAX_VERSIONS} versions of a name" in reason
