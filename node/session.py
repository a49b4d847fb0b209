"""One open session with one peer: frames of both directions between a gRPC stream and the native core.

Owns the pumping and the reason why a session ended. Lives in the asyncio thread. It decodes no signal
(the core does, without the GIL) and decides nothing about members: it reports how it ended, once.

Every message of the stream is a Frame. The first each way holds only a Hello, and a Goodbye stands alone
in the last one; the frames between hold envelopes and go to and from the core unread.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from google.protobuf.message import DecodeError

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


HandOver = Callable[[int, list[bytes], Callable[[], None]], None]
"""`(peer id, envelopes, done)`: takes envelopes for Python, and calls `done` afterwards, in any thread."""


class Session:
    """The pumps of one stream. `run` is called once; everything is called in the asyncio thread."""

    def __init__(
        self, peer_id: int, stream: Stream, gateway: Gateway, hand_over: HandOver, acknowledged: int
    ) -> None:
        """`acknowledged` is how many envelopes of this node the peer said to have, in its first frame."""
        self.acknowledged = acknowledged
        self.peer_id = peer_id
        self._stream = stream
        self._gateway = gateway
        self._hand_over = hand_over
        self._frames_ready = asyncio.Event()
        self._ended = asyncio.Event()
        self._pending: list[int] = []  # sizes of batches that trio has not handled yet, oldest first
        self._room = asyncio.Event()
        self._waits_for_room: asyncio.AbstractEventLoop | None = None
        self._goodbye: str | None = None
        self._closed_because: str | None = None
        self._reader: asyncio.Task[SessionEnd] | None = None

    def wake(self) -> None:
        """Frames for this peer are ready."""
        self._frames_ready.set()

    def close(self, reason: str) -> None:
        """End the session at once; frames not yet written are dropped."""
        if self._closed_because is None:
            self._closed_because = reason
        self._stream.close()
        if self._reader is not None:
            self._reader.cancel()

    def say_goodbye(self, reason: str) -> None:
        """Write what is queued, then a Goodbye; the session then ends, within FLUSH_TIMEOUT_S."""
        self._goodbye = reason
        self._frames_ready.set()

    async def wait_ended(self) -> None:
        """Wait until `run` is about to return."""
        await self._ended.wait()

    async def run(self) -> SessionEnd:
        """Pump until the session ends, and say how."""
        reader = self._reader = asyncio.create_task(self._read_all())
        writer = asyncio.create_task(self._write_all())
        if self._closed_because is not None:
            reader.cancel()
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            if not reader.done():
                # The writer's error only says that the stream is dead; the reader learns why, or reads the
                # Goodbye that crossed ours.
                await asyncio.wait({reader}, timeout=FLUSH_TIMEOUT_S)
            if self._goodbye is not None or self._closed_because is not None:
                return SessionEnd(EndKind.CLOSED, self._closed_because or "this node is leaving")
            return reader.result() if reader.done() else SessionEnd(EndKind.BROKEN, "the stream broke")
        finally:
            for task in (reader, writer):
                task.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
            self._stream.close()
            self._ended.set()

    async def _read_all(self) -> SessionEnd:
        try:
            while True:
                frame = await self._stream.read()
                if frame is None:
                    return SessionEnd(EndKind.BROKEN, "the peer closed the stream without a goodbye")
                if len(frame) > MAX_FRAME_BYTES:
                    raise InvalidError(f"a frame of {len(frame)} bytes is larger than {MAX_FRAME_BYTES}")
                if frame.startswith(GOODBYE_TAG):
                    return SessionEnd(EndKind.LEFT, _goodbye_reason(frame))
                envelopes = self._gateway.deliver(self.peer_id, 1, frame, 0)
                del frame  # up to 64 MiB that need not wait for the next one
                if envelopes:
                    await self._pass_on(envelopes)
        except InvalidError as error:
            return SessionEnd(EndKind.INVALID, error.message)
        except ConnectionError as error:
            return SessionEnd(EndKind.BROKEN, str(error))

    async def _pass_on(self, envelopes: list[bytes]) -> None:
        self._pending.append(sum(map(len, envelopes)))
        self._hand_over(self.peer_id, envelopes, self._batch_done)
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

    async def _write_all(self) -> None:
        try:
            while True:
                self._frames_ready.clear()
                goodbye = self._goodbye  # read before the queue: what was queued earlier goes out first
                while (
                    frame := self._gateway.take_frame(self.peer_id, 1, TARGET_FRAME_BYTES, b"")
                ) is not None:
                    await self._stream.write(frame)
                if goodbye is not None:
                    last = node_pb2.Frame(goodbye=node_pb2.Goodbye(reason=goodbye))
                    await self._stream.write(last.SerializeToString())
                    await self._stream.finish()
                    return
                await self._frames_ready.wait()
        except ConnectionError:
            pass  # the reader reports the reason


def read_hello(frame: bytes | None) -> node_pb2.Frame:
    """The first frame of a stream, which holds a Hello and no envelopes. Raises InvalidError for another."""
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
        return message
    del message  # not to live on in the traceback
    raise InvalidError("the first frame holds no Hello, or more than that")


def _goodbye_reason(frame: bytes) -> str:
    try:
        return text_from_peer(node_pb2.Frame.FromString(frame).goodbye.reason)
    except DecodeError:
        raise InvalidError("a malformed Goodbye") from None
