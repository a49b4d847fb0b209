"""One stream of one session: frames of both directions between gRPC, a `Link` and the native core.

Owns the pumping, when to acknowledge, and the reason why a stream ended. Lives in the asyncio thread. It
decodes no signal (the core does, without the GIL) and decides nothing about members: it reports how it ended,
once. A session may go on with another stream; its numbers are the `Link`'s.

Every message of the stream is a Frame. The first each way holds only a Hello, and a Goodbye stands alone
in the last one; the frames between have a head, which is the Link's, and envelopes, which go to and from the
core unread.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from google.protobuf.message import DecodeError

from luna.cluster.link_layer import HEAD_BYTES, Link
from luna.cluster.wire import text_from_peer
from luna.proto import node_pb2
from luna.proto.errors import InvalidError
from luna.proto.limits import MAX_CONTROL_MESSAGE_BYTES, MAX_FRAME_BYTES, MIB, TARGET_FRAME_BYTES

GOODBYE_TAG = bytes([6 << 3 | 2])
"""How a Frame that holds a Goodbye alone begins: field 6, length-delimited."""

MAX_PENDING_BATCHES = 64
"""batches of Python envelopes on their way to trio; beyond it reading stops, and with it, by
flow control, the peer's writing. Trio handles a batch in well under a millisecond."""

MAX_PENDING_BYTES = 16 * MIB
"""bytes of those batches; one more batch, of a frame's size at most, may be taken in above it."""

ACK_FRAMES = 32
"""frames taken in after which they are acknowledged, if no frame of this side did meanwhile: a small part of
the window, so that its sender never waits."""

ACK_BYTES = 1 * MIB
"""bytes of frames taken in, likewise."""

ACK_DELAY_S = 0.05
"""seconds after which the last frames of a burst are acknowledged: until then their sender keeps them."""

FLUSH_TIMEOUT_S = 1.0
"""seconds for the last frames and the Goodbye of a session that ends on purpose."""


class Gateway(Protocol):
    """What a session needs of `luna.scheduler`'s PeerGateway."""

    def take_frame(self, node_id: int, session: int, max_bytes: int, head: bytes) -> bytes | None: ...
    def deliver(self, node_id: int, session: int, frame: bytes, start: int) -> list[bytes]: ...


class Stream(Protocol):
    """A bidirectional stream of messages, either end of a gRPC call."""

    async def read(self) -> bytes | None:
        """The next message; None at the end. Raises ConnectionError, with the reason, if it broke."""

    async def write(self, message: bytes) -> None:
        """Send a message. Raises ConnectionError if the stream is broken."""

    async def finish(self) -> None:
        """No more messages will be written."""

    def close(self) -> None:
        """Tear the stream down."""


class EndKind(Enum):
    """Why a session ended."""

    LEFT = "left"
    """The peer said goodbye."""
    BROKEN = "broken"
    """The connection was lost, or the peer closed it without a word."""
    INVALID = "invalid"
    """The peer sent something that no correct node sends."""
    CLOSED = "closed"
    """This side closed it."""


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """How a session ended; `detail` is for people."""

    kind: EndKind
    detail: str


HandOver = Callable[[int, int, list[bytes], Callable[[], None]], None]
"""`(peer id, session id, envelopes, done)`: takes envelopes for Python, and calls `done` afterwards, in any
thread."""


class Session:
    """The pumps of one stream. `run` is called at most once; all but `carry` in the asyncio thread."""

    def __init__(self, peer_id: int, stream: Stream, gateway: Gateway, hand_over: HandOver) -> None:
        self.peer_id = peer_id
        self._stream = stream
        self._gateway = gateway
        self._hand_over = hand_over
        self._link: Link | None = None
        self._resend: Sequence[bytes] = ()
        self._wake_writer = asyncio.Event()
        self._acknowledge = False
        self._acknowledge_later: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._pending: list[int] = []  # sizes of batches that trio has not handled yet, oldest first
        self._room = asyncio.Event()
        self._waits_for_room: asyncio.AbstractEventLoop | None = None
        self._goodbye: str | None = None
        self._flush_until_s = math.inf
        self._closed_because: str | None = None
        self._reader: asyncio.Task[SessionEnd] | None = None

    def carry(self, link: Link, resend: Sequence[bytes]) -> None:
        """What this stream carries, once both sides agree: `resend` first. Before `run`, from any thread.

        No other stream may still carry it.
        """
        self._link, self._resend = link, resend

    def wake(self) -> None:
        """Frames for this peer are ready."""
        self._wake_writer.set()

    def close(self, reason: str) -> None:
        """End the stream at once; frames not yet written stay in the link or the core."""
        if self._closed_because is None:
            self._closed_because = reason
        self._stream.close()
        if self._reader is not None:
            self._reader.cancel()
        else:
            self._ended.set()  # `run` will do nothing

    def say_goodbye(self, reason: str) -> None:
        """Write what is queued, then a Goodbye; the session then ends, within FLUSH_TIMEOUT_S."""
        loop = asyncio.get_running_loop()
        self._goodbye = reason
        self._flush_until_s = loop.time() + FLUSH_TIMEOUT_S
        loop.call_at(self._flush_until_s, self._wake_writer.set)
        self._wake_writer.set()

    def discard(self) -> None:
        """The stream is not to be run, or has been."""
        self._stream.close()
        self._ended.set()

    async def wait_ended(self) -> None:
        """Wait until this stream touches its link no more."""
        await self._ended.wait()

    async def run(self) -> SessionEnd:
        """Pump until the stream ends, and say how."""
        link = self._link
        assert link is not None, "carry comes first"
        if self._closed_because is not None:
            self.discard()
            return SessionEnd(EndKind.CLOSED, self._closed_because)
        reader = self._reader = asyncio.create_task(self._read_all(link))
        writer = asyncio.create_task(self._write_all(link))
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            if not reader.done():
                # The writer's error only says that the stream is dead; the reader learns why, or reads the
                # Goodbye that crossed ours.
                await asyncio.wait({reader}, timeout=FLUSH_TIMEOUT_S)
            reason: str | None = self._closed_because  # by now there may be one
            if self._goodbye is not None or reason is not None:
                return SessionEnd(EndKind.CLOSED, reason or "this node is leaving")
            return reader.result() if reader.done() else SessionEnd(EndKind.BROKEN, "the stream broke")
        finally:
            for task in (reader, writer):
                task.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
            if self._acknowledge_later is not None:
                self._acknowledge_later.cancel()
            self.discard()

    # --- reading ----------------------------------------------------------------------------

    async def _read_all(self, link: Link) -> SessionEnd:
        try:
            while True:
                frame = await self._stream.read()
                if frame is None:
                    return SessionEnd(EndKind.BROKEN, "the peer closed the stream without a goodbye")
                if len(frame) > MAX_FRAME_BYTES:
                    raise InvalidError(f"a frame of {len(frame)} bytes is larger than {MAX_FRAME_BYTES}")
                if frame.startswith(GOODBYE_TAG):
                    return SessionEnd(EndKind.LEFT, _goodbye_reason(frame))
                had_room = link.has_room
                if link.receive(frame):
                    envelopes = self._gateway.deliver(self.peer_id, link.session, frame, HEAD_BYTES)
                    del frame  # megabytes, perhaps, that need not wait for the next one
                    # An answer may be there already; the core's own word of it takes a turn of the loop.
                    self._wake_writer.set()
                    if envelopes:
                        await self._pass_on(link.session, envelopes)
                self._plan_acknowledgement(link)
                if not had_room and link.has_room:
                    self._wake_writer.set()
        except InvalidError as error:
            return SessionEnd(EndKind.INVALID, error.message)
        except ConnectionError as error:
            return SessionEnd(EndKind.BROKEN, str(error))

    def _plan_acknowledgement(self, link: Link) -> None:
        if link.unacknowledged_frames >= ACK_FRAMES or link.unacknowledged_bytes >= ACK_BYTES:
            self._acknowledge_now()
        elif link.unacknowledged_frames and self._acknowledge_later is None:
            # One timer for many frames: most are acknowledged by a frame of this side before it fires.
            loop = asyncio.get_running_loop()
            self._acknowledge_later = loop.call_later(ACK_DELAY_S, self._acknowledge_now)

    def _acknowledge_now(self) -> None:
        if self._acknowledge_later is not None:
            self._acknowledge_later.cancel()
            self._acknowledge_later = None
        self._acknowledge = True
        self._wake_writer.set()

    async def _pass_on(self, session: int, envelopes: list[bytes]) -> None:
        self._pending.append(sum(map(len, envelopes)))
        self._hand_over(self.peer_id, session, envelopes, self._batch_done)
        del envelopes
        while self._is_full():
            self._room.clear()
            self._waits_for_room = asyncio.get_running_loop()
            # Again: between the first look and the line above nobody would have woken this task.
            if self._is_full():
                await self._room.wait()
            self._waits_for_room = None

    def _is_full(self) -> bool:
        return len(self._pending) >= MAX_PENDING_BATCHES or sum(self._pending) > MAX_PENDING_BYTES

    def _batch_done(self) -> None:
        """Called in trio's thread, and so wakes this one only if it waits."""
        self._pending.pop(0)  # trio handles them in order
        loop = self._waits_for_room
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._room.set)

    # --- writing ----------------------------------------------------------------------------

    async def _write_all(self, link: Link) -> None:
        try:
            for frame in self._resend:
                await self._stream.write(frame)
            self._resend = ()
            while True:
                self._wake_writer.clear()
                goodbye = self._goodbye  # read before the queue: what was queued earlier goes out first
                while link.has_room and not self._flush_is_over():
                    next_frame = self._gateway.take_frame(
                        self.peer_id, link.session, TARGET_FRAME_BYTES, link.next_head()
                    )
                    if next_frame is None:
                        break
                    link.sent(next_frame)
                    await self._stream.write(next_frame)
                if self._acknowledge:
                    self._acknowledge = False
                    if link.unacknowledged_frames:
                        await self._stream.write(link.acknowledgement())
                if goodbye is not None and (link.has_room or self._flush_is_over()):
                    last = node_pb2.Frame(goodbye=node_pb2.Goodbye(reason=goodbye))
                    await self._stream.write(last.SerializeToString())
                    await self._stream.finish()
                    return
                await self._wake_writer.wait()
        except ConnectionError:
            pass  # the reader reports the reason

    def _flush_is_over(self) -> bool:
        """Guests may go on sending for ever: the Goodbye does not wait for all of that."""
        return self._goodbye is not None and asyncio.get_running_loop().time() >= self._flush_until_s


def read_hello(frame: bytes | None) -> node_pb2.Hello:
    """The Hello that the first frame of a stream holds, and nothing else. Raises InvalidError for another."""
    if frame is None:
        raise InvalidError("the stream ended before a Hello")
    # A stranger sends this: decoding makes up to thirty times its size in objects.
    if len(frame) > MAX_CONTROL_MESSAGE_BYTES:
        raise InvalidError(f"the first frame has more than {MAX_CONTROL_MESSAGE_BYTES} bytes")
    try:
        message = node_pb2.Frame.FromString(frame)
    except DecodeError:
        raise InvalidError("the first frame is malformed") from None
    if message.HasField("hello") and not message.envelopes:
        return message.hello
    del message  # not to live on in the traceback
    raise InvalidError("the first frame holds no Hello, or more than that")


def _goodbye_reason(frame: bytes) -> str:
    try:
        return text_from_peer(node_pb2.Frame.FromString(frame).goodbye.reason)
    except DecodeError:
        raise InvalidError("a malformed Goodbye") from None
