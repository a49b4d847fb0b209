"""The pumps of one session, over a stream in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from luna.cluster.link_layer import WINDOW_FRAMES, Link
from luna.node import session as session_module
from luna.node.session import (
    ACK_DELAY_S,
    ACK_FRAMES,
    MAX_PENDING_BATCHES,
    EndKind,
    Session,
    SessionEnd,
    read_hello,
)
from luna.proto import node_pb2
from luna.proto.errors import InvalidError

from .fake_gateway import FakeGateway

PEER = 7
SESSION = 70


class MemoryStream:
    """One end of a stream: a test puts messages (or None, or an error) in, and finds what was written."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes | ConnectionError | None] = asyncio.Queue()
        self.written: list[bytes] = []
        self.finished = False
        self.closed = False
        self.broken = False

    async def read(self) -> bytes | None:
        message = await self.incoming.get()
        if isinstance(message, ConnectionError):
            raise message
        return message

    async def write(self, message: bytes) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise ConnectionError("broken")
        self.written.append(message)

    async def finish(self) -> None:
        self.finished = True

    def close(self) -> None:
        self.closed = True


class Rig:
    def __init__(self) -> None:
        self.gateway = FakeGateway()
        self.gateway.add_peer(PEER, SESSION)
        self.link = Link(SESSION)
        self.peer = Link(SESSION)  # the other side's
        self.stream = MemoryStream()
        self.batches: list[list[bytes]] = []
        self.done: list[Callable[[], None]] = []
        self.session = Session(PEER, self.stream, self.gateway, self._hand_over)
        self.session.carry(self.link, ())

    def _hand_over(
        self, peer_id: int, session: int, envelopes: list[bytes], done: Callable[[], None]
    ) -> None:
        assert (peer_id, session) == (PEER, SESSION)
        self.batches.append(envelopes)
        self.done.append(done)

    def queue(self, data: bytes) -> None:
        envelope = node_pb2.Envelope(message=node_pb2.Message(data=data))
        self.gateway.send(PEER, envelope.SerializeToString())

    def incoming(self, *envelopes: node_pb2.Envelope) -> bytes:
        """The peer's next frame."""
        frame = self.peer.next_head() + node_pb2.Frame(envelopes=envelopes).SerializeToString()
        self.peer.sent(frame)
        return frame

    def acknowledged(self) -> int:
        """How far the peer's frames are acknowledged by what was written."""
        return max(
            (node_pb2.Frame.FromString(frame).acknowledged for frame in self.stream.written), default=0
        )


def run(scenario: Callable[[Rig], object]) -> None:
    async def with_rig() -> None:
        rig = Rig()
        try:
            async with asyncio.timeout(5):
                await scenario(rig)  # type: ignore[misc]
        finally:
            rig.gateway.close()

    asyncio.run(with_rig())


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def data_of(frames: list[bytes]) -> list[bytes]:
    return [
        envelope.message.data for frame in frames for envelope in node_pb2.Frame.FromString(frame).envelopes
    ]


GOSSIP = node_pb2.Envelope(gossip=node_pb2.Gossip())


def test_what_is_queued_is_written_in_order_before_and_after_a_wake() -> None:
    async def scenario(rig: Rig) -> None:
        rig.queue(b"before")
        running = asyncio.create_task(rig.session.run())
        await settle()
        rig.queue(b"after")
        rig.session.wake()
        await settle()
        assert data_of(rig.stream.written) == [b"before", b"after"]
        rig.session.close("enough")
        assert await running == SessionEnd(EndKind.CLOSED, "enough")
        assert rig.stream.closed

    run(scenario)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (None, EndKind.BROKEN),
        (ConnectionError("reset"), EndKind.BROKEN),
        (b"\xff\xff", EndKind.INVALID),
        (node_pb2.Frame(goodbye=node_pb2.Goodbye(reason="tea")).SerializeToString(), EndKind.LEFT),
        (b"2\x05\xff", EndKind.INVALID),
    ],
    ids=["end", "reset", "garbage", "goodbye", "bad goodbye"],
)
def test_a_session_says_how_it_ended(message: bytes | ConnectionError | None, kind: EndKind) -> None:
    async def scenario(rig: Rig) -> None:
        rig.stream.incoming.put_nowait(message)
        end = await rig.session.run()
        assert end.kind is kind
        assert end.detail
        assert rig.stream.closed

    run(scenario)


def test_goodbye_comes_after_what_is_queued_and_ends_the_session() -> None:
    async def scenario(rig: Rig) -> None:
        running = asyncio.create_task(rig.session.run())
        await settle()
        rig.queue(b"last words")
        rig.session.say_goodbye("tea")
        await settle()
        assert data_of(rig.stream.written) == [b"last words"]
        assert node_pb2.Frame.FromString(rig.stream.written[-1]).goodbye.reason == "tea"
        assert rig.stream.finished
        rig.stream.incoming.put_nowait(None)
        assert (await running).kind is EndKind.CLOSED
        await rig.session.wait_ended()

    run(scenario)


def test_what_the_peer_lacks_is_sent_again_before_anything_new() -> None:
    async def scenario(rig: Rig) -> None:
        lost = [rig.link.next_head() + bytes([number]) for number in range(1)]
        rig.link.sent(lost[0])
        rig.session.carry(rig.link, rig.link.resume(0))
        rig.queue(b"new")
        running = asyncio.create_task(rig.session.run())
        await settle()
        assert rig.stream.written[0] == lost[0]
        assert data_of(rig.stream.written[1:]) == [b"new"]
        rig.session.close("enough")
        await running

    run(scenario)


def test_many_frames_are_acknowledged_without_waiting() -> None:
    async def scenario(rig: Rig) -> None:
        running = asyncio.create_task(rig.session.run())
        for _ in range(ACK_FRAMES):
            rig.stream.incoming.put_nowait(rig.incoming())
        await settle()
        assert rig.acknowledged() == ACK_FRAMES
        rig.session.close("enough")
        await running

    run(scenario)


def test_the_last_frame_is_acknowledged_after_a_while() -> None:
    async def scenario(rig: Rig) -> None:
        running = asyncio.create_task(rig.session.run())
        rig.stream.incoming.put_nowait(rig.incoming())
        while not rig.acknowledged():
            await asyncio.sleep(ACK_DELAY_S / 10)
        rig.session.close("enough")
        await running

    run(scenario)


def test_nothing_is_taken_from_the_core_while_the_window_is_full() -> None:
    async def scenario(rig: Rig) -> None:
        while rig.link.has_room:
            rig.link.sent(rig.link.next_head())
        rig.queue(b"waits")
        running = asyncio.create_task(rig.session.run())
        await settle()
        assert rig.stream.written == []
        for _ in range(WINDOW_FRAMES):
            rig.peer.received += 1
        rig.stream.incoming.put_nowait(rig.peer.acknowledgement())
        await settle()
        assert data_of(rig.stream.written) == [b"waits"]
        rig.session.close("enough")
        await running

    run(scenario)


def test_a_frame_that_came_before_is_not_delivered_again() -> None:
    async def scenario(rig: Rig) -> None:
        running = asyncio.create_task(rig.session.run())
        frame = rig.incoming(node_pb2.Envelope(message=node_pb2.Message(data=b"once")))
        rig.stream.incoming.put_nowait(frame)
        rig.stream.incoming.put_nowait(frame)
        await settle()
        assert [envelope.message.data for envelope in rig.gateway.received[PEER]] == [b"once"]
        rig.session.close("enough")
        await running

    run(scenario)


def test_a_goodbye_does_not_wait_for_what_is_sent_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "FLUSH_TIMEOUT_S", 0.05)

    async def scenario(rig: Rig) -> None:
        def always(node_id: int, session: int, max_bytes: int, head: bytes) -> bytes:
            return head

        monkeypatch.setattr(rig.gateway, "take_frame", always)
        running = asyncio.create_task(rig.session.run())
        rig.session.say_goodbye("tea")
        while not rig.stream.finished:
            await asyncio.sleep(0.01)
        assert node_pb2.Frame.FromString(rig.stream.written[-1]).goodbye.reason == "tea"
        rig.session.close("enough")
        await running

    run(scenario)


def test_a_stream_that_takes_no_more_is_broken() -> None:
    async def scenario(rig: Rig) -> None:
        rig.stream.broken = True
        rig.queue(b"x")
        running = asyncio.create_task(rig.session.run())
        await settle()
        rig.stream.incoming.put_nowait(ConnectionError("reset"))
        assert (await running) == SessionEnd(EndKind.BROKEN, "reset")

    run(scenario)


def test_reading_stops_while_too_many_batches_wait_for_python() -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(MAX_PENDING_BATCHES + 5):
            rig.stream.incoming.put_nowait(rig.incoming(GOSSIP))
        running = asyncio.create_task(rig.session.run())
        for _ in range(10):
            await settle()
        assert len(rig.batches) == MAX_PENDING_BATCHES
        await asyncio.to_thread(rig.done[0])  # as trio's thread does
        await settle()
        assert len(rig.batches) == MAX_PENDING_BATCHES + 1
        rig.session.close("enough")
        await running

    run(scenario)


def test_a_session_closed_before_it_ran_ends_at_once() -> None:
    async def scenario(rig: Rig) -> None:
        rig.session.close("not wanted")
        assert await rig.session.run() == SessionEnd(EndKind.CLOSED, "not wanted")

    run(scenario)


@pytest.mark.parametrize("frame", [None, b"", b"\xff", node_pb2.Frame(session=1).SerializeToString()])
def test_a_first_frame_without_a_hello_is_invalid(frame: bytes | None) -> None:
    with pytest.raises(InvalidError):
        read_hello(frame)
