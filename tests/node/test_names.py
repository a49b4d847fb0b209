"""Names of processes, on one node and across a cluster: one suite for every service, and what guests see."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import trio
from structlog.testing import capture_logs
from tests.scheduler.wat import guest

from luna.cluster import name_owner
from luna.cluster.name_messages import Announce, Entry, Get, Name
from luna.cluster.name_wire import names_to_protos
from luna.node import names as node_names
from luna.node.bridge import Bridge
from luna.proto import node_pb2
from luna.proto.errors import InvalidError, RefusedError
from luna.scheduler import ExitKind
from luna.scheduler.local_names import LocalNames
from luna.scheduler.name_service import NameService
from luna.scheduler.runtime import open_runtime

from .check_names import ENVIRONMENT, PATIENCE_S, Place, check_names
from .names_cluster import NamesNode, open_names_cluster
from .peer_node import wait_for
from .whole_node import Pair, connect, open_whole_node


async def test_the_names_of_one_node_conform() -> None:
    async with open_runtime(threads=1) as runtime:
        assert isinstance(runtime.names, LocalNames)
        await check_names([Place(runtime, runtime.names)])


async def test_a_node_without_peers_conforms() -> None:
    async with open_names_cluster(1) as cluster:
        await check_names([cluster.nodes[1].place])


async def test_the_names_of_a_cluster_conform() -> None:
    async with open_names_cluster(3) as cluster:
        await check_names([node.place for node in cluster.nodes.values()])


async def test_the_names_of_real_nodes_conform(bridge: Bridge, tmp_path: Path) -> None:
    async with (
        open_whole_node(bridge, 5, "a", tmp_path) as a,
        open_whole_node(bridge, 7, "b", tmp_path) as b,
        open_whole_node(bridge, 9, "c", tmp_path) as c,
    ):
        await connect(a, b)
        await connect(b, c)
        with trio.fail_after(PATIENCE_S):
            await a.peers.wait_connected(c.id)
            await c.peers.wait_connected(a.id)
        await check_names([Place(node.runtime, node.names) for node in (a, b, c)])


GET = "(func $get (param i32 i32) (result i32) (registry.get (local.get 0) (local.get 1) 0:i32 8:i32))"
START = '(func (export "_start")'
SELF = "(process.process_id)"


def report(number: str) -> str:
    """Tell the test a number."""
    return f"(metrics.counter 0:i32 0:i32 {number})"


async def test_guests_find_spawn_and_reach_processes_of_other_nodes_by_name(pair: Pair) -> None:
    a, b = pair
    server = await a.spawn(f"""{START}
        (registry.put @"server" 0:i64 {SELF}) {report("1:i64")}
        (drop (call $receive)) {report("2:i64")})""")
    await wait_for(lambda: a.reports == [1])
    await b.passes(f"""{GET} {START}
        (is32 (call $get @"server") 0:i32)
        (is64 (i64.load 8:i32) {server}:i64)
        (is32 (process.get_or_spawn @"server" 0:i64 -1:i64 -1:i64 @"_start" 0:i32 0:i32 0:i32 8:i32) 2:i32)
        (is64 (i64.load 8:i32) {server}:i64)
        (process.monitor (i64.load 8:i32))
        (call $send (i64.load 8:i32) 0:i64 0:i64)
        (is32 (call $receive_any 20000:i64) 2:i32))""")
    assert a.reports == [1, 2]


async def test_get_or_spawn_of_two_nodes_makes_one_process(pair: Pair) -> None:
    a, b = pair
    source = f"""{START}
        (drop (process.get_or_spawn @"one" 0:i64 -1:i64 -1:i64 @"child" 0:i32 0:i32 0:i32 8:i32))
        {report("(i64.load 8:i32)")})
        (func (export "child") (call $park))"""
    for node in (a, b, a, b):
        await node.spawn(source)
    await wait_for(lambda: len(a.reports + b.reports) == 4)
    assert len(set(a.reports + b.reports)) == 1


async def test_a_failed_spawn_on_one_node_lets_the_other_spawn(pair: Pair) -> None:
    a, b = pair
    await a.passes(f"""{START}
        (is32
          (process.compile_module
            @"(module (start $s) (func $s unreachable) (func (export \\"f\\")))"
            0:i32) 0:i32)
        (is32 (process.get_or_spawn @"name" 0:i64 -1:i64 0:i64 @"f" 0:i32 0:i32 0:i32 8:i32) 1:i32))""")
    await b.passes(f"""{START}
        (is32 (process.get_or_spawn @"name" 0:i64 -1:i64 -1:i64 @"child" 0:i32 0:i32 0:i32 8:i32) 0:i32)
        (is64 (i64.shr_u (i64.load 8:i32) 40:i64) {b.id}:i64))
        (func (export "child") (call $park))""")


async def test_names_of_a_lost_node_are_free(bridge: Bridge, tmp_path: Path) -> None:
    async with open_whole_node(bridge, 5, "a", tmp_path) as a:
        async with open_whole_node(bridge, 7, "b", tmp_path) as b:
            await connect(a, b)
            place = Place(b.runtime, b.names)
            names = [f"lost {number}" for number in range(8)]
            for name in names:
                await place.put(name, await place.spawn())
            assert await Place(a.runtime, a.names).find(names[0]) is not None
        with trio.fail_after(PATIENCE_S):
            for name in names:
                assert await Place(a.runtime, a.names).find(name) is None


async def test_guests_find_their_nodes_own_names_without_python(pair: Pair) -> None:
    a, _ = pair
    await a.spawn(
        f'{START} (registry.put @"mine" 0:i64 {SELF}) (metrics.counter 0:i32 0:i32 1:i64) (call $park))'
    )
    await wait_for(lambda: a.reports == [1])
    a.runtime.use_names(cast(NameService, None))
    await a.passes(f"""{GET} {START}
        (is32 (call $get @"mine") 0:i32)
        (is32 (process.get_or_spawn @"mine" 0:i64 -1:i64 -1:i64 @"_start" 0:i32 0:i32 0:i32 8:i32) 2:i32))""")


async def test_names_from_before_a_node_had_peers_are_shared_and_the_earliest_stays() -> None:
    async with open_names_cluster(1) as cluster, open_runtime(node_id=2, threads=1) as runtime:
        one, two = cluster.nodes[1], cluster.add(runtime)
        first, second = await one.place.spawn(), await two.place.spawn()
        alone = await two.place.spawn()
        await one.place.put("both", first)
        await two.place.put("both", second)
        await two.place.put("alone", alone)
        with capture_logs() as logs:
            cluster.connect(one, two)
            with trio.fail_after(PATIENCE_S):
                await runtime.wait_exit(second)
        assert await two.place.find("both") == first
        assert await one.place.find("alone") == alone
        assert one.runtime.exists(first)
        (killed,) = (log for log in logs if log["event"].startswith("process killed"))
        assert (killed["pid"], killed["name"], killed["winner"]) == (second, "both", first)


async def test_after_a_partition_the_later_process_is_killed_and_the_log_says_why() -> None:
    async with open_names_cluster(3) as cluster:
        one, two, three = cluster.nodes.values()
        cluster.disconnect(one, two)
        cluster.disconnect(two, three)
        first, second = await one.place.spawn(), await two.place.spawn()
        await one.place.put("leader", first)
        await two.place.put("leader", second)
        assert [await node.place.find("leader") for node in (one, two, three)] == [first, second, first]
        with capture_logs() as logs, trio.fail_after(PATIENCE_S):
            cluster.connect(one, two)
            cluster.connect(two, three)
            await two.runtime.wait_exit(second)
        assert [await node.place.find("leader") for node in (one, two, three)] == [first] * 3
        (killed,) = (log for log in logs if log["event"].startswith("process killed"))
        assert (killed["pid"], killed["name"], killed["winner"]) == (second, "leader", first)


@pytest.mark.parametrize("late", [False, True])
async def test_a_spawn_under_way_when_the_first_peer_comes_gets_its_name_or_loses_it(late: bool) -> None:
    async with open_names_cluster(1) as cluster, open_runtime(node_id=2, threads=1) as runtime:
        one, two = cluster.nodes[1], cluster.add(runtime)
        found: list[int | None] = []

        async def look() -> None:
            found.append(await one.place.find("name"))

        async with trio.open_nursery() as nursery:
            async with one.names.reserve(ENVIRONMENT, "name") as reservation:
                nursery.start_soon(look)
                cluster.connect(one, two)
                other = await two.place.spawn()
                if late:
                    await two.place.put("name", other)
                child = await one.place.spawn()
                reservation.commit(3, child)
            if not late:
                assert await two.place.find("name") == child
        # The other one was registered before the child was born; in one millisecond the smaller pid stays.
        (winner,) = {await node.place.find("name") for node in (one, two)}
        assert winner in ((child, other) if late else (child,))
        if late:
            loser, node = (child, one) if winner == other else (other, two)
            with trio.fail_after(PATIENCE_S):
                await node.runtime.wait_exit(loser)


async def test_a_member_that_never_agrees_does_not_hold_up_names_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node_names, "SETTLE_PATIENCE_S", 0.05)
    async with open_names_cluster(1) as cluster, open_runtime(node_id=2, threads=1) as runtime:
        one, two = cluster.nodes[1], NamesNode(cluster, runtime)
        one.names.peer_up(two.info)  # which knows nothing of it
        with trio.fail_after(PATIENCE_S), capture_logs() as logs:
            name = next(name for name in map(str, range(99)) if one.names._names.home(Name(7, name)) == 1)
            assert await one.place.find(name) is None
        assert any("members do not agree" in log["event"] for log in logs)


async def test_what_a_peer_may_not_say_is_refused_and_the_rest_before_it_is_done() -> None:
    async with open_names_cluster(2) as cluster:
        one, two = cluster.nodes.values()
        pid = await two.place.spawn()
        sound = Announce(Entry(Name(ENVIRONMENT, "sound"), 3, pid, 0))
        forged = Announce(Entry(Name(ENVIRONMENT, "forged"), 3, 9 << 40 | 1, 0))
        (names,) = names_to_protos([Get(99, Name(ENVIRONMENT, "free")), sound, forged])
        with pytest.raises(InvalidError, match="which is of node 9"):
            one.names.handlers()["names"](two.info, names)
        with pytest.raises(InvalidError):
            one.names.handlers()["names"](two.info, node_pb2.Names(signals=[node_pb2.NameSignal()] * 5000))


async def test_a_node_with_too_many_names_is_given_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_owner, "MAX_NODE_NAMES", 2)
    async with open_names_cluster(2) as cluster:
        one, two = cluster.nodes.values()
        pid = await one.place.spawn()
        await one.place.put("a", pid)
        await two.place.put("b", pid)
        with pytest.raises(RefusedError, match="at most"):
            await one.place.put("c", pid)
        with pytest.raises(RefusedError, match="too many names"):
            await two.place.put("c", pid)
        await two.names.remove(ENVIRONMENT, "a")
        await one.place.put("c", pid)


async def test_a_node_that_lost_its_last_peer_decides_alone_and_shares_again() -> None:
    async with open_names_cluster(2) as cluster:
        one, two = cluster.nodes.values()
        mine, theirs = await one.place.spawn(), await two.place.spawn()
        await one.place.put("mine", mine)
        await one.place.put("theirs", theirs)
        async with one.names.reserve(ENVIRONMENT, "spawned") as reservation:
            cluster.disconnect(one, two)
            assert await one.place.find("theirs") is None
            child = await one.place.spawn()
            reservation.commit(3, child)
        one.runtime.use_names(cast(NameService, None))  # no guest asks for it
        module = await one.runtime.load_module(
            guest(f"""{GET} {START}
                (is32 (call $get @"mine") 0:i32) (is64 (i64.load 8:i32) {mine}:i64)
                (is32 (call $get @"spawned") 0:i32) (is64 (i64.load 8:i32) {child}:i64)
                (is32 (call $get @"theirs") 1:i32)
                (registry.put @"theirs" 0:i64 {mine}:i64)
                (registry.remove @"mine"))"""),
            "guest",
        )
        pid = await one.runtime.spawn(module, environment=ENVIRONMENT)
        assert (await one.runtime.wait_exit(pid)).kind is ExitKind.NORMAL
        cluster.connect(one, two)
        with trio.fail_after(PATIENCE_S):
            await one.runtime.wait_exit(mine)  # which took the name of an earlier one meanwhile
        assert [await two.place.find(name) for name in ("mine", "theirs", "spawned")] == [None, theirs, child]
