"""Which part of the node takes which envelopes, and who is told that peers come and go.

Owns the one list of these parts: a new kind of envelope needs no change where sessions are kept. Lives on
trio. Membership is not among them: it decides who is a peer in the first place (`peers`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from luna.cluster.members import NodeInfo
from luna.proto import node_pb2

Handler = Callable[[NodeInfo, Any], None]
"""`(peer, message)`: takes one message of a peer; raises InvalidError for what no correct node sends."""


class PeerService(Protocol):
    """A part of the node that talks with peers. Its functions are called in trio, and must not block.

    For one peer they are called in this order: `peer_up`; the handlers, in the order sent; `peer_lost`.
    Afterwards the peer may come up again, under the same id.
    """

    def handlers(self) -> Mapping[str, Handler]:
        """Who takes the messages in each field of Envelope, by the field's name."""

    def peer_up(self, peer: NodeInfo) -> None:
        """A session with a peer began: what is queued for it from now on arrives, or `peer_lost` comes."""

    def peer_lost(self, peer_id: int) -> None:
        """The session with a peer is over, and with it whatever was under way, both ways."""


class PeerServices:
    """The services of one node, in the order in which they are told of peers."""

    def __init__(self, *services: PeerService) -> None:
        self._services = services
        self._handlers: dict[str, Handler] = {}
        for service in services:
            for field, handler in service.handlers().items():
                assert field in node_pb2.Envelope.DESCRIPTOR.fields_by_name, field
                assert field not in self._handlers, f"two services take {field}"
                self._handlers[field] = handler

    def received(self, peer: NodeInfo, envelope: node_pb2.Envelope) -> None:
        """Hand a message to whom it is for. Raises InvalidError as the handlers do.

        One that nobody takes is of a newer protocol: additions must not break older nodes.
        """
        field = envelope.WhichOneof("signal")
        handler = self._handlers.get(field) if field is not None else None
        if field is not None and handler is not None:
            handler(peer, getattr(envelope, field))

    def peer_up(self, peer: NodeInfo) -> None:
        """Tell every service."""
        for service in self._services:
            service.peer_up(peer)

    def peer_lost(self, peer_id: int) -> None:
        """Tell every service."""
        for service in self._services:
            service.peer_lost(peer_id)
