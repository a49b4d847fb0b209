"""Keeping one session with one peer open, and giving the verdict when that fails.

Owns the loop of a peer's task: who dials, how often, and when the peer counts as dead. The side with the
lower node id dials; the other waits, and reminds it by a Meet. A broken session is dialed again within
RECONNECT_WINDOW_S; after that the peer is declared dead, and at once when nobody listens at its address any
more: its process has ended, and no other has its node id. Lives on trio; what a verdict means is the
business of `peers`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import structlog
import trio

from luna.node.session import EndKind, Session, SessionEnd
from luna.node.status import JoinRefusedError
from luna.proto.errors import BrokenError, InvalidError, LunaError, RefusedError, StaleError
from luna.proto.limits import RECONNECT_WINDOW_S

if TYPE_CHECKING:
    from luna.node.peer import Accepted, Peer
    from luna.node.peers import Peers

_log = structlog.get_logger(__name__)

FIRST_DELAY_S = 0.05
"""seconds between the first two attempts; each further one waits twice as long."""

MAX_DELAY_S = 5.0
"""seconds; a peer that others see but this node never reached is tried this often, as long as it lives."""

REMIND_DELAY_S = 0.1
"""seconds the waiting side gives the dialing one, which usually heard of it at the same moment."""


class _Verdict(NamedTuple):
    left: bool
    reason: str


_GONE = _Verdict(False, "nobody listens at its address any more")


async def keep(peers: Peers, peer: Peer) -> None:
    """The task of one peer; ends with the verdict, or when the peer is dropped."""
    with peer.scope:
        if peers.own.id < peer.id:
            verdict = await _keep_dialing(peers, peer)
        else:
            verdict = await _keep_waiting(peers, peer)
        if not peers.leaving:
            peers.verdict(peer, left=verdict.left, reason=verdict.reason)


async def _keep_dialing(peers: Peers, peer: Peer) -> _Verdict:
    deadline, delay = math.inf, FIRST_DELAY_S
    while True:
        session: Session | None = None
        problem: LunaError = BrokenError("it did not answer in time")
        with trio.move_on_at(deadline):
            try:
                session = await peers.dial(peer)
            except LunaError as error:
                problem = error
        if session is not None:
            peers.begin(peer, session)
            end = await peers.run(session)  # if it is cancelled here, dropping the peer closes the session
            peers.interrupted(peer, session, end)
            verdict = _after_end(peers, end)
            deadline, delay = trio.current_time() + RECONNECT_WINDOW_S, FIRST_DELAY_S
        else:
            verdict = _after_failure(peers, problem, trio.current_time() >= deadline)
            if verdict is None and deadline < math.inf and await peers.is_gone(peer):
                verdict = _GONE
            if verdict is None:
                await trio.sleep_until(min(trio.current_time() + delay, deadline))
                delay = min(2 * delay, MAX_DELAY_S)
        if verdict is not None:
            return verdict


async def _keep_waiting(peers: Peers, peer: Peer) -> _Verdict:
    deadline, delay, wait = math.inf, FIRST_DELAY_S, REMIND_DELAY_S
    while True:
        accepted: Accepted | None = None
        with trio.move_on_after(wait):
            accepted = await peer.arrivals.receive()
        if accepted is not None:
            await accepted.ended.wait()
            assert accepted.end is not None
            peers.interrupted(peer, accepted.session, accepted.end)
            verdict = _after_end(peers, accepted.end)
            if verdict is not None:
                return verdict
            # The other side dials within its window; ours is a little longer, since it may notice later.
            deadline = trio.current_time() + 1.25 * RECONNECT_WINDOW_S
            delay, wait = FIRST_DELAY_S, FIRST_DELAY_S
            if await peers.is_gone(peer):
                return _GONE
            continue
        # Before the verdict the peer is asked: if it took this node for dead meanwhile, it says so, and
        # then this node is the one that goes.
        problem: LunaError = BrokenError("it did not dial in time")
        with trio.move_on_at(deadline):
            try:
                await peers.remind(peer)
            except LunaError as error:
                problem = error
        verdict = _after_failure(peers, problem, trio.current_time() >= deadline)
        if verdict is None and deadline < math.inf and await peers.is_gone(peer):
            verdict = _GONE
        if verdict is not None:
            return verdict
        delay = min(2 * delay, MAX_DELAY_S)
        wait = max(0.0, min(delay, deadline - trio.current_time()))


def _after_end(peers: Peers, end: SessionEnd) -> _Verdict | None:
    """The verdict that the end of a session already is; None if the peer gets another chance."""
    if peers.leaving:
        return _Verdict(True, "this node is leaving")  # ends the task; nobody is judged any more
    if end.kind is EndKind.LEFT:
        return _Verdict(True, end.detail or "it said goodbye")
    if end.kind is EndKind.INVALID:
        return _Verdict(False, f"it sent an invalid frame: {end.detail}")
    return None


def _after_failure(peers: Peers, problem: LunaError, too_late: bool) -> _Verdict | None:
    if isinstance(problem, JoinRefusedError):
        peers.turned_away(problem)
    elif isinstance(problem, StaleError):
        return _Verdict(False, problem.message)  # its address answers with another node: it is gone
    elif isinstance(problem, InvalidError | RefusedError):
        _log.warning("a peer cannot be reached", reason=problem.message)
    return _Verdict(False, problem.message) if too_late else None
