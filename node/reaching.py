"""Reaching other nodes: the tasks that carry out what `luna.cluster.peering` decides about one peer.

Owns no state: each function is the body of one task (trio), asks over gRPC, and reports what came of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio

from luna.cluster.members import Member, NodeInfo
from luna.cluster.peer import Opened, Peer
from luna.node.probe import nobody_listens
from luna.node.session import Session
from luna.proto import node_pb2
from luna.proto.errors import InvalidError, LunaError, RefusedError
from luna.proto.limits import CONNECT_TIMEOUT_S

if TYPE_CHECKING:
    from luna.node.peers import Peers

_log = structlog.get_logger(__name__)

BROKEN_ATTEMPT_WINDOWS = 0.75
"""windows (see `Timings.window_s`) that one attempt to go on with a session may take: one that hangs in a
partition must not outlast it."""


async def attempt(peers: Peers, peer: Peer) -> None:
    """Open a stream to `peer` and pump it until it ends, or have it open one."""
    problem: LunaError | None = None
    try:
        if peers.peering.dials(peer):
            session = await _dial(peers, peer)
            if session is not None:
                await pump(peers, peer, session)
                return
        else:
            answer = await _meet(peers, peer.info.address, peer.id, _patience_s(peers, peer))
            peers.peering.heard(trio.current_time(), peer, answer)
    except LunaError as error:
        problem = error
    if isinstance(problem, InvalidError | RefusedError):
        _log.warning("a peer cannot be reached", peer=peer.info.name, reason=problem.message)
    gone = problem is not None and peer.link is not None and await _is_gone(peers, peer.info.address)
    peers.peering.attempt_failed(trio.current_time(), peer, gone=gone)
    peers.changed()


async def _dial(peers: Peers, peer: Peer) -> Session | None:
    address = peer.info.address
    peers.check_reach(address)
    hello = peers.peering.offer(peer)
    session, answer = await peers.bridge.run(
        peers.transport.dial, address, peer.id, hello, _patience_s(peers, peer)
    )
    opened: Opened | None = None
    try:
        opened = peers.peering.answered(trio.current_time(), peer, answer, session)
    finally:
        if opened is None:
            peers.bridge.post_to_asyncio(session.close, "turned away")
    if opened is None:
        return None
    session.carry(opened.link, opened.resend)
    return session


async def pump(peers: Peers, peer: Peer, session: Session) -> None:
    """Run a stream that was dialed until it ends."""
    peers.opened(peer)
    end = await peers.bridge.run(peers.transport.run, session)
    peers.stream_ended(peer, session, end)


async def check(peers: Peers, peer: Peer) -> None:
    """Tell if nobody listens at the peer's address any more."""
    if await _is_gone(peers, peer.info.address):
        peers.peering.gone(trio.current_time(), peer)
        peers.changed()


async def probe(peers: Peers, asker: Peer, reference: int, target: NodeInfo) -> None:
    """Find out for `asker` whether `target` answers."""
    try:
        answer = await _meet(peers, target.address, target.id, peers.timings.probe_timeout_s)
        reached = answer.node.id == target.id
    except LunaError:
        reached = False
    peers.peering.probed(asker, reference, reached)


async def reunite(peers: Peers, member: Member) -> None:
    """Meet a member that was declared dead, twice if it first has to hear that this node lives."""
    node = member.node
    for _ in range(2):
        try:
            answer = await _meet(peers, node.address, node.id, CONNECT_TIMEOUT_S)
            if answer.node.id != node.id:
                # Perhaps restarted in the other half of a split cluster: nobody else may know the way to it.
                peers.peering.replaced(node.id)
            refused = peers.peering.take_answer(trio.current_time(), answer)
        except LunaError as error:
            _log.debug("a dead member does not answer", peer=node.name, reason=error.message)
            if await _is_gone(peers, node.address):
                peers.peering.doubtful(trio.current_time(), node.id)
            return
        peers.changed()
        if refused is None or refused.refusal != node_pb2.DECLARED_DEAD:
            return


async def _meet(peers: Peers, address: str, node_id: int, timeout_s: float) -> node_pb2.Hello:
    peers.check_reach(address)
    return await peers.bridge.run(peers.transport.meet, address, peers.peering.hello(node_id), timeout_s)


async def _is_gone(peers: Peers, address: str) -> bool:
    """Whether the system where a node listened says that nobody does any more."""
    try:
        peers.check_reach(address)
        return await peers.bridge.run(nobody_listens, address)
    except LunaError:  # nobody was asked
        return False


def _patience_s(peers: Peers, peer: Peer) -> float:
    if peer.link is None:
        return CONNECT_TIMEOUT_S
    return BROKEN_ATTEMPT_WINDOWS * peers.timings.window_s
