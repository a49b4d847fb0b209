"""Environments of early Lunatic: what a child may do there, modules in them, and what is refused."""

from __future__ import annotations

import pytest

from luna.scheduler import ExitKind, ProcessConfig

from .lab import Lab, wait_for
from .test_early_processes import SHOW, printed

START = '(func (export "_start")'
OUTSIDE = "outside the guest's memory"
REFUSED = "its config does not allow that namespace"
NO_CONFIG = "this process has no config of that id"
NO_ENVIRONMENT = "this process has no environment of that id"

# An environment of the first config, the module in it, and a linked child there.
CHILD_THERE = """
    (is32 (process.create_environment@0.6 0:i64 0:i32) 0:i32)
    (is32 (process.add_this_module@0.6 (i64.load 0:i32) 8:i32) 0:i32)
    (is32 (process.spawn@0.6 1:i64 (i64.load 8:i32) @"child" 0:i32 0:i32 16:i32) 0:i32)
"""
SURVIVE = "(process.die_when_link_dies 0:i32)"
DIED = "(is32 (message.receive@0.6 1:i64 0:i32) 1:i32)"


# -- what children may do -----------------------------------------------------------------------


async def test_nothing_is_allowed_but_what_was_named(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "child") (report 1:i64) (drop (process.this@0.6)) (report 2:i64))
        {START}
          {SURVIVE}
          (is64 (process.create_config@0.6 10000000:i64 0:i64) 0:i64)
          (process.allow_namespace@0.6 0:i64 @"lunatic::dist")
          {CHILD_THERE} {DIED})""")
    assert lab.reports == [1]


async def test_rows_of_both_interfaces_are_allowed_by_one_prefix(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "child")
          (report (process.this@0.6)) (report (process.environment_id))
          (message.create_data 0:i64 0:i64) (message.send@0.6 0:i64) (report 3:i64))
        {START}
          {SURVIVE}
          (drop (process.create_config@0.6 10000000:i64 0:i64))
          (process.allow_namespace@0.6 0:i64 @"lunatic::d")
          (process.allow_namespace@0.6 0:i64 @"lunatic::process::")
          {CHILD_THERE} {DIED})""")
    assert lab.reports == [0, 1]


async def test_reading_the_sizes_of_the_environment_was_never_refused(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "child")
          (report (i64.extend_i32_s (wasi.environ_sizes_get 0:i32 4:i32)))
          (report (i64.load 0:i32))
          (drop (wasi.environ_get 8:i32 8:i32)) (report 2:i64))
        {START}
          {SURVIVE}
          (drop (process.create_config@0.6 10000000:i64 0:i64))
          (process.allow_namespace@0.6 0:i64 @"lunatic::distributed::")
          {CHILD_THERE} {DIED})""")
    assert lab.reports == [0, 0]


async def test_a_child_elsewhere_has_no_arguments_and_variables_but_one_here_has(lab: Lab) -> None:
    await lab.spawn(
        f"""
        (func (export "child")
          (drop (wasi.args_sizes_get 0:i32 4:i32)) (drop (wasi.environ_sizes_get 8:i32 12:i32))
          (report (i64.extend_i32_s (i32.add (i32.load 0:i32) (i32.mul (i32.load 8:i32) 10:i32)))))
        {START}
          (drop (process.create_config@0.6 10000000:i64 0:i64))
          (process.allow_namespace@0.6 0:i64 @"")
          {CHILD_THERE}
          (call $early_await_end (i64.load 16:i32))
          (drop (call $early_spawn 0:i64 @"child"))
          (gate))""",
        config=ProcessConfig.program(arguments=["one", "two"], environment_variables=[("N", "v")]),
    )
    await wait_for(lambda: lab.reports == [0, 12])


async def test_memory_is_limited(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "child") (report (i64.extend_i32_s (memory.grow 17:i32)))
          (report (i64.extend_i32_s (memory.grow 1:i32))))
        {START}
          (drop (process.create_config@0.6 1200000:i64 0:i64))
          (process.allow_namespace@0.6 0:i64 @"")
          {CHILD_THERE}
          (call $early_await_end (i64.load 16:i32)))""")
    assert lab.reports == [1, -1]


async def test_more_memory_from_the_start_is_code_1(lab: Lab) -> None:
    text = await printed(
        lab,
        f"""{SHOW} (memory (export "memory") 19)
        (func (export "child"))
        {START}
          (drop (process.create_config@0.6 1200000:i64 0:i64))
          (is32 (process.create_environment@0.6 0:i64 0:i32) 0:i32)
          (is32 (process.add_this_module@0.6 0:i64 8:i32) 0:i32)
          (is32 (process.spawn@0.6 1:i64 0:i64 @"child" 0:i32 0:i32 16:i32) 1:i32)
          (call $show 16:i32))""",
    )
    assert "memory" in text


@pytest.mark.parametrize("rounds", [1000, 100_000_000])
async def test_computation_is_limited(lab: Lab, rounds: int) -> None:
    end = DIED if rounds > 1000 else "(is32 (message.receive@0.6 0:i64 1:i32) 9027:i32)"
    await lab.passes(f"""
        (func (export "child") (local $n i32)
          (loop $again
            (br_if $again
              (i32.lt_s (local.tee $n (i32.add (local.get $n) 1:i32)) {rounds}:i32)))
          (report 1:i64))
        {START}
          {SURVIVE}
          (drop (process.create_config@0.6 10000000:i64 1:i64))
          (process.allow_namespace@0.6 0:i64 @"lunatic::")
          {CHILD_THERE}
          (call $early_await_end (i64.load 16:i32))
          {end})""")
    assert lab.reports == ([1] if rounds == 1000 else [])


async def test_a_child_never_gets_more_than_its_parent_has(lab: Lab) -> None:
    # The grandchild is spawned in an environment that allows everything, by one that may do little.
    await lab.passes(f"""
        (func (export "grandchild")
          (report (i64.extend_i32_s (memory.grow 10:i32)))
          (drop (version.major)) (report 2:i64))
        (func (export "child")
          {SURVIVE}
          (drop (process.create_config@0.6 -1:i64 0:i64))
          (process.allow_namespace@0.6 0:i64 @"")
          (is32 (process.create_environment@0.6 0:i64 0:i32) 0:i32)
          (is32 (process.add_this_module@0.6 0:i64 8:i32) 0:i32)
          (is32 (process.spawn@0.6 1:i64 0:i64 @"grandchild" 0:i32 0:i32 16:i32) 0:i32)
          (call $early_await_end (i64.load 16:i32))
          {DIED}
          (report 3:i64))
        {START}
          (drop (process.create_config@0.6 200000:i64 0:i64))
          (process.allow_namespace@0.6 0:i64 @"lunatic::process::")
          (process.allow_namespace@0.6 0:i64 @"lunatic::message::")
          (process.allow_namespace@0.6 0:i64 @"lunatic::distributed::")
          (process.allow_namespace@0.6 0:i64 @"wasi")
          {CHILD_THERE}
          (call $early_await_end (i64.load 16:i32)))""")
    assert lab.reports == [-1, 3]


async def test_what_a_child_may_is_what_the_environment_had_when_it_was_made(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "child") (report 1:i64))
        {START}
          {SURVIVE}
          (drop (process.create_config@0.6 10000000:i64 0:i64))
          (is32 (process.create_environment@0.6 0:i64 0:i32) 0:i32)
          (process.allow_namespace@0.6 0:i64 @"")
          (is32 (process.create_environment@0.6 0:i64 8:i32) 0:i32)
          (process.drop_config 0:i64)
          (is32 (process.add_this_module@0.6 0:i64 0:i32) 0:i32)
          (is32 (process.add_this_module@0.6 1:i64 0:i32) 0:i32)
          (process.drop_environment@0.6 0:i64) (process.drop_environment@0.6 1:i64)
          (is32 (process.spawn@0.6 1:i64 0:i64 @"child" 0:i32 0:i32 16:i32) 0:i32)
          {DIED}
          (call $early_await_end (call $early_spawn_in 1:i64 @"child")))""")
    assert lab.reports == [1]


async def test_the_same_environment_for_children_of_children(lab: Lab) -> None:
    # Through this_env, and through inherit_spawn.
    await lab.passes(f"""
        (func (export "grandchild") (report 1:i64) (drop (version.major)) (report 2:i64))
        (func (export "child") (local $module i64)
          {SURVIVE}
          (is32 (process.add_this_module@0.6 (process.this_env@0.6) 0:i32) 0:i32)
          (call $early_await_end (call $early_spawn_in (i64.load 0:i32) @"grandchild"))
          (call $early_await_end (call $early_spawn 1:i64 @"grandchild"))
          {DIED}
          (report 3:i64))
        {START}
          (drop (process.create_config@0.6 200000:i64 0:i64))
          (process.allow_namespace@0.6 0:i64 @"lunatic::process::")
          (process.allow_namespace@0.6 0:i64 @"lunatic::message::")
          (process.allow_namespace@0.6 0:i64 @"lunatic::distributed::")
          {CHILD_THERE}
          (call $early_await_end (i64.load 16:i32)))""")
    assert lab.reports == [1, 1, 3]


async def test_this_env_of_a_program(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "child") (report (i64.extend_i32_s (version.minor))))
        {START}
          (is64 (process.this_env@0.6) 0:i64)
          (is64 (process.this_env@0.6) 1:i64)
          (is32 (process.add_this_module@0.6 1:i64 0:i32) 0:i32)
          (call $early_await_end (call $early_spawn_in (i64.load 0:i32) @"child")))""")
    assert lab.reports == [13]


# -- modules ------------------------------------------------------------------------------------

OTHER = (
    r"(module (import \"lunatic::process\" \"this\" (func $t (result i64)))"
    r" (import \"lunatic::version\" \"major\" (func $m (result i32)))"
    r" (import \"lunatic::distributed\" \"nodes_count\" (func $n (result i32)))"
    r" (func (export \"may\") (drop (call $n))) (func (export \"not\") (drop (call $m))))"
)


async def test_another_module_runs_in_its_environment(lab: Lab) -> None:
    lab.gate.set()
    await lab.passes(f"""
        {START}
          {SURVIVE}
          (drop (process.create_config@0.6 10000000:i64 0:i64))
          (process.allow_namespace@0.6 0:i64 @"lunatic::distributed::")
          (is32 (process.create_environment@0.6 0:i64 0:i32) 0:i32)
          (is32 (process.add_module@0.6 0:i64 @"{OTHER}" 0:i32) 0:i32)
          (is64 (i64.load 0:i32) 0:i64)
          (is32 (process.spawn@0.6 1:i64 0:i64 @"may" 0:i32 0:i32 16:i32) 0:i32)
          (call $early_await_end (i64.load 16:i32))
          (is32 (process.spawn@0.6 1:i64 0:i64 @"not" 0:i32 0:i32 16:i32) 0:i32)
          {DIED}
          (is32 (message.receive@0.6 0:i64 1:i32) 9027:i32))""")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("garbage", "is not WebAssembly"),
        (r"\00asm", "not a valid WebAssembly module"),
        (
            r"(module (import \"lunatic::process\" \"nothing\" (func)))",
            "lunatic::process::nothing is unknown",
        ),
    ],
)
async def test_a_bad_module_is_code_1(lab: Lab, source: str, text: str) -> None:
    assert text in await printed(
        lab,
        f"""{SHOW} {START}
          (is32 (process.add_module@0.6 (process.this_env@0.6) @"{source}" 0:i32) 1:i32)
          (call $show 0:i32))""",
    )


async def test_without_the_right_to_compile_it_is_code_1(lab: Lab) -> None:
    await lab.passes(
        f"""{START}
          (is32 (process.add_module@0.6 (process.this_env@0.6) @"(module)" 0:i32) 1:i32)
          (is32 (process.add_this_module@0.6 0:i64 0:i32) 0:i32))""",
        config=ProcessConfig(),
    )


async def test_a_dropped_module_is_gone(lab: Lab) -> None:
    reason = await lab.traps(f"""{START}
        (is32 (process.add_this_module@0.6 (process.this_env@0.6) 0:i32) 0:i32)
        (is32 (process.add_this_module@0.6 0:i64 0:i32) 0:i32)
        (process.drop_module 0:i64)
        (drop (call $early_spawn_in 1:i64 @"_start2"))
        (process.drop_module 0:i64))
        (func (export "_start2"))""")
    assert "drop_module: this process has no module of that id" in reason


async def test_a_module_that_was_sent_runs_in_the_environment_of_who_spawns(lab: Lab) -> None:
    await lab.passes(f"""
        (func (export "child") (report (i64.extend_i32_s (version.minor))))
        {START}
          (drop (process.create_config@0.6 10000000:i64 0:i64))
          (is32 (process.create_environment@0.6 0:i64 0:i32) 0:i32)
          (is32 (process.add_this_module@0.6 0:i64 0:i32) 0:i32)
          (message.create_data 0:i64 0:i64)
          (drop (message.push_module 0:i64))
          (is64 (message.take_module 0:i64) 1:i64)
          (call $early_await_end (call $early_spawn_in 1:i64 @"child")))""")
    assert lab.reports == [13]


# -- bad input ------------------------------------------------------------------------------------

CONFIG = "(drop (process.create_config@0.6 0:i64 0:i64))"
ENVIRONMENT = "(drop (process.this_env@0.6))"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ('(process.allow_namespace@0.6 0:i64 @"x")', NO_CONFIG),
        (f"{CONFIG} (process.allow_namespace@0.6 0:i64 65535:i32 2:i32)", OUTSIDE),
        (f'{CONFIG} (process.allow_namespace@0.6 0:i64 @"\\ff")', "not UTF-8"),
        (CONFIG + '(process.allow_namespace@0.6 0:i64 @"x")' * 65, "at most 64 namespaces"),
        ("(drop (process.create_environment@0.6 0:i64 0:i32))", NO_CONFIG),
        (f"{CONFIG} (drop (process.create_environment@0.6 0:i64 65529:i32))", OUTSIDE),
        ("(process.drop_environment@0.6 0:i64)", NO_ENVIRONMENT),
        (f"{ENVIRONMENT} (process.drop_environment@0.6 0:i64) (process.drop_environment@0.6 0:i64)",
         NO_ENVIRONMENT),
        ("(drop (process.add_this_module@0.6 0:i64 0:i32))", NO_ENVIRONMENT),
        (f"{ENVIRONMENT} (drop (process.add_this_module@0.6 0:i64 65529:i32))", OUTSIDE),
        ('(drop (process.add_module@0.6 7:i64 @"(module)" 0:i32))', "no environment of id 7"),
        (f'{ENVIRONMENT} (drop (process.add_module@0.6 0:i64 @"(module)" 65529:i32))', OUTSIDE),
        (f"{ENVIRONMENT} (drop (process.add_module@0.6 0:i64 65535:i32 2:i32 0:i32))", OUTSIDE),
        (f"{ENVIRONMENT} (drop (process.add_module@0.6 0:i64 0:i32 -1:i32 0:i32))", "at most 268435456"),
        ('(drop (process.add_plugin@0.6 0:i64 @"x" 0:i32))', NO_CONFIG),
        (f"{CONFIG} (drop (process.add_plugin@0.6 0:i64 65535:i32 2:i32 0:i32))", OUTSIDE),
        (f'{CONFIG} (drop (process.add_plugin@0.6 0:i64 @"x" 65529:i32))', OUTSIDE),
        ('(drop (process.preopen_dir@0.7 0:i64 @"x" 0:i32))', NO_CONFIG),
        (f'{CONFIG} (drop (process.preopen_dir@0.7 0:i64 @"\\ff" 0:i32))', "not UTF-8"),
        (f"{CONFIG} (drop (process.preopen_dir@0.7 0:i64 65535:i32 2:i32 0:i32))", OUTSIDE),
        (f'{CONFIG} (drop (process.preopen_dir@0.7 0:i64 @"x" 65529:i32))', OUTSIDE),
        ('(drop (process.create_remote_environment@0.7 0:i64 @"x" 0:i32))', NO_CONFIG),
        (f'{CONFIG} (drop (process.create_remote_environment@0.7 0:i64 @"\\ff" 0:i32))', "not UTF-8"),
        (f'{CONFIG} (drop (process.create_remote_environment@0.7 0:i64 @"x" 65529:i32))', OUTSIDE),
        ("(drop (plugin.add_function@0.6 0:i32 0:i32 0:i32 0:i32 0:i32 0:i32))",
         "lunatic::plugin::add_function: only a plugin may call it"),
        ("(drop (plugin.add_function_type@0.6 0:i32 0:i32 0:i32 0:i32 0:i32))",
         "lunatic::plugin::add_function_type: only a plugin may call it"),
        ("(plugin.add_function_export@0.6 0:i32 0:i32 0:i32)",
         "lunatic::plugin::add_function_export: only a plugin may call it"),
    ],
)  # fmt: skip
async def test_bad_arguments_trap(lab: Lab, call: str, text: str) -> None:
    assert text in await lab.traps(f"{START} {call})")


async def test_without_the_right_a_config_traps(lab: Lab) -> None:
    status = await lab.run(f"{START} {CONFIG})", config=ProcessConfig(can_spawn_processes=True))
    assert status.kind is ExitKind.FAILURE
    assert "may not create configs" in status.reason


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ('add_plugin@0.6 0:i64 @"x" 0:i32', "this runtime takes no plugins"),
        ('create_remote_environment@0.7 0:i64 @"node" 0:i32', "no environments on other nodes"),
        ('preopen_dir@0.7 0:i64 @"/etc" 0:i32', "does not have that directory itself"),
    ],
)
async def test_what_there_is_not_is_an_error(lab: Lab, call: str, text: str) -> None:
    source = f"{SHOW} {START} {CONFIG} (is32 (process.{call}) 1:i32) (call $show 0:i32))"
    assert text in await printed(lab, source)


async def test_a_directory_is_handed_on(lab: Lab, tmp_path: object) -> None:
    await lab.passes(
        f"""
        (func (export "child")
          (report (i64.extend_i32_s (wasi.fd_prestat_get 3:i32 0:i32)))
          (report (i64.extend_i32_s (wasi.fd_prestat_get 4:i32 0:i32))))
        {START}
          (drop (process.create_config@0.6 10000000:i64 0:i64))
          (process.allow_namespace@0.6 0:i64 @"")
          (i64.store 0:i32 9:i64)
          (is32 (process.preopen_dir@0.7 0:i64 @"data" 0:i32) 0:i32)
          (is64 (i64.load 0:i32) 0:i64)
          {CHILD_THERE}
          (call $early_await_end (i64.load 16:i32)))""",
        config=ProcessConfig.program(preopens=[("data", str(tmp_path))]),
    )
    assert lab.reports == [0, 8]


# -- bounds -----------------------------------------------------------------------------------------


async def test_who_holds_environments_without_end_pays_for_them(lab: Lab) -> None:
    # Prefixes of 1 MiB: some hundred environments reach what the host keeps for one process.
    reason = await lab.traps(f"""
        (memory (export "memory") 20)
        {START}
          {CONFIG}
          (memory.fill 65536:i32 0x61:i32 1048576:i32)
          (process.allow_namespace@0.6 0:i64 65536:i32 1048576:i32)
          (loop $again
            (drop (process.create_environment@0.6 0:i64 0:i32))
            (if (i64.lt_u (i64.load 0:i32) 100:i64)
              (then (process.drop_environment@0.6 (i64.load 0:i32))))
            (br $again)))""")
    assert "create_environment: this process holds too many environments: drop some" in reason


async def test_a_module_keeps_its_environment_and_counts_for_it(lab: Lab) -> None:
    reason = await lab.traps(f"""
        (memory (export "memory") 20)
        {START}
          {CONFIG}
          (memory.fill 65536:i32 0x61:i32 1048576:i32)
          (process.allow_namespace@0.6 0:i64 65536:i32 1048576:i32)
          (loop $again
            (drop (process.create_environment@0.6 0:i64 0:i32))
            (drop (process.add_this_module@0.6 (i64.load 0:i32) 8:i32))
            (process.drop_environment@0.6 (i64.load 0:i32))
            (if (i64.lt_u (i64.load 0:i32) 300:i64) (then (process.drop_module (i64.load 8:i32))))
            (br $again)))""")
    assert "this process holds too many" in reason
