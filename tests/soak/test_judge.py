"""The judge of the soak, given ledgers that are right and ledgers that were tampered with."""

from __future__ import annotations

import pytest
from integration.soak.judge import COMPLETE, INTACT, NO_LOSS, ORDER, TOLD_ONCE, judge_pair
from integration.soak.ledger import Kind, Ledger, LedgerError, Pair, parse_entry

ARM = ("U 0", "A 0", "K 0")
ENDS = ("L 10 5", "M 10 5", "D 10")
AGAIN = ("U 10", "A 10", "K 10")

SENDER = (*ARM, "S 20", "M 20 0", "E 20")
TAKER = ("A 1", "G 1 12", "K 12", "G 13 20", "E 20")

SENDER_CUT = (*ARM, *ENDS, *AGAIN, "S 20", "M 20 0", "E 20")
TAKER_CUT = ("A 1", "G 1 7", "K 7", "L 7 5", "M 7 5", "D 7", "U 7", "A 7", "K 7", "G 11 20", "E 20")


def ledger(name: str, *lines: str, lost: bool = False) -> Ledger:
    """As a process writes it, all at one time."""
    return Ledger.read(name, (f"{line[0]} 1000{line[1:]}" for line in lines), is_lost=lost)


def judge(
    sender: tuple[str, ...], taker: tuple[str, ...], *, lost: str = "", answers: bool = False
) -> list[tuple[str, str]]:
    source = ledger("flood on a", *sender, lost=lost == "sender")
    target = ledger("sink on b", *taker, lost=lost == "taker")
    return [(one.promise, one.text) for one in judge_pair(Pair("a -> b", source, target, answers))]


def without(lines: tuple[str, ...], *those: str) -> tuple[str, ...]:
    """All but the first of each of those."""
    rest = list(lines)
    for line in those:
        rest.remove(line)
    return tuple(rest)


def swapped(lines: tuple[str, ...], old: str, *new: str) -> tuple[str, ...]:
    at = lines.index(old)
    return (*lines[:at], *new, *lines[at + 1 :])


# --- what is right -----------------------------------------------------------------------------


def test_all_arrived() -> None:
    assert judge(SENDER, TAKER) == []


def test_what_is_missing_across_the_end_of_a_session_is_no_loss() -> None:
    assert judge(SENDER_CUT, TAKER_CUT) == []


def test_a_killed_taker_leaves_a_sender_that_was_told() -> None:
    assert judge((*ARM, *ENDS, "E 10"), ("A 1", "G 1 7"), lost="taker") == []


def test_a_killed_sender_leaves_a_taker_that_was_told() -> None:
    assert judge((*ARM, "S 5"), ("A 1", "K 1", "G 1 7", "L 7 5", "M 7 5", "D 7", "E 7"), lost="sender") == []


def test_news_older_than_the_link_do_not_count() -> None:
    """The session ended before the link was set; the news of it waited in the mailbox."""
    stale = ("U 0", "A 0", "D 0", "L 0 5", "M 0 5", "K 0", "U 0", "A 0", "K 0")
    assert judge((*stale, *SENDER[3:]), TAKER) == []


def test_a_question_whose_answer_was_lost() -> None:
    asker = (*ARM, "G 1 9", *ENDS, *AGAIN, "G 11 20", "S 20", "M 20 0", "E 20")
    answerer = ("A 1", "K 1", "G 1 10", "L 10 5", "M 10 5", "D 10", "U 10", "A 10", "K 10", "G 11 20", "E 20")
    assert judge(asker, answerer, answers=True) == []


def test_a_question_that_was_lost() -> None:
    asker = (*ARM, "G 1 9", *ENDS, *AGAIN, "G 11 20", "S 20", "M 20 0", "E 20")
    answerer = ("A 1", "K 1", "G 1 9", "L 9 5", "M 9 5", "D 9", "U 9", "A 9", "K 9", "G 11 20", "E 20")
    assert judge(asker, answerer, answers=True) == []


# --- what is wrong -----------------------------------------------------------------------------


def test_a_lost_message() -> None:
    assert judge(SENDER, swapped(TAKER, "G 13 20", "G 14 20")) == [
        (NO_LOSS, "a -> b: 13 never came, and sink on b was told of no end of a session"),
        (NO_LOSS, "a -> b: 13 never came, and flood on a was told of no end of a session"),
    ]


def test_the_last_messages_lost() -> None:
    assert judge(SENDER, ("A 1", "K 1", "G 1 17", "E 17")) == [
        (NO_LOSS, "a -> b: 18 to 20 never came, and flood on a was told of no end of a session")
    ]


def test_a_loss_by_a_killed_sender() -> None:
    [finding] = judge((*ARM, "S 5"), ("A 1", "K 1", "G 1 7", "G 9 9", *ENDS, "E 9"), lost="sender")
    assert finding == (NO_LOSS, "a -> b: 8 never came, and sink on b was told of no end of a session")


@pytest.mark.parametrize("again", ["G 12 20", "G 1 20", "G 20 20"])
def test_a_repeated_message(again: str) -> None:
    [(promise, text)] = judge(SENDER, (*TAKER[:-1], again, "E 20"))
    assert promise == ORDER
    assert text.endswith("came after 20")


def test_reordered_messages() -> None:
    findings = judge(SENDER, swapped(TAKER, "G 13 20", "G 13 16", "G 18 18", "G 17 17", "G 19 20"))
    assert (ORDER, "a -> b: 17 to 17 came after 18") in findings


def test_a_message_nobody_sent() -> None:
    assert judge(SENDER, swapped(TAKER, "G 13 20", "G 13 21")) == [
        (ORDER, "a -> b: 21 came, and only 20 were sent")
    ]


def test_a_gap_of_which_only_the_taker_was_told() -> None:
    assert judge(SENDER, TAKER_CUT) == [
        (NO_LOSS, "a -> b: 8 to 10 never came, and flood on a was told of no end of a session")
    ]


def test_one_end_of_a_session_does_not_explain_two_gaps() -> None:
    twice = swapped(
        TAKER_CUT, "G 11 20", "G 11 14", "L 14 5", "M 14 5", "D 14", "U 14", "A 14", "K 14", "G 16 20"
    )
    assert judge(SENDER_CUT, twice) == [
        (NO_LOSS, "a -> b: 15 never came, and flood on a was told of no end of a session")
    ]


def test_a_message_sent_after_the_end_was_told_is_lost() -> None:
    """The sender was told at 10, so 11 belongs to the new session."""
    assert judge(SENDER_CUT, swapped(TAKER_CUT, "G 11 20", "G 12 20")) == [
        (NO_LOSS, "a -> b: 8 to 11 never came, and flood on a was told of no end of a session")
    ]


def test_an_answer_lost_without_a_word() -> None:
    asker = (*ARM, "G 1 9", "G 11 20", "S 20", "M 20 0", "E 20")
    findings = judge(asker, ("A 1", "K 1", "G 1 20", "E 20"), answers=True)
    assert (
        NO_LOSS,
        "a -> b, answers: 10 never came, and flood on a was told of no end of a session",
    ) in findings


@pytest.mark.parametrize("notice", ["L 10 5", "M 10 5"])
def test_a_death_told_twice(notice: str) -> None:
    [(promise, text)] = judge(swapped(SENDER_CUT, notice, notice, notice), TAKER_CUT)
    assert promise == TOLD_ONCE
    assert text.endswith("fired that was not set")


@pytest.mark.parametrize(("notice", "name"), [("L 10 5", "link"), ("M 10 5", "monitor")])
def test_a_death_never_told(notice: str, name: str) -> None:
    assert judge(without(SENDER_CUT, notice), TAKER_CUT) == [
        (TOLD_ONCE, f"flood on a, at 10: the node is down, and the {name} did not fire before")
    ]


def test_a_death_told_only_after_the_news_of_the_node() -> None:
    late = swapped(without(SENDER_CUT, "L 10 5"), "D 10", "D 10", "L 10 5")
    assert (TOLD_ONCE, "flood on a, at 10: the node is down, and the link did not fire before") in judge(
        late, TAKER_CUT
    )


def test_a_killed_node_of_which_nobody_was_told() -> None:
    assert judge((*ARM, "E 10"), ("A 1", "G 1 7"), lost="taker") == [
        (TOLD_ONCE, "flood on a: sink on b died, and the link and monitor never fired")
    ]


def test_a_damaged_message() -> None:
    assert judge(SENDER, swapped(TAKER, "K 12", "K 12", "B 12")) == [
        (INTACT, "sink on b: message 12 has other bytes than were sent")
    ]


def test_a_process_that_never_ends() -> None:
    assert judge(without(SENDER, "E 20"), TAKER) == [(COMPLETE, "flood on a never came to its end")]


# --- reading -----------------------------------------------------------------------------------


def test_a_line_is_read() -> None:
    entry = parse_entry("G 1700000000000 3 17")
    assert (entry.kind, entry.time_ms, entry.numbers) == (Kind.GOT, 1_700_000_000_000, (3, 17))


@pytest.mark.parametrize("line", ["", "G 1", "G 1 2", "S 1 2 3", "X 1 2", "S one 2"])
def test_what_is_no_line_is_refused(line: str) -> None:
    with pytest.raises(LedgerError, match=r"ledger|numbers"):
        parse_entry(line)
