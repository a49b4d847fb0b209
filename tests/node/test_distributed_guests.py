"""What guests do across two real nodes through `lunatic::distributed`, and by pid alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from tests.scheduler.wat import param

from luna.node.bridge import Bridge
from luna.proto import node_pb2
from luna.proto.ids import make_pid
from luna.scheduler import ProcessConfig

from .peer_node import wait_for
from .whole_node import PATIENCE_S, Pair, WholeNode, connect, open_whole_node

A, B = 5, 7
"""node ids of the pair"""
NOBODY = 1234
START = '(func (export "_start")'
SURVIVE = "(process.die_when_link_dies 0:i32)"
OWN_MODULE = "(distributed.module_id)"


def spawn(
    entry: str,
    *,
    node: int = B,
    config: str = "-1:i64",
    module: str = OWN_MODULE,
    params: str = "0:i32 0:i32",
) -> str:
    """A call that writes the pid or an error id to 64."""
    return f'(distributed.spawn {node}:i64 {config} {module} @"{entry}" {params} 64:i32)'


CHILD = "(i64.load 64:i32)"
TEXT_OF_ERROR = f"""
    (i32.store 40:i32 1000:i32) (i32.store 44:i32 (error.string_size {CHILD}))
    (error.to_string {CHILD} 1000:i32)
    (drop (wasi.fd_write 1:i32 40:i32 1:i32 48:i32))"""


async def error_of(node: WholeNode, call: str, code: int, more: str = "", **options: Any) -> str:
    """The text of the error that a spawn is answered with; `more` is put behind the entry function."""
    source = f"{START} (is32 {call} {code}:i32) {TEXT_OF_ERROR}) {more}"
    with trio.fail_after(PATIENCE_S):
        pid = await node.spawn(source, **options)
        assert (await node.runtime.wait_exit(pid)).code == 0
        return (await node.runtime.logs(pid).receive()).data.decode()


# --- spawn ----------------------------------------------------------------------------------


async def test_a_child_gets_its_parameters_and_lives_on_the_node_that_was_named(pair: Pair) -> None:
    a, b = pair
    values = param(0x7F, -2) + param(0x7E, 1 << 40) + param(0x7B, 3 << 64 | 4) + param(0x7F, 9)
    await a.passes(f"""
        {START}
          (is32 {spawn("child", params=f'@"{values}"')} 0:i32)
          (is32 (call $receive_any 20000:i64) 0:i32)
          (is64 (message.get_tag) 42:i64)
          (is64 (call $read) {CHILD}))
        (func (export "child") (param i32 i64 v128 i32)
          (is64 (distributed.node_id) {B}:i64)
          (is32 (local.get 0) -2:i32) (is64 (local.get 1) {1 << 40}:i64)
          (is64 (i64x2.extract_lane 0 (local.get 2)) 4:i64)
          (is64 (i64x2.extract_lane 1 (local.get 2)) 3:i64)
          (is32 (local.get 3) 9:i32)
          (call $send {make_pid(A, 1)}:i64 42:i64 (process.process_id)))""")
    assert b.runtime.statistics().spawned == 1


async def test_a_piece_of_a_parameter_record_is_ignored(pair: Pair) -> None:
    """Unlike by the local spawn, and as in Lunatic."""
    values = param(0x7F, 5) + r"\7e\01\02"
    await pair[0].passes(f"""
        {START} {SURVIVE}
          (is32 {spawn("child", params=f'@"{values}"')} 0:i32)
          (process.monitor {CHILD})
          (is32 (call $receive_any 20000:i64) 0:i32))
        (func (export "child") (param i32)
          (call $send {make_pid(A, 1)}:i64 0:i64 5:i64)
          (is32 (local.get 0) 5:i32) (call $park))""")


@pytest.mark.parametrize("node", [A, B])
@pytest.mark.parametrize("tag", [0, 31])
async def test_guests_of_as_lunatic_link_when_they_spawn(pair: Pair, node: int, tag: int) -> None:
    notice = f"(is32 (call $receive_any 20000:i64) 1:i32) (is64 (message.get_tag) {tag}:i64)"
    await pair[0].passes(f"""
        {START} {SURVIVE}
          (is32 {spawn("child", node=node).replace("spawn ", f"spawn@0.12 {tag}:i64 ")} 0:i32)
          (process.monitor {CHILD})
          (call $send {CHILD} 0:i64 0:i64)
          {notice if tag else ""}
          (is32 (call $receive_any 20000:i64) 2:i32))
        (func (export "child") (drop (call $receive)) (unreachable))""")


async def test_a_child_on_the_own_node_is_spawned_the_same_way(pair: Pair) -> None:
    await pair[0].passes(f"""
        {START}
          (is32 {spawn("child", node=A)} 0:i32)
          (is64 (i64.shr_u {CHILD} 40:i64) {A}:i64)
          (is32 (call $receive_any 20000:i64) 0:i32))
        (func (export "child") (call $send {make_pid(A, 1)}:i64 0:i64 5:i64))""")


@pytest.mark.parametrize("node", [A, B])
@pytest.mark.parametrize(
    ("entry", "params"),
    [
        ("nothing", "0:i32 0:i32"),
        ("", "0:i32 0:i32"),
        ("child", "0:i32 0:i32"),
        ("gives", "0:i32 0:i32"),
        ("child", f'@"{param(0x7E, 5)}"'),
    ],
    ids=["no such function", "no name", "a parameter too few", "a result", "a parameter of another type"],
)
async def test_an_entry_that_cannot_be_called_fails_the_child_not_the_spawn(
    pair: Pair, node: int, entry: str, params: str
) -> None:
    await pair[0].passes(f"""
        {START} {SURVIVE}
          (is32 {spawn(entry, node=node, params=params)} 0:i32)
          (process.monitor {CHILD})
          (is32 (call $receive_any 20000:i64) 2:i32)
          (is64 (message.get_process_id) {CHILD}))
        (func (export "child") (param i32) (call $park))
        (func (export "gives") (result i32) (call $park) 1:i32)""")


async def test_an_unknown_module_is_code_2_with_a_text(pair: Pair) -> None:
    for node in (A, B, NOBODY):
        text = await error_of(pair[0], spawn("child", node=node, module="99:i64"), 2)
        assert text == "module 99 is unknown"


async def test_an_unknown_node_is_code_1_with_a_text(pair: Pair) -> None:
    for node in (NOBODY, 0, -1, 1 << 40):
        text = await error_of(pair[0], spawn("child", node=node), 1)
        assert text == f"node {node} is not connected"


async def test_a_node_that_died_is_code_1(bridge: Bridge, tmp_path: Path) -> None:
    async with open_whole_node(bridge, A, "a", tmp_path) as a:
        async with open_whole_node(bridge, B, "b", tmp_path) as b:
            await connect(a, b)
        await wait_for(lambda: len(a.peers.membership.live()) == 1, "b is declared dead", PATIENCE_S)
        assert "not connected" in await error_of(a, spawn("child"), 1)
        # For sending and all the rest it is a dead target.
        await a.passes(f"""{START} {SURVIVE}
            (message.create_data 0:i64 0:i64)
            (is32 (distributed.send {B}:i64 {make_pid(B, 1)}:i64) 0:i32)
            (message.create_data 0:i64 0:i64)
            (is32 (distributed.send_receive_skip_search {B}:i64 {make_pid(B, 1)}:i64 9:i64 5:i64) 9027:i32)
            (process.link 3:i64 {make_pid(B, 1)}:i64)
            (is32 (call $receive_any 20000:i64) 1:i32) (is64 (message.get_tag) 3:i64))""")


async def test_a_child_that_cannot_be_born_is_code_1_with_the_reason(pair: Pair) -> None:
    trap_there = (
        f"(func $trap (if (i64.eq (distributed.node_id) {B}:i64) (then (unreachable)))) (start $trap)"
    )
    text = await error_of(pair[0], spawn("child"), 1, trap_there)
    assert text.startswith(f"node {B} did not spawn the process: ")
    assert "unreachable" in text


async def test_a_directory_that_is_missing_over_there_is_code_1(pair: Pair, tmp_path: Path) -> None:
    """Directories are those of the child's machine, which for this test the parent takes care of."""
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    outer, inner = str(tmp_path / "outer"), str(tmp_path / "outer" / "inner")
    text = await error_of(
        pair[0],
        f'(call $after (wasi.path_remove_directory 3:i32 @"inner") {spawn("child")})',
        1,
        """(func $after (param $removed i32) (param $spawned i32) (result i32)
            (is32 (local.get $removed) 0:i32) (local.get $spawned))""",
        config=ProcessConfig.program(preopens=[(outer, outer), (inner, inner)]),
    )
    assert inner in text


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (spawn("child", config="0:i64"), "no config of id 0"),
        (spawn("child", config="-2:i64"), "no config of id -2"),
        (spawn("child", params=f'@"{param(0x7D, 1)}"'), "a parameter type is not 0x7F"),
        (spawn("child", params="0:i32 2193:i32"), "at most 128 parameters"),
        (spawn("child", params="65536:i32 17:i32"), "outside the guest's memory"),
        (spawn(r"\ff"), "not UTF-8"),
        ("(distributed.spawn 7:i64 -1:i64 0:i64 0:i32 4097:i32 0:i32 0:i32 64:i32)", "at most 4096 bytes"),
        ("(distributed.spawn 7:i64 -1:i64 0:i64 65536:i32 1:i32 0:i32 0:i32 64:i32)", "outside"),
        ("(distributed.spawn 7:i64 -1:i64 0:i64 0:i32 0:i32 0:i32 0:i32 65529:i32)", "outside"),
    ],
)
async def test_a_wrong_argument_traps_and_starts_nothing(pair: Pair, call: str, text: str) -> None:
    a, b = pair
    assert text in await a.traps(f'{START} (drop {call})) (func (export "child"))')
    assert b.runtime.statistics().spawned == 0


async def test_spawning_needs_the_permission(pair: Pair) -> None:
    source = f'{START} (drop {spawn("child")})) (func (export "child"))'
    assert "may not spawn processes" in await pair[0].traps(source, config=ProcessConfig())


# --- config ---------------------------------------------------------------------------------

ARGUMENTS = "(drop (wasi.args_sizes_get 0:i32 4:i32)) (drop (wasi.args_get 16:i32 512:i32))"
VARIABLES = "(drop (wasi.environ_sizes_get 8:i32 12:i32)) (drop (wasi.environ_get 256:i32 768:i32))"


async def test_a_childs_own_config_goes_with_it(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "found").write_text("x")
    folder = str(tmp_path / "shared")
    a, b = pair
    b.reports.clear()
    await a.passes(
        f"""
        {START} (local $config i64)
          (local.set $config (process.create_config))
          (process.config_set_max_memory (local.get $config) 131072:i64)
          (process.config_set_can_spawn_processes (local.get $config) 1:i32)
          (wasi.config_add_command_line_argument (local.get $config) @"ab")
          (wasi.config_add_command_line_argument (local.get $config) @"")
          (wasi.config_add_environment_variable (local.get $config) @"K" @"v")
          (wasi.config_preopen_dir (local.get $config) @"{folder}")
          (is32 {spawn("child", config="(local.get $config)")} 0:i32)
          (process.drop_config (local.get $config))
          (is32 (call $receive_any 20000:i64) 0:i32)
          (is64 (call $read) 7:i64))
        (func (export "child")
          (is32 (memory.grow 1:i32) 1:i32)
          (is32 (memory.grow 1:i32) -1:i32)
          {ARGUMENTS} (is32 (i32.load 0:i32) 2:i32) (is32 (i32.load 4:i32) 4:i32)
          (is32 (i32.load 512:i32) 0x00006261:i32)
          {VARIABLES} (is32 (i32.load 8:i32) 1:i32) (is32 (i32.load 768:i32) 0x00763d4b:i32)
          (is64 (process.create_config) -1:i64)
          (is32 (process.compile_module @"(module)" 2000:i32) -1:i32)
          (is32 (process.spawn 0:i64 -1:i64 -1:i64 @"nop" 0:i32 0:i32 2000:i32) 0:i32)
          (is32 (wasi.path_open 3:i32 0:i32 @"found" 0:i32 2:i64 2:i64 0:i32 2000:i32) 0:i32)
          (call $send {make_pid(A, 1)}:i64 0:i64 7:i64))
        (func (export "nop"))""",
        config=ProcessConfig.program(preopens=[(folder, folder)]),
    )


async def test_without_one_it_gets_its_parents(pair: Pair) -> None:
    await pair[0].passes(
        f"""
        {START}
          (is32 {spawn("child")} 0:i32)
          (is32 (call $receive_any 20000:i64) 0:i32))
        (func (export "child")
          (is32 (memory.grow 1:i32) 1:i32) (is32 (memory.grow 1:i32) -1:i32)
          {ARGUMENTS} (is32 (i32.load 0:i32) 1:i32) (is32 (i32.load8_u 512:i32) 0x78:i32)
          {VARIABLES} (is32 (i32.load 768:i32) 0x00323d51:i32)
          (is64 (process.create_config) 0:i64)
          (call $send {make_pid(A, 1)}:i64 0:i64 7:i64))""",
        config=ProcessConfig(
            max_memory_bytes=2 * 65536,
            can_create_configs=True,
            can_spawn_processes=True,
            arguments=("x",),
            environment_variables=(("Q", "2"),),
        ),
    )


async def test_a_compute_limit_ends_the_child_over_there(pair: Pair) -> None:
    """One unit, as Lunatic's example for remote processes gives them."""
    await pair[0].passes(f"""
        {START} (local $config i64) {SURVIVE}
          (local.set $config (process.create_config))
          (process.config_set_max_fuel (local.get $config) 1:i64)
          (is32 {spawn("busy", config="(local.get $config)")} 0:i32)
          (process.monitor {CHILD})
          (is32 (call $receive_any 20000:i64) 2:i32))
        (func (export "busy") (call $spin))""")


# --- messages and the rest ------------------------------------------------------------------


@pytest.mark.parametrize("send", ["message.send", f"distributed.send {B}:i64"])
async def test_messages_to_a_child_over_there_arrive_in_order(pair: Pair, send: str) -> None:
    await pair[0].passes(f"""
        {START} (local $number i64)
          (is32 {spawn("child")} 0:i32)
          (loop $again
            (call $write 3:i64 (local.get $number))
            (is32 ({send} {CHILD}) 0:i32)
            (local.set $number (i64.add (local.get $number) 1:i64))
            (br_if $again (i64.lt_u (local.get $number) 2000:i64)))
          (is32 (call $receive_any 20000:i64) 0:i32)
          (is64 (call $read) 2000:i64))
        (func (export "child") (local $number i64)
          (loop $again
            (is32 (call $receive_tag 3:i64 20000:i64) 0:i32)
            (is64 (call $read) (local.get $number))
            (local.set $number (i64.add (local.get $number) 1:i64))
            (br_if $again (i64.lt_u (local.get $number) 2000:i64)))
          (call $send {make_pid(A, 1)}:i64 0:i64 (local.get $number)))""")


async def test_a_request_is_answered_across(pair: Pair) -> None:
    await pair[0].passes(f"""
        {START}
          (is32 {spawn("child")} 0:i32)
          (call $write 9:i64 (process.process_id))
          (is32 (distributed.send_receive_skip_search {B}:i64 {CHILD} 9:i64 20000:i64) 0:i32)
          (is64 (call $read) 77:i64)
          (call $write 0:i64 0:i64)
          (is32 (distributed.send_receive_skip_search {B}:i64 {CHILD} 9:i64 5:i64) 9027:i32))
        (func (export "child")
          (call $send (call $receive) 9:i64 77:i64)
          (drop (call $receive)) (call $park))""")


async def test_links_monitors_and_kills_take_the_pid_alone(pair: Pair) -> None:
    a, b = pair
    await a.passes(f"""
        {START} {SURVIVE}
          (is32 {spawn("child")} 0:i32)
          (process.link 6:i64 {CHILD})
          (process.monitor {CHILD})
          (is32 (process.exists {CHILD}) 1:i32)
          (process.kill {CHILD})
          (is32 (call $receive_tag 6:i64 20000:i64) 1:i32)
          (is32 (call $receive_any 20000:i64) 2:i32)
          (is64 (message.get_process_id) {CHILD})
          (is32 (process.exists {CHILD}) 0:i32))
        (func (export "child") (call $park))""")
    await a.passes(f"""
        {START}
          (is32 {spawn("child")} 0:i32)
          (process.link 6:i64 {CHILD})
          (process.unlink {CHILD})
          (process.kill {CHILD})
          (process.monitor {CHILD})
          (is32 (call $receive_any 20000:i64) 2:i32))
        (func (export "child") (call $park))""")
    assert not b.runtime.processes()


async def test_the_death_of_a_parent_here_ends_the_linked_child_there(pair: Pair) -> None:
    a, b = pair
    await a.run(f"""
        {START}
          (is32 {spawn("child")} 0:i32)
          (process.link 6:i64 {CHILD})
          (is32 (process.exists {CHILD}) 1:i32)
          (unreachable))
        (func (export "child") (call $park))""")
    await wait_for(lambda: not b.runtime.processes(), "the child died with its parent", PATIENCE_S)


async def test_a_timer_reaches_a_child_over_there(pair: Pair) -> None:
    await pair[0].passes(f"""
        {START}
          (is32 {spawn("child")} 0:i32)
          (call $write 0:i64 5:i64)
          (is64 (timer.send_after {CHILD} 1:i64) 0:i64)
          (is32 (call $receive_any 20000:i64) 0:i32))
        (func (export "child") (call $send {make_pid(A, 1)}:i64 0:i64 (call $receive)))""")


async def test_a_child_can_spawn_back(pair: Pair) -> None:
    await pair[0].passes(f"""
        {START}
          (is32 {spawn("child")} 0:i32)
          (is32 (call $receive_any 20000:i64) 0:i32)
          (is64 (i64.shr_u (call $read) 40:i64) {A}:i64))
        (func (export "child") (is32 {spawn("grandchild", node=A)} 0:i32))
        (func (export "grandchild") (call $send {make_pid(A, 1)}:i64 0:i64 (process.process_id)))""")


# --- modules compiled at run time -----------------------------------------------------------

LATE = r"""(module
  (import \"lunatic::distributed\" \"module_id\" (func $id (result i64)))
  (import \"lunatic::message\" \"create_data\" (func $create (param i64 i64)))
  (import \"lunatic::message\" \"send\" (func $send (param i64) (result i32)))
  (func (export \"tell\") (param i64)
    (call $create (call $id) (i64.const 0)) (drop (call $send (local.get 0)))))""".replace("\n", " ")


async def test_a_module_compiled_at_run_time_runs_here_and_over_there(pair: Pair) -> None:
    """Its id is told by a process that runs it; Lunatic has none for it."""
    me = f'@"{param(0x7E, make_pid(A, 1))}"'
    a, b = pair
    await a.passes(f"""
        {START} (local $id i64)
          (is32 (process.compile_module @"{LATE}" 8:i32) 0:i32)
          (is32 (process.spawn 0:i64 -1:i64 (i64.load 8:i32) @"tell" {me} 64:i32) 0:i32)
          (is32 (call $receive_any 20000:i64) 0:i32)
          (local.set $id (message.get_tag))
          (process.drop_module (i64.load 8:i32))
          (is32 (i64.eq (local.get $id) {OWN_MODULE}) 0:i32)
          (is32 {spawn("tell", module="(local.get $id)", params=me)} 0:i32)
          (is64 (i64.shr_u {CHILD} 40:i64) {B}:i64)
          (is32 (call $receive_any 20000:i64) 0:i32)
          (is64 (message.get_tag) (local.get $id)))""")
    assert b.runtime.statistics().spawned == 1


# --- modules in messages ----------------------------------------------------------------------


async def test_a_module_in_a_message_is_fetched_from_its_sender(pair: Pair) -> None:
    a, b = pair
    small = r"(module (func (export \"child\")))"
    taker = await b.spawn(f"""
        {START}
          (is32 (call $receive_any 20000:i64) 0:i32)
          (is32 (process.spawn 0:i64 -1:i64 (message.take_module 0:i64) @"child"
            0:i32 0:i32 64:i32) 0:i32))""")
    await a.passes(f"""
        {START}
          (is32 (process.compile_module @"{small}" 16:i32) 0:i32)
          (message.create_data 0:i64 0:i64)
          (is64 (message.push_module (i64.load 16:i32)) 0:i64)
          (is32 (message.send {taker}:i64) 0:i32)
          (process.monitor {taker}:i64)
          (is32 (call $receive_any 20000:i64) 2:i32)
          (is32 (luna_message.exit_reason) 0:i32))""")


async def test_a_module_that_no_node_has_traps_who_takes_it(pair: Pair) -> None:
    a, b = pair
    taker = await b.spawn(f"""
        {START} (is32 (call $receive_any 20000:i64) 0:i32) (drop (message.take_module 0:i64)))""")
    fields: Any = {"from": make_pid(A, 1), "to": taker}
    message = node_pb2.Message(environment=1, modules=[b"x" * 32], **fields)
    a.runtime.peers.send(B, node_pb2.Envelope(message=message).SerializeToString())
    with trio.fail_after(PATIENCE_S):
        status = await b.runtime.wait_exit(taker)
    assert "module 787878787878 cannot be had" in status.reason
