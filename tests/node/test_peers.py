"""Nodes that meet over real gRPC: sessions, gossip, verdicts, and what a bad peer can do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import grpc
import pytest
import trio
import trio.lowlevel

from luna.cluster.keeping import Timings
from luna.cluster.link_layer import Link
from luna.node import streams
from luna.node.bridge import Bridge
from luna.node.session import Session
from luna.node.status import JoinRefusedError
from luna.proto import node_pb2
from luna.proto.errors import BrokenError, InvalidError, RefusedError
from luna.proto.limits import MAX_FRAME_BYTES
from luna.proto.version import PROTOCOL_MAX, PROTOCOL_MIN

from .peer_node import PeerNode, open_peer_node, wait_for

SESSION = 70
HEAD = Link(SESSION).next_head()


def sees(node: PeerNode, *names: str) -> bool:
    return node.live() == list(names)


async def connect(one: PeerNode, other: PeerNode) -> None:
    await one.peers.join(other.address)
    with trio.fail_after(5):
        await one.peers.wait_connected(other.id)
        await other.peers.wait_connected(one.id)


@pytest.mark.parametrize(("joiner", "target"), [(1, 2), (2, 1)])
async def test_two_nodes_connect_whoever_joins(
    bridge: Bridge, tmp_path: Path, joiner: int, target: int
) -> None:
    async with (
        open_peer_node(bridge, joiner, "joiner", tmp_path) as one,
        open_peer_node(bridge, target, "target", tmp_path) as other,
    ):
        await connect(one, other)
        assert one.live() == other.live() == ["joiner", "target"]
        one.send(other.id, b"there")
        other.send(one.id, b"back")
        await wait_for(lambda: other.received(one.id) == [b"there"])
        await wait_for(lambda: one.received(other.id) == [b"back"])


async def test_a_connection_without_calls_is_closed_and_a_session_is_not(
    bridge: Bridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "IDLE_CONNECTION_S", 1.0)
    states: list[grpc.ChannelConnectivity] = []
    async with open_peer_node(bridge, 1, "a", tmp_path) as a, open_peer_node(bridge, 2, "b", tmp_path) as b:
        await connect(a, b)
        with grpc.insecure_channel(b.address, options=(("grpc.enable_http_proxy", 0),)) as idle:
            idle.subscribe(states.append, try_to_connect=True)
            await wait_for(lambda: grpc.ChannelConnectivity.READY in states)
            await wait_for(lambda: states[-1] is grpc.ChannelConnectivity.IDLE)
        assert [node.peers.peering.statistics().sessions_ended for node in (a, b)] == [0, 0]
        a.send(b.id, b"still there")
        await wait_for(lambda: b.received(a.id) == [b"still there"])


async def test_many_messages_arrive_in_order(bridge: Bridge, tmp_path: Path) -> None:
    async with open_peer_node(bridge, 1, "a", tmp_path) as a, open_peer_node(bridge, 2, "b", tmp_path) as b:
        await connect(a, b)
        sent = [number.to_bytes(4, "big") * 16 for number in range(5000)]
        for data in sent:
            assert a.send(b.id, data)
            assert b.send(a.id, data)
        await wait_for(lambda: len(b.received(a.id)) == len(a.received(b.id)) == len(sent))
        assert b.received(a.id) == a.received(b.id) == sent


async def test_a_third_node_is_found_through_gossip(bridge: Bridge, tmp_path: Path) -> None:
    async with (
        open_peer_node(bridge, 2, "a", tmp_path) as a,
        open_peer_node(bridge, 1, "b", tmp_path) as b,
        open_peer_node(bridge, 3, "c", tmp_path) as c,
    ):
        await connect(a, b)
        await connect(c, b)
        for one, other in ((a, c), (c, a), (a, b), (c, b)):
            await wait_for(partial(one.peers.is_connected, other.id))
        assert a.live() == b.live() == c.live() == ["a", "b", "c"]


async def test_a_node_that_leaves_is_known_to_have_left(bridge: Bridge, tmp_path: Path) -> None:
    async with open_peer_node(bridge, 1, "a", tmp_path) as a, open_peer_node(bridge, 3, "c", tmp_path) as c:
        async with open_peer_node(bridge, 2, "b", tmp_path) as b:
            await connect(a, b)
            await connect(c, b)
            await wait_for(lambda: a.peers.is_connected(c.id))
        for node in (a, c):
            await wait_for(partial(sees, node, "a", "c"))
            member = node.peers.membership.get(2)
            assert member is not None
            assert member.state.name == "LEFT"
            assert 2 not in node.gateway.peers()
            assert 2 in node.up
            assert node.lost == [2]


async def test_messages_queued_before_leaving_still_arrive(bridge: Bridge, tmp_path: Path) -> None:
    async with open_peer_node(bridge, 2, "b", tmp_path) as b:
        async with open_peer_node(bridge, 1, "a", tmp_path) as a:
            await connect(a, b)
            for number in range(100):
                a.send(b.id, bytes([number]))
        await wait_for(lambda: b.live() == ["b"])
        assert b.received(1) == [bytes([number]) for number in range(100)]


@pytest.mark.parametrize(("survivor", "victim"), [(1, 2), (2, 1)])
async def test_a_node_that_vanishes_is_dead_without_waiting_for_its_return(
    bridge: Bridge, tmp_path: Path, survivor: int, victim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Timings, "window_s", 3600.0)
    async with open_peer_node(bridge, survivor, "a", tmp_path) as a:
        async with open_peer_node(bridge, victim, "b", tmp_path, leave=False) as b:
            await connect(a, b)
        await wait_for(lambda: a.live() == ["a"])
        member = a.peers.membership.get(victim)
        assert member is not None
        assert member.state.name == "DEAD"
        assert a.gateway.log == [("add", victim), ("remove", victim)]
        assert a.lost == [victim]
        assert not a.send(victim, b"lost")


def cut(node: PeerNode) -> None:
    """Break every session of a node as a lost connection would."""

    def close() -> None:
        for session in node.transport._sessions.values():
            session._stream.close()

    node.bridge.post_to_asyncio(close)


def replaced(one: PeerNode, other: PeerNode, broken: tuple[Session, Session]) -> bool:
    now = (one.transport._sessions.get(other.id), other.transport._sessions.get(one.id))
    return None not in now and now[0] is not broken[0] and now[1] is not broken[1]


def both_received(one: PeerNode, other: PeerNode, count: int) -> bool:
    return len(one.received(other.id)) == len(other.received(one.id)) == count


async def test_a_broken_stream_is_dialed_again_and_goes_on_if_nothing_was_lost(
    bridge: Bridge, tmp_path: Path
) -> None:
    async with (
        open_peer_node(bridge, 1, "a", tmp_path) as a,
        open_peer_node(bridge, 2, "b", tmp_path) as b,
    ):
        await connect(a, b)
        for number in range(3):
            a.send(2, b"to b %d" % number)
            b.send(1, b"to a %d" % number)
            await wait_for(partial(both_received, a, b, number + 1))
            broken = (a.transport._sessions[2], b.transport._sessions[1])
            cut(a)
            await wait_for(partial(replaced, a, b, broken))
        assert b.received(1) == [b"to b 0", b"to b 1", b"to b 2"]
        assert a.received(2) == [b"to a 0", b"to a 1", b"to a 2"]
        assert a.gateway.log == [("add", 2)]
        assert b.gateway.log == [("add", 1)]
        assert a.lost == b.lost == []
        assert a.errors == b.errors == []


@pytest.mark.parametrize("dialer_sends", [True, False])
async def test_streams_that_break_under_load_lose_and_repeat_nothing(
    bridge: Bridge, tmp_path: Path, dialer_sends: bool
) -> None:
    async with (
        open_peer_node(bridge, 1, "a", tmp_path) as a,
        open_peer_node(bridge, 2, "b", tmp_path) as b,
    ):
        await connect(a, b)
        sender, receiver = (a, b) if dialer_sends else (b, a)
        sent = []
        for number in range(20):
            await wait_for(lambda: 2 in a.transport._sessions and 1 in b.transport._sessions)
            broken = (a.transport._sessions[2], b.transport._sessions[1])
            for part in range(200):
                sent.append(b"%d.%d" % (number, part) + bytes(2000))
                sender.send(receiver.id, sent[-1])
            await trio.lowlevel.checkpoint()
            cut(a)  # the side that dialed: the other end of a stream closes with its handler
            await wait_for(partial(replaced, a, b, broken))
        await wait_for(lambda: len(receiver.received(sender.id)) >= len(sent))
        assert receiver.received(sender.id) == sent
        assert a.lost == b.lost == []


async def test_a_node_declared_dead_comes_back_with_a_new_session(bridge: Bridge, tmp_path: Path) -> None:
    async with (
        open_peer_node(bridge, 1, "a", tmp_path) as a,
        open_peer_node(bridge, 2, "b", tmp_path) as b,
    ):
        for one, other in ((a, b), (b, a)):
            await connect(a, b)
            a.gateway.log.clear()
            b.gateway.log.clear()
            peer = one.peers.peering.peer(other.id)
            assert peer is not None
            one.peers.peering._declare_dead(trio.current_time(), peer, "for the test")
            await wait_for(lambda: len(a.gateway.log) == len(b.gateway.log) == 2, timeout_s=10)
            assert a.gateway.log == [("remove", 2), ("add", 2)]
            assert b.gateway.log == [("remove", 1), ("add", 1)]
            await wait_for(lambda: a.live() == b.live() == ["a", "b"])
        assert a.lost == [2, 2]
        assert b.lost == [1, 1]
        assert a.errors == b.errors == []


async def test_a_taken_name_is_refused_naming_the_other_node(bridge: Bridge, tmp_path: Path) -> None:
    async with (
        open_peer_node(bridge, 1, "same", tmp_path) as a,
        open_peer_node(bridge, 3, "b", tmp_path) as b,
    ):
        await connect(b, a)
        (tmp_path / "x").mkdir()
        async with open_peer_node(bridge, 2, "same", tmp_path / "x") as late:
            for target in (a, b):
                with pytest.raises(JoinRefusedError, match=r"name same is taken by node 1") as caught:
                    await late.peers.join(target.address)
                assert "--name" in caught.value.message
        assert a.live() == b.live() == ["b", "same"]


async def test_the_later_of_two_equal_names_stops_when_the_earlier_meets_it(
    bridge: Bridge, tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    async with (
        open_peer_node(bridge, 1, "same", tmp_path) as early,
        open_peer_node(bridge, 2, "same", tmp_path / "x") as late,
    ):
        with pytest.raises(RefusedError, match="cannot be a peer: the name same is taken"):
            await early.peers.join(late.address)
        await wait_for(lambda: late.errors)
        assert "name same is taken by node 1" in late.errors[0].message
        assert early.errors == []


async def test_another_cluster_is_refused(bridge: Bridge, tmp_path: Path) -> None:
    async with (
        open_peer_node(bridge, 1, "a", tmp_path) as a,
        open_peer_node(bridge, 2, "b", tmp_path, cluster="other") as b,
    ):
        with pytest.raises(JoinRefusedError, match="this is cluster test"):
            await b.peers.join(a.address)
        assert a.live() == ["a"]


async def test_joining_itself_nobody_or_nonsense_is_one_clear_error(bridge: Bridge, tmp_path: Path) -> None:
    async with open_peer_node(bridge, 1, "a", tmp_path) as a:
        with pytest.raises((InvalidError, RefusedError), match="itself"):
            await a.peers.join(a.address)
        with pytest.raises(BrokenError, match="does not answer"):
            await a.peers.join("127.0.0.1:1")
        with pytest.raises(InvalidError, match="not an address"):
            await a.peers.join("nonsense")
        with pytest.raises(RefusedError, match="not encrypted"):
            await a.peers.join("192.0.2.1:7010")


async def test_spawn_envelopes_reach_python_in_order(bridge: Bridge, tmp_path: Path) -> None:
    async with open_peer_node(bridge, 1, "a", tmp_path) as a, open_peer_node(bridge, 2, "b", tmp_path) as b:
        await connect(a, b)
        for reference in range(500):
            spawn = node_pb2.Spawn(reference=reference)
            a.gateway.send(2, node_pb2.Envelope(spawn=spawn).SerializeToString())
        await wait_for(lambda: len(b.spawns) == 500)
        assert [spawn.reference for spawn in b.spawns] == list(range(500))


async def test_a_port_in_use_is_one_clear_error(bridge: Bridge, tmp_path: Path) -> None:
    async with open_peer_node(bridge, 1, "a", tmp_path) as a:
        with pytest.RaisesGroup(
            pytest.RaisesExc(BrokenError, match="cannot listen on .*Address already in use"),
            flatten_subgroups=True,
        ):
            async with open_peer_node(bridge, 2, "b", tmp_path, port=a.port):
                pass


def hello(node_id: int, name: str = "evil", cluster: str = "test") -> node_pb2.Hello:
    return node_pb2.Hello(
        protocol_min=PROTOCOL_MIN,
        protocol_max=PROTOCOL_MAX,
        session=node_pb2.SessionOffer(proposed=SESSION),
        node=node_pb2.NodeInfo(
            id=node_id, name=name, cluster=cluster, address="127.0.0.1:9", started_ms=10**6
        ),
    )


class HandMade:
    """A peer written by hand: it opens a session and sends what a correct node never would."""

    def __init__(self, target: PeerNode, frames: list[bytes]) -> None:
        self._target = target
        self._frames = frames
        self.code: grpc.StatusCode | None = None
        self.details = ""
        self.answers: list[bytes] = []

    async def run(self) -> None:
        await trio.to_thread.run_sync(self._run)

    def _run(self) -> None:
        options = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
        hold = threading.Event()

        def requests() -> Iterator[bytes]:
            yield from self._frames
            hold.wait(10)

        with grpc.insecure_channel(self._target.address, options=options) as channel:
            call = channel.stream_stream("/luna.v1.Node/Session", None, None)(requests(), timeout=10)
            try:
                self.answers.extend(call)
                self.code = call.code()
            except grpc.RpcError as error:
                self.code = error.code()
                self.details = error.details() or ""
            finally:
                hold.set()


def first_frame(node_id: int = 1) -> bytes:
    return node_pb2.Frame(hello=hello(node_id)).SerializeToString()


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"\xff\xff\xff",
        node_pb2.Frame(session=1).SerializeToString(),
        node_pb2.Frame(
            hello=node_pb2.Hello(protocol_min=PROTOCOL_MIN, protocol_max=PROTOCOL_MAX)
        ).SerializeToString(),
        node_pb2.Frame(hello=hello(7, name="-")).SerializeToString(),
        node_pb2.Frame(hello=hello(2**30)).SerializeToString(),
    ],
    ids=["empty", "garbage", "no hello", "empty hello", "bad name", "bad id"],
)
async def test_a_bad_first_frame_ends_that_stream_only(bridge: Bridge, tmp_path: Path, first: bytes) -> None:
    async with open_peer_node(bridge, 5, "a", tmp_path) as a, open_peer_node(bridge, 6, "b", tmp_path) as b:
        await connect(a, b)
        evil = HandMade(a, [first])
        await evil.run()
        assert evil.code is grpc.StatusCode.INVALID_ARGUMENT
        assert a.live() == b.live() == ["a", "b"]
        assert a.peers.is_connected(6)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (HEAD + b"\x0a\xff\xff\xff\xff\x7f", "malformed"),
        (b"\xff" * 100, "does not begin with its session"),
        (b"\x0a\x00", "without a head"),
        (Link(SESSION + 1).next_head(), "another session"),
        (HEAD[:10] + (2).to_bytes(8, "little") + HEAD[18:], "a gap"),
        (HEAD[:19] + (9).to_bytes(8, "little"), "9 was acknowledged, and 0 were sent"),
        (b"\x0a\x00" * (MAX_FRAME_BYTES // 2 + 1), "larger than"),
    ],
    ids=["truncated", "garbage", "no head", "another session", "gap", "forged acknowledgement", "oversized"],
)
async def test_a_bad_frame_is_the_death_of_the_peer_that_sent_it_and_of_nothing_else(
    bridge: Bridge, tmp_path: Path, frame: bytes, reason: str
) -> None:
    async with open_peer_node(bridge, 5, "a", tmp_path) as a, open_peer_node(bridge, 6, "b", tmp_path) as b:
        await connect(a, b)
        evil = HandMade(a, [first_frame(), frame])
        await evil.run()
        assert evil.code is grpc.StatusCode.INVALID_ARGUMENT
        assert reason in evil.details
        await wait_for(lambda: a.live() == ["a", "b"])
        member = a.peers.membership.get(1)
        assert member is not None
        assert member.state.name == "DEAD"
        await wait_for(lambda: b.live() == ["a", "b"])
        assert a.peers.is_connected(6)
        assert a.gateway.peers() == {6}


async def test_a_frame_beyond_what_grpc_takes_ends_the_peer_too(bridge: Bridge, tmp_path: Path) -> None:
    async with open_peer_node(bridge, 5, "a", tmp_path) as a:
        evil = HandMade(a, [first_frame(), bytes(MAX_FRAME_BYTES + 2**21)])
        await evil.run()
        assert evil.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        await wait_for(lambda: a.live() == ["a"])
        assert a.gateway.peers() == set()


async def test_a_malformed_envelope_for_python_is_the_death_of_its_sender(
    bridge: Bridge, tmp_path: Path
) -> None:
    async with open_peer_node(bridge, 5, "a", tmp_path) as a, open_peer_node(bridge, 6, "b", tmp_path) as b:
        await connect(a, b)
        bad = node_pb2.Envelope(gossip=node_pb2.Gossip(members=[node_pb2.Member(state=node_pb2.ALIVE)]))
        frame = HEAD + node_pb2.Frame(envelopes=[bad]).SerializeToString()
        evil = HandMade(a, [first_frame(), frame])
        await evil.run()
        await wait_for(lambda: a.live() == b.live() == ["a", "b"])
        assert a.peers.is_connected(6)


async def test_the_side_with_the_higher_id_may_not_dial(bridge: Bridge, tmp_path: Path) -> None:
    async with open_peer_node(bridge, 5, "a", tmp_path) as a:
        evil = HandMade(a, [first_frame(9)])
        await evil.run()
        assert evil.code is grpc.StatusCode.INVALID_ARGUMENT
        assert a.live() == ["a"]


async def test_garbage_instead_of_a_meet_is_refused(bridge: Bridge, tmp_path: Path) -> None:
    async with open_peer_node(bridge, 5, "a", tmp_path) as a:

        def call() -> grpc.StatusCode:
            with grpc.insecure_channel(a.address) as channel:
                try:
                    channel.unary_unary("/luna.v1.Node/Meet", None, None)(b"\xff\xff", timeout=5)
                except grpc.RpcError as error:
                    return error.code()
            raise AssertionError("it was answered")

        assert await trio.to_thread.run_sync(call) is grpc.StatusCode.INVALID_ARGUMENT
        assert a.live() == ["a"]
