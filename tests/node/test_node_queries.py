"""Guests that ask about nodes: all of them, and those with some labels."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from tests.scheduler.wat import guest

from luna.cluster.members import Member, NodeInfo
from luna.cluster.membership import Membership
from luna.node.bridge import open_bridge
from luna.node.node_queries import MAX_QUERIES, MAX_QUERY_BYTES, NodeQueries, parse_query
from luna.proto.errors import InvalidError
from luna.scheduler import ExitKind
from luna.scheduler.runtime import Runtime, open_runtime

from .whole_node import open_whole_pair

OWN = 5
START = '(func (export "_start")'
# Asks, and ends with exit code 100 if the answer is an error. The id is at 0, the count at 8, an error at 16.
ASK = '(if (distributed.exec_lookup_nodes @"{}" 0:i32 8:i32 16:i32) (then (wasi.proc_exit 100:i32)))'
COPY = "(distributed.copy_lookup_nodes_results (i64.load 0:i32) 32:i32 8:i32 16:i32)"


class Rig:
    """A runtime that believes to be in a cluster of nodes 3, 5 (itself) and 9."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.membership = Membership(self.info(OWN, zone="a", disk="ssd"))
        self.membership.merge(Member(self.info(9, zone="a", note="a b&c=d ü", free="")))
        self.membership.merge(Member(self.info(3, zone="b", disk="ssd")))
        self.queries = NodeQueries(runtime, self.membership)
        self.queries.register()

    @staticmethod
    def info(node_id: int, **labels: str) -> NodeInfo:
        return NodeInfo(node_id, f"n{node_id}", "test", "127.0.0.1:9", labels, started_ms=node_id)

    async def run(self, body: str) -> tuple[ExitKind, int, str, bytes]:
        """(kind, code, reason, output) of a guest's end."""
        module = await self.runtime.load_module(guest(body), "guest")
        with trio.fail_after(20):
            pid = await self.runtime.spawn(module)
            status = await self.runtime.wait_exit(pid)
            output = bytearray()
            reader = self.runtime.logs(pid)
            try:
                while True:
                    output += (await reader.receive()).data
            except trio.EndOfChannel:
                pass
        return status.kind, status.code, status.reason, bytes(output)

    async def passes(self, body: str) -> None:
        kind, code, reason, _ = await self.run(body)
        line = body.splitlines()[code - 1].strip() if 0 < code < 100 else ""
        assert kind is ExitKind.NORMAL, f"{reason}: {line}"

    async def traps(self, body: str) -> str:
        kind, code, reason, _ = await self.run(body)
        assert (kind, code) == (ExitKind.FAILURE, 1), reason
        return reason


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with open_runtime(node_id=OWN, threads=1) as runtime:
        yield Rig(runtime)


async def test_all_live_nodes_are_counted_and_listed_by_id_this_one_included(rig: Rig) -> None:
    await rig.passes(f"""{START}
        (is32 (distributed.nodes_count) 3:i32)
        (is32 (distributed.get_nodes 0:i32 8:i32) 3:i32)
        (is64 (i64.load 0:i32) 3:i64) (is64 (i64.load 8:i32) 5:i64) (is64 (i64.load 16:i32) 9:i64)
        (is64 (i64.load 24:i32) 0:i64)
        (is64 (distributed.node_id) 5:i64))""")


async def test_no_more_nodes_are_listed_than_there_is_room_for(rig: Rig) -> None:
    await rig.passes(f"""{START}
        (is32 (distributed.get_nodes 65520:i32 2:i32) 2:i32)
        (is64 (i64.load 65528:i32) 5:i64)
        (is32 (distributed.get_nodes 65536:i32 0:i32) 0:i32)
        (is32 (distributed.get_nodes 65512:i32 -1:i32) 3:i32))""")


@pytest.mark.parametrize("arguments", ["65513:i32 3:i32", "65537:i32 0:i32", "-8:i32 1:i32"])
async def test_a_list_that_does_not_fit_the_memory_traps(rig: Rig, arguments: str) -> None:
    assert "outside the guest's memory" in await rig.traps(
        f"{START} (drop (distributed.get_nodes {arguments})))"
    )


async def test_a_node_that_died_or_left_is_not_there(rig: Rig) -> None:
    rig.membership.declare_dead(3)
    rig.membership.mark_left(9)
    await rig.passes(f"""{START}
        (is32 (distributed.nodes_count) 1:i32)
        {ASK.format("")} (is32 (i32.load 8:i32) 1:i32) (is32 {COPY} 1:i32) (is64 (i64.load 32:i32) 5:i64))""")


async def test_a_suspect_still_counts(rig: Rig) -> None:
    rig.membership.suspect(3)
    await rig.passes(f"{START} (is32 (distributed.nodes_count) 3:i32))")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [3, 5, 9]),
        ("&&", [3, 5, 9]),
        ("zone=a", [5, 9]),
        ("zone=b", [3]),
        ("disk=ssd", [3, 5]),
        ("zone=a&disk=ssd", [5]),
        ("disk=ssd&zone=a&", [5]),
        ("zone=c", []),
        ("rack=1", []),
        ("Zone=a", []),
        ("zone=A", []),
        ("zone=a&zone=b", []),
        ("zone=", []),
        ("free=", [9]),
        ("%7Aone=%61", [5, 9]),
        ("note=a+b%26c%3dd+%C3%BC", [9]),
        ("note=a%20b%26c=d ü", [9]),
    ],
)
async def test_every_label_of_a_query_must_match(rig: Rig, query: str, found: list[int]) -> None:
    ids = " ".join(f"(is64 (i64.load {32 + 8 * n}:i32) {id_}:i64)" for n, id_ in enumerate(found))
    await rig.passes(f"""{START}
        (i64.store 8:i32 -1:i64) (i64.store 16:i32 -1:i64) (i64.store {32 + 8 * len(found)}:i32 -1:i64)
        (is32 (distributed.exec_lookup_nodes @"{query}" 0:i32 8:i32 16:i32) 0:i32)
        (is32 (i32.load 8:i32) {len(found)}:i32) (is32 (i32.load 12:i32) -1:i32)
        (is64 (i64.load 16:i32) -1:i64)
        (is32 {COPY} {len(found)}:i32) {ids}
        (is64 (i64.load {32 + 8 * len(found)}:i32) -1:i64))""")


SHOW_ERROR = """
    (i32.store 40:i32 1000:i32) (i32.store 44:i32 (error.string_size (i64.load 16:i32)))
    (error.to_string (i64.load 16:i32) 1000:i32)
    (drop (wasi.fd_write 1:i32 40:i32 1:i32 48:i32))"""


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("zone", "key=value"),
        ("zone=a&disk", "key=value"),
        ("=a", "key=value"),
        ("zone=%", "hexadecimal"),
        ("zone=%4", "hexadecimal"),
        ("zone=%zz", "hexadecimal"),
        ("zo%=a", "hexadecimal"),
        ("zone=%ff", "not UTF-8"),
        ("%c3=a", "not UTF-8"),
    ],
)
async def test_a_malformed_query_is_code_1_with_a_text(rig: Rig, query: str, text: str) -> None:
    kind, _, reason, output = await rig.run(f"""{START}
        (i64.store 0:i32 -1:i64) (i32.store 8:i32 -1:i32)
        (is32 (distributed.exec_lookup_nodes @"{query}" 0:i32 8:i32 16:i32) 1:i32)
        (is64 (i64.load 0:i32) -1:i64) (is32 (i32.load 8:i32) -1:i32)
        {SHOW_ERROR})""")
    assert kind is ExitKind.NORMAL, reason
    assert output.startswith(b"node query is malformed")
    assert text in output.decode()


def test_a_label_asked_for_twice_is_looked_at_once() -> None:
    assert parse_query("zone=a&" * 1000 + "disk=ssd&zone=%61") == [("zone", "a"), ("disk", "ssd")]


def test_an_error_text_repeats_no_more_of_a_query_than_a_line() -> None:
    with pytest.raises(InvalidError) as caught:
        parse_query("x" * 10_000)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    "call",
    [
        "65530:i32 7:i32 0:i32 8:i32 16:i32",  # the query
        "0:i32 -1:i32 0:i32 8:i32 16:i32",
        '@"zone=a" 65529:i32 8:i32 16:i32',  # where its id goes
        '@"zone=a" 0:i32 65533:i32 16:i32',  # where the count goes
        '@"zone" 0:i32 8:i32 65529:i32',  # where an error goes
    ],
)
async def test_a_bad_pointer_of_a_query_traps(rig: Rig, call: str) -> None:
    reason = await rig.traps(f"{START} (drop (distributed.exec_lookup_nodes {call})))")
    assert "outside the guest's memory" in reason
    assert not rig.queries._kept


async def test_pointers_that_are_not_written_may_be_bad(rig: Rig) -> None:
    await rig.passes(f"""{START}
        (is32 (distributed.exec_lookup_nodes @"zone=a" 0:i32 65532:i32 -1:i32) 0:i32)
        (is32 (distributed.copy_lookup_nodes_results (i64.load 0:i32) 65520:i32 9:i32 -1:i32) 2:i32)
        (is32 (distributed.exec_lookup_nodes @"zone" -1:i32 -1:i32 0:i32) 1:i32))""")


async def test_a_query_that_is_not_text_traps(rig: Rig) -> None:
    reason = await rig.traps(rf"""{START}
        (drop (distributed.exec_lookup_nodes @"a=\ff" 0:i32 8:i32 16:i32)))""")
    assert "not UTF-8" in reason


async def test_a_query_has_a_longest_length(rig: Rig) -> None:
    call = "(distributed.exec_lookup_nodes 65536:i32 {}:i32 0:i32 8:i32 16:i32)"
    memory = '(memory (export "memory") 4)'
    fill = "(memory.fill 65536:i32 0x26:i32 131072:i32)"  # nothing but &
    await rig.passes(f"{memory} {START} {fill} (is32 {call.format(MAX_QUERY_BYTES)} 0:i32))")
    reason = await rig.traps(f"{memory} {START} {fill} (drop {call.format(MAX_QUERY_BYTES + 1)}))")
    assert f"at most {MAX_QUERY_BYTES} bytes" in reason


async def test_results_are_of_the_moment_of_the_query(rig: Rig) -> None:
    await rig.passes(f"""{START}
        {ASK.format("zone=a")}
        (is32 (distributed.nodes_count) 3:i32)
        (is32 {COPY} 2:i32))""")


async def test_results_can_be_copied_once(rig: Rig) -> None:
    kind, _, reason, output = await rig.run(f"""{START}
        {ASK.format("zone=a")}
        (is32 {COPY} 2:i32)
        (i64.store 32:i32 -1:i64)
        (is32 {COPY} -1:i32)
        (is64 (i64.load 32:i32) -1:i64)
        {SHOW_ERROR})""")
    assert kind is ExitKind.NORMAL, reason
    assert output == b"there are no results of a node query 0: they can be copied once"


async def test_what_there_is_no_room_for_is_forgotten_too(rig: Rig) -> None:
    await rig.passes(f"""{START}
        {ASK.format("")}
        (is32 (distributed.copy_lookup_nodes_results (i64.load 0:i32) 32:i32 1:i32 16:i32) 1:i32)
        (is64 (i64.load 32:i32) 3:i64) (is64 (i64.load 40:i32) 0:i64)
        (is32 {COPY} -1:i32))""")


@pytest.mark.parametrize("id_", [0, 1, -1, 1 << 40])
async def test_an_unknown_query_id_is_minus_1_with_an_error(rig: Rig, id_: int) -> None:
    await rig.passes(f"""{START}
        (i64.store 16:i32 -1:i64)
        (is32 (distributed.copy_lookup_nodes_results {id_}:i64 32:i32 8:i32 16:i32) -1:i32)
        (is64 (i64.load 16:i32) 0:i64)
        (error.drop 0:i64))""")


@pytest.mark.parametrize(
    "call",
    ["(i64.load 0:i32) 65521:i32 2:i32 16:i32", "9:i64 32:i32 8:i32 65529:i32"],
    ids=["of the ids", "of the error"],
)
async def test_a_bad_pointer_of_a_copy_traps(rig: Rig, call: str) -> None:
    reason = await rig.traps(f"""{START}
        {ASK.format("zone=a")} (drop (distributed.copy_lookup_nodes_results {call})))""")
    assert "outside the guest's memory" in reason


async def test_results_belong_to_the_process_that_asked(rig: Rig) -> None:
    await rig.passes(f"""
        {START} (local $child i64)
          {ASK.format("zone=a")}
          (local.set $child (call $spawn @"child"))
          (process.monitor (local.get $child))
          (is32 (call $receive_any 20000:i64) 2:i32)
          (is32 {COPY} 2:i32))
        (func (export "child")
          (is32 (distributed.copy_lookup_nodes_results 0:i64 32:i32 8:i32 16:i32) -1:i32)
          {ASK.format("zone=b")} (is64 (i64.load 0:i32) 0:i64) (is32 {COPY} 1:i32))""")


async def test_a_process_keeps_so_many_results_and_no_more(rig: Rig) -> None:
    await rig.passes(f"""{START} (local $left i32)
        (local.set $left {MAX_QUERIES}:i32)
        (loop $again
          {ASK.format("zone=a")}
          (local.set $left (i32.sub (local.get $left) 1:i32))
          (br_if $again (local.get $left)))
        (is64 (i64.load 0:i32) {MAX_QUERIES - 1}:i64)
        (is32 (distributed.exec_lookup_nodes @"" 0:i32 8:i32 16:i32) 1:i32)
        (error.drop (i64.load 16:i32))
        (is32 (distributed.copy_lookup_nodes_results 3:i64 32:i32 8:i32 16:i32) 2:i32)
        (is32 (distributed.exec_lookup_nodes @"" 0:i32 8:i32 16:i32) 0:i32)
        (is64 (i64.load 0:i32) {MAX_QUERIES}:i64)
        (is32 (distributed.exec_lookup_nodes @"" 0:i32 8:i32 16:i32) 1:i32))""")


async def test_results_vanish_with_their_process(rig: Rig) -> None:
    for end in ("", "(unreachable)"):
        await rig.run(f"{START} {ASK.format('zone=a')} {ASK.format('zone=b')} {end})")
        with trio.fail_after(20):
            while rig.queries._kept:
                await trio.sleep(0.002)


async def test_labels_of_other_nodes_arrive_with_them(tmp_path: Path) -> None:
    async with open_bridge() as bridge, open_whole_pair(bridge, tmp_path) as (a, b):
        for node, other in ((a, b), (b, a)):
            await node.passes(f"""{START}
                (is32 (distributed.nodes_count) 2:i32)
                {ASK.format(f"zone={other.name}")} (is32 (i32.load 8:i32) 1:i32)
                (is32 {COPY} 1:i32) (is64 (i64.load 32:i32) {other.id}:i64)
                {ASK.format("rack=1%20%26+2")} (is32 {COPY} 2:i32)
                (is64 (i64.load 32:i32) {a.id}:i64) (is64 (i64.load 40:i32) {b.id}:i64))""")
