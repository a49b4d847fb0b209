"""News of nodes for guests: tells the scheduler's subscribers of sessions, and answers about names.

Lives on trio. What subscribers get, and in which form, is the scheduler's business.
"""

from __future__ import annotations

from collections.abc import Mapping

from luna.cluster.members import MemberState, NodeInfo
from luna.cluster.membership import Membership
from luna.node.peer_services import Handler
from luna.scheduler.node_watch import Downfall, NodeWatch


class NodeNews:
    """The cluster of one node as its guests see it (a PeerService, and NodeNames for the scheduler)."""

    def __init__(self, watch: NodeWatch, members: Membership) -> None:
        self._watch = watch
        self._members = members

    def register(self) -> None:
        """Answer guests' questions about names from now on."""
        self._watch.connect(self)

    def name_of(self, node_id: int) -> str | None:
        """See NodeNames."""
        member = self._members.get(node_id)
        return None if member is None else member.node.name

    def find(self, name: str) -> int | None:
        """See NodeNames."""
        member = self._members.find(name)
        return None if member is None else member.node.id

    def handlers(self) -> Mapping[str, Handler]:
        """See PeerService: there are no messages for it."""
        return {}

    def peer_up(self, peer: NodeInfo) -> None:
        """See PeerService. The core knows the session already, and delivers nothing of it yet."""
        self._watch.up(peer.id, peer.name)

    def peer_lost(self, peer_id: int) -> None:
        """See PeerService. The core has ended the session: links and monitors across it have fired."""
        member = self._members.get(peer_id)
        left = member is not None and member.state is MemberState.LEFT
        self._watch.down(peer_id, Downfall.LEFT if left else Downfall.LOST)
