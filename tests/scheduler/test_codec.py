"""The native frame codec, held to the generated protobuf classes in both directions."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from luna.proto import node_pb2
from luna.proto.errors import InvalidError
from luna.scheduler import ExitKind

from .frames import envelope, frame
from .lab import Lab, open_lab, wait_for
from .pump import A, B, pid

START = '(func (export "_start")'
SURVIVE = "(process.die_when_link_dies 0:i32)"
TARGET = pid(B, 0xFF_FFFF_FFFF)
"""a process of the other node, with the largest serial there is"""
I64_MIN, I64_MAX = -(1 << 63), (1 << 63) - 1
FRAME_BYTES = 1 << 20


@pytest.fixture
async def lab() -> Any:
    """Node A, which has node B for a peer; the test plays B."""
    async with open_lab(A, held=()) as lab:
        lab.runtime.peers.add_peer(B, 1)
        yield lab


def take_in(lab: Lab, data: bytes) -> list[bytes]:
    """Have a frame come from B."""
    return lab.runtime.peers.deliver(B, 1, data, 0)


def sent(lab: Lab) -> list[node_pb2.Envelope]:
    """Everything queued for B, as protobuf reads it."""
    envelopes: list[node_pb2.Envelope] = []
    while (data := lab.runtime.peers.take_frame(B, 1, FRAME_BYTES, b"")) is not None:
        parsed = node_pb2.Frame.FromString(data)
        # Not one byte that protobuf itself would not write, nor another order.
        assert parsed.SerializeToString() == data
        envelopes += parsed.envelopes
    return envelopes


async def wait_sent(lab: Lab, count: int) -> list[node_pb2.Envelope]:
    envelopes: list[node_pb2.Envelope] = []

    def enough() -> bool:
        envelopes.extend(sent(lab))
        return len(envelopes) >= count

    await wait_for(enough, f"{count} envelopes")
    assert len(envelopes) == count
    return envelopes


# -- out of the core ----------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [0, 1, 127, 128, -1, I64_MIN, I64_MAX])
@pytest.mark.parametrize("size", [0, 1, 64, 65, 127, 128, 16383, 16384, 60000])
async def test_a_message_is_what_protobuf_writes(lab: Lab, tag: int, size: int) -> None:
    await lab.passes(
        f"""{START}
          (memory.fill 0:i32 0xab:i32 60000:i32)
          (message.create_data {tag}:i64 0:i64)
          (drop (message.write_data 0:i32 {size}:i32))
          (drop (message.send {TARGET}:i64)))""",
        environment=77,
    )
    assert sent(lab) == [envelope("message", pid(A, 1), TARGET, environment=77, tag=tag, data=b"\xab" * size)]


async def test_every_signal_is_what_protobuf_writes(lab: Lab) -> None:
    environment = (1 << 64) - 2
    process = await lab.spawn(
        f"""{START}
          {SURVIVE}
          (process.link 5:i64 {TARGET}:i64)
          (process.link -5:i64 {TARGET - 1}:i64)
          (process.unlink {TARGET}:i64)
          (process.monitor {TARGET}:i64)
          (process.stop_monitoring {TARGET}:i64)
          (process.kill {TARGET}:i64)
          (drop (process.exists {TARGET}:i64)))""",
        environment=environment,
    )
    *signals, exists = await wait_sent(lab, 7)
    me, there = process, {"environment": environment}
    assert signals == [
        envelope("link", me, TARGET, tag=5, death_tag=5, **there),
        envelope("link", me, TARGET - 1, tag=-5, death_tag=-5, **there),
        envelope("unlink", me, TARGET),
        envelope("monitor", me, TARGET, **there),
        envelope("stop_monitoring", me, TARGET),
        envelope("kill", me, TARGET, **there),
    ]
    reference = exists.exists.reference
    assert exists == envelope("exists", me, TARGET, reference=reference, **there)
    # The answer ends the wait, and with it the process, which is linked to TARGET - 1 still.
    take_in(lab, frame(envelope("exists_reply", TARGET, me, reference=reference, alive=True)))
    assert (await lab.wait_exit(process)).kind is ExitKind.NORMAL
    assert await wait_sent(lab, 1) == [
        envelope("link_died", me, TARGET - 1, tag=-5, kind=node_pb2.EXIT_NORMAL)
    ]


UNREACHABLE = "wasm trap: wasm `unreachable` instruction executed"
ENDS = {
    "EXIT_NORMAL": ("", {}),
    "EXIT_FAILURE": ("unreachable", {"code": 1, "text": UNREACHABLE}),
    "EXIT_KILLED": ("(process.kill (process.process_id)) (call $spin)", {"code": 1, "text": "killed"}),
    "EXIT_LINK_DIED": (
        "(process.link 1:i64 99999:i64) (call $spin)",
        {"code": 1, "text": "a linked process died: 99999"},
    ),
}


@pytest.mark.parametrize(("kind", "how"), ENDS.items(), ids=ENDS.keys())
async def test_an_end_is_told_with_its_kind(lab: Lab, kind: str, how: tuple[str, Any]) -> None:
    end, why = how
    process = await lab.spawn(f"{START} (gate) {end})")
    take_in(
        lab,
        frame(
            envelope("link", TARGET, process, environment=1, tag=11, death_tag=22),
            envelope("monitor", TARGET, process, environment=1),
        ),
    )
    lab.gate.set()
    await lab.wait_exit(process)
    number = node_pb2.ExitKind.Value(kind)
    assert await wait_sent(lab, 2) == [
        envelope("link_died", process, TARGET, tag=11, kind=number, **why),
        envelope("process_died", process, TARGET, kind=number, **why),
    ]


@pytest.mark.parametrize("environment", [1, 2], ids=["dead", "of another environment"])
async def test_a_question_about_what_is_not_there_is_answered(lab: Lab, environment: int) -> None:
    process = await lab.spawn(f"{START} (call $park))", environment=2) if environment == 1 else pid(A, 999)
    there = {"environment": environment}
    take_in(
        lab,
        frame(
            envelope("link", TARGET, process, tag=-7, death_tag=3, **there),
            envelope("monitor", TARGET, process, **there),
            envelope("exists", TARGET, process, reference=(1 << 64) - 1, **there),
            envelope("kill", TARGET, process, **there),
            envelope("message", TARGET, process, data=b"lost", **there),
            envelope("unlink", TARGET, process),
            envelope("stop_monitoring", TARGET, process),
        ),
    )
    assert sent(lab) == [
        envelope("link_died", process, TARGET, tag=-7, kind=node_pb2.EXIT_NO_PROCESS),
        envelope("process_died", process, TARGET, kind=node_pb2.EXIT_NO_PROCESS),
        envelope("exists_reply", process, TARGET, reference=(1 << 64) - 1),
    ]


async def test_a_living_process_exists(lab: Lab) -> None:
    process = await lab.spawn(f"{START} (call $park))")
    take_in(lab, frame(envelope("exists", TARGET, process, environment=1, reference=0)))
    assert sent(lab) == [envelope("exists_reply", process, TARGET, alive=True)]


async def test_a_spawn_for_a_remote_parent_links_with_the_death_tag(lab: Lab) -> None:
    child = await lab.spawn(f"{START} unreachable)", parent=TARGET, link_tag=9, environment=5)
    await lab.wait_exit(child)
    assert await wait_sent(lab, 2) == [
        envelope("link", child, TARGET, environment=5, death_tag=9),
        envelope("link_died", child, TARGET, tag=9, kind=node_pb2.EXIT_FAILURE, code=1, text=UNREACHABLE),
    ]


async def test_a_frame_holds_whole_envelopes_up_to_its_size(lab: Lab) -> None:
    await lab.passes(f"""{START} (local $n i64)
        (loop $again
          (call $write 0:i64 (local.get $n))
          (drop (message.write_data 0:i32 92:i32))
          (drop (message.send {TARGET}:i64))
          (local.set $n (i64.add (local.get $n) 1:i64))
          (br_if $again (i64.lt_u (local.get $n) 100:i64))))""")
    one = len(frame(envelope("message", pid(A, 1), TARGET, environment=1, data=bytes(100))))
    frames = []
    while (data := lab.runtime.peers.take_frame(B, 1, 3 * one + 1, b"")) is not None:
        frames.append(node_pb2.Frame.FromString(data))
    assert [len(each.envelopes) for each in frames] == [3] * 33 + [1]
    values = [
        int.from_bytes(each.message.data[:8], "little") for parsed in frames for each in parsed.envelopes
    ]
    assert values == list(range(100))


async def test_an_envelope_larger_than_a_frame_goes_alone(lab: Lab) -> None:
    await lab.passes(f"{START} (call $send {TARGET}:i64 0:i64 1:i64) (call $send {TARGET}:i64 0:i64 2:i64))")
    first = lab.runtime.peers.take_frame(B, 1, 1, b"")
    assert first is not None
    assert len(node_pb2.Frame.FromString(first).envelopes) == 1


async def test_envelopes_of_python_go_with_the_control_signals_in_order(lab: Lab) -> None:
    gossip = node_pb2.Envelope(gossip=node_pb2.Gossip(members=[node_pb2.Member(incarnation=5)]))
    await lab.passes(f"{START} (call $send {TARGET}:i64 0:i64 1:i64))")
    assert lab.runtime.kill(TARGET)
    assert lab.runtime.peers.send(B, gossip.SerializeToString())
    assert lab.runtime.peers.send(B, b"")
    assert lab.runtime.kill(TARGET)
    kinds = [each.WhichOneof("signal") for each in sent(lab)]
    assert kinds == ["kill", "gossip", None, "kill", "message"]
    assert not lab.runtime.peers.send(5, gossip.SerializeToString())


async def test_the_descriptor_tells_of_a_queue_that_filled(lab: Lab) -> None:
    peers = lab.runtime.peers
    assert peers.take_ready() == []
    await lab.passes(f"{START} (call $send {TARGET}:i64 0:i64 1:i64) (call $send {TARGET}:i64 0:i64 2:i64))")
    with trio.fail_after(5):
        await trio.lowlevel.wait_readable(peers.outgoing_fd)
    assert peers.take_ready() == [B]
    assert peers.take_ready() == []
    assert len(sent(lab)) == 2
    await lab.passes(f"{START} (call $send {TARGET}:i64 0:i64 3:i64))")
    assert peers.take_ready() == [B]


# -- into the core ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [0, 1, 128, -1, I64_MIN, I64_MAX])
@pytest.mark.parametrize("size", [0, 1, 64, 65, 10000])
async def test_a_message_of_protobuf_is_received(lab: Lab, tag: int, size: int) -> None:
    process = await lab.spawn(
        f"""{START}
          (is32 (call $receive_any -1:i64) 0:i32)
          (is64 (message.get_tag) {tag}:i64)
          (is64 (message.data_size) {size}:i64)
          (is32 (message.read_data 0:i32 60000:i32) {size}:i32)
          (is32 (i32.load8_u {max(size - 1, 0)}:i32) {0xCD if size else 0}:i32))""",
        environment=77,
    )
    data = b"\xcd" * size
    take_in(lab, frame(envelope("message", TARGET, process, environment=77, tag=tag, data=data)))
    status = await lab.wait_exit(process)
    assert status.kind is ExitKind.NORMAL, status


async def test_every_signal_of_protobuf_is_acted_on(lab: Lab) -> None:
    process = await lab.spawn(f"""{START}
        {SURVIVE}
        (process.link 5:i64 {TARGET}:i64)
        (process.monitor {TARGET - 1}:i64)
        (report 1:i64)
        (is32 (call $receive_any -1:i64) 1:i32) (is64 (message.get_tag) -5:i64)
        (is32 (call $receive_any -1:i64) 2:i32) (is64 (message.get_process_id) {TARGET - 1}:i64)
        (is32 (call $receive_any -1:i64) 0:i32)
        (call $park))""")
    await wait_for(lambda: lab.reports == [1])
    take_in(
        lab,
        frame(
            envelope("link_died", TARGET, process, tag=-5, kind=node_pb2.EXIT_FAILURE),
            # Of processes that are not linked or monitored any more: nothing happens.
            envelope("link_died", TARGET, process, tag=-6, kind=node_pb2.EXIT_FAILURE),
            envelope("process_died", TARGET, process, kind=node_pb2.EXIT_FAILURE),
            envelope("process_died", TARGET - 1, process, kind=node_pb2.EXIT_NORMAL),
            envelope("link", TARGET - 2, process, environment=1, tag=8, death_tag=9),
            envelope("unlink", TARGET - 2, process),
            envelope("monitor", TARGET - 2, process, environment=1),
            envelope("stop_monitoring", TARGET - 2, process),
            envelope("link_died", TARGET - 2, process, tag=9, kind=node_pb2.EXIT_FAILURE),
            envelope("message", TARGET, process, environment=1),
            envelope("kill", TARGET, process, environment=1),
        ),
    )
    assert (await lab.wait_exit(process)).kind is ExitKind.KILLED
    assert [each.WhichOneof("signal") for each in sent(lab)] == ["link", "monitor"]


async def test_an_exit_kind_of_a_later_version_counts_as_a_failure(lab: Lab) -> None:
    process = await lab.spawn(f"{START} (process.link 5:i64 {TARGET}:i64) (report 1:i64) (call $park))")
    await wait_for(lambda: lab.reports == [1])
    died = envelope("link_died", TARGET, process)
    died.link_died.kind = 250  # type: ignore[assignment]
    take_in(lab, frame(died))
    assert (await lab.wait_exit(process)).kind is ExitKind.LINK_DIED


async def test_envelopes_for_python_are_handed_back_as_they_are(lab: Lab) -> None:
    spawn = node_pb2.Envelope(spawn=node_pb2.Spawn(reference=5, entry="main", link=True))
    gossip = node_pb2.Envelope(gossip=node_pb2.Gossip())
    kill = envelope("kill", TARGET, pid(A, 999))
    handed = take_in(lab, frame(spawn, kill, gossip, node_pb2.Envelope()))
    assert [node_pb2.Envelope.FromString(each) for each in handed] == [spawn, gossip]


async def test_other_fields_of_a_frame_are_skipped(lab: Lab) -> None:
    process = await lab.spawn(f"{START} (drop (call $receive_any -1:i64)))")
    data = node_pb2.Frame(
        session=1 << 63, sequence=5, acknowledged=6, goodbye=node_pb2.Goodbye(reason="bye"),
        hello=node_pb2.Hello(protocol_min=1), envelopes=[envelope("message", TARGET, process, environment=1)],
    ).SerializeToString()  # fmt: skip
    later_fields = bytes([100 << 3 & 0x7F | 0x80 | 5, 6]) + b"\x01\x02\x03\x04"
    assert take_in(lab, later_fields + data) == []
    await lab.wait_exit(process)


async def test_fields_in_any_order_and_given_twice_are_read_as_protobuf_does(lab: Lab) -> None:
    process = await lab.spawn(
        f"{START} (is32 (call $receive_any -1:i64) 0:i32) (is64 (message.get_tag) 6:i64))"
    )
    first = envelope("message", pid(B, 1), process, tag=5, data=b"first").message.SerializeToString()
    second = envelope("message", TARGET, process, environment=1, tag=6).message.SerializeToString()
    merged = second[9:] + first + second[:9] + second[9:]
    body = bytes([1 << 3 | 2, len(merged)]) + merged
    take_in(lab, bytes([1 << 3 | 2, len(body)]) + body)
    status = await lab.wait_exit(process)
    assert status.kind is ExitKind.NORMAL, status


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a",  # a length is missing
        b"\x0a\x05\x00",  # cut short
        b"\x0a\xff\xff\xff\xff\x0f",  # longer than anything
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x00\x00",  # field number 0
        b"\x0b",  # a group
        b"\x08\x01",  # `envelopes` that are a number
        b"\x80" * 11,  # an endless number
        b"\x0a\x02\x0a\x05",  # cut short inside
        b"\x0a\x04\x0a\x02\x08\x01",  # `from` that is no fixed64
    ],
)
async def test_a_malformed_frame_is_refused(lab: Lab, data: bytes) -> None:
    with pytest.raises(InvalidError, match="malformed"):
        take_in(lab, data)


async def test_nothing_after_a_bad_envelope_is_delivered(lab: Lab) -> None:
    first, second = [await lab.spawn(f"{START} (call $park))") for _ in range(2)]
    good, late = (frame(envelope("kill", TARGET, process, environment=1)) for process in (first, second))
    with pytest.raises(InvalidError):
        take_in(lab, good + b"\x0a\x02\x0a\x05" + late)
    assert (await lab.wait_exit(first)).kind is ExitKind.KILLED
    assert lab.runtime.exists(second)


async def test_a_frame_of_an_unknown_node_is_dropped(lab: Lab) -> None:
    process = await lab.spawn(f"{START} (call $park))")
    assert (
        lab.runtime.peers.deliver(5, 1, frame(envelope("kill", pid(5, 1), process, environment=1)), 0) == []
    )
    assert lab.runtime.exists(process)
