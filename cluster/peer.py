"""What a `Peering` knows of one peer, and what it has done by whoever carries it out.

Plain data and a protocol: no decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from luna.cluster.keeping import Keeper
from luna.cluster.link_layer import Link
from luna.cluster.members import Event, Member, NodeInfo
from luna.proto import node_pb2

Stream = object
"""One attempt at carrying a session; only its identity matters here."""


@dataclass(eq=False, slots=True)
class Peer:
    """One live peer."""

    info: NodeInfo
    keeper: Keeper
    link: Link | None = None
    """the session, from its beginning to its verdict; a stream need not be open meanwhile"""
    stream: Stream | None = None
    """what carries the session now"""
    proposed: int = 0
    """id for the next session, until the peer has answered it"""
    probing: int = 0
    """probes that this node does for it now"""
    protocol: int = 0
    """the version of the wire protocol that both speak"""
    question: int = 0
    """reference of the last question to others whether they reach it; earlier answers come too late"""

    @property
    def id(self) -> int:
        """Its node id."""
        return self.info.id


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream that carries `link` from now on; `resend` goes first."""

    link: Link
    resend: Sequence[bytes]


@dataclass(slots=True)
class PeeringStatistics:
    """Totals of one node since its start."""

    sessions_begun: int = 0
    sessions_ended: int = 0
    streams_resumed: int = 0
    """times a session went on with another stream"""
    hellos_refused: int = 0
    nodes_expelled: int = 0


class Actions(Protocol):
    """What a `Peering` has done; no method waits, or calls back before it has returned."""

    def attempt(self, peer: Peer) -> None:
        """Dial the peer, or meet it so that it dials, as `Peering.dials` says."""

    def check(self, peer: Peer) -> None:
        """Find out whether anybody listens at the peer's address; if not, `Peering.gone`."""

    def probe(self, asker: Peer, reference: int, target: NodeInfo) -> None:
        """Meet `target`, and tell `Peering.probed` whether it answered."""

    def reunite(self, member: Member) -> None:
        """Meet a member that was declared dead: it may be back."""

    def close(self, stream: Stream, reason: str) -> None:
        """Close a stream; its end is of no interest any more."""

    def begin_session(self, peer: Peer) -> None:
        """`peer.link` is a new session: its signals are taken from now on."""

    def end_session(self, peer: Peer, reason: str) -> None:
        """The session is over for good: links and monitors across fire."""

    def send(self, peer: Peer, envelope: node_pb2.Envelope) -> None:
        """Queue an envelope of this node itself for a peer with a session."""

    def fatal(self, refusal: node_pb2.Refusal, detail: str) -> None:
        """The cluster has no place for this node: stop it."""

    def tell(self, event: Event, reason: str) -> None:
        """Something changed among the members: for people and programs."""
