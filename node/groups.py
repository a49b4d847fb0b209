"""Process groups across nodes: what the scheduler's groups and the exchange with peers tell each other.

Owns the Groups envelopes and how they are checked. Lives on trio. What is told to whom and when is decided by
`luna.cluster.groups`; memberships of this node's processes are kept by the scheduler.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import chain

import structlog

from luna.cluster.groups import Announcement, GroupExchange, Membership, Message, Received, Send
from luna.cluster.members import NodeInfo
from luna.node.peer_services import Handler
from luna.proto import node_pb2
from luna.scheduler.groups import Groups

_log = structlog.get_logger(__name__)


class NodeGroups:
    """The groups of one node in its cluster (a PeerService, and RemoteGroups for the scheduler)."""

    def __init__(self, groups: Groups, send: Callable[[int, bytes], bool]) -> None:
        """`send(node id, envelope)` queues for a peer; False if there is no session with it."""
        self._groups = groups
        self._queue = send
        self._exchange = GroupExchange()

    def register(self) -> None:
        """Have the groups of this node's processes span the cluster from now on."""
        self._groups.connect(self)

    # --- for the scheduler ------------------------------------------------------------------

    def members(self, environment: int, name: str) -> Iterable[int]:
        """See RemoteGroups."""
        return self._exchange.members(environment, name)

    def joined(self, environment: int, name: str, pid: int) -> None:
        """See RemoteGroups."""
        self._send(self._exchange.joined(Membership(environment, name, pid)))

    def left(self, environment: int, name: str, pid: int) -> None:
        """See RemoteGroups."""
        self._send(self._exchange.left(Membership(environment, name, pid)))

    # --- for peers --------------------------------------------------------------------------

    def handlers(self) -> Mapping[str, Handler]:
        """See PeerService."""
        return {"groups": self.received}

    def peer_up(self, peer: NodeInfo) -> None:
        """See PeerService."""
        own = (Membership(*membership) for membership in self._groups.own())
        self._send(self._exchange.peer_up(peer.id, own))

    def received(self, peer: NodeInfo, message: node_pb2.Groups) -> None:
        """A message about groups came. Raises InvalidError for what no correct node sends."""
        self._send(self._exchange.received(peer.id, from_proto(message)))

    def peer_lost(self, peer_id: int) -> None:
        """See PeerService."""
        self._exchange.peer_lost(peer_id)

    def _send(self, sends: Iterable[Send]) -> None:
        for send in sends:
            envelope = node_pb2.Envelope(groups=to_proto(send.message))
            if not self._queue(send.peer, envelope.SerializeToString()):
                # `peer_lost` is on its way, after which nothing of this matters.
                _log.debug("no session for news of groups", id=send.peer)


def to_proto(message: Message) -> node_pb2.Groups:
    """The protobuf form of what a node says about its groups."""
    if isinstance(message, Received):
        return node_pb2.Groups(received=True)
    changes: defaultdict[tuple[int, str], node_pb2.GroupChange] = defaultdict(node_pb2.GroupChange)
    for membership in message.joined:
        changes[membership.environment, membership.name].joined.append(membership.pid)
    for membership in message.left:
        changes[membership.environment, membership.name].left.append(membership.pid)
    for (environment, name), change in changes.items():
        change.environment, change.name = environment, name
    return node_pb2.Groups(changes=changes.values())


def from_proto(message: node_pb2.Groups) -> Message:
    """What a peer says; that it may say so is for the exchange to check."""
    if message.received:
        return Received()
    joined = (_memberships(change, change.joined) for change in message.changes)
    left = (_memberships(change, change.left) for change in message.changes)
    return Announcement(tuple(chain.from_iterable(joined)), tuple(chain.from_iterable(left)))


def _memberships(change: node_pb2.GroupChange, pids: Iterable[int]) -> Iterable[Membership]:
    return (Membership(change.environment, change.name, pid) for pid in pids)
