"""Whether the promises were kept to what has no stream of messages: children, timers, names. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from .judge import COMPLETE, NO_LOSS, ORDER, TOLD_ONCE, Finding, judge_account, judge_partners
from .ledger import Kind, Ledger, Pair

TIMERS = "timers fire once, and not after they were cancelled"
SPAWNS = "every birth, greeting and end of a child is told once and in order"
NAMES = "a name stands for one process, everywhere the same"

TIMERS_IN_A_ROUND = 16
LOST_WITHIN_MS = 30_000
"""milliseconds from a timer's setting to the end of the session it was lost with, at most: a frozen node
thaws within ten seconds, and it may be slow then"""


def judge_nursery(ledger: Ledger, *, is_crashing: bool) -> Iterator[Finding]:
    """Children: each has one greeting, then one end, told by its monitor and, if it crashes, by its link."""
    yield from judge_account(ledger)
    counts = ledger.of(Kind.CHILDREN)
    if not ledger.has_ended:
        return
    if not counts:
        yield Finding(COMPLETE, f"{ledger.process} never counted its children")
        return
    born, refused, greeted, ended, links, lost, strange = counts[-1].numbers
    if born == 0:
        yield Finding(COMPLETE, f"{ledger.process} had no children, {refused} were refused")
    if strange:
        yield Finding(
            SPAWNS, f"{ledger.process}: {strange} greetings or ends came twice, unasked or out of order"
        )
    if ended != born:
        yield Finding(TOLD_ONCE, f"{ledger.process}: {born} children born, {ended} ends told by monitors")
    if links != (born if is_crashing else 0):
        yield Finding(TOLD_ONCE, f"{ledger.process}: {born} children born, {links} ends told by links")
    if not born - lost <= greeted <= born:
        yield Finding(
            NO_LOSS, f"{ledger.process}: {born} children born, {lost} lost with a node, {greeted} greeted"
        )


def judge_timers(pair: Pair) -> Iterator[Finding]:
    """Timers: each came once, or was cancelled and did not, or was lost with the end of a session."""
    yield from judge_partners(pair)
    arrived: dict[int, int] = defaultdict(int)
    for entry in pair.target.of(Kind.ROUND_CAME):
        number, bits, again = entry.numbers
        if again | arrived[number] & bits:
            yield Finding(ORDER, f"{pair.name}: timers of round {number} came twice")
        arrived[number] |= bits
    if pair.source.is_lost:
        return
    downs = pair.source.of(Kind.DOWN)
    for entry in pair.source.of(Kind.ROUND):
        number, cancelled = entry.numbers
        came = arrived.pop(number, 0)
        if came & cancelled:
            yield Finding(TIMERS, f"{pair.name}: cancelled timers of round {number} came")
        missing = (1 << TIMERS_IN_A_ROUND) - 1 & ~(came | cancelled)
        is_explained = pair.target.is_lost or any(
            number <= down.numbers[0] and down.time_ms - entry.time_ms <= LOST_WITHIN_MS for down in downs
        )
        if missing and not is_explained and pair.source.has_ended:
            yield Finding(NO_LOSS, f"{pair.name}: {missing.bit_count()} timers of round {number} never came")
    for number in arrived:
        yield Finding(TIMERS, f"{pair.name}: timers of round {number} came that nobody had set")


def judge_names(ledger: Ledger) -> Iterator[Finding]:
    """Names: whoever registers its own name finds itself, and nothing once it is removed."""
    yield from judge_account(ledger)
    for entry in ledger.of(Kind.NAMES)[-1:]:
        done, wrong = entry.numbers
        if wrong:
            yield Finding(NAMES, f"{ledger.process}: {wrong} of {done} operations had a wrong result")


def judge_holders(views: Sequence[Ledger]) -> Iterator[Finding]:
    """Names that all nodes use stand for the same processes on all nodes; a view is what one node says."""
    for view in views:
        yield from judge_account(view)
    seen = [_holders(view) for view in views]
    for name in sorted(set().union(*seen)):
        pids = [holders.get(name, 0) for holders in seen]
        if len(set(pids)) > 1:
            text = ", ".join(
                f"{pid or 'nothing'} by {view.process}" for pid, view in zip(pids, views, strict=True)
            )
            yield Finding(NAMES, f"shared name {name} stands for {text}")


def _holders(view: Ledger) -> Mapping[int, int]:
    return {entry.numbers[0]: entry.numbers[1] for entry in view.of(Kind.HOLDER)}
