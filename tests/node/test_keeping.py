"""When a peer whose session broke is given up: at once on proof that it is gone, after the window without."""

from __future__ import annotations

from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from luna.cluster.members import NodeInfo
from luna.node.keeping import keep
from luna.node.peer import Accepted, Peer
from luna.node.session import EndKind, Session, SessionEnd
from luna.proto.errors import BrokenError, LunaError
from luna.proto.limits import RECONNECT_WINDOW_S

LOWER, HIGHER = 1, 2
SESSION = cast(Session, object())
BROKEN = SessionEnd(EndKind.BROKEN, "the connection was lost")


class FakePeers:
    """One node with one peer: `dials` sessions can be had of it, then each attempt fails with `problem`."""

    leaving = False

    def __init__(self, own_id: int, *, dials: int, gone: bool, problem: LunaError) -> None:
        self.own = NodeInfo(own_id, "own", "test", "127.0.0.1:7010")
        self.attempts = 0
        self.asked = 0
        self.verdicts: list[tuple[bool, str]] = []
        self._dials = dials
        self._gone = gone
        self._problem = problem

    async def dial(self, peer: Peer) -> Session:
        await trio.lowlevel.checkpoint()
        self.attempts += 1
        self._dials -= 1
        if self._dials < 0:
            raise self._problem
        return SESSION

    async def run(self, session: Session) -> SessionEnd:
        await trio.lowlevel.checkpoint()
        return BROKEN

    async def remind(self, peer: Peer) -> None:
        await trio.lowlevel.checkpoint()
        self.attempts += 1
        raise self._problem

    async def is_gone(self, peer: Peer) -> bool:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        return self._gone

    def begin(self, peer: Peer, session: Session) -> None: ...

    def interrupted(self, peer: Peer, session: Session, end: SessionEnd) -> None: ...

    def verdict(self, peer: Peer, *, left: bool, reason: str) -> None:
        self.verdicts.append((left, reason))


async def keep_for(
    own_id: int,
    *,
    sessions: int,
    gone: bool,
    problem: LunaError | None = None,
    patience_s: float = 10 * RECONNECT_WINDOW_S,
) -> tuple[FakePeers, float]:
    """Keep a peer that had so many sessions, for at most `patience_s`; how it went, and seconds taken."""
    peers = FakePeers(own_id, dials=sessions, gone=gone, problem=problem or BrokenError("no answer"))
    peer = Peer(NodeInfo(LOWER + HIGHER - own_id, "peer", "test", "127.0.0.1:7011"))
    if own_id == HIGHER:
        for _ in range(sessions):
            accepted = Accepted(SESSION, end=BROKEN)
            accepted.ended.set()
            peer.arrivals_in.send_nowait(accepted)
    began = trio.current_time()
    with trio.move_on_after(patience_s):
        await keep(cast(Any, peers), peer)
    return peers, trio.current_time() - began


@pytest.mark.parametrize("own_id", [LOWER, HIGHER])
async def test_a_peer_that_lost_its_session_and_listens_no_more_is_dead_at_once(
    own_id: int, autojump_clock: MockClock
) -> None:
    peers, seconds = await keep_for(own_id, sessions=1, gone=True)
    assert peers.verdicts == [(False, "nobody listens at its address any more")]
    assert seconds == 0  # of the mock clock: nothing was waited for


@pytest.mark.parametrize("own_id", [LOWER, HIGHER])
async def test_a_peer_that_still_listens_has_the_whole_window(own_id: int, autojump_clock: MockClock) -> None:
    peers, seconds = await keep_for(own_id, sessions=1, gone=False)
    assert len(peers.verdicts) == 1
    assert "nobody listens" not in peers.verdicts[0][1]
    assert RECONNECT_WINDOW_S <= seconds < 1.5 * RECONNECT_WINDOW_S
    assert peers.attempts > 2


@pytest.mark.parametrize("own_id", [LOWER, HIGHER])
async def test_a_peer_never_reached_is_not_judged_by_who_listens(
    own_id: int, autojump_clock: MockClock
) -> None:
    peers, _ = await keep_for(own_id, sessions=0, gone=True)
    assert peers.verdicts == []
    assert peers.asked == 0
    assert peers.attempts > 2
