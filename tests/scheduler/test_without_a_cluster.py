"""`lunatic::distributed` in a runtime that belongs to no cluster, as under `luna run`.

Not through the lab: its guests report by two of these calls.
"""

from __future__ import annotations

import pytest
import trio

from luna.scheduler import ExitKind, ExitStatus, open_runtime

from .lab import PATIENCE_S
from .wat import guest

START = '(func (export "_start")'


async def run(body: str) -> ExitStatus:
    async with open_runtime(threads=1) as runtime:
        module = await runtime.load_module(guest(body), "guest")
        with trio.fail_after(PATIENCE_S):
            return await runtime.wait_exit(await runtime.spawn(module))


async def test_there_are_no_nodes_and_no_ids_of_nodes_and_modules() -> None:
    status = await run(f"""{START}
        (is32 (distributed.nodes_count) 0:i32)
        (i64.store 0:i32 -1:i64)
        (is32 (distributed.get_nodes 0:i32 8:i32) 0:i32)
        (is32 (distributed.get_nodes 65536:i32 8:i32) 0:i32)
        (is64 (i64.load 0:i32) -1:i64)
        (is64 (distributed.node_id) 0:i64)
        (is64 (distributed.module_id) 0:i64))""")
    assert status.kind is ExitKind.NORMAL, status


async def test_a_list_of_no_nodes_has_to_lie_in_memory_all_the_same() -> None:
    status = await run(f"{START} (drop (distributed.get_nodes 65537:i32 0:i32)))")
    assert "outside the guest's memory" in status.reason


@pytest.mark.parametrize("send", ["message.send", "distributed.send 0:i64"])
async def test_sending_by_node_and_process_reaches_the_same(send: str) -> None:
    status = await run(f"""{START}
        (call $write 4:i64 77:i64)
        (is32 ({send} (process.process_id)) 0:i32)
        (is32 (call $receive_tag 4:i64 0:i64) 0:i32)
        (is64 (call $read) 77:i64))""")
    assert status.kind is ExitKind.NORMAL, status


async def test_a_process_of_any_node_is_a_dead_target() -> None:
    status = await run(f"""{START}
        (process.die_when_link_dies 0:i32)
        (call $write 4:i64 77:i64)
        (is32 (distributed.send 3:i64 {3 << 40 | 1}:i64) 0:i32)
        (call $write 4:i64 77:i64)
        (is32 (distributed.send_receive_skip_search 3:i64 {3 << 40 | 1}:i64 4:i64 5:i64) 9027:i32)
        (process.link 6:i64 {3 << 40 | 1}:i64)
        (is32 (call $receive_tag 6:i64 10000:i64) 1:i32))""")
    assert status.kind is ExitKind.NORMAL, status


@pytest.mark.parametrize(
    "call",
    [
        '(distributed.spawn 0:i64 -1:i64 0:i64 @"_start" 0:i32 0:i32 8:i32)',
        '(distributed.exec_lookup_nodes @"" 0:i32 8:i32 16:i32)',
        "(distributed.copy_lookup_nodes_results 0:i64 0:i32 8:i32 16:i32)",
    ],
)
async def test_what_needs_a_cluster_traps(call: str) -> None:
    status = await run(f"{START} (drop {call}))")
    assert status.kind is ExitKind.FAILURE
    assert "belongs to no cluster" in status.reason
