"""Process groups on one node: joining, leaving, who is in, and a copy for everyone."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import trio
import trio.lowlevel

from luna.proto import limits
from luna.scheduler import groups
from luna.scheduler.groups import ALREADY_MEMBER, JOINED, LEFT, LIMIT, NO_MEMBER, Groups

from .lab import Lab, open_lab, wait_for

START = '(func (export "_start")'
SELF = "(process.process_id)"
# The number of members; the first eight are written to 1000.
MEMBERS = """(func $members (result i32)
    (group.members @"g" 1000:i32 8:i32))"""
# Spawns a member and waits until it has joined.
MEMBER = """
    (func $start_member (result i64) (local $pid i64)
      (local.set $pid (call $spawn @"member"))
      (call $send (local.get $pid) 0:i64 (process.process_id))
      (is64 (call $receive) (local.get $pid))
      (local.get $pid))
    (func (export "member") (local $parent i64)
      (local.set $parent (call $receive))
      (is32 (group.join @"g") 0:i32)
      (call $send (local.get $parent) 0:i64 (process.process_id))
      (call $serve (local.get $parent)))"""


async def test_a_process_joins_once_and_leaves(lab: Lab) -> None:
    await lab.passes(f"""{MEMBERS} {START}
        (is32 (call $members) 0:i32)
        (is32 (group.leave @"g") 1:i32)
        (is32 (group.join @"g") 0:i32)
        (is32 (group.join @"g") 1:i32)
        (is32 (call $members) 1:i32)
        (is64 (i64.load 1000:i32) {SELF})
        (is32 (group.members @"other" 1000:i32 8:i32) 0:i32)
        (is32 (group.leave @"g") 0:i32)
        (is32 (group.leave @"g") 1:i32)
        (is32 (call $members) 0:i32))""")


async def test_members_tells_how_many_there_are_and_writes_what_fits(lab: Lab) -> None:
    await lab.passes(f"""{MEMBER} {START} (local $one i64) (local $two i64)
        (local.set $one (call $start_member))
        (local.set $two (call $start_member))
        (i64.store 1000:i32 -1:i64) (i64.store 1008:i32 -1:i64)
        (is32 (group.members @"g" 0:i32 0:i32) 2:i32)
        (is32 (group.members @"g" 1000:i32 1:i32) 2:i32)
        (is64 (i64.load 1000:i32) (local.get $one))
        (is64 (i64.load 1008:i32) -1:i64)
        (is32 (group.members @"g" 1000:i32 100:i32) 2:i32)
        (is64 (i64.load 1008:i32) (local.get $two)))
        (func $serve (param i64) (call $park))""")


async def test_the_death_of_a_member_takes_it_out(lab: Lab) -> None:
    await lab.passes(f"""{MEMBER} {MEMBERS} {START} (local $pid i64)
        (local.set $pid (call $start_member))
        (process.monitor (local.get $pid))
        (is32 (call $members) 1:i32)
        (process.kill (local.get $pid))
        (is32 (call $receive_any -1:i64) 2:i32)
        (is32 (call $members) 0:i32))
        (func $serve (param i64) (call $park))""")
    await wait_for(lambda: not list(lab.runtime.groups.own()), "memberships of dead processes go")


async def test_a_broadcast_reaches_every_member_and_keeps_its_place_among_sends(lab: Lab) -> None:
    await lab.passes(f"""{MEMBER} {START} (local $one i64) (local $two i64)
        (local.set $one (call $start_member))
        (local.set $two (call $start_member))
        (is32 (group.join @"g") 0:i32)
        (call $send (local.get $two) 1:i64 1:i64)
        (call $write 7:i64 2:i64)
        (is32 (group.broadcast @"g") 3:i32)
        (call $send (local.get $two) 1:i64 3:i64)
        (is32 (call $receive_tag 7:i64 -1:i64) 0:i32)
        (is64 (call $read) 2:i64)
        (is32 (call $receive_tag 9:i64 -1:i64) 0:i32)
        (is64 (call $read) 2:i64)
        (is32 (call $receive_tag 10:i64 -1:i64) 0:i32)
        (is64 (call $read) 123:i64))
        (func $serve (param $parent i64) (local $seen i64)
          ;; The one answers with what it got; the other with what it got in order, as digits.
          (if (i64.eq (i64.rem_u (process.process_id) 2:i64) 0:i64)
            (then
              (call $send (local.get $parent) 9:i64 (call $receive)))
            (else
              (local.set $seen (call $receive))
              (local.set $seen (i64.add (i64.mul (local.get $seen) 10:i64) (call $receive)))
              (local.set $seen (i64.add (i64.mul (local.get $seen) 10:i64) (call $receive)))
              (call $send (local.get $parent) 10:i64 (local.get $seen)))))""")


async def test_the_sender_need_not_be_a_member_and_its_scratch_is_empty_then(lab: Lab) -> None:
    reason = await lab.traps(f"""{START}
        (call $write 1:i64 5:i64)
        (is32 (group.broadcast @"nobody") 0:i32)
        (drop (message.send {SELF})))""")
    assert "there is no message to send" in reason


async def test_a_large_group_gets_a_large_message_in_many_turns(lab: Lab) -> None:
    # 3 000 members, 20 000 bytes each: more than one turn may copy, by number and by size.
    await lab.passes(f"""{START} (local $n i32)
        (local.set $n 3000:i32)
        (loop $again
          (call $send (call $spawn @"member") 0:i64 {SELF})
          (local.set $n (i32.sub (local.get $n) 1:i32))
          (br_if $again (local.get $n)))
        (local.set $n 3000:i32)
        (loop $again
          (drop (call $receive))
          (local.set $n (i32.sub (local.get $n) 1:i32))
          (br_if $again (local.get $n)))
        (message.create_data 3:i64 0:i64)
        (drop (message.write_data 0:i32 20000:i32))
        (is32 (group.broadcast @"g") 3000:i32)
        (local.set $n 3000:i32)
        (loop $again
          (is64 (call $receive) 20000:i64)
          (local.set $n (i32.sub (local.get $n) 1:i32))
          (br_if $again (local.get $n))))
        (func (export "member") (local $parent i64)
          (local.set $parent (call $receive))
          (drop (group.join @"g"))
          (call $send (local.get $parent) 0:i64 1:i64)
          (drop (call $receive_any -1:i64))
          (call $send (local.get $parent) 0:i64 (message.data_size)))""")


async def test_who_broadcasts_can_be_killed_meanwhile(lab: Lab) -> None:
    pid = await lab.spawn(f"""{START}
        (drop (group.join @"g"))
        (loop $again
          (message.create_data 3:i64 0:i64)
          (drop (message.write_data 0:i32 60000:i32))
          (drop (group.broadcast @"g"))
          (drop (call $receive_any -1:i64))
          (br $again)))""")
    lab.runtime.kill(pid)
    await lab.wait_exit(pid)


async def test_only_plain_data_of_a_bounded_size_is_broadcast(lab: Lab) -> None:
    reason = await lab.traps(f'{START} (drop (group.broadcast @"g")))')
    assert reason.startswith("trap: luna::group::broadcast: there is no message")
    reason = await lab.traps(f"""(memory (export "memory") 300) {START}
        (message.create_data 0:i64 0:i64)
        (drop (message.write_data 0:i32 16777217:i32))
        (drop (group.broadcast @"g")))""")
    assert "a message to many holds at most 16 MiB" in reason


async def test_names_are_bounded_text(lab: Lab) -> None:
    for call in ("join", "leave"):
        assert "at most 255 bytes" in await lab.traps(f"{START} (drop (group.{call} 0:i32 256:i32)))")
        assert "not UTF-8" in await lab.traps(f'{START} (drop (group.{call} @"\\ff")))')
        assert "outside the guest" in await lab.traps(f"{START} (drop (group.{call} -4:i32 8:i32)))")
    assert "outside the guest" in await lab.traps(
        f'{START} (drop (group.join @"g")) (drop (group.members @"g" -4:i32 8:i32)))'
    )


async def test_environments_have_groups_of_their_own(lab: Lab) -> None:
    await lab.spawn(f'{START} (drop (group.join @"g")) (report 1:i64) (call $park))', environment=1)
    await wait_for(lambda: lab.reports)
    await lab.passes(f"{MEMBERS} {START} (is32 (call $members) 0:i32))", environment=2)
    await lab.passes(f"{MEMBERS} {START} (is32 (call $members) 1:i32))", environment=1)


async def test_nothing_is_left_of_members() -> None:
    async with open_lab() as lab:
        await lab.spawn(f'{START} (drop (group.join @"g")) (call $park))')


# -- the table alone ---------------------------------------------------------------


class Peers:
    """Memberships of other nodes' processes, and what was told of this one's."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, str, int]] = []
        self.elsewhere: list[int] = []

    def members(self, environment: int, name: str) -> Iterable[int]:
        return self.elsewhere

    def joined(self, environment: int, name: str, pid: int) -> None:
        self.told.append(("joined", environment, name, pid))

    def left(self, environment: int, name: str, pid: int) -> None:
        self.told.append(("left", environment, name, pid))


async def test_a_broadcast_waits_for_room_on_the_way_to_a_node_between_two_copies() -> None:
    async with open_lab(node_id=5) as lab:
        gateway, peers = lab.runtime.peers, Peers()
        gateway.add_peer(7, 1)
        lab.runtime.groups.connect(peers)
        peers.elsewhere = [7 << 40 | serial for serial in range(1, 41)]
        pid = await lab.spawn(f"""(memory (export "memory") 17) {START}
            (message.create_data 0:i64 0:i64)
            (drop (message.write_data 0:i32 1048576:i32))
            (is32 (group.broadcast @"g") 40:i32))""")
        await wait_for(lambda: gateway.statistics(7).suspended == 1, "the queue is full")
        ended = trio.Event()

        async def wait_exit() -> None:
            assert (await lab.wait_exit(pid)).code == 0
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_exit)
            taken = 0
            while not ended.is_set():
                # What is queued is bounded, however many members there are.
                assert gateway.statistics(7).queued_bytes <= 8 * 2**20
                frame = gateway.take_frame(7, 1, 2**20, b"")
                taken += len(frame or b"")
                await trio.lowlevel.checkpoint()
            while (frame := gateway.take_frame(7, 1, 2**20, b"")) is not None:
                taken += len(frame)
        assert 40 * 2**20 < taken < 41 * 2**20


def test_every_change_is_told_once() -> None:
    table, peers = Groups(lambda pid: True), Peers()
    table.connect(peers)
    assert table.join(1, "a", 5) == JOINED
    assert table.join(1, "a", 5) == ALREADY_MEMBER
    assert table.join(1, "b", 5) == JOINED
    assert table.leave(1, "c", 5) == NO_MEMBER
    assert table.leave(1, "a", 5) == LEFT
    table.ended(5)
    table.ended(5)
    assert peers.told == [
        ("joined", 1, "a", 5),
        ("joined", 1, "b", 5),
        ("left", 1, "a", 5),
        ("left", 1, "b", 5),
    ]
    assert list(table.own()) == []


def test_members_elsewhere_come_behind_those_here_and_the_dead_are_left_out() -> None:
    alive = {5, 6}
    table, peers = Groups(lambda pid: pid in alive), Peers()
    table.connect(peers)
    table.join(1, "a", 5)
    table.join(1, "a", 6)
    peers.elsewhere = [7 << 40 | 1]
    alive.discard(5)
    assert table.members(1, "a") == [6, 7 << 40 | 1]


def test_each_limit_refuses_and_room_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MAX_GROUPS_OF_PROCESS", 2)
    monkeypatch.setattr(groups, "MAX_GROUPS", 3)
    monkeypatch.setattr(groups, "MAX_MEMBERSHIPS", 5)
    table = Groups(lambda pid: True)
    assert [table.join(1, name, 5) for name in "abc"] == [JOINED, JOINED, LIMIT]  # of one process
    assert [table.join(1, name, 6) for name in "cd"] == [JOINED, LIMIT]  # groups
    assert table.join(2, "d", 7) == JOINED  # of another environment
    assert [table.join(1, "a", pid) for pid in (8, 9)] == [JOINED, LIMIT]  # in all
    table.ended(5)
    assert table.join(1, "d", 9) == JOINED


def test_limits_are_named_for_those_who_meet_them() -> None:
    assert limits.MAX_GROUP_NAME_BYTES == 255, "the host-call table says so"
