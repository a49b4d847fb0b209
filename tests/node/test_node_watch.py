"""News of nodes for guests, across real nodes: what comes when, and what does not come afterwards."""

from __future__ import annotations

from pathlib import Path

from luna.node.bridge import Bridge

from .peer_node import wait_for
from .whole_node import PATIENCE_S, WholeNode, connect, open_whole_node, open_whole_pair

A, B, C = 5, 7, 9
START = '(func (export "_start")'
UP, DOWN, LEFT, LOST = 1, 2, 1, 2
# Passes each piece of news to the test, as kind, reason and node id in one number.
WATCH = f"""{START}
    (node.subscribe 5:i64)
    (loop $again
      (is32 (call $receive_any -1:i64) 0:i32)
      (drop (message.read_data 1000:i32 100:i32))
      (metrics.counter 0:i32 0:i32 (i64.add (i64.load 1008:i32)
        (i64.add (i64.mul (i64.load32_u 1000:i32) 10000:i64)
          (i64.mul (i64.load32_u 1004:i32) 1000:i64))))
      (br $again)))"""


def news(kind: int, reason: int, node_id: int) -> int:
    return kind * 10_000 + reason * 1000 + node_id


async def told(node: WholeNode, *expected: int) -> None:
    await wait_for(lambda: node.reports == list(expected), f"{expected}, not {node.reports}", PATIENCE_S)


async def test_nodes_that_come_leave_and_crash(bridge: Bridge, tmp_path: Path) -> None:
    async with open_whole_node(bridge, A, "a", tmp_path) as a:
        await a.spawn(WATCH)
        async with open_whole_node(bridge, B, "b", tmp_path) as b:
            await connect(a, b)
            await told(a, news(UP, 0, B))
            await b.peers.leave("the test says so")
            await told(a, news(UP, 0, B), news(DOWN, LEFT, B))
        async with open_whole_node(bridge, C, "c", tmp_path) as c:
            await connect(a, c)
            await told(a, news(UP, 0, B), news(DOWN, LEFT, B), news(UP, 0, C))
        await told(a, news(UP, 0, B), news(DOWN, LEFT, B), news(UP, 0, C), news(DOWN, LOST, C))


async def test_a_late_subscriber_starts_with_the_nodes_that_are_up(bridge: Bridge, tmp_path: Path) -> None:
    async with open_whole_pair(bridge, tmp_path) as (a, _):
        await a.passes(f"""{START}
            (node.subscribe 5:i64)
            (is32 (call $receive_any 0:i64) 0:i32)
            (drop (message.read_data 1000:i32 100:i32))
            (is64 (i64.load 1008:i32) {B}:i64)
            (is32 (i32.load 1016:i32) 1:i32)
            (is32 (i32.load8_u 1020:i32) {ord("b")}:i32)
            (is64 (node.find @"b") {B}:i64)
            (is64 (node.find @"a") (distributed.node_id))
            (is32 (node.name {B}:i64 1000:i32 8:i32) 1:i32)
            (is32 (i32.load8_u 1000:i32) {ord("b")}:i32))""")


async def test_the_end_of_a_node_comes_behind_everything_else_of_it(bridge: Bridge, tmp_path: Path) -> None:
    """Messages, then the notices of a link and a monitor, then that the node is down, and then nothing."""
    async with open_whole_node(bridge, A, "a", tmp_path) as a:
        async with open_whole_node(bridge, B, "b", tmp_path) as b:
            await connect(a, b)
            theirs = await b.spawn(f"""{START} (local $to i64) (local $n i64)
                (local.set $to (call $receive))
                (loop $again
                  (call $send (local.get $to) 1:i64 1:i64)
                  (br $again)))""")
            await a.spawn(f"""{START} (local $kind i32) (local $deaths i32)
                (node.subscribe 5:i64)
                (is32 (call $receive_any 0:i64) 0:i32)
                (process.die_when_link_dies 0:i32)
                (process.link 3:i64 {theirs}:i64)
                (process.monitor {theirs}:i64)
                (call $send {theirs}:i64 1:i64 (process.process_id))
                (loop $again
                  (local.set $kind (call $receive_any -1:i64))
                  (if (i32.eqz (local.get $kind))
                    (then
                      (if (i64.eq (message.get_tag) 5:i64)
                        (then
                          ;; The node is down: both notices came before, nothing comes after.
                          (is32 (local.get $deaths) 2:i32)
                          (metrics.counter 0:i32 0:i32 2:i64)
                          (is32 (call $receive_any 200:i64) 9027:i32)
                          (metrics.counter 0:i32 0:i32 3:i64)
                          (return)))
                      (is32 (local.get $deaths) 0:i32)
                      (metrics.counter 0:i32 0:i32 1:i64))
                    (else (local.set $deaths (i32.add (local.get $deaths) 1:i32))))
                  (br $again)))""")
            await wait_for(lambda: len(a.reports) >= 10, "messages come", PATIENCE_S)
        await wait_for(lambda: a.reports[-1] == 3, "the end", PATIENCE_S)
