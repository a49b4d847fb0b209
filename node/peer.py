"""One live peer as `peers` and `keeping` see it, and what they need of their surroundings.

Types only: who does something with them stands in those modules.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import trio

from luna.cluster.members import NodeInfo
from luna.node.session import Session, SessionEnd

MAX_ARRIVALS = 4
"""accepted sessions of one peer that its task has not looked at yet; a correct peer has one at a time."""


class PeerGateway(Protocol):
    """What this module needs of `luna.scheduler`'s PeerGateway."""

    def add_peer(self, node_id: int, session: int) -> None: ...
    def remove_peer(self, node_id: int) -> None: ...
    def send(self, node_id: int, envelope: bytes) -> bool: ...
    def statistics(self, node_id: int) -> PeerCounts: ...


class PeerCounts(Protocol):
    """What this module needs of `luna.scheduler`'s PeerStatistics."""

    @property
    def envelopes_in(self) -> int: ...
    @property
    def envelopes_out(self) -> int: ...


@dataclass(slots=True)
class Accepted:
    """A session that a peer dialed, from its acceptance to its end."""

    session: Session
    ended: trio.Event = field(default_factory=trio.Event)
    end: SessionEnd | None = None


class Peer:
    """One live peer: its task's scope, its current session, and the sessions it dialed."""

    def __init__(self, info: NodeInfo) -> None:
        self.id = info.id
        self.scope = trio.CancelScope()
        self.session: Session | None = None
        self.added = False  # known to the native core
        self.connected = trio.Event()
        send, receive = trio.open_memory_channel[Accepted](MAX_ARRIVALS)
        self.arrivals_in: trio.MemorySendChannel[Accepted] = send
        self.arrivals: trio.MemoryReceiveChannel[Accepted] = receive
        self.accepted: list[Accepted] = []  # not yet ended
