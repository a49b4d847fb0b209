"""The lanes of the queue for a peer: what overtakes what, large messages, order, and the bound on memory."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import pytest
import trio

from luna.proto import node_pb2
from luna.proto.errors import InvalidError
from luna.proto.limits import KIB, MIB
from luna.scheduler import ExitKind, Param

from .frames import Reader, envelope, frame, pieces
from .lab import Lab, open_lab, wait_for
from .pump import A, B, Pump, pid

START = '(func (export "_start")'
SURVIVE = "(process.die_when_link_dies 0:i32)"
TARGET = pid(B, 1)
FRAME_BYTES = 256 * KIB
CONTROL_MARK, DATA_MARK, BULK_MARK = MIB, 8 * MIB, 8 * MIB
BULK = 200 * KIB
"""bytes of a message that is bulk"""
PAGES = '(memory (export "memory") 40)'
# Sends a message of $size bytes to $to.
SEND_SIZED = """
    (func $send_sized (param $to i64) (param $value i64) (param $size i32)
      (message.create_data 0:i64 0:i64)
      (i64.store 8192:i32 (local.get $value))
      (drop (message.write_data 8192:i32 (local.get $size)))
      (drop (message.send (local.get $to))))"""


@pytest.fixture
async def lab() -> Any:
    """Node A, which has node B for a peer; the test plays B."""
    async with open_lab(A, held=()) as lab:
        lab.runtime.peers.add_peer(B, 1)
        yield lab


def take(lab: Lab, max_bytes: int = FRAME_BYTES) -> bytes | None:
    return lab.runtime.peers.take_frame(B, 1, max_bytes, b"")


def take_all(lab: Lab, reader: Reader, max_bytes: int = FRAME_BYTES) -> list[node_pb2.Envelope]:
    found = []
    while (data := take(lab, max_bytes)) is not None:
        found += reader.read(data)
    return found


def kinds(envelopes: list[node_pb2.Envelope]) -> list[tuple[str | None, int]]:
    """Each signal with the serial of its sender."""
    return [
        (name, getattr(getattr(each, name), "from") & 0xFF)
        for each in envelopes
        if (name := each.WhichOneof("signal")) is not None
    ]


# -- what overtakes what -------------------------------------------------------------------------


async def test_control_overtakes_messages_and_these_overtake_bulk(lab: Lab) -> None:
    await lab.passes(f"{PAGES} {SEND_SIZED} {START} (call $send_sized {TARGET}:i64 1:i64 {BULK}:i32))")
    await lab.passes(f"{START} (call $send {TARGET}:i64 0:i64 2:i64))")
    await lab.passes(f"{START} (process.kill {TARGET}:i64))")
    assert kinds(take_all(lab, Reader())) == [("kill", 3), ("message", 2), ("message", 1)]


@pytest.mark.parametrize("max_bytes", [1, 100, 1000, FRAME_BYTES, MIB])
async def test_signals_of_one_process_to_another_keep_their_order(lab: Lab, max_bytes: int) -> None:
    await lab.passes(f"""
        {PAGES} {SEND_SIZED}
        {START}
          (process.unlink {TARGET}:i64)
          (call $send {TARGET}:i64 0:i64 1:i64)
          (process.stop_monitoring {TARGET}:i64)
          (call $send_sized {TARGET}:i64 2:i64 {70 * KIB}:i32)
          (process.unlink {TARGET}:i64)
          (call $send {TARGET}:i64 0:i64 3:i64)
          (call $send_sized {TARGET}:i64 2:i64 {70 * KIB}:i32)
          (process.kill {TARGET}:i64))""")
    reader = Reader()
    names = [name for name, _ in kinds(take_all(lab, reader, max_bytes))]
    message = "message"
    assert names == [
        "unlink", message, "stop_monitoring", message, "unlink", message, message, "kill"
    ]  # fmt: skip
    assert (reader.chunks > 2) == (max_bytes < 70 * KIB)
    assert lab.runtime.peers.statistics(B).chunks_out == reader.chunks


async def test_a_process_that_waits_for_its_bulk_delays_nobody_else(lab: Lab) -> None:
    """The pair's own signals go behind its large message, those of others do not."""
    sender = await lab.spawn(f"""
        {PAGES} {SEND_SIZED}
        {START}
          (call $send_sized {TARGET}:i64 1:i64 {2 * MIB}:i32)
          (process.unlink {TARGET}:i64)
          (process.unlink {TARGET + 1}:i64))""")
    await lab.wait_exit(sender)
    reader = Reader()
    first = take(lab)
    assert first is not None
    found = reader.read(first)
    assert [each.unlink.to for each in found] == [TARGET + 1]
    assert [name for name, _ in kinds(take_all(lab, reader))] == ["message", "unlink"]


async def test_bulk_has_its_share_under_a_flood_and_leaves_the_rest(lab: Lab) -> None:
    await lab.passes(f"{PAGES} {SEND_SIZED} {START} (call $send_sized {TARGET}:i64 1:i64 {MIB}:i32))")
    await lab.passes(f"""
        {PAGES} {SEND_SIZED} {START} (local $n i32)
          (loop $again
            (call $send_sized {TARGET}:i64 2:i64 1000:i32)
            (local.set $n (i32.add (local.get $n) 1:i32))
            (br_if $again (i32.lt_u (local.get $n) 4000:i32))))""")
    reader = Reader()
    for _ in range(8):
        data = take(lab)
        assert data is not None
        assert len(data) <= FRAME_BYTES
        small = sum(len(each.message.data) for each in reader.read(data))
        assert FRAME_BYTES // 2 < small <= FRAME_BYTES * 3 // 4
    assert reader.chunks == 8
    rest = take_all(lab, reader)
    assert sum(len(each.message.data) == MIB for each in rest) == 1
    assert reader.is_between


async def test_the_statistics_tell_the_lanes_apart(lab: Lab) -> None:
    await lab.passes(f"{PAGES} {SEND_SIZED} {START} (call $send_sized {TARGET}:i64 1:i64 {BULK}:i32))")
    await lab.passes(f"{START} (call $send {TARGET}:i64 0:i64 2:i64))")
    lab.runtime.kill(TARGET)
    statistics = lab.runtime.peers.statistics(B)
    assert 0 < statistics.control_bytes < 64
    assert 0 < statistics.data_bytes < 128
    assert BULK < statistics.bulk_bytes < BULK + 64
    assert statistics.queued_bytes == (
        statistics.control_bytes + statistics.data_bytes + statistics.bulk_bytes
    )
    assert statistics.suspended == 0
    take_all(lab, Reader())
    assert lab.runtime.peers.statistics(B).queued_bytes == 0
    assert lab.runtime.peers.statistics(B).envelopes_out == 3


# -- large messages ---------------------------------------------------------------------------------


async def test_a_message_of_any_size_crosses(pump: Pump) -> None:
    size = 100 * 1000 * 1000
    target = await pump.b.spawn(f"""
        {START}
          (is32 (call $receive_any -1:i64) 0:i32)
          (is64 (message.get_tag) 7:i64)
          (is64 (message.data_size) {size}:i64)
          (message.seek_data {size - 8}:i64)
          (is64 (call $read) 0x5a5a5a5a5a5a5a5a:i64))""")
    await pump.a.passes(f"""
        (memory (export "memory") 1600)
        {START}
          (memory.fill 65536:i32 0x5a:i32 {size}:i32)
          (message.create_data 7:i64 0:i64)
          (drop (message.write_data 65536:i32 {size}:i32))
          (drop (message.send {target}:i64)))""")
    status = await pump.b.wait_exit(target)
    assert status.kind is ExitKind.NORMAL, status
    assert pump.b.runtime.peers.statistics(A).chunks_in > size // FRAME_BYTES


async def test_chunks_of_any_size_make_the_message(lab: Lab) -> None:
    data = random.Random(5).randbytes(5000)
    for sizes in ([], [1] * 60, [4999, 1], [40, 2500]):
        process = await lab.spawn(f"""
            {START}
              (is32 (call $receive_any -1:i64) 0:i32)
              (is64 (message.data_size) 5000:i64)
              (is64 (call $read) {int.from_bytes(data[:8], "little", signed=True)}:i64))""")
        whole = envelope("message", TARGET, process, environment=1, data=data).SerializeToString()
        other = node_pb2.Envelope(gossip=node_pb2.Gossip())
        for piece in pieces(whole, sizes):
            assert lab.runtime.peers.deliver(B, 1, frame(piece, other), 0) == [other.SerializeToString()]
        status = await lab.wait_exit(process)
        assert status.kind is ExitKind.NORMAL, status


WHOLE = envelope("message", TARGET, pid(A, 1), environment=1, data=bytes(1000)).SerializeToString()
GOSSIP = node_pb2.Envelope(gossip=node_pb2.Gossip()).SerializeToString()


def chunk(total: int, data: bytes) -> node_pb2.Envelope:
    return node_pb2.Envelope(chunk=node_pb2.Chunk(total=total, data=data))


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(0, WHOLE)],
        [chunk(len(WHOLE), b"")],
        [chunk(len(WHOLE), WHOLE[:10]), chunk(0, b"")],
        [chunk(len(WHOLE) - 1, WHOLE)],
        [chunk(len(WHOLE), WHOLE[:10]), chunk(0, WHOLE[10:] + b"x")],
        [chunk(len(WHOLE), WHOLE[:10]), chunk(len(WHOLE), WHOLE[10:])],
        [chunk(257 * MIB, WHOLE)],
        [chunk((1 << 64) - 1, WHOLE)],
        [chunk(len(WHOLE) + 1, WHOLE + b"\x0a")],
        [chunk(len(GOSSIP), GOSSIP)],
        [chunk(3, b"\x5a\x01\x00")],
    ],
    ids=[
        "no total", "empty first", "empty later", "more than the total", "more in the end", "a second total",
        "too large", "far too large", "malformed whole", "an envelope of Python", "a chunk in a chunk",
    ],
)  # fmt: skip
async def test_a_malformed_sequence_of_chunks_is_refused(lab: Lab, chunks: list[node_pb2.Envelope]) -> None:
    with pytest.raises(InvalidError, match="malformed"):
        lab.runtime.peers.deliver(B, 1, frame(*chunks), 0)


async def test_a_chunk_in_another_nodes_name_is_refused(lab: Lab) -> None:
    forged = envelope("message", pid(5, 1), pid(A, 1), data=bytes(1000)).SerializeToString()
    with pytest.raises(InvalidError, match="another node's name"):
        lab.runtime.peers.deliver(B, 1, frame(*pieces(forged, [500])), 0)


async def test_pieces_end_with_their_session_on_both_sides(lab: Lab) -> None:
    peers = lab.runtime.peers
    peers.deliver(B, 1, frame(chunk(len(WHOLE), WHOLE[:10])), 0)
    await lab.passes(f"{PAGES} {SEND_SIZED} {START} (call $send_sized {TARGET}:i64 1:i64 {MIB}:i32))")
    assert take(lab) is not None
    peers.remove_peer(B)
    peers.add_peer(B, 2)
    assert peers.take_frame(B, 2, FRAME_BYTES, b"") is None
    process = await lab.spawn(f"{START} (drop (call $receive_any -1:i64)))")
    whole = envelope("message", TARGET, process, environment=1, data=bytes(1000)).SerializeToString()
    peers.deliver(B, 2, frame(*pieces(whole, [10])), 0)
    await lab.wait_exit(process)


# -- the bound on memory ------------------------------------------------------------------------------

FLOODERS = {
    "messages": f"(call $send_sized {TARGET}:i64 (local.get $n) 500:i32)",
    "large messages": f"(call $send_sized {TARGET}:i64 (local.get $n) {BULK}:i32)",
    "questions": f"(process.unlink {TARGET}:i64) (process.monitor {TARGET}:i64)",
    "timers": f"""(message.create_data 0:i64 0:i64) (drop (message.write_data 8192:i32 60000:i32))
        (drop (timer.send_after {TARGET}:i64 0:i64))""",
    "straight on": f"(call $send_sized {TARGET}:i64 (local.get $n) 500:i32)"
    + f"(process.kill {TARGET}:i64)" * 20,
}


def flooder(what: str, count: int) -> str:
    return f"""
        {PAGES} {SEND_SIZED}
        {START} (local $n i64)
          (loop $again
            {what}
            (local.set $n (i64.add (local.get $n) 1:i64))
            (br_if $again (i64.lt_u (local.get $n) {count}:i64)))
          (report 1:i64))"""


COUNTS = {"messages": 4000, "large messages": 20, "questions": 4000, "timers": 30, "straight on": 500}
EACH = 8
"""processes of each kind"""


async def flood(lab: Lab) -> list[int]:
    """Fill every lane, until all that flood it wait."""
    flooders = []
    for name, what in FLOODERS.items():
        module = await lab.load(flooder(what, COUNTS[name]), name)
        flooders += [await lab.spawn(module) for _ in range(EACH)]
    await wait_for(
        lambda: (
            lab.runtime.peers.statistics(B).suspended >= 4 * EACH  # timers may all be set by now
            and all(process.state == "waiting" for process in lab.runtime.processes())
        )
    )
    return flooders


def check_bound(lab: Lab) -> None:
    statistics = lab.runtime.peers.statistics(B)
    assert statistics.control_bytes <= CONTROL_MARK
    assert statistics.data_bytes <= DATA_MARK
    assert statistics.bulk_bytes <= BULK_MARK


async def test_a_peer_that_takes_nothing_costs_no_more_than_the_marks(lab: Lab) -> None:
    flooders = await flood(lab)
    check_bound(lab)
    assert len(lab.reports) <= EACH  # timers are set before the first of them is due
    # Nobody else is held up, and what is asked of another node is not either.
    await lab.passes(f"{START} (call $send {pid(5, 1)}:i64 0:i64 1:i64))")
    lab.runtime.peers.remove_peer(B)
    for process in flooders:
        assert (await lab.wait_exit(process)).kind is ExitKind.NORMAL
    assert lab.reports == [1] * len(flooders)


async def test_nothing_is_lost_when_the_peer_takes_again_and_the_order_holds(lab: Lab) -> None:
    flooders = await flood(lab)
    reader = Reader()
    values: dict[int, list[int]] = defaultdict(list)
    others: dict[str | None, int] = defaultdict(int)
    timers = 0
    expected = EACH * (COUNTS["messages"] + COUNTS["large messages"] + COUNTS["straight on"])

    def is_done() -> bool:
        nonlocal timers
        data = take(lab)
        check_bound(lab)
        for each in reader.read(data) if data is not None else ():
            if each.WhichOneof("signal") != "message":
                others[each.WhichOneof("signal")] += 1
            elif len(each.message.data) == 60000:
                timers += 1
            else:
                values[getattr(each.message, "from")].append(int.from_bytes(each.message.data[:8], "little"))
        return (
            data is None
            and sum(map(len, values.values())) == expected
            and timers == EACH * COUNTS["timers"]
            and others["kill"] == EACH * COUNTS["straight on"] * 20
            and others["unlink"] == others["monitor"] == EACH * COUNTS["questions"]
        )

    await wait_for(is_done)
    for got in values.values():
        assert got == list(range(len(got)))
    for process in flooders:
        assert (await lab.wait_exit(process)).kind is ExitKind.NORMAL
    assert lab.runtime.peers.statistics(B).suspended == 0


async def test_one_message_beyond_the_mark_is_queued_alone(lab: Lab) -> None:
    size = 20 * MIB
    module = await lab.load(f"""
        (memory (export "memory") 400) {SEND_SIZED}
        {START} (call $send_sized {TARGET}:i64 1:i64 {size}:i32) (report 1:i64))""")
    senders = [await lab.spawn(module) for _ in range(3)]
    await wait_for(lambda: lab.runtime.peers.statistics(B).suspended == 2)
    assert size < lab.runtime.peers.statistics(B).queued_bytes < size + 64
    reader = Reader()
    found: list[node_pb2.Envelope] = []

    def is_done() -> bool:
        found.extend(take_all(lab, reader))
        assert lab.runtime.peers.statistics(B).queued_bytes < size + 64
        return len(found) == 3

    await wait_for(is_done)
    for process in senders:
        await lab.wait_exit(process)


async def test_who_ends_by_itself_has_its_last_messages_sent(lab: Lab) -> None:
    """Its end is told after them; nothing that was sent is lost with a process that is done."""
    full = await lab.spawn(flooder(FLOODERS["messages"], 20_000))
    await wait_for(lambda: lab.runtime.peers.statistics(B).suspended == 1)
    ends = ["", "unreachable"]
    last = [
        await lab.spawn(f"""
            {START}
              (call $send {TARGET + 1}:i64 0:i64 {number}:i64)
              {end})""")
        for number, end in enumerate(ends)
    ]
    await wait_for(lambda: lab.runtime.peers.statistics(B).suspended == 3)
    assert all(map(lab.runtime.exists, last))
    reader = Reader()
    found: list[node_pb2.Envelope] = []

    def is_done() -> bool:
        found.extend(take_all(lab, reader))
        return len(found) == 20_002

    await wait_for(is_done)
    assert sorted(each.message.data for each in found if each.message.to == TARGET + 1) == [
        number.to_bytes(8, "little") for number in range(len(ends))
    ]
    assert (await lab.wait_exit(last[0])).kind is ExitKind.NORMAL
    assert (await lab.wait_exit(last[1])).kind is ExitKind.FAILURE
    await lab.wait_exit(full)


async def test_who_is_killed_while_it_waits_gives_its_turn_to_the_next(lab: Lab) -> None:
    first = await lab.spawn(flooder(FLOODERS["messages"], 20_000))
    await wait_for(lambda: lab.runtime.peers.statistics(B).suspended == 1)
    module = await lab.load(
        f"{START} (call $send {TARGET + 1}:i64 0:i64 1:i64) (drop (call $receive_any 0:i64)))"
    )
    others = [await lab.spawn(module) for _ in range(50)]
    await wait_for(lambda: lab.runtime.peers.statistics(B).suspended == 51)
    for process in (first, *others[::2]):
        lab.runtime.kill(process)
        assert (await lab.wait_exit(process)).kind is ExitKind.KILLED
    assert lab.runtime.peers.statistics(B).suspended == 25
    reader = Reader()
    found: list[node_pb2.Envelope] = []

    def is_done() -> bool:
        found.extend(each for each in take_all(lab, reader) if each.message.to == TARGET + 1)
        return len(found) == 25

    await wait_for(is_done)
    for process in others[1::2]:
        assert (await lab.wait_exit(process)).kind is ExitKind.NORMAL


async def test_a_request_that_waits_for_room_waits_for_its_answer_too(pump: Pump) -> None:
    pump.hold()
    sink = await pump.b.spawn(f"{START} (call $park))")
    echo = await pump.b.spawn(f"{START} (call $send (call $receive) 5:i64 42:i64))")
    flooding = flooder(FLOODERS["messages"].replace(str(TARGET), str(sink)), 20_000)
    full = await pump.a.spawn(flooding)
    await wait_for(lambda: pump.a.runtime.peers.statistics(B).suspended == 1)
    asker = await pump.a.spawn(f"""
        {START}
          (call $write 0:i64 (process.process_id))
          (is32 (message.send_receive_skip_search {echo}:i64 5:i64 -1:i64) 0:i32)
          (is64 (call $read) 42:i64)
          (is32 (process.exists {sink}:i64) 1:i32))""")
    await wait_for(lambda: pump.a.runtime.peers.statistics(B).suspended == 2)
    pump.release()
    for process in (asker, full):
        status = await pump.a.wait_exit(process)
        assert status.kind is ExitKind.NORMAL, status


async def test_a_peer_that_asks_without_end_and_takes_no_answers_is_refused(lab: Lab) -> None:
    questions = frame(*(envelope("exists", TARGET, pid(A, 99), reference=n) for n in range(100_000)))

    def ask() -> None:
        for _ in range(100):
            lab.runtime.peers.deliver(B, 1, questions, 0)

    with pytest.raises(InvalidError, match="does not take the answers"):
        await trio.to_thread.run_sync(ask)
    assert lab.runtime.peers.statistics(B).control_bytes < 80 * MIB


# -- from end to end -----------------------------------------------------------------------------------

SENDERS = 12
ROUNDS = 60
# Each sender sends ROUNDS messages of sizes drawn from its own seed, with its number and how many it
# has sent in front, and dies with a link to the receiver: its death must come behind them all.
MIXED_SENDER = f"""
    {PAGES} {SEND_SIZED}
    (func (export "main") (param $number i64) (param $to i64)
        (local $n i64) (local $drawn i32) (local $size i32)
      (local.set $drawn (i32.wrap_i64 (i64.mul (local.get $number) 2654435761:i64)))
      (process.link (local.get $number) (local.get $to))
      (loop $again
        (local.set $drawn (i32.add (i32.mul (local.get $drawn) 1103515245:i32) 12345:i32))
        (local.set $size (i32.and (i32.shr_u (local.get $drawn) 8:i32) 0x3ff:i32))
        (if (i32.eqz (i32.and (local.get $drawn) 0x70000:i32))
          (then (local.set $size (i32.add 60000:i32 (i32.shl (local.get $size) 8:i32)))))
        (call $send_sized (local.get $to)
          (i64.or (i64.shl (local.get $number) 32:i64) (local.get $n))
          (i32.add (local.get $size) 8:i32))
        (local.set $n (i64.add (local.get $n) 1:i64))
        (br_if $again (i64.lt_u (local.get $n) {ROUNDS}:i64)))
      unreachable)"""
MIXED_RECEIVER = f"""
    {START} (local $left i32) (local $value i64) (local $at i32)
      {SURVIVE}
      (local.set $left {SENDERS}:i32)
      (loop $again
        (if (call $receive_any -1:i64)
          (then
            (local.set $at (i32.shl (i32.wrap_i64 (message.get_tag)) 2:i32))
            (is32 (i32.load (local.get $at)) {ROUNDS}:i32)
            (local.set $left (i32.sub (local.get $left) 1:i32)))
          (else
            (local.set $value (call $read))
            (local.set $at (i32.wrap_i64 (i64.shl (i64.shr_u (local.get $value) 32:i64) 2:i64)))
            (is32 (i32.load (local.get $at)) (i32.wrap_i64 (local.get $value)))
            (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) 1:i32))))
        (br_if $again (local.get $left))))"""


def i64(value: int) -> Param:
    return Param("i64", value.to_bytes(16, "little"))


@pytest.mark.parametrize("seed", range(6))
async def test_order_holds_for_every_pair_whatever_the_sizes_and_frames(pump: Pump, seed: int) -> None:
    """Frames of random sizes, at random times."""
    rng = random.Random(seed)
    pump.hold()
    receivers = [await pump.b.spawn(MIXED_RECEIVER) for _ in range(2)]
    module = await pump.a.load(MIXED_SENDER)
    for receiver in receivers:
        for number in range(SENDERS):
            await pump.a.spawn(module, entry="main", params=[i64(number + 1), i64(receiver)])

    def is_done() -> bool:
        for _ in range(rng.randrange(5)):
            limit = rng.choice([1, 50, 1000, 70_000, FRAME_BYTES, MIB])
            data = pump.a.runtime.peers.take_frame(B, 1, limit, b"")
            if data is None:
                break
            pump.b.runtime.peers.deliver(A, 1, data, 0)
        return not any(map(pump.b.runtime.exists, receivers))

    await wait_for(is_done)
    for receiver in receivers:
        status = await pump.b.wait_exit(receiver)
        assert status.kind is ExitKind.NORMAL, status
