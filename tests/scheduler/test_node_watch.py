"""News of nodes for guests: who gets them, what they hold, and what is said about names."""

from __future__ import annotations

import struct

from luna.scheduler.node_watch import Downfall

from .lab import Lab, wait_for

START = '(func (export "_start")'
# Waits for a message with tag 5 and copies its first 200 bytes to 1000.
NEXT = """(func $next
    (is32 (call $receive_tag 5:i64 -1:i64) 0:i32)
    (drop (message.read_data 1000:i32 200:i32)))"""


class Names:
    def name_of(self, node_id: int) -> str | None:
        return {7: "seven"}.get(node_id)

    def find(self, name: str) -> int | None:
        return {"seven": 7}.get(name)


def is_record(kind: int, reason: int, node_id: int, name: str) -> str:
    """Checks of the bytes at 1000 against a record as the interface defines it."""
    data = struct.pack("<IIQI", kind, reason, node_id, len(name)) + name.encode()
    words = [data[at : at + 4].ljust(4, b"\0") for at in range(0, len(data), 4)]
    return "\n".join(
        f"(is32 (i32.load {1000 + 4 * index}:i32) {int.from_bytes(word, 'little')}:i32)"
        for index, word in enumerate(words)
    )


async def test_a_subscriber_learns_of_nodes_that_are_up_and_of_each_change(lab: Lab) -> None:
    lab.runtime.node_watch.up(7, "seven")
    pid = await lab.spawn(f"""{NEXT} {START}
        (node.subscribe 5:i64)
        ;; Sent before the call returned: it is there without waiting.
        (is32 (call $receive_tag 5:i64 0:i64) 0:i32)
        (is64 (message.data_size) 25:i64)
        (drop (message.read_data 1000:i32 200:i32))
        {is_record(1, 0, 7, "seven")}
        (report 1:i64)
        (call $next) {is_record(1, 0, 9, "nine")}
        (call $next) {is_record(2, 2, 7, "seven")}
        (call $next) {is_record(2, 1, 9, "nine")})""")
    await wait_for(lambda: lab.reports)
    watch = lab.runtime.node_watch
    watch.up(9, "nine")
    watch.down(7, Downfall.LOST)
    watch.down(7, Downfall.LOST)  # it was not up
    watch.down(9, Downfall.LEFT)
    status = await lab.wait_exit(pid)
    assert status.code == 0, status


async def test_nothing_comes_after_unsubscribing_and_a_second_subscription_replaces_the_first(
    lab: Lab,
) -> None:
    pid = await lab.spawn(f"""{START}
        (node.unsubscribe)
        (node.subscribe 4:i64)
        (node.subscribe 5:i64)
        (report 1:i64)
        (is32 (call $receive_tag 5:i64 -1:i64) 0:i32)
        (is32 (call $receive_any 0:i64) 9027:i32)
        (node.unsubscribe)
        (report 2:i64)
        (gate)
        (is32 (call $receive_any 0:i64) 9027:i32))""")
    await wait_for(lambda: lab.reports == [1])
    lab.runtime.node_watch.up(7, "seven")
    await wait_for(lambda: lab.reports == [1, 2])
    lab.runtime.node_watch.down(7, Downfall.LOST)
    lab.gate.set()
    status = await lab.wait_exit(pid)
    assert status.code == 0, status


async def test_a_dead_subscriber_is_forgotten(lab: Lab) -> None:
    await lab.passes(f"{START} (node.subscribe 5:i64))")
    await wait_for(lambda: not lab.runtime.node_watch._tags)


async def test_names_of_nodes(lab: Lab) -> None:
    lab.runtime.node_watch.connect(Names())
    await lab.passes(f"""{START}
        (i64.store 1000:i32 0:i64)
        (is32 (node.name 7:i64 1000:i32 3:i32) 5:i32)
        (is64 (i64.load 1000:i32) {int.from_bytes(b"sev", "little")}:i64)
        (is32 (node.name 7:i64 0:i32 0:i32) 5:i32)
        (is32 (node.name 8:i64 1000:i32 3:i32) -1:i32)
        (is64 (node.find @"seven") 7:i64)
        (is64 (node.find @"eight") 0:i64))""")
    assert "outside the guest" in await lab.traps(f"{START} (drop (node.name 7:i64 65534:i32 5:i32)))")
    assert "outside the guest" in await lab.traps(f"{START} (drop (node.find 65534:i32 5:i32)))")
    assert "at most 252 bytes" in await lab.traps(f"{START} (drop (node.find 0:i32 253:i32)))")


async def test_without_a_cluster_there_are_no_nodes_and_no_news(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (node.subscribe 5:i64)
        (is32 (call $receive_any 0:i64) 9027:i32)
        (is32 (node.name (distributed.node_id) 0:i32 0:i32) -1:i32)
        (is64 (node.find @"seven") 0:i64))""")
