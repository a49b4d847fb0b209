"""The queues of signals to and from other nodes, for the transport.

Everything about single signals happens in the native core; what passes here
are frames. All methods may be called from any thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from luna.proto.errors import InvalidError, NotFoundError
from luna.scheduler._core import Core

__all__ = ["PeerGateway", "PeerStatistics", "SpawnStatistics"]


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
    chunks_in: int
    chunks_out: int
    control_bytes: int
    """of `queued_bytes`: links, monitors, deaths, questions, answers, envelopes of Python"""
    data_bytes: int
    """of `queued_bytes`: messages"""
    bulk_bytes: int
    """of `queued_bytes`: large messages, and what goes behind them"""
    suspended: int
    """processes, and timers that are due, that wait for room"""


@final
@dataclass(frozen=True, slots=True)
class SpawnStatistics:
    """Spawns of processes of one node on the other."""

    asked: int
    """of the peer, and not answered yet"""
    served: int
    """for the peer, and not answered yet"""
    refused: int
    """to the peer since it is one, because too many were under way"""


@final
class PeerGateway:
    """The native core's side of other nodes."""

    def __init__(self, core: Core) -> None:
        self._core = core

    @property
    def outgoing_fd(self) -> int:
        """An eventfd: readable when some peer's queue became non-empty."""
        return self._core.outgoing_fd

    def add_peer(self, node_id: int, session: int) -> None:
        """Take signals to pids of this node from now on, for this session; before, they are dead targets.

        A node that was removed comes back with another session (64 bits, unsigned), and nothing of the
        earlier one comes with it. Another session than the current one ends that first.
        """
        self._core.add_peer(node_id, session)

    def remove_peer(self, node_id: int) -> None:
        """The session with a node is over: fires each link and monitor across once, drops its queue.

        Suspended senders go on. Nothing happens if there is none.
        """
        self._core.remove_peer(node_id)

    def take_ready(self) -> list[int]:
        """Node ids whose queue became non-empty since the last call; clears `outgoing_fd`."""
        return self._core.take_ready()

    def take_frame(self, node_id: int, session: int, max_bytes: int, head: bytes) -> bytes | None:
        """`head` and the next envelopes; None when there are none, or the session is not the current one.

        Control signals first, then messages, then large ones, in pieces: together at most
        `max_bytes`, or one envelope that is larger; large ones have their share in any case.
        """
        return self._core.take_frame(node_id, session, max_bytes, head)

    def deliver(self, node_id: int, session: int, frame: bytes, start: int) -> list[bytes]:
        """Deliver the envelopes of frame[start:]; returns the serialized ones that are for Python.

        A frame of a session that is not the current one is dropped. Raises InvalidError
        when it is malformed or speaks for another node (nothing after the bad envelope
        is delivered), and when the peer does not take the answers to what it asks.
        """
        envelopes = self._core.deliver(node_id, session, frame, start)
        if isinstance(envelopes, str):
            raise InvalidError(f"node {node_id:#x} {envelopes}")
        return envelopes

    def send(self, node_id: int, envelope: bytes) -> bool:
        """Queue a serialized Envelope behind the control signals; False if there is no such peer."""
        return self._core.send_envelope(node_id, envelope)

    def serve_spawn(self, node_id: int, spawn: bytes) -> bool:
        """Do a serialized Spawn of a process of that node, and answer it.

        False, and nothing was done, if its module is not in memory or it is not valid.
        """
        return self._core.serve_spawn(node_id, spawn)

    def spawns(self, node_id: int) -> SpawnStatistics:
        """Counters of the spawns that pass natively. Raises NotFoundError for what never was a peer."""
        values = self._core.peer_spawns(node_id)
        if values is None:
            raise NotFoundError(f"node {node_id:#x} is no peer")
        return SpawnStatistics(*values)

    def statistics(self, node_id: int) -> PeerStatistics:
        """Counters of one peer. Raises NotFoundError for a node that never was one."""
        values = self._core.peer_statistics(node_id)
        if values is None:
            raise NotFoundError(f"node {node_id:#x} is no peer")
        return PeerStatistics(*values)
