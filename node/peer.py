"""What the parts of a node that deal with peers need of each other. Types only."""

from __future__ import annotations

from typing import Protocol


class PeerGateway(Protocol):
    """What peers need of `luna.scheduler`'s PeerGateway."""

    def add_peer(self, node_id: int, session: int) -> None: ...
    def remove_peer(self, node_id: int) -> None: ...
    def send(self, node_id: int, envelope: bytes) -> bool: ...
