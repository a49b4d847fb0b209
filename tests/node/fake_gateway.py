"""A PeerGateway without a native core: the same rules, written with the generated protobuf classes.

For tests of what carries frames; whatever needs processes uses the real core.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from luna.proto import node_pb2
from luna.proto.errors import InvalidError, NotFoundError

FIRST_PYTHON_FIELD = 16


@dataclass(frozen=True, slots=True)
class FakeCounts:
    """Envelopes taken in from a peer and given out to it."""

    envelopes_in: int
    envelopes_out: int


class FakeGateway:
    """Queues and records envelopes; `received` holds the native ones that came in, by peer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[int, list[bytes]] = {}
        self._sessions: dict[int, int] = {}  # of the peers there are
        self._ready: list[int] = []
        self.outgoing_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.received: dict[int, list[node_pb2.Envelope]] = {}
        self.log: list[tuple[str, int]] = []
        self._counts: dict[int, list[int]] = {}  # envelopes in and out, also of removed peers

    def statistics(self, node_id: int) -> FakeCounts:
        with self._lock:
            if node_id not in self._counts:
                raise NotFoundError("no such peer")
            return FakeCounts(*self._counts[node_id])

    def close(self) -> None:
        os.close(self.outgoing_fd)

    def peers(self) -> set[int]:
        with self._lock:
            return set(self._queues)

    def add_peer(self, node_id: int, session: int) -> None:
        with self._lock:
            if self._sessions.get(node_id) == session:
                return
            self._sessions[node_id] = session
            self._queues[node_id] = []
            self._counts.setdefault(node_id, [0, 0])
            self.log.append(("add", node_id))

    def remove_peer(self, node_id: int) -> None:
        with self._lock:
            if self._sessions.pop(node_id, None) is not None:
                del self._queues[node_id]
                self.log.append(("remove", node_id))

    def take_ready(self) -> list[int]:
        with self._lock:
            try:
                os.eventfd_read(self.outgoing_fd)
            except BlockingIOError:
                pass
            ready, self._ready = self._ready, []
            return ready

    def take_frame(self, node_id: int, session: int, max_bytes: int, head: bytes) -> bytes | None:
        with self._lock:
            queue = self._queues.get(node_id)
            if not queue or self._sessions[node_id] != session:
                return None
            parts: list[bytes] = []
            size = 0
            while queue and (not parts or size + len(queue[0]) <= max_bytes):
                parts.append(queue.pop(0))
                size += len(parts[-1])
            self._counts[node_id][1] += len(parts)
        envelopes = [node_pb2.Envelope.FromString(part) for part in parts]
        return head + node_pb2.Frame(envelopes=envelopes).SerializeToString()

    def deliver(self, node_id: int, session: int, frame: bytes, start: int) -> list[bytes]:
        try:
            message = node_pb2.Frame.FromString(frame[start:])
        except DecodeError:
            raise InvalidError("a malformed frame") from None
        with self._lock:
            if self._sessions.get(node_id) != session:
                return []
            self._counts[node_id][0] += len(message.envelopes)
        leftovers = []
        for envelope in message.envelopes:
            fields = [field.number for field, _ in envelope.ListFields()]
            if fields and fields[0] >= FIRST_PYTHON_FIELD:
                leftovers.append(envelope.SerializeToString())
            else:
                self.received.setdefault(node_id, []).append(envelope)
        return leftovers

    def send(self, node_id: int, envelope: bytes) -> bool:
        with self._lock:
            queue = self._queues.get(node_id)
            if queue is None:
                return False
            queue.append(envelope)
            if len(queue) == 1:
                self._ready.append(node_id)
                os.eventfd_write(self.outgoing_fd, 1)
        return True
