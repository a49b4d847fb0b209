"""Children on other nodes: born with their link and monitor, whatever ends in between."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import trio
from tests.scheduler.wat import param

from luna.node.convert import config_from_proto, config_to_proto
from luna.proto import limits, node_pb2
from luna.proto.errors import InvalidError
from luna.scheduler import ExitKind, Module, ProcessConfig, Request

from .lab import Lab, open_lab, wait_for
from .pump import A, B, Pump, pid

START = '(func (export "_start")'
SURVIVE = "(process.die_when_link_dies 0:i32)"
GATED = '(func $wait (gate)) (start $wait) (func (export "child") (call $park))'
"""A module whose processes are born when the gate opens."""
CHILD = "(i64.load 64:i32)"
PARENT = pid(B, 9)
FRAME_BYTES = 1 << 20
PENDING_SPAWNS_MAX = 1024
SESSION = 0x5E55


def spawn(
    entry: str = "child", *, node: int = B, link: int = 0, monitored: bool = False, params: str = ""
) -> str:
    """A call that writes the pid or an error id to 64."""
    call = (
        f"luna_distributed.spawn_monitored {link}:i64" if monitored else f"distributed.spawn@0.12 {link}:i64"
    )
    return f"""({call} {node}:i64 -1:i64 (distributed.module_id) @"{entry}"
        {f'@"{params}"' if params else "0:i32 0:i32"} 64:i32)"""


# -- two nodes -------------------------------------------------------------------------------------


async def spawn_both(pump: Pump, source: str, **options: Any) -> int:
    """Run a guest on A whose module B has, too."""
    await pump.b.load(source)
    return await pump.a.spawn(source, **options)


async def passes(pump: Pump, source: str) -> None:
    await pump.b.load(source)
    await pump.a.passes(source)


@pytest.mark.parametrize("node", [A, B])
@pytest.mark.parametrize("tag", [7, -7])
async def test_a_child_that_traps_at_once_is_known_before_its_death(pump: Pump, node: int, tag: int) -> None:
    await passes(
        pump,
        f"""
        {START} (local $n i32)
          {SURVIVE}
          (loop $again
            (is32 {spawn(node=node, link=tag)} 0:i32)
            (is64 (i64.shr_u {CHILD} 40:i64) {node}:i64)
            (is32 (call $receive_any 10000:i64) 1:i32)
            (is64 (message.get_tag) {tag}:i64)
            (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) 1:i32)) 200:i32)))
          (is32 (call $receive_any 5:i64) 9027:i32))
        (func (export "child") (unreachable))""",
    )


@pytest.mark.parametrize("node", [A, B])
@pytest.mark.parametrize(("body", "link"), [("", 0), ("", 5), ("(unreachable)", 0)])
async def test_the_end_of_a_monitored_child_comes_once(pump: Pump, node: int, body: str, link: int) -> None:
    await passes(
        pump,
        f"""
        {START} (local $n i32)
          (loop $again
            (is32 {spawn(node=node, link=link, monitored=True)} 0:i32)
            (is32 (call $receive_any 10000:i64) 2:i32)
            (is64 (message.get_process_id) {CHILD})
            (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) 1:i32)) 200:i32)))
          (is32 (call $receive_any 5:i64) 9027:i32))
        (func (export "child") {body})""",
    )


@pytest.mark.parametrize("node", [A, B])
async def test_a_linked_and_monitored_child_that_fails_tells_both(pump: Pump, node: int) -> None:
    await passes(
        pump,
        f"""
        {START} (local $kinds i32)
          {SURVIVE}
          (is32 {spawn(node=node, link=3, monitored=True)} 0:i32)
          (local.set $kinds (call $receive_any 10000:i64))
          (is32 (i32.add (local.get $kinds) (call $receive_any 10000:i64)) 3:i32)
          (is32 (call $receive_any 5:i64) 9027:i32))
        (func (export "child") (unreachable))""",
    )


async def test_a_linked_child_takes_its_parent_with_it(pump: Pump) -> None:
    source = f'{START} (is32 {spawn(link=1)} 0:i32) (call $park)) (func (export "child") (unreachable))'
    parent = await spawn_both(pump, source)
    assert (await pump.a.wait_exit(parent)).kind is ExitKind.LINK_DIED


async def test_a_child_that_ends_normally_says_nothing_over_its_link(pump: Pump) -> None:
    await passes(
        pump,
        f"""
        {START}
          (is32 {spawn(link=1, monitored=True)} 0:i32)
          (is32 (call $receive_any 10000:i64) 2:i32)
          (is32 (call $receive_any 5:i64) 9027:i32))
        (func (export "child"))""",
    )


async def test_a_child_dies_with_its_parent_though_it_never_ran_linked_later(pump: Pump) -> None:
    source = f'{START} (is32 {spawn(link=1)} 0:i32) (unreachable)) (func (export "child") (call $park))'
    await spawn_both(pump, source)
    await wait_for(lambda: pump.b.runtime.statistics().exited == 1, "the child has died")


async def test_unlinking_a_child_holds(pump: Pump) -> None:
    await passes(
        pump,
        f"""
        {START}
          (is32 {spawn(link=1)} 0:i32)
          (process.unlink {CHILD})
          (process.monitor {CHILD})
          (call $send {CHILD} 0:i64 0:i64)
          (is32 (call $receive_any 10000:i64) 2:i32))
        (func (export "child") (drop (call $receive)) (unreachable))""",
    )


@pytest.mark.parametrize("node", [A, B])
async def test_parameters_arrive(pump: Pump, node: int) -> None:
    values = (
        param(0x7F, -2) + param(0x7E, -(1 << 62)) + param(0x7B, 3 << 64 | 4) + param(0x7F, 0) + param(0x7E, 1)
    )
    await passes(
        pump,
        f"""
        {START} (is32 {spawn(node=node, params=values, monitored=True)} 0:i32)
          (is32 (call $receive_any 10000:i64) 0:i32) (is64 (message.get_tag) 8:i64))
        (func (export "child") (param i32 i64 v128 i32 i64)
          (is32 (local.get 0) -2:i32) (is64 (local.get 1) {-(1 << 62)}:i64)
          (is64 (i64x2.extract_lane 0 (local.get 2)) 4:i64)
          (is64 (i64x2.extract_lane 1 (local.get 2)) 3:i64)
          (is32 (local.get 3) 0:i32) (is64 (local.get 4) 1:i64)
          (call $send {pid(A, 1)}:i64 8:i64 0:i64))""",
    )


@pytest.mark.parametrize(("link", "dies"), [(4, True), (0, False)], ids=["linked", "unlinked"])
async def test_a_parent_killed_while_its_spawn_is_under_way(pump: Pump, link: int, dies: bool) -> None:
    source = f"""{START} (report 1:i64) (drop {spawn(link=link)}))
        (func (export "child") (report 2:i64) (call $park))"""
    await pump.b.load(source)
    pump.hold()
    parent = await pump.a.spawn(source)
    await wait_for(lambda: pump.a.runtime.peers.statistics(B).queued_bytes > 0, "the spawn is queued")
    pump.a.runtime.kill(parent)
    await pump.a.wait_exit(parent)
    pump.release()
    await wait_for(lambda: pump.b.runtime.statistics().spawned == 1, "the child is there")
    if dies:
        await wait_for(lambda: pump.b.runtime.statistics().exited == 1, "the child has died")
    else:
        await wait_for(lambda: pump.b.reports == [2], "the child runs")
        assert pump.b.runtime.statistics().exited == 0


async def test_many_spawners_at_once(pump: Pump) -> None:
    spawners = 20
    source = f"""
        {START} (local $n i32)
          (loop $again
            (is32 {spawn(link=2, monitored=True)} 0:i32)
            (is32 (call $receive_any 20000:i64) 2:i32)
            (is64 (message.get_process_id) {CHILD})
            (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) 1:i32)) 50:i32))))
        (func (export "child"))"""
    module = await pump.a.load(source)
    await pump.b.load(source)
    parents = [await pump.a.spawn(module) for _ in range(spawners)]
    for parent in parents:
        assert (await pump.a.wait_exit(parent)).kind is ExitKind.NORMAL
    spawns = pump.a.runtime.peers.spawns(B), pump.b.runtime.peers.spawns(A)
    assert [(each.asked, each.served, each.refused) for each in spawns] == [(0, 0, 0)] * 2


# -- a node and the bytes of its peer ------------------------------------------------------------------


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    """Node A, which has node B for a peer; the test plays B."""
    async with open_lab(A, held=()) as lab:
        lab.runtime.peers.add_peer(B, SESSION)
        yield lab


def frame(*envelopes: node_pb2.Envelope) -> bytes:
    return node_pb2.Frame(envelopes=envelopes).SerializeToString()


def sent(lab: Lab) -> list[node_pb2.Envelope]:
    """Everything queued for B, as protobuf reads it."""
    envelopes: list[node_pb2.Envelope] = []
    while (data := lab.runtime.peers.take_frame(B, SESSION, FRAME_BYTES, b"")) is not None:
        parsed = node_pb2.Frame.FromString(data)
        # Not one byte that protobuf itself would not write, nor another order.
        assert parsed.SerializeToString() == data
        envelopes += parsed.envelopes
    return envelopes


async def wait_sent(lab: Lab, count: int = 1) -> list[node_pb2.Envelope]:
    envelopes: list[node_pb2.Envelope] = []

    def enough() -> bool:
        envelopes.extend(sent(lab))
        return len(envelopes) >= count

    await wait_for(enough, f"{count} envelopes")
    assert len(envelopes) == count
    return envelopes


def deliver(lab: Lab, *envelopes: node_pb2.Envelope) -> list[bytes]:
    return lab.runtime.peers.deliver(B, SESSION, frame(*envelopes), 0)


def order(module: Module, **fields: Any) -> node_pb2.Envelope:
    """A Spawn that B asks for."""
    values: dict[str, Any] = {
        "parent": PARENT,
        "environment": 1,
        "entry": "child",
        "config": config_to_proto(ProcessConfig.program()),
    }
    return node_pb2.Envelope(spawn=node_pb2.Spawn(module=module.sha256, **values | fields))


async def asked(lab: Lab, source: str) -> tuple[int, node_pb2.Spawn]:
    """A parent that waits for its spawn, and what it asks for."""
    parent = await lab.spawn(source)
    (envelope,) = await wait_sent(lab)
    return parent, envelope.spawn


def reply(spawn: node_pb2.Spawn, pid: int = 0, **fields: Any) -> node_pb2.Envelope:
    values = {"reference": spawn.reference, "to": spawn.parent, "pid": pid}
    return node_pb2.Envelope(spawn_reply=node_pb2.SpawnReply(**values | fields))


async def test_a_spawn_is_what_protobuf_writes(lab: Lab) -> None:
    config = ProcessConfig(
        max_memory_bytes=5 << 30,
        max_fuel=7,
        can_compile_modules=True,
        can_spawn_processes=True,
        preopens=(("/", "/"),),
        arguments=("a", "", "ö"),
        environment_variables=(("KEY", "value"), ("EMPTY", "")),
        namespaces=("lunatic::", "luna::", "wasi"),
    )
    values = param(0x7F, -1) + param(0x7E, 1 << 40) + param(0x7B, 9) + param(0x7F, 0) + r"\7f\01"
    source = f"{START} (drop {spawn('é', link=-3, monitored=True, params=values)}))"
    module = await lab.runtime.load_module((await lab.load(source)).source, "m.wat")
    parent = await lab.spawn(module, config=config, environment=(1 << 64) - 2)
    (envelope,) = await wait_sent(lab)
    assert envelope.spawn == node_pb2.Spawn(
        reference=envelope.spawn.reference,
        parent=parent,
        environment=(1 << 64) - 2,
        module=module.sha256,
        module_name=module.name,
        entry="é",
        params=[
            node_pb2.Param(i32=-1),
            node_pb2.Param(i64=1 << 40),
            node_pb2.Param(v128=(9).to_bytes(16, "little")),
            node_pb2.Param(i32=0),
        ],
        config=config_to_proto(config),
        link=True,
        link_tag=-3,
        monitor=True,
    )
    assert config_from_proto(envelope.spawn.config) == config


async def test_a_child_gets_the_config_that_was_sent(lab: Lab) -> None:
    seen: list[ProcessConfig] = []

    def see(request: Request) -> int:
        seen.append(request.config)
        return 0

    def has_seen(count: int) -> bool:
        return len(seen) == count

    lab.runtime.set_handler("lunatic::distributed", "get_nodes", see)
    module = await lab.load('(func (export "child") (report 1:i64))')
    plain = ProcessConfig.program()
    rich = ProcessConfig(
        max_memory_bytes=1 << 40,
        max_fuel=1 << 50,
        can_create_configs=True,
        arguments=("a", ""),
        environment_variables=(("K", "v"), ("", "x")),
        namespaces=("lunatic::dist", "wasi_snapshot_preview1::"),
    )
    configs = [plain, plain, rich, rich, plain]
    for count, config in enumerate(configs, 1):
        deliver(lab, order(module, config=config_to_proto(config)))
        await wait_for(partial(has_seen, count))
    assert seen == configs


async def test_the_answer_goes_before_the_death(lab: Lab) -> None:
    module = await lab.load('(func (export "child") (unreachable))')
    deliver(lab, order(module, reference=77, link=True, link_tag=3, monitor=True))
    answer, *deaths = await wait_sent(lab, 3)
    child = answer.spawn_reply.pid
    assert answer.spawn_reply == node_pb2.SpawnReply(reference=77, pid=child, to=PARENT)
    link, monitor = sorted(deaths, key=lambda each: each.HasField("process_died"))
    fields: Any = {"from": child, "to": PARENT, "kind": node_pb2.EXIT_FAILURE, "code": 1}
    fields["text"] = "wasm trap: wasm `unreachable` instruction executed"
    assert link.link_died == node_pb2.LinkDied(tag=3, **fields)
    assert monitor.process_died == node_pb2.ProcessDied(**fields)


async def test_a_child_that_cannot_be_born_is_answered_with_the_reason(lab: Lab) -> None:
    module = await lab.load('(func $bad (unreachable)) (start $bad) (func (export "child"))')
    deliver(lab, order(module, reference=5, link=True, monitor=True))
    (envelope,) = await wait_sent(lab)
    answer = envelope.spawn_reply
    assert (answer.reference, answer.pid, answer.failure) == (5, 0, node_pb2.INSTANTIATION)
    assert "unreachable" in answer.error
    assert lab.runtime.peers.spawns(B).served == 0


@pytest.mark.parametrize("fields", [{"link": True, "link_tag": 3}, {"monitor": True}, {}], ids=str)
async def test_a_child_whose_parent_s_node_went_down_before_its_birth_never_runs(
    lab: Lab, fields: Any
) -> None:
    module = await lab.load(GATED.replace("(call $park)", "(report 1:i64)"))
    deliver(lab, order(module, **fields))
    await wait_for(lambda: lab.at_gate == 1)
    lab.runtime.peers.remove_peer(B)
    lab.gate.set()
    await wait_for(lambda: lab.runtime.statistics().exited == 1)
    assert lab.reports == []


async def test_a_linked_child_dies_when_its_parent_s_node_goes_down(lab: Lab) -> None:
    module = await lab.load('(func (export "child") (call $park))')
    deliver(lab, order(module, link=True, link_tag=3))
    await wait_sent(lab)
    lab.runtime.peers.remove_peer(B)
    await wait_for(lambda: lab.runtime.statistics().exited == 1)


@pytest.mark.parametrize("monitored", [True, False])
async def test_a_node_that_goes_down_fails_the_spawn_and_leaves_no_link(lab: Lab, monitored: bool) -> None:
    parent, _ = await asked(
        lab,
        f"""{START}
          (is32 {spawn(link=4, monitored=monitored)} 1:i32)
          (i32.store 40:i32 1000:i32) (i32.store 44:i32 (error.string_size {CHILD}))
          (error.to_string {CHILD} 1000:i32)
          (drop (wasi.fd_write 1:i32 40:i32 1:i32 48:i32))
          (is32 (call $receive_any 5:i64) 9027:i32))""",
    )
    lab.runtime.peers.remove_peer(B)
    assert (await lab.wait_exit(parent)).kind is ExitKind.NORMAL
    assert await lab.output(parent) == f"node {B} went away".encode()


async def test_an_answer_to_a_spawn_that_is_over_kills_the_child(lab: Lab) -> None:
    parent, spawn_ = await asked(lab, f"{START} (drop {spawn(link=4)}) (report 1:i64) (call $park))")
    deliver(lab, reply(spawn_, pid(B, 50), reference=spawn_.reference + 1))
    (envelope,) = await wait_sent(lab)
    assert envelope.kill == node_pb2.Kill(environment=1, **{"from": parent, "to": pid(B, 50)})
    deliver(lab, reply(spawn_, pid(B, 51)))
    await wait_for(lambda: lab.reports == [1])


async def test_an_answer_for_a_dead_parent_tells_the_child(lab: Lab) -> None:
    parent, spawn_ = await asked(lab, f"{START} (drop {spawn(link=4)}))")
    lab.runtime.kill(parent)
    await lab.wait_exit(parent)
    deliver(lab, reply(spawn_, pid(B, 50)))
    (envelope,) = await wait_sent(lab)
    fields: Any = {"from": parent, "to": pid(B, 50)}
    assert envelope.link_died == node_pb2.LinkDied(kind=node_pb2.EXIT_NO_PROCESS, **fields)


async def test_a_death_behind_the_answer_in_one_frame_is_heard(lab: Lab) -> None:
    parent, spawn_ = await asked(
        lab,
        f"""{START} {SURVIVE}
          (is32 {spawn(link=4)} 0:i32)
          (is32 (call $receive_any 10000:i64) 1:i32) (is64 (message.get_tag) 4:i64))""",
    )
    fields: Any = {"from": pid(B, 50), "to": parent}
    death = node_pb2.LinkDied(tag=4, kind=node_pb2.EXIT_FAILURE, **fields)
    deliver(lab, reply(spawn_, pid(B, 50)), node_pb2.Envelope(link_died=death))
    assert (await lab.wait_exit(parent)).kind is ExitKind.NORMAL


@pytest.mark.parametrize(
    ("failure", "code"),
    [(node_pb2.MODULE_UNKNOWN, 2), (node_pb2.LIMIT, 1), (node_pb2.SPAWN_FAILURE_UNSPECIFIED, 1)],
)
async def test_a_refusal_is_a_code_and_a_text(lab: Lab, failure: node_pb2.SpawnFailure, code: int) -> None:
    parent, spawn_ = await asked(
        lab,
        f"""{START} (is32 {spawn()} {code}:i32)
          (is32 (error.string_size {CHILD}) {len(f"node {B} did not spawn the process: why")}:i32))""",
    )
    deliver(lab, reply(spawn_, failure=failure, error="why"))
    assert (await lab.wait_exit(parent)).kind is ExitKind.NORMAL


async def test_a_forged_answer_is_refused(lab: Lab) -> None:
    parent, spawn_ = await asked(lab, f"{START} (drop {spawn()}))")
    for bad in (
        reply(spawn_, pid(A, 5)),
        reply(spawn_, pid(5, 5)),
        reply(spawn_, pid(B, 5), to=pid(5, 1)),
        reply(spawn_, pid(B, 5), to=pid(B, 1)),
    ):
        with pytest.raises(InvalidError):
            deliver(lab, bad)
    assert lab.runtime.exists(parent)


async def test_what_is_not_the_core_s_is_left_to_python(lab: Lab) -> None:
    module = await lab.load('(func (export "child") (call $park))')
    left = [
        order(module, parent=0),
        order(module, parent=pid(5, 1)),
        order(module, parent=pid(A, 1)),
        order(module, environment=(1 << 64) - 1),
        order(module, entry="a\0"),
        order(module, entry="e" * (limits.MAX_ENTRY_BYTES + 1)),
        order(module, params=[node_pb2.Param()]),
        order(module, params=[node_pb2.Param(v128=b"short")]),
        order(module, params=[node_pb2.Param(i32=1)] * (limits.MAX_PARAMS + 1)),
        order(module, config=node_pb2.ProcessConfig(arguments=["a\0b"])),
        order(module, config=node_pb2.ProcessConfig(arguments=["a"] * (limits.MAX_ARGUMENTS + 1))),
        order(module, config=node_pb2.ProcessConfig(arguments=["a" * (limits.MAX_ARGUMENT_BYTES + 1)])),
        order(module, config=node_pb2.ProcessConfig(arguments=["a" * limits.MAX_ARGUMENT_BYTES] * 17)),
        order(module, config=node_pb2.ProcessConfig(preopens=[node_pb2.Preopen(guest="a")] * 65)),
        order(
            module,
            config=node_pb2.ProcessConfig(
                namespaces=node_pb2.Namespaces(prefixes=["a"] * (limits.MAX_NAMESPACES + 1))
            ),
        ),
        node_pb2.Envelope(spawn=node_pb2.Spawn(parent=PARENT, module=b"x" * 32)),
        node_pb2.Envelope(spawn=node_pb2.Spawn(parent=PARENT, module=b"x")),
        node_pb2.Envelope(spawn_reply=node_pb2.SpawnReply(reference=5)),
    ]
    assert [node_pb2.Envelope.FromString(each) for each in deliver(lab, *left)] == left
    assert sent(lab) == []
    assert lab.runtime.statistics().spawned == 0


async def test_the_largest_config_that_python_takes_the_core_takes(lab: Lab) -> None:
    module = await lab.load('(func (export "child") (call $park))')
    config = node_pb2.ProcessConfig(
        max_memory_bytes=1 << 32,
        preopens=[node_pb2.Preopen(guest=f"/{n}", host="/") for n in range(limits.MAX_PREOPENS)],
        arguments=["a" * limits.MAX_ARGUMENT_BYTES]
        * (limits.MAX_ARGUMENTS_BYTES // limits.MAX_ARGUMENT_BYTES),
        environment_variables=[node_pb2.Variable(key="a")] * limits.MAX_ARGUMENTS,
        namespaces=node_pb2.Namespaces(prefixes=["a"] * limits.MAX_NAMESPACES),
    )
    config_from_proto(config).check_texts()
    spawn_ = order(
        module,
        config=config,
        entry="e" * limits.MAX_ENTRY_BYTES,
        params=[node_pb2.Param(i64=1)] * limits.MAX_PARAMS,
    )
    assert deliver(lab, spawn_) == []
    (envelope, *_) = await wait_sent(lab)
    assert envelope.spawn_reply.pid


async def test_more_spawns_than_may_be_under_way_are_refused_and_counted(lab: Lab) -> None:
    module = await lab.load(GATED)
    for reference in range(1, PENDING_SPAWNS_MAX + 4):
        deliver(lab, order(module, reference=reference))
    refusals = await wait_sent(lab, 3)
    assert [each.spawn_reply.reference for each in refusals] == [1025, 1026, 1027]
    assert {each.spawn_reply.failure for each in refusals} == {node_pb2.LIMIT}
    assert "1024 spawns" in refusals[0].spawn_reply.error
    spawns = lab.runtime.peers.spawns(B)
    assert (spawns.served, spawns.refused) == (PENDING_SPAWNS_MAX, 3)
    lab.gate.set()
    await wait_sent(lab, PENDING_SPAWNS_MAX)
    assert lab.runtime.peers.spawns(B).served == 0


async def test_more_spawns_on_a_node_than_may_be_under_way_fail(lab: Lab) -> None:
    source = f"{START} (report (i64.extend_i32_u {spawn()})))"
    module = await lab.load(source)
    for _ in range(PENDING_SPAWNS_MAX):
        await lab.spawn(module, watch=False)
    orders = await wait_sent(lab, PENDING_SPAWNS_MAX)
    assert lab.runtime.peers.spawns(B).asked == PENDING_SPAWNS_MAX
    await lab.spawn(module)
    await wait_for(lambda: lab.reports == [1])
    deliver(lab, *(reply(each.spawn, failure=node_pb2.LIMIT) for each in orders))
    await wait_for(lambda: len(lab.reports) == PENDING_SPAWNS_MAX + 1)
    assert lab.runtime.peers.spawns(B).asked == 0


async def test_a_node_short_of_memory_refuses_children_of_others(lab: Lab) -> None:
    module = await lab.load('(func (export "child") (call $park))')
    lab.runtime._core.set_pressure(True)
    deliver(lab, order(module))
    (envelope,) = await wait_sent(lab)
    assert envelope.spawn_reply.failure == node_pb2.LIMIT
    assert "short of memory" in envelope.spawn_reply.error


async def test_a_full_node_refuses_children_of_others() -> None:
    async with open_lab(A, max_processes=1) as lab:
        lab.runtime.peers.add_peer(B, SESSION)
        module = await lab.load('(func (export "child") (call $park))')
        deliver(lab, order(module), order(module))
        first, second = sorted(await wait_sent(lab, 2), key=lambda each: each.spawn_reply.failure)
        assert first.spawn_reply.pid
        assert "--max-processes" in second.spawn_reply.error


async def test_births_under_way_leave_nothing_behind_when_the_runtime_ends(lab: Lab) -> None:
    module = await lab.load(GATED)
    deliver(lab, *(order(module, reference=n, link=True, monitor=True) for n in range(50)))
    await wait_for(lambda: lab.at_gate == 50)


@pytest.mark.parametrize("seed", range(3))
async def test_no_spawn_or_answer_breaks_the_core(lab: Lab, seed: int) -> None:
    rng = random.Random(seed)
    module = await lab.load(f'(func (export "child")) {START} (drop {spawn(link=3, monitored=True)}))')
    parent = await lab.spawn(module)
    await wait_sent(lab)
    taken = refused = 0
    for _ in range(3000):
        valid = rng.choice([
            order(
                module,
                reference=rng.getrandbits(63),
                link=rng.random() < 0.5,
                link_tag=rng.getrandbits(40),
                monitor=rng.random() < 0.5,
                params=[node_pb2.Param(i32=-9), node_pb2.Param(v128=bytes(16))][: rng.randrange(3)],
                entry=rng.choice(["child", "", "no"]),
            ),
            node_pb2.Envelope(
                spawn_reply=node_pb2.SpawnReply(
                    reference=rng.randrange(5),
                    pid=pid(B, rng.randrange(9)),
                    to=rng.choice([parent, pid(A, 999)]),
                )
            ),
        ])  # fmt: skip
        data = bytearray(frame(valid))
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.choice([0, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        try:
            lab.runtime.peers.deliver(B, SESSION, bytes(data), 0)
            taken += 1
        except InvalidError:
            refused += 1
        while lab.runtime.peers.take_frame(B, SESSION, FRAME_BYTES, b"") is not None:
            await trio.lowlevel.checkpoint()
    assert taken > 500
    assert refused > 100
    await wait_for(lambda: lab.runtime.peers.spawns(B).served == 0)
