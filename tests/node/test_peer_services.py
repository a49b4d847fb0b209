"""Parts of a node that talk with peers: each gets its own messages, all are told of peers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from luna.cluster.members import NodeInfo
from luna.node.peer_services import Handler, PeerServices
from luna.proto import node_pb2

PEER = NodeInfo(7, "peer", "test", "127.0.0.1:9", started_ms=1)


class Recorder:
    def __init__(self, *fields: str) -> None:
        self.fields = fields
        self.seen: list[object] = []

    def handlers(self) -> Mapping[str, Handler]:
        return dict.fromkeys(self.fields, self.received)

    def received(self, peer: NodeInfo, message: object) -> None:
        self.seen.append((peer.id, message))

    def peer_up(self, peer: NodeInfo) -> None:
        self.seen.append(("up", peer.id))

    def peer_lost(self, peer_id: int) -> None:
        self.seen.append(("lost", peer_id))


def test_each_message_goes_to_its_service_and_peers_are_told_to_all() -> None:
    names, groups = Recorder("names"), Recorder("groups")
    services = PeerServices(names, groups)
    services.peer_up(PEER)
    services.received(PEER, node_pb2.Envelope(groups=node_pb2.Groups()))
    services.peer_lost(PEER.id)
    assert names.seen == [("up", 7), ("lost", 7)]
    assert groups.seen == [("up", 7), (7, node_pb2.Groups()), ("lost", 7)]


def test_a_message_that_nobody_takes_is_ignored() -> None:
    service = Recorder("names")
    services = PeerServices(service)
    services.received(PEER, node_pb2.Envelope(groups=node_pb2.Groups()))
    services.received(PEER, node_pb2.Envelope())
    assert service.seen == []


def test_two_services_cannot_take_one_kind() -> None:
    with pytest.raises(AssertionError, match="two services take names"):
        PeerServices(Recorder("names"), Recorder("names"))
