"""The queues of signals to and from other nodes, for the transport.

Everything about single signals happens in the native core; what passes here
are frames. All methods may be called from any thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from luna.proto.errors import InvalidError, NotFoundError, StaleError
from luna.scheduler._core import Core

__all__ = ["PeerGateway", "PeerStatistics"]


@final
@dataclass(frozen=True, slots=True)
class PeerStatistics:
    """Counters of the traffic with one node; sizes in bytes."""

    queued_bytes: int
    frames_in: int
    frames_out: int
    envelopes_in: int
    envelopes_out: int
    bytes_in: int
    bytes_out: int


@final
class PeerGateway:
    """The native core's side of other nodes."""

    def __init__(self, core: Core) -> None:
        self._core = core

    @property
    def outgoing_fd(self) -> int:
        """An eventfd: readable when some peer's queue became non-empty."""
        return self._core.outgoing_fd

    def add_peer(self, node_id: int) -> None:
        """Take signals to pids of this node from now on; before, they are dead targets.

        Raises StaleError if it was removed before: a node id never comes back.
        """
        if not self._core.add_peer(node_id):
            raise StaleError(f"node {node_id:#x} was declared down and cannot come back under that id")

    def remove_peer(self, node_id: int) -> None:
        """Declare a node down: fires each link and monitor across once, drops its queue."""
        self._core.remove_peer(node_id)

    def take_ready(self) -> list[int]:
        """Node ids whose queue became non-empty since the last call; clears `outgoing_fd`."""
        return self._core.take_ready()

    def take_frame(self, node_id: int, max_bytes: int) -> bytes | None:
        """The next frame's envelopes, None when there are none.

        Whole envelopes of at most `max_bytes`, or one that is larger.
        """
        return self._core.take_frame(node_id, max_bytes)

    def deliver(self, node_id: int, frame: bytes) -> list[bytes]:
        """Deliver a frame; returns the serialized envelopes that are for Python.

        Raises InvalidError when it is malformed or speaks for another node; nothing
        after the bad envelope is delivered.
        """
        envelopes = self._core.deliver(node_id, frame)
        if envelopes is None:
            raise InvalidError(f"node {node_id:#x} sent a malformed frame, or signals in another node's name")
        return envelopes

    def send(self, node_id: int, envelope: bytes) -> bool:
        """Queue a serialized Envelope behind the signals sent so far; False if there is no such peer."""
        return self._core.send_envelope(node_id, envelope)

    def statistics(self, node_id: int) -> PeerStatistics:
        """Counters of one peer. Raises NotFoundError for a node that never was one."""
        values = self._core.peer_statistics(node_id)
        if values is None:
            raise NotFoundError(f"node {node_id:#x} is no peer")
        return PeerStatistics(*values)
