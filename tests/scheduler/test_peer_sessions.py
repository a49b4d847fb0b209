"""Sessions with a node: one after the other under the same node id, and nothing of one in the next."""

from __future__ import annotations

import random
from itertools import count
from typing import Any

import pytest
import trio

from luna.proto import node_pb2
from luna.scheduler import ExitKind

from .frames import envelope, frame
from .lab import Lab, open_lab, wait_for
from .pump import A, B, Pump, pid

START = '(func (export "_start")'
SURVIVE = "(process.die_when_link_dies 0:i32)"
PARK = f"{START} {SURVIVE} (call $park))"
TARGET = pid(B, 1)
HEAD = bytes(range(27))


@pytest.fixture
async def lab() -> Any:
    """Node A; the test plays B."""
    async with open_lab(A, held=()) as lab:
        yield lab


def take_in(lab: Lab, session: int, *envelopes: node_pb2.Envelope) -> list[bytes]:
    return lab.runtime.peers.deliver(B, session, frame(*envelopes), 0)


def sent(lab: Lab, session: int) -> list[node_pb2.Envelope]:
    """What was queued for B since last asked."""
    envelopes: list[node_pb2.Envelope] = []
    while (data := lab.runtime.peers.take_frame(B, session, 1 << 20, b"")) is not None:
        envelopes += node_pb2.Frame.FromString(data).envelopes
    return envelopes


async def wait_sent(lab: Lab, session: int, count: int) -> list[node_pb2.Envelope]:
    envelopes: list[node_pb2.Envelope] = []

    def enough() -> bool:
        envelopes.extend(sent(lab, session))
        return len(envelopes) >= count

    await wait_for(enough, f"{count} envelopes")
    assert len(envelopes) == count
    return envelopes


async def test_a_node_comes_back_with_another_session(lab: Lab) -> None:
    peers = lab.runtime.peers
    for session in (7, (1 << 64) - 1):
        peers.add_peer(B, session)
        await lab.passes(f"{START} (call $send {TARGET}:i64 0:i64 1:i64))")
        assert peers.take_ready() == [B]
        assert len(sent(lab, session)) == 1
        target = await lab.spawn(PARK)
        take_in(lab, session, envelope("kill", TARGET, target, environment=1))
        assert (await lab.wait_exit(target)).kind is ExitKind.KILLED
        peers.remove_peer(B)
        peers.remove_peer(B)
        assert not peers.send(B, b"")


async def test_a_session_that_is_not_the_current_one_carries_nothing(lab: Lab) -> None:
    peers = lab.runtime.peers
    peers.add_peer(B, 1)
    await lab.passes(f"{START} (call $send {TARGET}:i64 0:i64 1:i64))")
    target = await lab.spawn(PARK)
    peers.remove_peer(B)
    peers.add_peer(B, 2)
    assert peers.statistics(B).queued_bytes == 0
    await lab.passes(f"{START} (call $send {TARGET}:i64 0:i64 2:i64))")
    assert peers.take_frame(B, 1, 1000, b"") is None
    assert take_in(lab, 1, envelope("kill", TARGET, target, environment=1), node_pb2.Envelope(spawn={})) == []
    assert peers.deliver(B, 1, b"garbage", 0) == []
    assert lab.runtime.exists(target)
    (message,) = sent(lab, 2)
    assert message.message.data == (2).to_bytes(8, "little")


async def test_another_session_ends_the_current_one(lab: Lab) -> None:
    peers = lab.runtime.peers
    peers.add_peer(B, 1)
    linked = await lab.spawn(f"{START} (process.link 1:i64 {TARGET}:i64) (call $park))")
    await wait_sent(lab, 1, 1)
    peers.add_peer(B, 1)
    assert lab.runtime.exists(linked)
    peers.add_peer(B, 2)
    assert (await lab.wait_exit(linked)).kind is ExitKind.LINK_DIED


async def test_a_frame_has_the_head_it_is_given_and_is_read_from_its_envelopes_on(lab: Lab) -> None:
    peers = lab.runtime.peers
    peers.add_peer(B, 1)
    assert peers.take_frame(B, 1, 1000, HEAD) is None
    await lab.passes(f"{START} (call $send {TARGET}:i64 0:i64 1:i64))")
    data = peers.take_frame(B, 1, 1000, HEAD)
    assert data is not None
    assert data[:27] == HEAD
    assert len(node_pb2.Frame.FromString(data[27:]).envelopes) == 1
    gossip = node_pb2.Envelope(gossip={}).SerializeToString()
    assert peers.send(B, gossip)
    data = peers.take_frame(B, 1, 1000, HEAD)
    assert data is not None
    assert peers.deliver(B, 1, data, len(HEAD)) == [gossip]
    assert peers.deliver(B, 1, data, len(data)) == []
    with pytest.raises(ValueError, match="behind"):
        peers.deliver(B, 1, data, len(data) + 1)


@pytest.mark.parametrize("at", ["(gate)", "(loop $busy (br $busy))"])
async def test_links_and_monitors_of_both_sides_belong_to_their_session(lab: Lab, at: str) -> None:
    """The other side sets them anew in each session, before this one looks at the end of the last.

    Who is busy looks at many sessions at once, most of which had ended before they were known.
    """
    target = await lab.spawn(f"{START} {SURVIVE} (report 1:i64) {at})")
    await wait_for(lambda: lab.reports == [1], "the target survives links")
    asked = {"environment": 1}
    for session in range(1, 21):
        lab.runtime.peers.add_peer(B, session)
        take_in(
            lab,
            session,
            envelope("link", TARGET, target, tag=session, **asked),
            envelope("monitor", TARGET, target, **asked),
        )
        if session < 20:
            lab.runtime.peers.remove_peer(B)
    take_in(lab, 20, envelope("kill", TARGET, target, environment=1))
    await lab.wait_exit(target)
    died, ended = await wait_sent(lab, 20, 2)
    fields: Any = {"from": target, "to": TARGET, "kind": node_pb2.EXIT_KILLED, "code": 1, "text": "killed"}
    assert died == node_pb2.Envelope(link_died=node_pb2.LinkDied(tag=20, **fields))
    assert ended.process_died.kind == node_pb2.EXIT_KILLED


async def test_a_death_is_not_told_in_a_later_session(lab: Lab) -> None:
    peers = lab.runtime.peers
    peers.add_peer(B, 1)
    process = await lab.spawn(f"{START} {SURVIVE} (process.link 1:i64 {TARGET}:i64) (gate))")
    await wait_sent(lab, 1, 1)
    peers.add_peer(B, 2)
    lab.gate.set()
    await lab.wait_exit(process)
    assert sent(lab, 2) == []


async def test_a_child_asked_for_in_an_earlier_session_dies_with_it(pump: Pump) -> None:
    parent = await pump.a.spawn(PARK)
    module = await pump.b.load(f"{START} (call $park))")
    pump.hold()
    child = await pump.b.spawn(module, parent=parent, link_tag=9)
    pump.b.runtime.peers.add_peer(A, 2)
    assert (await pump.b.wait_exit(child)).kind is ExitKind.LINK_DIED


async def test_every_link_and_monitor_fires_once_while_sessions_come_and_go(lab: Lab) -> None:
    """Guests set them anew the moment the last have fired, in whatever state the peer is."""
    rounds = 100
    module = await lab.load(f"""
        {START} (local $n i64) (local $left i32) (local $kind i32)
          {SURVIVE}
          (loop $again
            (local.set $n (i64.add (local.get $n) 1:i64))
            (process.link (local.get $n) {TARGET}:i64)
            (process.monitor {TARGET}:i64)
            (is32 (process.exists {TARGET}:i64) 0:i32)
            (local.set $left 3:i32)
            (loop $more
              (local.set $kind (call $receive_any -1:i64))
              (local.set $left (i32.sub (local.get $left) (local.get $kind)))
              (if (i32.eq (local.get $kind) 1:i32) (then (is64 (message.get_tag) (local.get $n))))
              (br_if $more (local.get $left)))
            (br_if $again (i64.lt_u (local.get $n) {rounds}:i64)))
          (is32 (call $receive_any 20:i64) 9027:i32)
          (report 1:i64))""")
    lab.runtime.peers.add_peer(B, 1)
    guests = [await lab.spawn(module) for _ in range(8)]
    links: dict[int, list[int]] = {guest: [] for guest in guests}
    rng = random.Random(1)
    for session in count(1):
        if not any(map(lab.runtime.exists, guests)):
            break
        lab.runtime.peers.add_peer(B, session)
        for _ in range(rng.choice([0, 1, 5, 50])):
            for each in sent(lab, session):
                if each.WhichOneof("signal") == "link":
                    links[getattr(each.link, "from")].append(each.link.tag)
            await trio.lowlevel.checkpoint()
        if rng.random() < 0.2:  # else the next session ends this one
            lab.runtime.peers.remove_peer(B)
    assert lab.reports == [1] * len(guests)
    assert all(tags == sorted(set(tags)) for tags in links.values())  # none was sent into two sessions
