"""When a peer is dialed, asked about and given up: the rules of one `Keeper`, on a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from luna.cluster.keeping import (
    FIRST_DELAY_S,
    MAX_BROKEN_DELAY_S,
    MAX_DELAY_S,
    REMIND_DELAY_S,
    Keeper,
    Step,
    Timings,
)

TIMINGS = Timings(10.0)
ATTEMPT, CHECK, ASK, END_SESSION, DECLARE_DEAD = Step


@dataclass
class Owner:
    """Does what the keeper of one peer says, and notes when."""

    dials: bool = True
    now_s: float = 0.0
    reached: bool = False
    """whether others reach the peer"""
    log: list[tuple[float, Step]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.keeper = Keeper(self.now_s, dials=self.dials, timings=TIMINGS)

    def do(self, steps: list[Step]) -> None:
        for step in steps:
            self.log.append((round(self.now_s, 6), step))
            if step is ATTEMPT:
                self.do(self.keeper.attempt_failed(self.now_s, gone=False))
            elif step is ASK and self.reached:
                self.keeper.reached(self.now_s)
            elif step is END_SESSION:
                self.keeper.session_ended(self.now_s)

    def run_until(self, end_s: float) -> None:
        while (deadline_s := self.keeper.deadline_s) <= end_s and self.verdict is None:
            assert deadline_s >= self.now_s - 1e-9, "what is due was done"
            self.now_s = max(self.now_s, deadline_s)
            self.do(self.keeper.tick(self.now_s))
        self.now_s = end_s

    @property
    def verdict(self) -> float | None:
        """When the peer was declared dead."""
        return next((at_s for at_s, step in self.log if step is DECLARE_DEAD), None)

    def times(self, step: Step) -> list[float]:
        return [at_s for at_s, each in self.log if each is step]

    def open_and_break(self) -> None:
        self.keeper.opened()
        self.do(self.keeper.broken(self.now_s))


# --- attempts ---


def test_the_side_that_dials_does_so_at_once_and_the_other_waits_a_moment() -> None:
    assert Keeper(5.0, dials=True).tick(5.0) == [ATTEMPT]
    waiting = Keeper(5.0, dials=False)
    assert waiting.tick(5.0) == []
    assert waiting.deadline_s == 5.0 + REMIND_DELAY_S
    assert waiting.tick(5.0 + REMIND_DELAY_S) == [ATTEMPT]


def test_each_attempt_waits_twice_as_long_as_the_one_before_up_to_a_limit() -> None:
    owner = Owner(reached=True)
    owner.run_until(60.0)
    times = owner.times(ATTEMPT)
    pauses = [round(later - earlier, 6) for earlier, later in pairwise(times)]
    assert pauses[:4] == [FIRST_DELAY_S, 2 * FIRST_DELAY_S, 4 * FIRST_DELAY_S, 8 * FIRST_DELAY_S]
    assert max(pauses) == pauses[-1] == MAX_DELAY_S


def test_there_is_one_attempt_at_a_time() -> None:
    keeper = Keeper(0.0, dials=True)
    assert keeper.tick(0.0) == [ATTEMPT]
    keeper.retry(0.1)
    keeper.session_ended(0.1)
    assert keeper.tick(1.0) == []
    assert keeper.attempt_failed(1.0, gone=False) == []
    assert keeper.tick(1.0 + FIRST_DELAY_S) == [ATTEMPT]


def test_a_reminder_under_way_is_not_ended_by_the_stream_that_it_brings() -> None:
    keeper = Keeper(0.0, dials=False)
    assert keeper.tick(REMIND_DELAY_S) == [ATTEMPT]
    keeper.opened()
    assert keeper.broken(0.2) == [CHECK]
    assert keeper.tick(0.2 + REMIND_DELAY_S) == [], "it has not been answered yet"
    keeper.attempt_failed(0.4, gone=False)
    assert keeper.tick(0.4 + FIRST_DELAY_S) == [ATTEMPT]


def test_a_retry_follows_the_attempt_under_way_at_once() -> None:
    keeper = Keeper(0.0, dials=True)
    for now_s in (0.0, 1.0, 2.0, 3.0):
        keeper.tick(now_s)
        keeper.attempt_failed(now_s, gone=False)
    assert keeper.tick(4.0) == [ATTEMPT]
    keeper.retry(4.1)
    assert keeper.attempt_failed(4.2, gone=False) == [ATTEMPT]
    keeper.attempt_failed(4.3, gone=False)
    assert keeper.deadline_s == pytest.approx(4.3 + FIRST_DELAY_S), "and then pauses double again"


def test_nothing_is_due_while_a_stream_is_open() -> None:
    keeper = Keeper(0.0, dials=True)
    keeper.opened()
    assert keeper.deadline_s == float("inf")
    assert keeper.tick(100.0) == []


# --- a broken stream ---


def test_a_broken_stream_is_opened_again_at_once() -> None:
    keeper = Keeper(0.0, dials=True)
    keeper.opened()
    assert keeper.broken(7.0) == [ATTEMPT]


def test_the_waiting_side_looks_whether_anybody_is_there_at_all() -> None:
    keeper = Keeper(0.0, dials=False)
    keeper.opened()
    assert keeper.broken(7.0) == [CHECK]
    assert keeper.deadline_s == 7.0 + REMIND_DELAY_S


def test_attempts_to_go_on_are_never_far_apart() -> None:
    owner = Owner(reached=True)
    owner.open_and_break()
    owner.run_until(TIMINGS.pair_window_s - 0.1)
    times = owner.times(ATTEMPT)
    assert max(later - earlier for earlier, later in pairwise(times)) == pytest.approx(MAX_BROKEN_DELAY_S)


@pytest.mark.parametrize("dials", [True, False])
def test_a_peer_whose_address_refuses_connections_is_dead_at_once(dials: bool) -> None:
    keeper = Keeper(0.0, dials=dials)
    keeper.opened()
    keeper.broken(1.0)
    assert keeper.attempt_failed(1.0, gone=True) == [DECLARE_DEAD]
    assert keeper.gone() == [DECLARE_DEAD]


def test_a_refusal_that_is_heard_of_when_a_stream_is_open_again_means_nothing() -> None:
    keeper = Keeper(0.0, dials=False)
    keeper.opened()
    keeper.broken(1.0)
    keeper.opened()
    assert keeper.gone() == []


def test_a_refusal_before_the_first_session_is_not_a_death() -> None:
    keeper = Keeper(0.0, dials=True)
    keeper.tick(0.0)
    assert keeper.attempt_failed(0.1, gone=True) == []
    assert keeper.gone() == []


@pytest.mark.parametrize(("dials", "windows"), [(True, 1.0), (False, 1.25)])
def test_a_peer_that_nobody_reaches_is_dead_after_one_window(dials: bool, windows: float) -> None:
    owner = Owner(dials)
    owner.open_and_break()
    owner.run_until(100.0)
    assert owner.verdict == pytest.approx(windows * TIMINGS.window_s)
    assert owner.times(ASK)[0] == pytest.approx(TIMINGS.ask_after_s)
    assert TIMINGS.ask_after_s + TIMINGS.probe_timeout_s < TIMINGS.window_s, "answers come in time"


def test_the_session_with_a_peer_that_only_others_reach_ends_after_the_long_window() -> None:
    owner = Owner(reached=True)
    owner.open_and_break()
    owner.run_until(100.0)
    assert owner.times(END_SESSION) == [pytest.approx(TIMINGS.pair_window_s)]
    assert owner.verdict is None


def test_others_are_asked_again_and_their_last_word_counts_for_two_windows() -> None:
    owner = Owner(reached=True)
    owner.open_and_break()
    owner.run_until(2 * TIMINGS.window_s)
    last_s = owner.times(ASK)[-1]
    owner.reached = False
    owner.run_until(100.0)
    assert owner.verdict == pytest.approx(last_s + 2 * TIMINGS.window_s)


def test_what_others_said_in_an_earlier_interruption_does_not_count() -> None:
    owner = Owner(reached=True)
    owner.open_and_break()
    owner.run_until(TIMINGS.window_s)
    owner.reached = False
    owner.open_and_break()
    owner.run_until(100.0)
    assert owner.verdict == pytest.approx(2 * TIMINGS.window_s)


def test_the_windows_leave_room_before_the_timeout_of_a_node() -> None:
    for timeout_s in (1.0, 5.0, 60.0):
        timings = Timings(timeout_s)
        noticed_s = timings.keepalive_interval_s + timings.keepalive_timeout_s
        assert noticed_s + 1.25 * timings.window_s <= timeout_s


# --- without a session ---


def test_a_peer_without_a_session_that_others_reach_is_tried_for_ever() -> None:
    owner = Owner(reached=True)
    owner.run_until(1000.0)
    assert owner.verdict is None
    assert len(owner.times(ATTEMPT)) > 1000 / MAX_DELAY_S
    assert len(owner.times(ASK)) <= 1000 / TIMINGS.pair_window_s, "and others are asked now and then only"


@pytest.mark.parametrize("dials", [True, False])
def test_a_peer_without_a_session_that_nobody_reaches_is_dead_in_the_end(dials: bool) -> None:
    owner = Owner(dials)
    owner.run_until(1000.0)
    assert owner.verdict == pytest.approx(TIMINGS.pair_window_s + TIMINGS.window_s)


def test_a_peer_that_dies_after_the_session_with_it_ended_is_dead_in_the_end() -> None:
    owner = Owner(reached=True)
    owner.open_and_break()
    owner.run_until(100.0)
    owner.reached = False
    owner.run_until(1000.0)
    assert owner.verdict is not None
    assert owner.verdict <= 100.0 + 3 * TIMINGS.pair_window_s


def test_a_session_that_ended_is_followed_by_another_after_a_pause() -> None:
    keeper = Keeper(0.0, dials=True)
    keeper.opened()
    keeper.session_ended(9.0)
    assert keeper.deadline_s == 9.0 + FIRST_DELAY_S
    assert keeper.tick(9.0 + FIRST_DELAY_S) == [ATTEMPT]
