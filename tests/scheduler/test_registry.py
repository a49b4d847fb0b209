"""Names, `get_or_spawn`, and that dead processes leave the registry."""

from __future__ import annotations

import pytest

from luna.proto.errors import InvalidError
from luna.proto.limits import MAX_ENTRY_BYTES, MAX_PARAMS
from luna.scheduler import ExitKind, ProcessConfig, pressure

from .lab import Lab, open_lab, wait_for
from .wat import param

START = '(func (export "_start")'
SELF = "(process.process_id)"
# Looks a name up; both ids are written to 0 and 8.
GET = "(func $get (param i32 i32) (result i32) (registry.get (local.get 0) (local.get 1) 0:i32 8:i32))"
GET_OR_SPAWN = """
    (func $get_or_spawn (param $name i32) (param $name_size i32)
        (param $entry i32) (param $entry_size i32) (result i32)
      (process.get_or_spawn (local.get $name) (local.get $name_size) 0:i64 -1:i64 -1:i64
        (local.get $entry) (local.get $entry_size) 0:i32 0:i32 0:i32 8:i32))"""


async def test_a_name_is_found_after_it_was_put(lab: Lab) -> None:
    await lab.passes(f"""{GET} {START}
        (i64.store 0:i32 -1:i64)
        (is32 (call $get @"name") 1:i32)
        (is64 (i64.load 0:i32) -1:i64)
        (registry.put @"name" 0:i64 {SELF})
        (is32 (call $get @"name") 0:i32)
        (is64 (i64.load 0:i32) 0:i64) (is64 (i64.load 8:i32) {SELF}))""")


async def test_putting_replaces_and_removing_forgets(lab: Lab) -> None:
    await lab.passes(f"""{GET} {START}
        (registry.put @"name" 0:i64 (call $spawn @"other"))
        (registry.put @"name" 0:i64 {SELF})
        (is32 (call $get @"name") 0:i32) (is64 (i64.load 8:i32) {SELF})
        (registry.remove @"name")
        (is32 (call $get @"name") 1:i32)
        (registry.remove @"name"))
        (func (export "other"))""")


async def test_names_are_any_text(lab: Lab) -> None:
    await lab.passes(f"""{GET} {START}
        (registry.put 0:i32 0:i32 0:i64 {SELF})
        (is32 (call $get 0:i32 0:i32) 0:i32)
        (registry.put @"a/b\\00c\\c3\\a4" 0:i64 {SELF})
        (is32 (call $get @"a/b\\00c\\c3\\a4") 0:i32)
        (is32 (call $get @"a/b") 1:i32))""")


async def test_a_dead_process_leaves_the_registry(lab: Lab) -> None:
    await lab.passes(f"""{GET} {START} (local $child i64)
        (local.set $child (call $spawn @"child"))
        (registry.put @"name" 0:i64 (local.get $child))
        (process.monitor (local.get $child))
        (call $send (local.get $child) 0:i64 0:i64)
        (is32 (call $receive_any 10000:i64) 2:i32)
        (is32 (call $get @"name") 1:i32))
        (func (export "child") (drop (call $receive)))""")


# Stores a number as three bytes of ASCII at 0.
MANY = """
    (func $store (param $n i32)
      (i32.store 0:i32 (i32.or (i32.and (local.get $n) 0x7f:i32)
        (i32.or (i32.and (i32.shl (local.get $n) 1:i32) 0x7f00:i32)
                (i32.and (i32.shl (local.get $n) 2:i32) 0x7f0000:i32)))))"""


def for_each_name(body: str, count: int = 100_000) -> str:
    return f"""(local.set $n 0:i32)
        (loop $again
          (call $store (local.get $n)) {body}
          (local.set $n (i32.add (local.get $n) 1:i32))
          (br_if $again (i32.lt_u (local.get $n) {count}:i32)))"""


async def test_who_has_many_names_holds_up_nobody(lab: Lab) -> None:
    # Each in a time that does not grow with their number, or this would take minutes.
    await lab.passes(f"""{MANY} {GET} {START} (local $n i32)
        {for_each_name(f"(registry.put 0:i32 3:i32 0:i64 {SELF})")}
        {for_each_name(f"(registry.put 0:i32 3:i32 0:i64 {SELF})")}
        {for_each_name("(registry.remove 0:i32 3:i32)")}
        {for_each_name(f"(registry.put 0:i32 3:i32 0:i64 {SELF})")})""")
    await lab.passes(f"""{MANY} {START} (local $n i32)
        {for_each_name("(is32 (registry.get 0:i32 3:i32 8:i32 16:i32) 1:i32)")})""")


async def test_names_take_so_many_bytes_and_die_with_their_process(lab: Lab) -> None:
    for _ in range(2):
        reason = await lab.traps(f"""{MANY} {START} (local $n i32)
            {for_each_name(f"(registry.put 0:i32 4096:i32 0:i64 {SELF})", 40_000)})""")
        assert "an environment has at most 1000000 names of 128 MiB together" in reason


async def test_a_name_for_who_is_dead_stands_for_nobody(lab: Lab) -> None:
    await lab.passes(f"""{GET} (func (export "dies")) {START} (local $dead i64)
        (local.set $dead (call $spawn @"dies"))
        (process.monitor (local.get $dead))
        (is32 (call $receive_any -1:i64) 2:i32)
        (registry.put @"name" 0:i64 {SELF})
        (registry.put @"name" 0:i64 (local.get $dead))
        (is32 (call $get @"name") 1:i32))""")


async def test_a_pid_of_another_node_stays_registered(lab: Lab) -> None:
    await lab.passes(f"""{GET} {START}
        (registry.put @"name" 5:i64 {5 << 40 | 1}:i64)
        (is32 (call $get @"name") 0:i32)
        (is64 (i64.load 0:i32) 5:i64) (is64 (i64.load 8:i32) {5 << 40 | 1}:i64))""")


async def test_environments_have_names_of_their_own(lab: Lab) -> None:
    await lab.spawn(
        f'{START} (registry.put @"name" 0:i64 {SELF}) (report 1:i64) (call $park))', environment=1
    )
    await wait_for(lambda: lab.reports == [1])
    look = f'{GET} {START} (report (i64.extend_i32_u (call $get @"name"))))'
    await lab.passes(look, environment=2)
    await lab.passes(look, environment=1)
    assert lab.reports == [1, 1, 0]


@pytest.mark.parametrize(
    "call",
    [
        "(registry.put {} 0:i64 1:i64)",
        "(drop (registry.get {} 0:i32 8:i32))",
        "(registry.remove {})",
        "(drop (process.get_or_spawn {} 0:i64 -1:i64 -1:i64 0:i32 0:i32 0:i32 0:i32 0:i32 0:i32))",
    ],
)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("65536:i32 1:i32", "outside the guest's memory"),
        ('@"\\ff"', "not UTF-8"),
        ("0:i32 4097:i32", "at most 4096 bytes"),
    ],
)
async def test_a_bad_name_traps(lab: Lab, call: str, name: str, text: str) -> None:
    assert text in await lab.traps(f"{START} {call.format(name)})")


async def test_get_or_spawn_spawns_once_and_then_finds(lab: Lab) -> None:
    await lab.passes(f"""{GET} {GET_OR_SPAWN} {START}
        (is32 (call $get_or_spawn @"name" @"child") 0:i32)
        (is64 (i64.load 0:i32) 0:i64)
        (is64 (i64.load 8:i32) 2:i64)
        (is32 (call $get_or_spawn @"name" @"child") 2:i32)
        (is64 (i64.load 8:i32) 2:i64)
        (is32 (call $get @"name") 0:i32) (is64 (i64.load 8:i32) 2:i64))
        (func (export "child") (call $park))""")
    assert lab.runtime.statistics().spawned == 2


async def test_get_or_spawn_spawns_again_when_the_process_died(lab: Lab) -> None:
    await lab.passes(f"""{GET_OR_SPAWN} {START}
        (is32 (call $get_or_spawn @"name" @"child") 0:i32)
        (process.monitor (i64.load 8:i32))
        (process.kill (i64.load 8:i32))
        (is32 (call $receive_any 10000:i64) 2:i32)
        (is32 (call $get_or_spawn @"name" @"child") 0:i32)
        (is64 (i64.load 8:i32) 3:i64))
        (func (export "child") (call $park))""")


async def test_a_failed_get_or_spawn_is_code_1_and_registers_nothing(lab: Lab) -> None:
    await lab.passes(f"""{GET} {START}
        (is32
          (process.compile_module
            @"(module (start $s) (func $s unreachable) (func (export \\"f\\")))"
            0:i32) 0:i32)
        (is32 (process.get_or_spawn @"name" 0:i64 -1:i64 0:i64 @"f" 0:i32 0:i32 0:i32 8:i32) 1:i32)
        (if (i32.eqz (error.string_size (i64.load 8:i32))) (then unreachable))
        (is32 (call $get @"name") 1:i32))""")


async def test_get_or_spawn_is_refused_while_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pressure, "CHECK_S", 3600.0)  # only the test decides
    async with open_lab(held=()) as lab:
        lab.runtime._core.set_pressure(True)
        source = f"""{GET_OR_SPAWN} {START}
            (report (i64.extend_i32_u (call $get_or_spawn @"name" @"child")))) (func (export "child"))"""
        await lab.passes(source)
        lab.runtime._core.set_pressure(False)
        await lab.passes(source)
        assert lab.reports == [1, 0]


async def test_get_or_spawn_links_and_passes_parameters(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (process.die_when_link_dies 0:i32)
        (is32
          (process.get_or_spawn @"name" 42:i64 -1:i64 -1:i64 @"child" @"{param(0x7E, 77)}" 0:i32 8:i32) 0:i32)
        (is32 (call $receive_tag 42:i64 10000:i64) 1:i32)
        (is64 (call $receive) 77:i64))
        (func (export "child") (param i64) (call $send 1:i64 0:i64 (local.get 0)) unreachable)""")


async def test_get_or_spawn_needs_the_permission_only_to_spawn(lab: Lab) -> None:
    source = f"""{GET_OR_SPAWN} {START} (is32 (call $get_or_spawn @"name" @"child") 2:i32))
        (func (export "child") (call $park))"""
    assert "may not spawn" in await lab.traps(source, config=ProcessConfig())
    await lab.spawn(f'{START} (registry.put @"name" 0:i64 {SELF}) (report 1:i64) (call $park))')
    await wait_for(lambda: lab.reports == [1])
    await lab.passes(source, config=ProcessConfig())


async def test_get_or_spawn_cuts_the_rights_of_the_child(lab: Lab) -> None:
    await lab.passes(
        f"""{START}
          (drop (process.create_config))
          (process.config_set_can_compile_modules 0:i64 1:i32)
          (is32 (process.get_or_spawn @"name" 0:i64 0:i64 -1:i64 @"child" 0:i32 0:i32 0:i32 8:i32) 0:i32)
          (is64 (call $receive) -1:i64))
        (func (export "child")
          (call $send 1:i64 0:i64 (i64.extend_i32_s (process.compile_module @"(module)" 0:i32))))""",
        config=ProcessConfig(can_spawn_processes=True, can_create_configs=True),
    )


CALL = '(process.get_or_spawn @"n" 0:i64 -1:i64 -1:i64 {} {} 0:i32 8:i32)'


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ('(process.get_or_spawn @"n" 0:i64 0:i64 -1:i64 @"f" 0:i32 0:i32 0:i32 8:i32)', "no config of id"),
        ('(process.get_or_spawn @"n" 0:i64 -1:i64 9:i64 @"f" 0:i32 0:i32 0:i32 8:i32)', "no module of id"),
        ('(process.get_or_spawn @"n" 0:i64 -1:i64 -1:i64 @"f" 0:i32 16:i32 0:i32 8:i32)', "17-byte records"),
        (CALL.format('@"f"', f"0:i32 {17 * (MAX_PARAMS + 1)}:i32"), f"at most {MAX_PARAMS} parameters"),
        (CALL.format('@"f"', "0:i32 -17:i32"), f"at most {MAX_PARAMS} parameters"),
        (CALL.format(f"0:i32 {MAX_ENTRY_BYTES + 1}:i32", "0:i32 0:i32"), f"at most {MAX_ENTRY_BYTES} bytes"),
        (CALL.format("0:i32 -1:i32", "0:i32 0:i32"), f"at most {MAX_ENTRY_BYTES} bytes"),
        (
            f'(process.get_or_spawn @"n" 0:i64 -1:i64 -1:i64 @"f" @"{param(1, 0)}" 0:i32 8:i32)',
            "parameter type",
        ),
        (
            '(process.get_or_spawn @"n" 0:i64 -1:i64 -1:i64 @"f" 0:i32 0:i32 65535:i32 8:i32)',
            "outside the guest's",
        ),
        (
            '(process.get_or_spawn @"n" 0:i64 -1:i64 -1:i64 @"f" 0:i32 0:i32 0:i32 65535:i32)',
            "outside the guest's",
        ),
    ],
)
async def test_a_wrong_argument_of_get_or_spawn_traps_and_holds_no_name(
    lab: Lab, call: str, text: str
) -> None:
    assert text in await lab.traps(f"{START} (drop {call}))")
    await lab.passes(f'{GET} {START} (is32 (call $get @"n") 1:i32))')
    assert lab.runtime.processes() == []


async def test_callers_at_once_get_one_process(lab: Lab) -> None:
    await lab.passes(f"""{GET_OR_SPAWN}
        {START} (local $n i64) (local $first i64)
          (loop $again
            (drop (call $spawn @"caller"))
            (local.set $n (i64.add (local.get $n) 1:i64))
            (br_if $again (i64.lt_u (local.get $n) 50:i64)))
          (local.set $first (call $receive))
          (local.set $n 1:i64)
          (loop $again
            (is64 (call $receive) (local.get $first))
            (local.set $n (i64.add (local.get $n) 1:i64))
            (br_if $again (i64.lt_u (local.get $n) 50:i64))))
        (func (export "caller")
          (if (i32.eq (call $get_or_spawn @"name" @"server") 1:i32) (then unreachable))
          (call $send 1:i64 0:i64 (i64.load 8:i32)))
        (func (export "server") (call $park))""")
    assert lab.runtime.statistics().spawned == 52


async def test_a_caller_that_dies_while_spawning_frees_the_name(lab: Lab) -> None:
    slow = await lab.load(f"""{START}
        (is32
          (process.compile_module
            @"(module (start $s) (func $s (loop $l (br $l))) (func (export \\"f\\")))"
            0:i32) 0:i32)
        (report 1:i64)
        (drop (process.get_or_spawn @"name" 0:i64 -1:i64 0:i64 @"f" 0:i32 0:i32 0:i32 8:i32)))""")
    pid = await lab.spawn(slow)
    await wait_for(lambda: lab.runtime.statistics().processes == 2)
    lab.runtime.kill(pid)
    assert (await lab.wait_exit(pid)).kind is ExitKind.KILLED
    await lab.passes(f"""{GET_OR_SPAWN} {START} (is32 (call $get_or_spawn @"name" @"child") 0:i32))
        (func (export "child"))""")
    await wait_for(lambda: lab.runtime.statistics().processes == 0)


async def test_get_or_spawn_in_a_start_section_traps_and_holds_no_name(lab: Lab) -> None:
    source = """
        (func $start
          (if (i32.ne 2:i32
              (process.get_or_spawn @"n" 0:i64 -1:i64 -1:i64 @"child" 0:i32 0:i32 0:i32 8:i32))
            (then (unreachable))))
        (start $start)
        (func (export "child"))
        (func (export "_start"))"""
    with pytest.raises(InvalidError, match="not possible in the start section"):
        await lab.spawn(source)
    # A name that is there is found in a start section as well.
    holder = await lab.spawn('(func (export "_start") (registry.put @"n" 0:i64 (process.process_id)) (gate))')
    await wait_for(lambda: lab.at_gate == 1)
    await lab.passes(source)
    lab.gate.set()
    await lab.wait_exit(holder)


async def test_a_number_that_no_process_had_yet_can_be_registered(lab: Lab) -> None:
    await lab.passes(f"""{GET}
        (func (export "_start")
          (registry.put @"name" 5:i64 777777:i64)
          (is32 (call $get @"name") 0:i32)
          (is64 (i64.load 0:i32) 5:i64) (is64 (i64.load 8:i32) 777777:i64)
          (registry.remove @"name")
          (is32 (call $get @"name") 1:i32))""")
