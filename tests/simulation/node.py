"""One simulated node: a real `Peering` with real `Link`s, driven as `luna.node` drives them.

Stands for `node/peers.py`, `node/reaching.py` and `node/joining.py`, whose steps it takes in the same order,
with the time of a change of threads between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from luna.cluster.members import Event, Member, NodeInfo
from luna.cluster.membership import Membership
from luna.cluster.peer import Peer, Stream
from luna.cluster.peering import Peering
from luna.cluster.wire import members_from_proto
from luna.proto import node_pb2
from luna.proto.errors import InvalidError, LunaError
from luna.proto.limits import CONNECT_TIMEOUT_S

from .network import address_of
from .processes import Core, OwnEnvelope
from .services import Parcel, Service
from .streams import INVALID, LEFT, Dial, SimulatedStream
from .world import World

BROKEN_ATTEMPT_WINDOWS = 0.75
"""windows that one attempt to go on with a session may take."""

FLUSH_TIMEOUT_S = 1.0
"""seconds for the last frames and the Goodbye of a node that leaves."""

JOIN_RETRY_S = 0.2
MAX_JOIN_RETRY_S = 5.0

WORLD_BEGAN_S = 1e9
"""seconds since 1970 when a world begins, by a clock that is right."""


class SimulatedNode:
    """One run of one node. Also the `Actions` of its `Peering`."""

    def __init__(
        self,
        world: World,
        host: int,
        seeds: Sequence[int] = (),
        *,
        rejoins: bool = True,
        name: str | None = None,
        skew_s: float = 0.0,
    ) -> None:
        """`seeds`: hosts to join; `rejoins`: again whenever no live member is there, or until one was.

        `skew_s`: how far its wall clock is ahead.
        """
        self.world = world
        self.host = host
        self.name = f"host{host}" if name is None else name
        self.id = world.draw_id(host)
        self.stopped = False
        self.frozen = False
        self.deferred: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._rejoins = rejoins
        world.started += 1
        world.names_given[self.name] += 1
        started_ms = int((WORLD_BEGAN_S + world.now_s + skew_s) * 1000)
        self.address = address_of(host)
        self._moves = 0
        info = NodeInfo(self.id, self.name, "simulated", self.address, started_ms=started_ms)
        self.membership = Membership(info)
        self.peering = Peering(self.membership, self, Random(world.random.random()), world.timings)
        self.core = Core(self)
        self.services: list[Service] = []
        self._streams: dict[int, SimulatedStream] = {}  # running, by peer
        self._tick_at_s = math.inf
        self._handed_over_at_s = 0.0
        world.running[host] = self
        for seed in seeds:
            world.hop(self, self._join, address_of(seed), JOIN_RETRY_S)

    def __str__(self) -> str:
        return f"{self.host}/{self.id}"

    def _trace(self, what: str) -> None:
        self.world.trace(self, what)

    # --- life -------------------------------------------------------------------------------

    def crash(self) -> None:
        """The operating system process ends: nobody listens there any more."""
        if self.stopped:
            return
        self.stopped = True
        if self.world.tracing:
            self._trace("crashes")
        if self.world.running.get(self.host) is self:
            del self.world.running[self.host]
        self.world.network.drop_node(self)

    def freeze(self) -> None:
        """SIGSTOP: the kernel goes on, the node does not."""
        self.frozen = True
        if self.world.tracing:
            self._trace("freezes")
        self.world.network.look_at({self.host})

    def thaw(self) -> None:
        """SIGCONT: what was due meanwhile happens, timers before anything else or not."""
        if self.stopped or not self.frozen:
            return
        if self.world.tracing:
            self._trace("thaws")
        self.frozen = False
        deferred, self.deferred = self.deferred, []
        if self.world.random.random() < 0.5:
            deferred.sort(key=lambda call: call[0] != self._tick)
        for action, args in deferred:
            self.world.after(0.0, self, action, *args)
        self.world.network.look_at({self.host})

    def move(self, notices_after_s: float) -> None:
        """Its host has another address from now on, which it notices later."""
        self._moves += 1
        self.address = address_of(self.host, self._moves)
        if self.world.tracing:
            self._trace(f"moves to {self.address}")
        self.world.network.lose_all(self)
        self.world.after(notices_after_s, self, self._moved, self.address)

    def _moved(self, address: str) -> None:
        self.peering.moved(self.world.now_s, address)
        self.changed()

    def leave(self) -> None:
        """Say goodbye to all, and stop."""
        if self.peering.leaving:
            return
        if self.world.tracing:
            self._trace("leaves")
        self.peering.leave()
        for stream in self._streams.values():
            stream.say_goodbye()
        self.world.after(FLUSH_TIMEOUT_S, self, self.crash)

    # --- time -------------------------------------------------------------------------------

    def changed(self) -> None:
        """The deadline of the peering may have moved."""
        deadline_s = self.peering.deadline_s()
        if deadline_s < self._tick_at_s:
            self._tick_at_s = deadline_s
            self.world.at(max(deadline_s, self.world.now_s), self, self._tick, deadline_s)

    def _tick(self, planned_s: float) -> None:
        if planned_s != self._tick_at_s:
            return
        self._tick_at_s = math.inf
        self.peering.tick(self.world.now_s)
        self.changed()

    # --- meeting ----------------------------------------------------------------------------

    def _join(self, address: str, delay_s: float) -> None:
        if self.peering.leaving:
            return
        if any(member.node.address == address for member in self.membership.peers()):
            if self._rejoins:
                self.world.after(MAX_JOIN_RETRY_S, self, self._join, address, MAX_JOIN_RETRY_S)
            return
        again_s = min(2 * delay_s, MAX_JOIN_RETRY_S)
        network = self.world.network
        network.meet(
            self,
            address,
            self.peering.hello(),
            CONNECT_TIMEOUT_S,
            lambda answer: self._joined(address, again_s, answer),
        )

    def _joined(self, address: str, delay_s: float, answer: node_pb2.Hello | None) -> None:
        if answer is not None and answer.node.id != self.id:
            self.take_answer(answer)
        self.world.after(delay_s, self, self._join, address, delay_s)

    def take_answer(self, answer: node_pb2.Hello) -> None:
        """Take in what a node answered to a Hello."""
        self.peering.take_answer(self.world.now_s, answer)
        self.changed()

    def met(self, hello: node_pb2.Hello) -> node_pb2.Hello | None:
        """Answer a Meet."""
        if self.peering.leaving:
            return None
        answer = self.peering.met(self.world.now_s, hello)
        self.changed()
        return answer

    # --- streams ----------------------------------------------------------------------------

    def accept(
        self, stream: SimulatedStream, hello: node_pb2.Hello, earlier: SimulatedStream | None = None
    ) -> None:
        """Answer a peer that dialed."""
        if self.peering.leaving:
            stream.close("leaving")
            return
        peer = self.peering.peer(hello.node.id)
        if peer is not None and peer.stream is not None and peer.stream is not earlier:
            assert isinstance(peer.stream, SimulatedStream)
            peer.stream.close("replaced by a new stream")
            self.world.hop(self, self.accept, stream, hello, peer.stream)
            return
        try:
            answer, opened = self.peering.accept(self.world.now_s, hello, stream)
        except LunaError as error:
            if self.world.tracing:
                self._trace(f"turns a stream of {hello.node.id} away: {error}")
            stream.close("refused")
        else:
            if opened is None:
                stream.end.write(answer)
                stream.close("turned away")
            else:
                stream.carry(opened)
                self.world.hop(self, stream.answer_and_run, answer)
        self.changed()

    def stream_ended(self, stream: SimulatedStream, how: str) -> None:
        """A stream has ended by itself or by the other side."""
        now_s = self.world.now_s
        peer = self.peering.peer(stream.peer_id)
        if self.world.tracing:
            self._trace(f"stream to {stream.peer_id} ended: {how} {stream.why}")
        if peer is None:
            return
        if how == LEFT:
            self.peering.said_goodbye(now_s, peer, stream, "it said goodbye")
        elif how == INVALID and peer.stream is stream:
            self.world.promises.broken(f"{self} would expel {stream.peer_id}: {stream.why}")
        else:
            self.peering.ended(now_s, peer, stream)
        self.changed()

    def process_died(self, pid: int) -> None:
        """The core reports the end of a process."""
        for service in self.services:
            service.died(pid)

    def running(self, stream: SimulatedStream) -> None:
        """A stream begins to be pumped."""
        self._streams[stream.peer_id] = stream

    def not_running(self, stream: SimulatedStream) -> None:
        """A stream is pumped no more."""
        if self._streams.get(stream.peer_id) is stream:
            del self._streams[stream.peer_id]
        if self.peering.leaving and not self._streams:
            self.world.hop(self, self.crash)

    def frames_ready(self, peer_id: int) -> None:
        """The core has something queued for a peer."""
        stream = self._streams.get(peer_id)
        if stream is not None:
            stream.room()

    # --- what the peering wants done --------------------------------------------------------

    def attempt(self, peer: Peer) -> None:
        if self.world.tracing:
            self._trace(f"attempts to reach {peer.id}")
        self.world.promises.count("attempt", self, peer.id)
        self.world.hop(self, self._attempt, peer)

    def _attempt(self, peer: Peer) -> None:
        timeout_s = (
            CONNECT_TIMEOUT_S if peer.link is None else BROKEN_ATTEMPT_WINDOWS * self.world.timings.window_s
        )
        if self.peering.dials(peer):
            Dial(self, peer, timeout_s)
        else:
            hello = self.peering.hello(peer.id)
            then = self._reminded
            self.world.network.meet(
                self, peer.info.address, hello, timeout_s, lambda answer: then(peer, answer)
            )

    def _reminded(self, peer: Peer, answer: node_pb2.Hello | None) -> None:
        if answer is None:
            self.attempt_failed(peer)
            return
        try:
            self.peering.heard(self.world.now_s, peer, answer)
        except InvalidError as error:
            self.world.promises.broken(f"{self} got an invalid Hello: {error}")
        self.peering.attempt_failed(self.world.now_s, peer, gone=False)
        self.changed()

    def attempt_failed(self, peer: Peer) -> None:
        """Nobody answered: find out whether anybody is there."""
        if peer.link is None:
            self._attempt_failed(peer, False)
        else:
            self.world.network.is_refused(
                self, peer.info.address, lambda gone: self._attempt_failed(peer, gone)
            )

    def _attempt_failed(self, peer: Peer, gone: bool) -> None:
        self.peering.attempt_failed(self.world.now_s, peer, gone=gone)
        self.changed()

    def check(self, peer: Peer) -> None:
        self.world.network.is_refused(self, peer.info.address, lambda gone: self._checked(peer, gone))

    def _checked(self, peer: Peer, gone: bool) -> None:
        if gone:
            self.peering.gone(self.world.now_s, peer)
            self.changed()

    def probe(self, asker: Peer, reference: int, target: NodeInfo) -> None:
        def answered(answer: node_pb2.Hello | None) -> None:
            self.peering.probed(asker, reference, answer is not None and answer.node.id == target.id)

        timeout_s = self.world.timings.probe_timeout_s
        self.world.network.meet(self, target.address, self.peering.hello(target.id), timeout_s, answered)

    def reunite(self, member: Member) -> None:
        self._reunite(member.node, 2)

    def _reunite(self, node: NodeInfo, times: int) -> None:
        def answered(answer: node_pb2.Hello | None) -> None:
            if answer is None:
                return
            if answer.node.id != node.id:
                self.peering.replaced(node.id)
            refused = self.peering.take_answer(self.world.now_s, answer)
            self.changed()
            if refused is not None and refused.refusal == node_pb2.DECLARED_DEAD and times > 1:
                self._reunite(node, times - 1)

        self.world.network.meet(self, node.address, self.peering.hello(node.id), CONNECT_TIMEOUT_S, answered)

    def close(self, stream: Stream, reason: str) -> None:
        assert isinstance(stream, SimulatedStream)
        self.world.hop(self, stream.close, reason)

    def begin_session(self, peer: Peer) -> None:
        assert peer.link is not None
        if self.world.tracing:
            self._trace(f"begins session {peer.link.session} with {peer.id}")
        self.world.promises.session_began(self, peer.id, peer.link.session)
        self.core.add_peer(peer.id, peer.link.session)
        for service in self.services:
            service.peer_up(peer.id)

    def end_session(self, peer: Peer, reason: str) -> None:
        if self.world.tracing:
            self._trace(f"ends its session with {peer.id}: {reason}")
        self.world.promises.session_ended(self, peer.id, reason)
        self.core.remove_peer(peer.id)
        for service in self.services:
            service.peer_lost(peer.id)

    def send(self, peer: Peer, envelope: node_pb2.Envelope) -> None:
        if envelope.HasField("gossip"):
            self.world.promises.count("gossip", self, peer.id)
        self.core.send_envelope(peer.id, envelope)

    def fatal(self, refusal: node_pb2.Refusal, detail: str) -> None:
        if self.world.tracing:
            self._trace(f"must stop: {detail}")
        self.world.promises.fatal(self, refusal, detail)
        self.world.hop(self, self.leave)
        if self.name == f"host{self.host}":
            self.world.after(2 * FLUSH_TIMEOUT_S, None, self.world.restart, self.host)

    def tell(self, event: Event, reason: str) -> None:
        self.world.promises.events[event.kind] += 1
        if self.world.tracing:
            node = event.member.node
            self._trace(f"{event.kind.value} {node.name}/{node.id} inc {event.member.incarnation}: {reason}")

    # --- what comes in ----------------------------------------------------------------------

    def hand_over(self, peer_id: int, session: int, envelopes: list[OwnEnvelope]) -> None:
        """Pass on what a peer's node itself has sent to the other thread, in the order of calls."""
        world = self.world
        self._handed_over_at_s = max(
            self._handed_over_at_s, world.now_s + world.random.random() * world.hop_s
        )
        world.at(self._handed_over_at_s, self, self.take_envelopes, peer_id, session, envelopes)

    def take_envelopes(self, peer_id: int, session: int, envelopes: list[OwnEnvelope]) -> None:
        """Take what a peer's node itself has sent."""
        now_s = self.world.now_s
        for envelope in envelopes:
            peer = self.peering.peer(peer_id)
            if peer is None or peer.link is None or peer.link.session != session:
                break
            if isinstance(envelope, Parcel):
                for service in self.services:
                    if service.kind == envelope.kind:
                        service.received(peer_id, envelope.message)
                continue
            match envelope.WhichOneof("signal"):
                case "gossip":
                    self.peering.gossip(now_s, members_from_proto(envelope.gossip.members))
                case "probe":
                    self.peering.probe(peer, envelope.probe)
                case "probe_reply":
                    self.peering.probe_replied(now_s, envelope.probe_reply)
        self.changed()
