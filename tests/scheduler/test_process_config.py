"""Configs: what a guest may set, and that a child never gets more than its parent."""

from __future__ import annotations

from pathlib import Path

import pytest

from luna.scheduler import ProcessConfig

from .lab import Lab

START = '(func (export "_start")'
CONFIG_FUNCTIONS = [
    "(drop (process.config_get_max_memory 0:i64))",
    "(process.config_set_max_memory 0:i64 1:i64)",
    "(drop (process.config_get_max_fuel 0:i64))",
    "(process.config_set_max_fuel 0:i64 1:i64)",
    "(drop (process.config_can_compile_modules 0:i64))",
    "(process.config_set_can_compile_modules 0:i64 1:i32)",
    "(drop (process.config_can_create_configs 0:i64))",
    "(process.config_set_can_create_configs 0:i64 1:i32)",
    "(drop (process.config_can_spawn_processes 0:i64))",
    "(process.config_set_can_spawn_processes 0:i64 1:i32)",
    "(process.drop_config 0:i64)",
    '(wasi.config_add_environment_variable 0:i64 @"k" @"v")',
    '(wasi.config_add_command_line_argument 0:i64 @"a")',
    '(wasi.config_preopen_dir 0:i64 @"d")',
]


async def test_a_new_config_has_no_rights_and_4_gib(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (is64 (process.create_config) 0:i64)
        (is64 (process.create_config) 1:i64)
        (is64 (process.config_get_max_memory 1:i64) 4294967295:i64)
        (is64 (process.config_get_max_fuel 1:i64) 0:i64)
        (is32 (process.config_can_compile_modules 1:i64) 0:i32)
        (is32 (process.config_can_create_configs 1:i64) 0:i32)
        (is32 (process.config_can_spawn_processes 1:i64) 0:i32))""")


async def test_what_was_set_is_read_back(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (drop (process.create_config))
        (process.config_set_max_memory 0:i64 65536:i64) (is64 (process.config_get_max_memory 0:i64) 65536:i64)
        (process.config_set_max_fuel 0:i64 3:i64) (is64 (process.config_get_max_fuel 0:i64) 3:i64)
        (process.config_set_can_compile_modules 0:i64 1:i32) (is32
          (process.config_can_compile_modules 0:i64) 1:i32)
        (process.config_set_can_create_configs 0:i64 7:i32) (is32
          (process.config_can_create_configs 0:i64) 1:i32)
        (process.config_set_can_spawn_processes 0:i64 -1:i32) (is32
          (process.config_can_spawn_processes 0:i64) 1:i32)
        (process.config_set_can_spawn_processes 0:i64 0:i32) (is32
          (process.config_can_spawn_processes 0:i64) 0:i32))""")


async def test_without_the_right_no_config_is_made(lab: Lab) -> None:
    await lab.passes(f"{START} (is64 (process.create_config) -1:i64))", config=ProcessConfig())


@pytest.mark.parametrize("call", CONFIG_FUNCTIONS)
async def test_an_unknown_config_traps(lab: Lab, call: str) -> None:
    assert "no config of that id" in await lab.traps(f"{START} {call})")
    assert "no config of that id" in await lab.traps(
        f"{START} (drop (process.create_config)) (process.drop_config 0:i64) {call})"
    )


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            "(wasi.config_add_environment_variable 0:i64 65536:i32 1:i32 0:i32 0:i32)",
            "outside the guest's memory",
        ),
        (
            "(wasi.config_add_environment_variable 0:i64 0:i32 0:i32 65536:i32 1:i32)",
            "outside the guest's memory",
        ),
        ("(wasi.config_add_command_line_argument 0:i64 65536:i32 1:i32)", "outside the guest's memory"),
        ("(wasi.config_preopen_dir 0:i64 65536:i32 1:i32)", "outside the guest's memory"),
        ('(wasi.config_add_command_line_argument 0:i64 @"\\ff\\fe")', "not UTF-8"),
        ('(wasi.config_add_command_line_argument 0:i64 @"a\\00b")', "zero byte"),
        ('(wasi.config_preopen_dir 0:i64 @"/")', "does not have that directory itself"),
    ],
)
async def test_a_bad_text_for_a_config_traps(lab: Lab, call: str, text: str) -> None:
    assert text in await lab.traps(f"{START} (drop (process.create_config)) {call})")


FILL = """
    (func $fill (param $config i64)
      (wasi.config_add_command_line_argument (local.get $config) 0:i32 60000:i32))
    (func $full (result i64) (local $config i64) (local $n i32)
      (local.set $config (process.create_config))
      (loop $again
        (call $fill (local.get $config))
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) 1:i32)) 34:i32)))
      (local.get $config))"""
TEXTS = {
    "bytes of arguments": "(call $fill 0:i64)",
    "empty arguments": "(wasi.config_add_command_line_argument 0:i64 0:i32 0:i32)",
    "bytes of variables": "(wasi.config_add_environment_variable 0:i64 0:i32 30000:i32 0:i32 30000:i32)",
    "empty variables": "(wasi.config_add_environment_variable 0:i64 0:i32 0:i32 0:i32 0:i32)",
    "directories": '(wasi.config_preopen_dir 0:i64 @".")',
    "full configs": "(drop (call $full))",
}


@pytest.mark.parametrize("add", TEXTS.values(), ids=TEXTS.keys())
async def test_what_configs_hold_is_bounded(lab: Lab, tmp_path: Path, add: str) -> None:
    """A guest of one page must not fill the node's memory with texts."""
    reason = await lab.traps(
        f"""{FILL} {START} (local $n i32)
          (memory.fill 0:i32 65:i32 65536:i32)
          (i32.store8 4096:i32 46:i32)
          (drop (process.create_config))
          (loop $again
            {add}
            (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) 1:i32)) 10000:i32))))""",
        config=ProcessConfig.program(preopens=[(".", str(tmp_path))]),
    )
    assert "a config holds at most 4096 entries and 2 MiB" in reason


async def test_a_dropped_config_gives_its_room_back(lab: Lab) -> None:
    """140 full ones at once would be more than is kept for one process."""
    await lab.passes(f"""{FILL} {START} (local $n i32)
        (memory.fill 0:i32 65:i32 60000:i32)
        (loop $again
          (process.drop_config (call $full))
          (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) 1:i32)) 140:i32))))""")


RIGHTS = """
    (func $config (result i64) (local $config i64)
      (local.set $config (process.create_config))
      (process.config_set_can_compile_modules (local.get $config) 1:i32)
      (process.config_set_can_create_configs (local.get $config) 1:i32)
      (process.config_set_can_spawn_processes (local.get $config) 1:i32)
      (local.get $config))"""


async def test_a_child_config_gives_the_rights_that_the_parent_has(lab: Lab) -> None:
    await lab.passes(f"""
        {RIGHTS}
        {START}
          (drop (call $spawn_with (call $config) @"child"))
          (is64 (call $receive) 0:i64))
        (func (export "child")
          (drop (process.create_config))
          (is32 (process.compile_module @"(module)" 0:i32) 0:i32)
          (drop (call $spawn @"nothing"))
          (call $send 1:i64 0:i64 0:i64))
        (func (export "nothing"))""")


async def test_a_child_never_gets_a_right_that_its_parent_lacks(lab: Lab) -> None:
    await lab.passes(
        f"""
        {RIGHTS}
        {START}
          (drop (call $spawn_with (call $config) @"child"))
          (is64 (call $receive) 0:i64))
        (func (export "child")
          ;; compiling was not the parent's to give
          (is32 (process.compile_module @"(module)" 0:i32) -1:i32)
          (drop (process.create_config))
          (drop (call $spawn @"nothing"))
          (call $send 1:i64 0:i64 0:i64))
        (func (export "nothing"))""",
        config=ProcessConfig(can_create_configs=True, can_spawn_processes=True),
    )


async def test_a_grandchild_cannot_regain_a_right(lab: Lab) -> None:
    await lab.passes(f"""
        {RIGHTS}
        {START} (local $config i64)
          (local.set $config (call $config))
          (process.config_set_can_compile_modules (local.get $config) 0:i32)
          (drop (call $spawn_with (local.get $config) @"child"))
          (is64 (call $receive) 0:i64))
        (func (export "child") (drop (call $spawn_with (call $config) @"grandchild")))
        (func (export "grandchild")
          (is32 (process.compile_module @"(module)" 0:i32) -1:i32)
          (call $send 1:i64 0:i64 0:i64))""")


@pytest.mark.parametrize(("given", "pages"), [(10 * 65536, 10), (1 << 40, 16), (-1, 16)])
async def test_a_child_gets_no_more_memory_than_its_parent(lab: Lab, given: int, pages: int) -> None:
    await lab.passes(
        f"""
        {START} (local $config i64)
          (local.set $config (process.create_config))
          (process.config_set_max_memory (local.get $config) {given}:i64)
          (drop (call $spawn_with (local.get $config) @"child"))
          (is64 (call $receive) {pages}:i64))
        (func (export "child")
          (loop $again (br_if $again (i32.ne (memory.grow 1:i32) -1:i32)))
          (call $send 1:i64 0:i64 (i64.extend_i32_u (memory.size))))""",
        config=ProcessConfig.program(max_memory_bytes=16 * 65536),
    )


@pytest.mark.parametrize("units", [0, 1000])
async def test_a_child_gets_no_more_compute_than_its_parent(lab: Lab, units: int) -> None:
    await lab.passes(
        f"""
        {START} (local $config i64)
          (local.set $config (process.create_config))
          (process.config_set_max_fuel (local.get $config) {units}:i64)
          (process.monitor (call $spawn_with (local.get $config) @"child"))
          (is32 (call $receive_any 15000:i64) 2:i32))
        (func (export "child") (call $spin))""",
        config=ProcessConfig.program(max_fuel=5),
    )


async def test_changing_or_dropping_a_config_later_does_not_touch_the_child(lab: Lab) -> None:
    await lab.passes(f"""
        {RIGHTS}
        {START} (local $config i64) (local $child i64)
          (local.set $config (call $config))
          (local.set $child (call $spawn_with (local.get $config) @"child"))
          (process.config_set_can_create_configs (local.get $config) 0:i32)
          (process.drop_config (local.get $config))
          (call $send (local.get $child) 0:i64 0:i64)
          (is64 (call $receive) 0:i64))
        (func (export "child")
          (drop (call $receive))
          (call $send 1:i64 0:i64 (process.create_config)))""")


PRINT_ARGUMENTS = """
    (func $print (param $count i32) (param $from i32)
      (i32.store 400:i32 (local.get $from)) (i32.store 404:i32 (local.get $count))
      (drop (wasi.fd_write 1:i32 400:i32 1:i32 408:i32)))
    (func (export "child")
      (drop (wasi.args_sizes_get 0:i32 4:i32))
      (drop (wasi.args_get 8:i32 200:i32))
      (call $print (i32.load 4:i32) 200:i32)
      (drop (wasi.environ_sizes_get 0:i32 4:i32))
      (drop (wasi.environ_get 8:i32 200:i32))
      (call $print (i32.load 4:i32) 200:i32)
      (call $send 1:i64 0:i64 0:i64))"""


async def test_arguments_and_variables_of_a_config_reach_the_child(lab: Lab) -> None:
    pid = await lab.spawn(f"""
        {PRINT_ARGUMENTS}
        {START}
          (drop (process.create_config))
          (wasi.config_add_command_line_argument 0:i64 @"one")
          (wasi.config_add_command_line_argument 0:i64 @"")
          (wasi.config_add_environment_variable 0:i64 @"KEY" @"a=b")
          (drop (call $spawn_with 0:i64 @"child"))
          (drop (call $receive)))""")
    assert await lab.output(pid) == b"one\0\0KEY=a=b\0"


async def test_a_directory_can_be_handed_on_under_its_name_only(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content!")
    source = f"""
        {START}
          (drop (process.create_config))
          (wasi.config_preopen_dir 0:i64 @"data")
          (drop (call $spawn_with 0:i64 @"child"))
          (is64 (call $receive) {int.from_bytes(b"content!", "little")}:i64))
        (func (export "child")
          (is32 (wasi.path_open 3:i32 0:i32 @"file" 0:i32 2:i64 0:i64 0:i32 0:i32) 0:i32)
          (i32.store 8:i32 16:i32) (i32.store 12:i32 8:i32)
          (is32 (wasi.fd_read (i32.load 0:i32) 8:i32 1:i32 32:i32) 0:i32)
          (call $send 1:i64 0:i64 (i64.load 16:i32)))"""
    await lab.passes(source, config=ProcessConfig.program(preopens=[("data", str(tmp_path))]))
    # The host path is not a name the guest knows.
    reason = await lab.traps(source, config=ProcessConfig.program(preopens=[("other", str(tmp_path))]))
    assert "does not have that directory itself" in reason


async def test_a_child_without_a_config_of_its_own_gets_its_parents(lab: Lab) -> None:
    pid = await lab.spawn(
        f'{PRINT_ARGUMENTS} {START} (drop (call $spawn @"child")) (drop (call $receive)))',
        config=ProcessConfig.program(arguments=["prog", "x"], environment_variables=[("A", "1")]),
    )
    assert await lab.output(pid) == b"prog\0x\0A=1\0"


async def test_a_directory_that_does_not_exist_is_an_error_of_the_spawn(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="cannot be opened on this node"):
        await lab.spawn(
            f"{START} (drop (wasi.sched_yield)) (drop (wasi.fd_close 9:i32)))",
            config=ProcessConfig.program(preopens=[("data", str(tmp_path / "missing"))]),
        )


@pytest.mark.parametrize(
    "call",
    [
        "(process.config_allow_namespace 0:i64 0:i32 2097153:i32)",
        "(wasi.config_add_command_line_argument 0:i64 0:i32 2097153:i32)",
        "(wasi.config_add_environment_variable 0:i64 0:i32 0:i32 0:i32 2097153:i32)",
        "(wasi.config_preopen_dir 0:i64 0:i32 2097153:i32)",
    ],
)
async def test_a_text_that_is_too_long_is_not_even_looked_at(lab: Lab, call: str) -> None:
    reason = await lab.traps(f"""(memory (export "memory") 33)
        (func (export "_start")
          (memory.fill 1:i32 0xff:i32 2097152:i32)
          (drop (process.create_config)) {call})""")
    assert "a config holds at most 4096 entries and 2 MiB" in reason
