"""What a machine that lives on top of sessions needs to take part in simulations.

A service is told what `luna.node` tells its `PeerServices`, and carries a pure machine of `luna.cluster`. To
add one: write a `Service`, and name it in `faults.SERVICES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .node import SimulatedNode


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message of a service on its way, without a wire form: stands for an Envelope."""

    kind: str
    message: Any


class Service(Protocol):
    """One service of one node. For one peer it is told, in this order: up, what it sent, lost."""

    kind: str
    """the field of Envelope that is for it"""

    def peer_up(self, peer_id: int) -> None:
        """A session with a peer began."""

    def peer_lost(self, peer_id: int) -> None:
        """The session with a peer is over."""

    def received(self, peer_id: int, message: Any) -> None:
        """A peer's service sent something."""

    def died(self, pid: int) -> None:
        """A process of this node is dead."""

    def act(self) -> None:
        """Some guest of this node uses the service."""

    def begin_check(self) -> None:
        """The cluster is at rest: ask what `check` looks at."""

    def check(self, nodes: Mapping[int, SimulatedNode]) -> str | None:
        """What is wrong in a cluster at rest, whose nodes are these by id; None if nothing is."""
