"""The other nodes, as this one deals with them: admission, sessions, verdicts, gossip.

Owns the membership table of the node and one task per live peer (`keeping.keep`), and does what the table's
events ask for: a peer that joined gets a session, one that died or left is cut off from the native core,
which fires links and monitors across the pair. Lives on trio. It carries no bytes (`transport`) and
spawns nothing (`remote_spawn`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog
import trio
from google.protobuf.message import DecodeError, Message

from luna.cluster.members import NodeInfo, split_address
from luna.cluster.membership import Event, EventKind, Member, Membership
from luna.cluster.naming import judge_hello
from luna.cluster.wire import gossip_to_proto, make_hello, members_from_proto, node_from_proto, text_from_peer
from luna.node import keeping
from luna.node.bridge import Bridge
from luna.node.config import is_loopback_literal
from luna.node.peer import Accepted, Peer, PeerGateway
from luna.node.peer_services import PeerServices
from luna.node.probe import nobody_listens
from luna.node.session import Session, SessionEnd
from luna.node.status import FATAL_REFUSALS, JoinRefusedError, SelfJoinError
from luna.node.transport import Transport
from luna.proto import node_pb2
from luna.proto.errors import BrokenError, InvalidError, LunaError, NotFoundError, RefusedError, StaleError
from luna.proto.limits import MAX_GOSSIP_MEMBERS, MIB

_log = structlog.get_logger(__name__)

MAX_ENVELOPE_BYTES = 8 * MIB
"""bytes of one envelope that Python decodes, into up to thirty times as much: a Spawn with the longest
arguments and environment has somewhat over four."""


class Peers:
    """The peers of one node (trio)."""

    def __init__(
        self,
        *,
        nursery: trio.Nursery,
        bridge: Bridge,
        transport: Transport,
        gateway: PeerGateway,
        membership: Membership,
        services: PeerServices,
        fatal: Callable[[LunaError], None],
        insecure: bool,
    ) -> None:
        """`fatal(error)` stops the node: the cluster has no place for it."""
        self.membership = membership
        self._nursery = nursery
        self._bridge = bridge
        self._transport = transport
        self._gateway = gateway
        self._services = services
        self._fatal = fatal
        self._insecure = insecure
        self._peers: dict[int, Peer] = {}
        self._leaving = False

    # --- looking ----------------------------------------------------------------------------

    @property
    def leaving(self) -> bool:
        """Whether this node is on its way out: nobody is dialed, judged or obeyed any more."""
        return self._leaving

    @property
    def own(self) -> NodeInfo:
        """This node as the others see it."""
        return self.membership.own.node

    def is_connected(self, node_id: int) -> bool:
        """Whether there is an open session with this peer."""
        peer = self._peers.get(node_id)
        return peer is not None and peer.session is not None

    async def wait_connected(self, node_id: int) -> None:
        """Wait for a session with this peer. Raises NotFoundError if it is, or ceases to be, no live peer."""
        peer = self._peers.get(node_id)
        if peer is None:
            raise NotFoundError(f"node {node_id} is not a live peer")
        await peer.connected.wait()
        if self._peers.get(node_id) is not peer:
            raise NotFoundError(f"node {node_id} is not a live peer")

    # --- meeting ----------------------------------------------------------------------------

    def hello(self) -> node_pb2.Hello:
        """What this node says first."""
        return make_hello(self.own, self.membership.snapshot())

    async def join(self, address: str) -> NodeInfo:
        """Meet the node at `address` (HOST:PORT) and take in its cluster; return that node.

        Raises JoinRefusedError if that node turns this one away, RefusedError if this one turns it away,
        BrokenError if nobody answers, SelfJoinError if this node itself does, InvalidError for anything else.
        """
        self._check_reach(address)
        answer = await self._bridge.run(self._transport.meet, address, self.hello())
        return self.take_answer(answer, address)

    def take_answer(self, answer: node_pb2.Hello, address: str) -> NodeInfo:
        """Judge the Hello that the node at `address` answered with, and take in its cluster.

        Raises as `join`.
        """
        own = self.own
        if (answer.node.id, answer.node.started_ms) == (own.id, own.started_ms):
            raise SelfJoinError(f"{address} is this node itself")
        if answer.refusal:
            detail = text_from_peer(answer.detail)
            raise JoinRefusedError(f"the node at {address} turned this one away: {detail}", answer.refusal)
        node = node_from_proto(answer.node)
        refused = judge_hello(self.hello(), self.membership, answer)
        if refused is not None:
            raise RefusedError(f"the node at {address} cannot be a peer: {refused.detail}")
        self._learn(answer)
        return node

    async def meet(self, hello: node_pb2.Hello) -> node_pb2.Hello:
        """Answer a Meet (the `PeerHandlers` side)."""
        await trio.lowlevel.checkpoint()
        return self._answer(hello)

    async def accept(self, hello: node_pb2.Hello, session: Session) -> node_pb2.Frame:
        """Answer the first frame of a session that a peer dialed (the `PeerHandlers` side)."""
        await trio.lowlevel.checkpoint()
        if hello.node.id >= self.own.id:
            raise InvalidError("the node with the lower id dials; this one must wait")
        await self._end_replaced(hello.node.id)
        if self._has_lost(session):
            peer = self._peers.get(hello.node.id)
            if peer is not None:
                self.verdict(peer, left=False, reason=_LOST)
        answer = self._answer(hello)
        peer = self._peers.get(hello.node.id)
        if answer.refusal:
            return node_pb2.Frame(hello=answer)
        if peer is None:  # the table is full, or this node is leaving
            raise RefusedError("this node takes no more peers")
        accepted = Accepted(session)
        try:
            peer.arrivals_in.send_nowait(accepted)
        except trio.WouldBlock:
            raise RefusedError("too many sessions at once") from None
        peer.accepted.append(accepted)
        self.begin(peer, session)
        return self._first_frame(peer.id, answer)

    async def ended(self, session: Session, end: SessionEnd) -> None:
        """An accepted session has ended (the `PeerHandlers` side)."""
        await trio.lowlevel.checkpoint()
        peer = self._peers.get(session.peer_id)
        if peer is None:
            return
        for accepted in peer.accepted:
            if accepted.session is session:
                peer.accepted.remove(accepted)
                accepted.end = end
                accepted.ended.set()
                return

    def _answer(self, hello: node_pb2.Hello) -> node_pb2.Hello:
        own = make_hello(self.own)  # who is turned away learns nothing of the members
        refused = judge_hello(own, self.membership, hello)
        if refused is not None:
            _log.info("turned a node away", name=text_from_peer(hello.node.name), reason=refused.detail)
            own.refusal, own.detail = refused.refusal, refused.detail
            return own
        self._check_reach(hello.node.address)
        self._learn(hello)
        return self.hello()

    def _learn(self, hello: node_pb2.Hello) -> None:
        self._act(self.membership.merge(Member(node_from_proto(hello.node))))
        self._act(self.membership.merge_all(members_from_proto(hello.members)))

    def _check_reach(self, address: str) -> None:
        if not self._insecure and not is_loopback_literal(split_address(address)[0]):
            raise RefusedError(
                f"{address} is not on this machine, and traffic between nodes is not encrypted yet",
                hint="start both nodes with --insecure if nobody else can listen or connect in this network",
            )

    # --- sessions ---------------------------------------------------------------------------

    async def dial(self, peer: Peer) -> Session:
        """Open a session with `peer`, which answered properly.

        Raises BrokenError if it does not answer, StaleError if another node lives at its address now or
        signals were lost on the way, JoinRefusedError if it turns this node away, InvalidError if it answers
        nonsense.
        """
        address = self._address(peer)
        self._check_reach(address)
        first = self._first_frame(peer.id, self.hello())
        session, answer = await self._bridge.run(self._transport.dial, address, peer.id, first)
        try:
            self._check_same(peer, answer, address)
            self.take_answer(answer, address)
            if self._has_lost(session):
                raise StaleError(_LOST)
        except BaseException:
            self._bridge.post_to_asyncio(session.close, "turned away")
            raise
        return session

    def _first_frame(self, peer_id: int, hello: node_pb2.Hello) -> node_pb2.Frame:
        return node_pb2.Frame(hello=hello, acknowledged=self._counts(peer_id)[0])

    def _counts(self, peer_id: int) -> tuple[int, int]:
        """Envelopes taken in from a peer, and given out to it, over all their sessions."""
        try:
            statistics = self._gateway.statistics(peer_id)
        except NotFoundError:
            return 0, 0
        return statistics.envelopes_in, statistics.envelopes_out

    def _has_lost(self, session: Session) -> bool:
        """Whether envelopes given out to a peer that dials or answers again never got there.

        Nothing may be lost silently, and what was given out is not kept to be sent again: such a peer
        is down, and both sides are told. A connection that broke while it was quiet just goes on.
        """
        return session.acknowledged != self._counts(session.peer_id)[1]

    async def _end_replaced(self, peer_id: int) -> None:
        """Wait until the peer's earlier sessions have ended, so that what they brought is counted."""
        peer = self._peers.get(peer_id)
        for accepted in list(peer.accepted) if peer is not None else ():
            self._bridge.post_to_asyncio(accepted.session.close, "replaced by a new session")
            await accepted.ended.wait()

    async def run(self, session: Session) -> SessionEnd:
        """Run a dialed session until it ends."""
        return await self._bridge.run(self._transport.run, session)

    async def remind(self, peer: Peer) -> None:
        """Meet `peer` again, so that it dials this node. Raises as `dial`."""
        address = self._address(peer)
        self._check_reach(address)
        answer = await self._bridge.run(self._transport.meet, address, self.hello())
        self._check_same(peer, answer, address)
        self.take_answer(answer, address)

    async def is_gone(self, peer: Peer) -> bool:
        """Whether the system where `peer` listened says that nobody does any more."""
        try:
            address = self._address(peer)
            self._check_reach(address)
            return await self._bridge.run(nobody_listens, address)
        except LunaError:  # nobody was asked
            return False

    def begin(self, peer: Peer, session: Session) -> None:
        """A session with `peer` is open."""
        if not peer.added:
            self._gateway.add_peer(peer.id, 1)
            peer.added = True
            member = self.membership.get(peer.id)
            if member is not None:
                self._services.peer_up(member.node)
        peer.session = session
        peer.connected.set()
        _log.info("connected", peer=self._name(peer.id), id=peer.id)

    def interrupted(self, peer: Peer, session: Session, end: SessionEnd) -> None:
        """A session with `peer` ended; no verdict yet."""
        if peer.session is session:
            peer.session = None
            if not peer.connected.is_set():
                return
            peer.connected = trio.Event()
            _log.info(
                "connection ended", peer=self._name(peer.id), id=peer.id, how=end.kind.value, why=end.detail
            )

    def verdict(self, peer: Peer, *, left: bool, reason: str) -> None:
        """`peer` is gone for good: it left, or is declared dead."""
        if self._peers.get(peer.id) is not peer:
            return
        table = self.membership
        self._act(table.mark_left(peer.id) if left else table.declare_dead(peer.id), reason)

    def turned_away(self, error: JoinRefusedError) -> None:
        """A peer says that this node is no member: stop, unless the refusal is about that peer alone."""
        if error.refusal in FATAL_REFUSALS:
            self._fatal(error.as_fatal())
        else:
            _log.warning("a peer turned this node away", reason=error.message)

    # --- what comes in ----------------------------------------------------------------------

    def hand_over(self, peer_id: int, envelopes: list[bytes], done: Callable[[], None]) -> None:
        """Take envelopes for Python from a session (asyncio thread); `done` is called in trio's then."""
        self._bridge.post_to_trio(self._take_envelopes, peer_id, envelopes, done)

    def _take_envelopes(self, peer_id: int, envelopes: list[bytes], done: Callable[[], None]) -> None:
        try:
            peer = self._peers.get(peer_id)
            member = self.membership.get(peer_id)
            if peer is None or member is None:
                return
            try:
                for data in envelopes:
                    if len(data) > MAX_ENVELOPE_BYTES:
                        raise InvalidError(f"it has {len(data)} bytes")
                    self._take_envelope(member.node, node_pb2.Envelope.FromString(data))
            except (DecodeError, LunaError) as error:
                reason = error.message if isinstance(error, LunaError) else "malformed"
                self.verdict(peer, left=False, reason=f"it sent an invalid envelope: {reason}")
        except Exception:  # a bug here must not take the node down
            _log.exception("internal error while handling envelopes", peer=peer_id)
        finally:
            done()

    def _take_envelope(self, peer: NodeInfo, envelope: node_pb2.Envelope) -> None:
        match envelope.WhichOneof("signal"):
            case "gossip":
                self._act(self.membership.merge_all(members_from_proto(envelope.gossip.members)))
            case _:
                self._services.received(peer, envelope)

    # --- what the membership table asks for -------------------------------------------------

    def _act(self, events: Sequence[Event], reason: str = "another node says so") -> None:
        for event in events:
            node = event.member.node
            match event.kind:
                case EventKind.JOINED:
                    _log.info("node joined", peer=node.name, id=node.id, address=node.address)
                    if not self._leaving:
                        self._add(node)
                case EventKind.LEFT:
                    _log.info("node left", peer=node.name, id=node.id, why=reason)
                    self._drop(node.id, "left")
                case EventKind.DIED:
                    _log.warning("node declared dead", peer=node.name, id=node.id, why=reason)
                    self._drop(node.id, "was declared dead")
                case EventKind.NAME_CONFLICT:
                    if node.id == self.own.id and event.other is not None:
                        self._fatal(_name_taken(event.other.node))
                case EventKind.ID_CONFLICT:
                    self._fatal(RefusedError(f"node id {node.id} is taken", hint="start the node again"))
                case EventKind.DECLARED_DEAD:
                    self._fatal(
                        StaleError(
                            "the cluster declared this node dead: it did not answer for too long",
                            hint="start the node again: it joins with a new id",
                        )
                    )
                case EventKind.REFUSED:
                    _log.debug("a rumour was refused", peer=node.name, id=node.id)
                case _:
                    _log.info(f"node {event.kind.value}", peer=node.name, id=node.id)
        self._spread([event.member for event in events if event.kind in _NEWS])

    def _add(self, node: NodeInfo) -> None:
        if node.id not in self._peers:
            peer = self._peers[node.id] = Peer(node)
            self._nursery.start_soon(keeping.keep, self, peer, name=f"peer {node.name}")

    def _drop(self, node_id: int, reason: str) -> None:
        peer = self._peers.pop(node_id, None)
        if peer is None:
            return
        peer.scope.cancel()
        peer.connected.set()  # whoever waits finds that the peer is gone
        for session in {accepted.session for accepted in peer.accepted} | ({peer.session} - {None}):
            if session is not None:
                self._bridge.post_to_asyncio(session.close, f"the peer {reason}")
        if peer.added:
            self._gateway.remove_peer(node_id)
        self._services.peer_lost(node_id)
        member = self.membership.get(node_id)
        if member is not None:
            self._bridge.post_to_asyncio(self._transport.drop_channel, member.node.address)

    def _spread(self, members: Sequence[Member]) -> None:
        for start in range(0, len(members), MAX_GOSSIP_MEMBERS):
            gossip = gossip_to_proto(members[start : start + MAX_GOSSIP_MEMBERS])
            envelope = _envelope(gossip=gossip)
            for peer in self._peers.values():
                if peer.session is not None:
                    self._gateway.send(peer.id, envelope)

    # --- leaving ----------------------------------------------------------------------------

    async def leave(self, reason: str) -> None:
        """Tell every peer that this node leaves, and wait until they know, for a bounded time."""
        self._leaving = True
        self.membership.leave()
        await self._bridge.run(self._transport.goodbye, reason)

    # --- small helpers ----------------------------------------------------------------------

    def _address(self, peer: Peer) -> str:
        member = self.membership.get(peer.id)
        if member is None:
            raise BrokenError(f"node {peer.id} is forgotten")
        return member.node.address  # the latest one: a peer may move

    def _name(self, node_id: int) -> str:
        member = self.membership.get(node_id)
        return member.node.name if member is not None else str(node_id)

    def _check_same(self, peer: Peer, answer: node_pb2.Hello, address: str) -> None:
        if answer.node.id != peer.id:
            raise StaleError(f"another node answers at {address} now")


_LOST = "signals were lost with the connection"

_NEWS = {
    EventKind.JOINED,
    EventKind.UPDATED,
    EventKind.SUSPECTED,
    EventKind.RECOVERED,
    EventKind.DIED,
    EventKind.LEFT,
    EventKind.REFUTED,
}


def _name_taken(other: NodeInfo) -> JoinRefusedError:
    return JoinRefusedError(
        f"the name {other.name} is taken by node {other.id} at {other.address}",
        node_pb2.NAME_TAKEN,
        hint="choose another name with --name",
    )


def _envelope(**signal: Message) -> bytes:
    return node_pb2.Envelope(**signal).SerializeToString()  # type: ignore[arg-type]
