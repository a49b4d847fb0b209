"""Process groups across real nodes: who is in them, copies for all, and what is left when a node is lost."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from luna.cluster.groups import Announcement, Membership, Received
from luna.node.bridge import Bridge
from luna.node.groups import from_proto, to_proto
from luna.proto import node_pb2
from luna.proto.ids import make_pid

from .peer_node import wait_for
from .whole_node import PATIENCE_S, Pair, WholeNode, connect, open_whole_node

A, B, C = 5, 7, 9
START = '(func (export "_start")'
JOIN = f'{START} (drop (group.join @"g")) (call $park))'
# A member that passes the sum of all it gets to the test.
SUM = """(func (export "_start") (local $sum i64)
    (drop (group.join @"g"))
    (loop $again
      (local.set $sum (i64.add (local.get $sum) (call $receive)))
      (metrics.counter 0:i32 0:i32 (local.get $sum))
      (br $again)))"""


def members(node: WholeNode, environment: int = 1, name: str = "g") -> list[int]:
    return sorted(node.runtime.groups.members(environment, name))


async def all_know(nodes: list[WholeNode], pids: list[int]) -> None:
    def agree() -> bool:
        return all(members(node) == sorted(pids) for node in nodes)

    await wait_for(agree, f"all know {pids}", PATIENCE_S)


async def test_members_of_all_nodes_are_known_on_all_nodes(bridge: Bridge, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(open_whole_node(bridge, node_id, name, tmp_path))
            for node_id, name in ((A, "a"), (B, "b"), (C, "c"))
        ]
        a, b, c = nodes
        early = [await node.spawn(JOIN) for node in nodes]  # before they know each other
        await connect(a, b)
        await connect(a, c)
        await all_know(nodes, early)
        late = [await node.spawn(JOIN) for node in nodes]
        await all_know(nodes, early + late)
        assert members(a, environment=2) == []
        a.runtime.kill(early[0])
        b.runtime.kill(late[1])
        await all_know(nodes, [early[1], early[2], late[0], late[2]])


async def test_a_broadcast_reaches_members_of_all_nodes_in_order_with_sends(pair: Pair) -> None:
    a, b = pair
    here, there = await a.spawn(SUM), await b.spawn(SUM)
    await all_know([a, b], [here, there])
    # Each gets 1, 20 and 300, in this order: the sums tell.
    await a.passes(f"""{START}
        (call $send {here}:i64 1:i64 1:i64) (call $send {there}:i64 1:i64 1:i64)
        (call $write 1:i64 20:i64)
        (is32 (group.broadcast @"g") 2:i32)
        (call $send {here}:i64 1:i64 300:i64) (call $send {there}:i64 1:i64 300:i64))""")
    await wait_for(lambda: len(a.reports) == len(b.reports) == 3, "three messages each", PATIENCE_S)
    assert a.reports == b.reports == [1, 21, 321]


async def test_a_lost_node_takes_its_members_with_it_and_a_new_one_brings_its_own(
    bridge: Bridge, tmp_path: Path
) -> None:
    async with open_whole_node(bridge, A, "a", tmp_path) as a:
        own = await a.spawn(JOIN)
        async with open_whole_node(bridge, B, "b", tmp_path) as b:
            theirs = await b.spawn(JOIN)
            await connect(a, b)
            await all_know([a, b], [own, theirs])
        await all_know([a], [own])
        async with open_whole_node(bridge, C, "b", tmp_path) as c:
            await connect(a, c)
            theirs = await c.spawn(JOIN)
            await all_know([a, c], [own, theirs])


async def test_a_peer_that_speaks_for_other_nodes_processes_is_no_peer_any_more(pair: Pair) -> None:
    a, b = pair
    forged = to_proto(Announcement((Membership(1, "g", make_pid(C, 1)),)))
    b.runtime.peers.send(A, node_pb2.Envelope(groups=forged).SerializeToString())
    await wait_for(lambda: not a.peers.is_connected(B), "a has turned b out", PATIENCE_S)
    assert members(a) == []


def test_messages_survive_the_wire() -> None:
    memberships = [Membership(1, "g", make_pid(A, 1)), Membership(1, "g", make_pid(A, 2))]
    other = [Membership(2**64 - 1, "hé", make_pid(A, 3))]
    for message in (
        Announcement(tuple(memberships), tuple(other)),
        Announcement((), tuple(other)),
        Received(),
    ):
        data = to_proto(message).SerializeToString()
        assert from_proto(node_pb2.Groups.FromString(data)) == message
