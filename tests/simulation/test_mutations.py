"""The simulator can fail: what would break a promise, put in on purpose, is found within a few seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest

from luna.cluster.keeping import Keeper, Step
from luna.cluster.link_layer import Link
from luna.cluster.membership import Membership
from luna.cluster.peering import Peering
from luna.cluster.reunion import Reunion

from .faults import simulate
from .processes import Core
from .promises import Violation

SEEDS = 60
"""within which every mutant is found, most of them within a few"""

resume, head, attempt_failed, tick = Link.resume, Link._head, Keeper.attempt_failed, Keeper.tick
end_session, open_stream = Peering._end_session, Peering._open


def forget_to_resend(link: Link, received: int) -> list[bytes]:
    resume(link, received)
    return []


def acknowledge_early(link: Link, sequence: int) -> bytes:
    link.received += 1
    try:
        return head(link, sequence)
    finally:
        link.received -= 1


def end_only_own_sessions(peering: Peering, now_s: float, peer: Any, reason: str) -> None:
    if "the other side" not in reason:
        end_session(peering, now_s, peer, reason)


def propose_again(peering: Peering, peer: Any, stream: Any, hello: Any, proposed: int, received: int) -> Any:
    opened = open_stream(peering, peer, stream, hello, proposed, received)
    peer.proposed = proposed
    return opened


def drop_without_end(peering: Peering, node_id: int, reason: str) -> None:
    peering._peers.pop(node_id, None)


def never_give_up(keeper: Keeper, now_s: float) -> Sequence[Step]:
    return [step for step in tick(keeper, now_s) if step not in (Step.END_SESSION, Step.DECLARE_DEAD)]


def attempt_without_pause(keeper: Keeper, now_s: float, *, gone: bool) -> Sequence[Step]:
    keeper._delay_s = 0.0
    return attempt_failed(keeper, now_s, gone=gone)


MUTANTS: dict[str, tuple[Any, str, Any]] = {
    "a link forgets to send again": (Link, "resume", forget_to_resend),
    "a link acknowledges what it has not taken in": (Link, "_head", acknowledge_early),
    "a link has always room": (Link, "has_room", property(lambda link: True)),
    "a session that ended on the other side goes on": (Peering, "_end_session", end_only_own_sessions),
    "a session that ended is proposed again": (Peering, "_open", propose_again),
    "a verdict leaves the session": (Peering, "_drop", drop_without_end),
    "nobody is ever given up": (Keeper, "tick", never_give_up),
    "attempts follow each other without pause": (Keeper, "attempt_failed", attempt_without_pause),
    "the dead are never met again": (Reunion, "tick", lambda *_: None),
    "nobody refutes its death": (Membership, "refute", lambda *_: []),
    "the core tells nobody of the end of a session": (
        Core, "remove_peer", lambda core, node_id: core.peers.pop(node_id, None),
    ),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_promise_is_found(mutant: str) -> None:
    with patch.object(*MUTANTS[mutant]):
        assert any(breaks_a_promise(seed) for seed in range(SEEDS))


def breaks_a_promise(seed: int) -> bool:
    try:
        simulate(seed)
    except Violation:
        return True
    return False
