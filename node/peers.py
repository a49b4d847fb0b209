"""The other nodes, as this one deals with them: what `luna.cluster.peering` decides, over gRPC.

Owns the `Peering` of the node, drives it by trio's clock, and connects it to its surroundings: streams
(`transport`), the native core, and whoever handles envelopes. Decides nothing about members and sessions, and
carries no bytes. Lives on trio.
"""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom
from typing import Protocol

import structlog
import trio
from google.protobuf.message import DecodeError

from luna.cluster.keeping import DEFAULT_TIMINGS, Timings
from luna.cluster.members import Event, EventKind, Member, NodeInfo, split_address
from luna.cluster.membership import Membership
from luna.cluster.peer import Peer, Stream
from luna.cluster.peering import Peering
from luna.cluster.wire import members_from_proto, node_from_proto, text_from_peer
from luna.node import reaching
from luna.node.bridge import Bridge
from luna.node.config import is_loopback_literal
from luna.node.events import EventKind as Happened
from luna.node.events import Events
from luna.node.peer_services import PeerServices
from luna.node.session import EndKind, Session, SessionEnd
from luna.node.status import JoinRefusedError, SelfJoinError
from luna.node.transport import Transport
from luna.proto import node_pb2
from luna.proto.errors import InvalidError, LunaError, NotFoundError, RefusedError
from luna.proto.limits import MIB

_log = structlog.get_logger(__name__)

MAX_ENVELOPE_BYTES = 8 * MIB
"""bytes of one envelope that Python decodes, into up to thirty times as much: a Spawn with the longest
arguments and environment has somewhat over four."""


class PeerGateway(Protocol):
    """What this module needs of `luna.scheduler`'s PeerGateway."""

    def add_peer(self, node_id: int, session: int) -> None: ...
    def remove_peer(self, node_id: int) -> None: ...
    def send(self, node_id: int, envelope: bytes) -> bool: ...


class Peers:
    """The peers of one node (trio). Also the `Actions` of its `Peering`, and the `PeerHandlers` of gRPC."""

    def __init__(
        self,
        *,
        nursery: trio.Nursery,
        bridge: Bridge,
        transport: Transport,
        gateway: PeerGateway,
        membership: Membership,
        services: PeerServices,
        events: Events,
        fatal: Callable[[LunaError], None],
        insecure: bool,
        timings: Timings = DEFAULT_TIMINGS,
    ) -> None:
        """`fatal(error)` stops the node: the cluster has no place for it."""
        self.bridge = bridge
        self.transport = transport
        self.timings = timings
        self.peering = Peering(membership, self, SystemRandom(), timings)
        self._nursery = nursery
        self._gateway = gateway
        self.events = events
        self._services = services
        self._interrupted: set[int] = set()  # peers whose session waits for another connection
        self._fatal = fatal
        self._insecure = insecure
        self._connected: dict[int, trio.Event] = {}  # of peers somebody waits for
        self._changed = trio.Event()
        nursery.start_soon(self._tick, name="peers")

    # --- looking ----------------------------------------------------------------------------

    @property
    def membership(self) -> Membership:
        """Who is a member."""
        return self.peering.membership

    @property
    def own(self) -> NodeInfo:
        """This node as the others see it."""
        return self.peering.own

    def is_connected(self, node_id: int) -> bool:
        """Whether there is an open stream to this peer."""
        peer = self.peering.peer(node_id)
        return peer is not None and peer.stream is not None

    async def wait_connected(self, node_id: int) -> None:
        """Wait for a stream to this peer. Raises NotFoundError if it is, or ceases to be, no live peer."""
        while True:
            if self.peering.peer(node_id) is None:
                raise NotFoundError(f"node {node_id} is not a live peer")
            if self.is_connected(node_id):
                return
            await self._connected.setdefault(node_id, trio.Event()).wait()

    # --- time -------------------------------------------------------------------------------

    def changed(self) -> None:
        """Something happened to the peering: its deadline may have moved."""
        self._changed.set()

    async def _tick(self) -> None:
        try:
            while True:
                self._changed = trio.Event()
                with trio.move_on_at(self.peering.deadline_s()):
                    await self._changed.wait()
                self.peering.tick(trio.current_time())
        finally:
            self.peering.leaving = True  # the nursery closes: no more tasks

    # --- meeting ----------------------------------------------------------------------------

    async def join(self, address: str) -> NodeInfo:
        """Meet the node at `address` (HOST:PORT) and take in its cluster; return that node.

        Raises JoinRefusedError if that node turns this one away, RefusedError if this one turns it away,
        BrokenError if nobody answers, SelfJoinError if this node itself does, InvalidError for anything else.
        """
        self.check_reach(address)
        while True:
            answer = await self.bridge.run(self.transport.meet, address, self.peering.hello())
            own = self.own
            if (answer.node.id, answer.node.started_ms) == (own.id, own.started_ms):
                raise SelfJoinError(f"{address} is this node itself")
            incarnation = self.membership.own.incarnation
            refused = self.peering.take_answer(trio.current_time(), answer)
            self.changed()
            if refused is None:
                return node_from_proto(answer.node)
            if not answer.refusal:
                raise RefusedError(f"the node at {address} cannot be a peer: {refused.detail}")
            if self.membership.own.incarnation == incarnation:
                detail = text_from_peer(refused.detail)
                raise JoinRefusedError(
                    f"the node at {address} turned this one away: {detail}", refused.refusal
                )
            # It took this node for dead, and may now hear that it lives.

    def moved(self, address: str) -> None:
        """Peers reach this node at another address (HOST:PORT) from now on."""
        self.peering.moved(trio.current_time(), address)
        self.changed()

    async def meet(self, hello: node_pb2.Hello) -> node_pb2.Hello:
        """Answer a Meet (the `PeerHandlers` side)."""
        await trio.lowlevel.checkpoint()
        self._check_sender(hello)
        answer = self.peering.met(trio.current_time(), hello)
        self._log_refusal(hello, answer)
        self.changed()
        return answer

    async def accept(self, hello: node_pb2.Hello, session: Session) -> node_pb2.Hello:
        """Answer a peer that dialed (the `PeerHandlers` side)."""
        await trio.lowlevel.checkpoint()
        self._check_sender(hello)
        # The earlier stream may still be taking in frames: how many must be known before this one begins.
        earlier: Stream | None = None
        welcome = self.peering.welcomes(hello)
        while (
            welcome and (peer := self.peering.peer(hello.node.id)) is not None and peer.stream is not earlier
        ):
            earlier = peer.stream
            if isinstance(earlier, Session):
                await self.bridge.run(self.transport.end, earlier, "replaced by a new stream")
        answer, opened = self.peering.accept(trio.current_time(), hello, session)
        self._log_refusal(hello, answer)
        if opened is not None:
            session.carry(opened.link, opened.resend)
            peer = self.peering.peer(hello.node.id)
            assert peer is not None, "it has just opened a stream"
            self.opened(peer)
        self.changed()
        return answer

    async def ended(self, session: Session, end: SessionEnd) -> None:
        """An accepted stream has ended (the `PeerHandlers` side)."""
        await trio.lowlevel.checkpoint()
        peer = self.peering.peer(session.peer_id)
        if peer is not None:
            self.stream_ended(peer, session, end)

    def check_reach(self, address: str) -> None:
        """Raise RefusedError for an address that only an insecure node may reach."""
        if not self._insecure and not is_loopback_literal(split_address(address)[0]):
            raise RefusedError(
                f"{address} is not on this machine, and traffic between nodes is not encrypted yet",
                hint="start both nodes with --insecure if nobody else can listen or connect in this network",
            )

    def _check_sender(self, hello: node_pb2.Hello) -> None:
        if self.peering.leaving:
            raise RefusedError("this node is leaving")
        if hello.node.address:  # one without is malformed, which is found later
            self.check_reach(hello.node.address)

    def _log_refusal(self, hello: node_pb2.Hello, answer: node_pb2.Hello) -> None:
        if answer.refusal:
            name = text_from_peer(hello.node.name)
            _log.info("turned a node away", name=name, reason=answer.detail)
            self.events.publish(Happened.REFUSED, detail=f"{name}: {answer.detail}")

    # --- streams ----------------------------------------------------------------------------

    def opened(self, peer: Peer) -> None:
        """A stream to `peer` is open."""
        _log.info("connected", peer=peer.info.name, id=peer.id)
        if peer.id in self._interrupted:
            self._interrupted.discard(peer.id)
            self.events.publish(Happened.RESUMED, peer.info)
        self._wake_waiters(peer.id)

    def stream_ended(self, peer: Peer, session: Session, end: SessionEnd) -> None:
        """A stream to `peer` has ended by itself or by the other side."""
        now_s = trio.current_time()
        if peer.stream is session:
            if end.kind not in {EndKind.LEFT, EndKind.INVALID} and not self.peering.leaving:
                self._interrupted.add(peer.id)
                self.events.publish(Happened.INTERRUPTED, peer.info, end.detail)
            _log.info("connection ended", peer=peer.info.name, id=peer.id, how=end.kind.value, why=end.detail)
        match end.kind:
            case EndKind.LEFT:
                self.peering.said_goodbye(now_s, peer, session, end.detail or "it said goodbye")
            case EndKind.INVALID if peer.stream is session:
                self.peering.expel(now_s, peer, f"it sent an invalid frame: {end.detail}")
            case _:
                self.peering.ended(now_s, peer, session)
        self.changed()

    def _wake_waiters(self, node_id: int) -> None:
        event = self._connected.pop(node_id, None)
        if event is not None:
            event.set()

    # --- what the peering wants done --------------------------------------------------------

    def attempt(self, peer: Peer) -> None:
        self._nursery.start_soon(reaching.attempt, self, peer, name=f"peer {peer.info.name}")

    def check(self, peer: Peer) -> None:
        self._nursery.start_soon(reaching.check, self, peer, name=f"check {peer.info.name}")

    def probe(self, asker: Peer, reference: int, target: NodeInfo) -> None:
        self._nursery.start_soon(reaching.probe, self, asker, reference, target, name=f"probe {target.name}")

    def reunite(self, member: Member) -> None:
        self._nursery.start_soon(reaching.reunite, self, member, name=f"reunite {member.node.name}")

    def close(self, stream: Stream, reason: str) -> None:
        assert isinstance(stream, Session)
        self.bridge.post_to_asyncio(stream.close, reason)

    def begin_session(self, peer: Peer) -> None:
        assert peer.link is not None
        self._gateway.add_peer(peer.id, peer.link.session)
        self.events.publish(Happened.UP, peer.info)
        self._services.peer_up(peer.info)

    def end_session(self, peer: Peer, reason: str) -> None:
        _log.info("session ended", peer=peer.info.name, id=peer.id, why=reason)
        self._gateway.remove_peer(peer.id)
        self._interrupted.discard(peer.id)
        self.events.publish(Happened.DOWN, peer.info, reason)
        self._services.peer_lost(peer.id)

    def send(self, peer: Peer, envelope: node_pb2.Envelope) -> None:
        self._gateway.send(peer.id, envelope.SerializeToString())

    def fatal(self, refusal: node_pb2.Refusal, detail: str) -> None:
        hint = "choose another name with --name" if refusal == node_pb2.NAME_TAKEN else None
        self._fatal(JoinRefusedError(text_from_peer(detail), refusal, hint=hint).as_fatal())

    def tell(self, event: Event, reason: str) -> None:
        node = event.member.node
        match event.kind:
            case EventKind.JOINED:
                _log.info("node joined", peer=node.name, id=node.id, address=node.address)
            case EventKind.LEFT:
                _log.info("node left", peer=node.name, id=node.id, why=reason)
            case EventKind.DIED:
                _log.warning("node declared dead", peer=node.name, id=node.id, why=reason)
            case EventKind.REFUSED:
                _log.debug("a rumour was refused", peer=node.name, id=node.id)
            case EventKind.UPDATED if event.other is not None and event.other.node.address != node.address:
                before = event.other.node.address
                _log.info("node moved", peer=node.name, id=node.id, address=node.address, before=before)
                self.bridge.post_to_asyncio(self.transport.drop_channel, before)
            case EventKind.UPDATED:
                _log.debug("node updated", peer=node.name, id=node.id, why=reason)
            case _:
                _log.info(f"node {event.kind.value}", peer=node.name, id=node.id, why=reason)
        if event.kind in _PUBLISHED:
            detail = f"at {node.address}" if event.kind is EventKind.JOINED else reason
            self.events.publish(_PUBLISHED[event.kind], node, detail)
        if event.kind in {EventKind.LEFT, EventKind.DIED}:
            self._wake_waiters(node.id)  # they find that the peer is gone
            self.bridge.post_to_asyncio(self.transport.drop_channel, node.address)

    # --- what comes in ----------------------------------------------------------------------

    def hand_over(self, peer_id: int, session: int, envelopes: list[bytes], done: Callable[[], None]) -> None:
        """Take envelopes for Python from a stream (asyncio thread); `done` is called in trio's then."""
        self.bridge.post_to_trio(self._take_envelopes, peer_id, session, envelopes, done)

    def _take_envelopes(
        self, peer_id: int, session: int, envelopes: list[bytes], done: Callable[[], None]
    ) -> None:
        try:
            for data in envelopes:
                peer = self.peering.peer(peer_id)
                # What was under way when a session ended is lost with it.
                if peer is None or peer.link is None or peer.link.session != session:
                    return
                try:
                    if len(data) > MAX_ENVELOPE_BYTES:
                        raise InvalidError(f"it has {len(data)} bytes")
                    self._take_envelope(peer, node_pb2.Envelope.FromString(data))
                except (DecodeError, LunaError) as error:
                    reason = error.message if isinstance(error, LunaError) else "malformed"
                    self.peering.expel(trio.current_time(), peer, f"it sent an invalid envelope: {reason}")
        except Exception:  # a bug here must not take the node down
            _log.exception("internal error while handling envelopes", peer=peer_id)
        finally:
            self.changed()
            done()

    def _take_envelope(self, peer: Peer, envelope: node_pb2.Envelope) -> None:
        match envelope.WhichOneof("signal"):
            case "gossip":
                self.peering.gossip(trio.current_time(), members_from_proto(envelope.gossip.members))
            case "probe":
                self.peering.probe(peer, envelope.probe)
            case "probe_reply":
                self.peering.probe_replied(trio.current_time(), envelope.probe_reply)
            case _:
                self._services.received(peer.info, envelope)

    # --- leaving ----------------------------------------------------------------------------

    async def leave(self, reason: str) -> None:
        """Tell every peer that this node leaves, and wait until they know, for a bounded time."""
        self.peering.leave()
        await self.bridge.run(self.transport.goodbye, reason)


_PUBLISHED = {
    EventKind.JOINED: Happened.JOINED,
    EventKind.SUSPECTED: Happened.SUSPECTED,
    EventKind.RECOVERED: Happened.RECOVERED,
    EventKind.DIED: Happened.DIED,
    EventKind.LEFT: Happened.LEFT,
    EventKind.NAME_CONFLICT: Happened.NAME_CONFLICT,
}
"""Changes of the membership table that people follow."""
