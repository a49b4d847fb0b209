"""The pumps of one session, over a stream in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from luna.node.session import MAX_PENDING_BATCHES, EndKind, Session, SessionEnd, read_hello
from luna.proto import node_pb2
from luna.proto.errors import InvalidError

from .fake_gateway import FakeGateway

PEER = 7


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
        self.gateway.add_peer(PEER, 1)
        self.stream = MemoryStream()
        self.batches: list[list[bytes]] = []
        self.done: list[Callable[[], None]] = []
        self.session = Session(PEER, self.stream, self.gateway, self._hand_over, 0)

    def _hand_over(self, peer_id: int, envelopes: list[bytes], done: Callable[[], None]) -> None:
        assert peer_id == PEER
        self.batches.append(envelopes)
        self.done.append(done)

    def queue(self, data: bytes) -> None:
        envelope = node_pb2.Envelope(message=node_pb2.Message(data=data))
        self.gateway.send(PEER, envelope.SerializeToString())


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


def gossip_frame() -> bytes:
    envelope = node_pb2.Envelope(gossip=node_pb2.Gossip())
    return node_pb2.Frame(envelopes=[envelope]).SerializeToString()


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
            rig.stream.incoming.put_nowait(gossip_frame())
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
