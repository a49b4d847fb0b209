"""Whether ledgers keep the promises. Pure: ledgers in, findings out.

What is known of a pair of processes, and therefore demanded:

- What was sent has the numbers 1, 2, 3, ... Those taken only grow: otherwise one was repeated or reordered.
- A number is left out only where a session between the two nodes ended: the taker was told that the other
  node was down between the number before and the number after, and the sender was told so after it had sent
  the last number that is missing. A sender sends nothing from that notice on until a new session is up, so
  each gap needs an end of a session of its own, on both sides.
- At the end of a pair whose nodes live, the last number sent was taken.
- A link and a monitor that were set fire once each: before the news that the partner's node is down, or when
  the partner ends. None fires that was not set.

A process whose node was killed takes its last entries with it. Its partner's are still held to all of the
above, except that nobody knows what else was sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .ledger import Entry, Kind, Ledger, Pair, Reason

ORDER = "order, at most once"
NO_LOSS = "no silent loss"
TOLD_ONCE = "every death is told exactly once"
INTACT = "contents arrive as they were sent"
COMPLETE = "every process gives its account"


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that was broken, and how."""

    promise: str
    text: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers that were left out by who took messages."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"


def judge_pair(pair: Pair) -> Iterator[Finding]:
    """Everything that is wrong between two processes that exchange numbered messages."""
    yield from judge_partners(pair)
    yield from judge_direction(pair.name, pair.source, pair.target)
    if pair.answers:
        yield from judge_direction(f"{pair.name}, answers", pair.target, pair.source, are_answers=True)


def judge_partners(pair: Pair) -> Iterator[Finding]:
    """What is wrong with their accounts and with what each was told of the other."""
    for ledger, partner in ((pair.source, pair.target), (pair.target, pair.source)):
        yield from judge_account(ledger)
        yield from judge_notices(ledger, partner)


def judge_account(ledger: Ledger) -> Iterator[Finding]:
    """It came to its end, unless its node ended before; and nothing was damaged on the way."""
    if not ledger.has_ended and not ledger.is_lost:
        yield Finding(COMPLETE, f"{ledger.process} never came to its end")
    for entry in ledger.of(Kind.DAMAGED):
        yield Finding(INTACT, f"{ledger.process}: message {entry.numbers[0]} has other bytes than were sent")


def judge_notices(ledger: Ledger, partner: Ledger) -> Iterator[Finding]:
    """Each link and each monitor fires once for each time it is set, in time."""
    waiting: set[Kind] = set()
    is_settled = False
    for entry in ledger.entries:
        at = f"{ledger.process}, at {entry.numbers[0]}"
        if entry.kind is Kind.ARMED:
            waiting, is_settled = {Kind.LINK, Kind.MONITOR}, False
        elif entry.kind is Kind.SETTLED:
            is_settled = True
        elif entry.kind in (Kind.LINK, Kind.MONITOR):
            if entry.kind not in waiting:
                yield Finding(TOLD_ONCE, f"{at}: a {_names([entry.kind])} fired that was not set")
            waiting.discard(entry.kind)
            if entry.numbers[1] == Reason.NORMAL:
                waiting.discard(Kind.LINK)  # a link is silent about a normal end
        elif entry.kind is Kind.DOWN and waiting and is_settled:
            yield Finding(TOLD_ONCE, f"{at}: the node is down, and the {_names(waiting)} did not fire before")
            waiting.clear()
    if waiting and partner.is_lost and ledger.has_ended:
        yield Finding(
            TOLD_ONCE, f"{ledger.process}: {partner.process} died, and the {_names(waiting)} never fired"
        )


def judge_direction(
    name: str, sender: Ledger, taker: Ledger, *, are_answers: bool = False
) -> Iterator[Finding]:
    """One direction of a pair. Answers bear the numbers of their questions, and some were never sent."""
    gaps: list[Gap] = []
    last, is_told = 0, False
    for entry in taker.entries:
        if entry.kind is Kind.DOWN:
            is_told = True
        elif entry.kind is Kind.GOT:
            first, upto = entry.numbers
            if first <= last:
                yield Finding(ORDER, f"{name}: {first} to {upto} came after {last}")
            elif first > last + 1:
                gaps.append(Gap(last + 1, first - 1))
                if not is_told:
                    yield _lost(name, gaps[-1], taker)
            last, is_told = max(last, upto), False
    if sender.is_lost:
        return
    # By the sender's account: how much it had sent when a session ended, and in the end.
    ends = [_sent_by(entry) for entry in sender.of(Kind.DOWN)]
    for gap in gaps:
        needed = gap.first - 1 if are_answers else gap.last
        ends = [end for end in ends if end >= needed]
        if not ends:
            yield _lost(name, gap, sender)
        ends = ends[1:]
    sent = max((_sent_by(entry) for entry in sender.entries if entry.kind is not Kind.TIMES), default=0)
    if last > sent:
        yield Finding(ORDER, f"{name}: {last} came, and only {sent} were sent")
    if last < sent and sender.has_ended and not taker.is_lost and not any(end >= sent for end in ends):
        yield _lost(name, Gap(last + 1, sent), sender)


def _lost(name: str, gap: Gap, untold: Ledger) -> Finding:
    return Finding(NO_LOSS, f"{name}: {gap} never came, and {untold.process} was told of no end of a session")


def _sent_by(entry: Entry) -> int:
    return entry.numbers[-1] if entry.kind is Kind.GOT else entry.numbers[0]


def _names(kinds: Iterable[Kind]) -> str:
    return " and ".join(sorted(kind.name.lower() for kind in kinds))
