"""When to reach for one peer, when to ask others about it, and when to give it up. Pure: no clock, no I/O.

One `Keeper` decides for one peer. Its owner tells it what happened, with the time in seconds of any one
clock, does the steps it answers with, and calls `tick` at `deadline`. The rules:

- One side dials (the owner says which), the other waits and reminds it if nothing comes.
- A stream that breaks is opened again at once, and again, each time after a longer pause.
- If the operating system at the peer's address refuses connections, its process has ended, and no other will
  ever have its node id: it is given up there and then.
- If nothing is heard, other members are asked whether they reach the peer. If nobody does, it is dead when
  `Timings.window_s` is over. If somebody does, only the path is broken: the peer stays a member, and the
  session of this pair ends when `Timings.pair_window_s` is over.
- A peer that others see and this node never reached, or no longer reaches, is tried for as long as it lives,
  and others are asked about it, in no hurry: what all know from hearsay only must end some day.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto

from luna.proto.limits import FROZEN_PEER_TIMEOUT_S

__all__ = ["DEFAULT_TIMINGS", "Keeper", "Step", "Timings"]

FIRST_DELAY_S = 0.05
"""seconds between the first two attempts; each further one waits twice as long."""

MAX_DELAY_S = 5.0
"""seconds between attempts at a peer that this node has no session with."""

MAX_BROKEN_DELAY_S = 0.5
"""seconds between attempts to go on with a session: the verdict comes in seconds, and a partition may end
just before."""

REMIND_DELAY_S = 0.1
"""seconds the waiting side gives the dialing one, which usually heard of it at the same moment."""


@dataclass(frozen=True, slots=True)
class Timings:
    """How patient a node is with its peers; everything follows from one number.

    `node_timeout_s`: seconds until a peer that answers nothing (frozen, unplugged) is declared dead. The
    parts add up to 0.86 of it, the rest is for a loaded machine.
    """

    node_timeout_s: float = FROZEN_PEER_TIMEOUT_S

    @property
    def keepalive_interval_s(self) -> float:
        """Seconds between pings on an open stream."""
        return 0.3 * self.node_timeout_s

    @property
    def keepalive_timeout_s(self) -> float:
        """Seconds for the answer to a ping; then the stream counts as broken."""
        return 0.4 * self.node_timeout_s

    @property
    def ask_after_s(self) -> float:
        """Seconds after a stream broke until other members are asked."""
        return 0.08 * self.node_timeout_s

    @property
    def window_s(self) -> float:
        """Seconds after a stream broke until a peer that nobody reaches is dead: a closed connection is
        noticed at once, and the verdict should come well under a second."""
        return 0.16 * self.node_timeout_s

    @property
    def probe_timeout_s(self) -> float:
        """Seconds another member has to find out whether it reaches a peer: it answers within the window."""
        return 0.06 * self.node_timeout_s

    @property
    def pair_window_s(self) -> float:
        """Seconds after a stream broke until the session with a peer that only others reach ends; without a
        session, seconds until others are asked."""
        return self.node_timeout_s


DEFAULT_TIMINGS = Timings()


class Step(Enum):
    """What the owner of a `Keeper` is to do."""

    ATTEMPT = auto()
    """Open a stream, or remind the peer to: then `opened`, if this side dialed, or `attempt_failed`. There is
    one attempt at a time: of two streams the later would replace the earlier, whose end would bring the next
    attempt."""
    CHECK = auto()
    """Find out whether anybody listens at its address: if not, `gone`."""
    ASK = auto()
    """Ask other members whether they reach it: then `reached` for each that does."""
    END_SESSION = auto()
    """Verdict: this node does not reach it. The session is over, the member is not."""
    DECLARE_DEAD = auto()
    """Verdict: nobody reaches it."""


class Keeper:
    """The decisions about one peer; it is not used any more after DECLARE_DEAD."""

    def __init__(self, now_s: float, *, dials: bool, timings: Timings = DEFAULT_TIMINGS) -> None:
        self._dials = dials
        self._timings = timings
        self._open = False
        self._resumable = False  # there is a session that may go on
        self._apart_at_s = now_s  # since when no stream is open
        self._attempting = False
        self._delay_s = FIRST_DELAY_S
        self._attempt_at_s = now_s if dials else now_s + REMIND_DELAY_S
        self._ask_at_s = now_s + timings.pair_window_s
        self._reached_at_s = -math.inf

    @property
    def deadline_s(self) -> float:
        """When to call `tick` next; infinite: not before something happens."""
        if self._open:
            return math.inf
        attempt_at_s = math.inf if self._attempting else self._attempt_at_s
        return min(attempt_at_s, self._ask_at_s, self._verdict_at_s)

    # --- what happened ----------------------------------------------------------------------

    def opened(self) -> None:
        """A stream is open: the attempt of this side succeeded, or the peer dialed."""
        self._open = True
        if self._dials:
            self._attempting = False

    def broken(self, now_s: float) -> list[Step]:
        """The stream has ended, and the session may go on."""
        if not self._open:
            return []
        self._open = False
        self._resumable = True
        self._apart_at_s = now_s
        self._delay_s = FIRST_DELAY_S
        self._attempt_at_s = now_s if self._dials else now_s + REMIND_DELAY_S
        self._ask_at_s = now_s + self._timings.ask_after_s
        self._reached_at_s = -math.inf
        return self.tick(now_s) if self._dials else [Step.CHECK, *self.tick(now_s)]

    def attempt_failed(self, now_s: float, *, gone: bool) -> list[Step]:
        """The attempt brought no stream. `gone`: nobody listens at the peer's address any more."""
        self._attempting = False
        self._attempt_at_s = now_s + self._delay_s
        most_s = MAX_BROKEN_DELAY_S if self._resumable else MAX_DELAY_S
        self._delay_s = min(max(2 * self._delay_s, FIRST_DELAY_S), most_s)
        return (self.gone() if gone else []) or self.tick(now_s)

    def retry(self, now_s: float) -> None:
        """What stood in the way of the last attempt is gone: try at once, or when one under way is over."""
        self._attempt_at_s = now_s
        self._delay_s = 0.0

    def gone(self) -> list[Step]:
        """Nobody listens at the peer's address. Before the first session that may be a matter of time."""
        return [Step.DECLARE_DEAD] if self._resumable and not self._open else []

    def reached(self, now_s: float) -> None:
        """Another member reaches it, or it has said Hello."""
        self._reached_at_s = now_s

    def session_ended(self, now_s: float) -> None:
        """The session is over for good; the peer is still a member. Begin anew, in no hurry."""
        self._open = self._resumable = False
        self._apart_at_s = now_s
        self._delay_s = FIRST_DELAY_S
        self._attempt_at_s = now_s + FIRST_DELAY_S
        self._ask_at_s = now_s + self._timings.pair_window_s

    def tick(self, now_s: float) -> list[Step]:
        """What is due."""
        if self._open:
            return []
        if now_s >= self._verdict_at_s:
            return [Step.END_SESSION if now_s < self._stale_at_s else Step.DECLARE_DEAD]
        steps = []
        if now_s >= self._ask_at_s:
            self._ask_at_s = now_s + self._period_s
            steps.append(Step.ASK)
        if not self._attempting and now_s >= self._attempt_at_s:
            self._attempting = True
            steps.append(Step.ATTEMPT)
        return steps

    # --- small helpers ----------------------------------------------------------------------

    @property
    def _period_s(self) -> float:
        """Seconds between two questions to others."""
        return self._timings.window_s if self._resumable else self._timings.pair_window_s

    @property
    def _stale_at_s(self) -> float:
        """When the last word that others reach it no longer counts: they are asked again and again."""
        return self._reached_at_s + 2 * self._period_s

    @property
    def _verdict_at_s(self) -> float:
        timings = self._timings
        if not self._resumable:
            return max(self._apart_at_s + timings.pair_window_s + timings.window_s, self._stale_at_s)
        # The waiting side may notice the break earlier than the side that dials.
        alone_at_s = self._apart_at_s + timings.window_s * (1.0 if self._dials else 1.25)
        return min(self._apart_at_s + timings.pair_window_s, max(alone_at_s, self._stale_at_s))
