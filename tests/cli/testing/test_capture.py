"""What is kept of a test's output, and whose it is."""

from __future__ import annotations

import pytest

from luna.cli.testing import capture as capture_module
from luna.cli.testing.capture import PIECE_COST, Capture

TEST, CHILD, OTHER = 5, 9, 7


def test_everything_is_kept_in_order() -> None:
    capture = Capture(TEST)
    for data in (b"one ", b"two\n", b"\xff"):
        capture.add(TEST, data)
    assert capture.content() == b"one two\n\xff"
    assert capture.text() == "one two\n\N{REPLACEMENT CHARACTER}"


def test_nothing_is_nothing() -> None:
    assert Capture(TEST).content() == b""
    assert Capture(TEST).text() == ""


def test_each_process_has_a_heading_and_its_words_together() -> None:
    capture = Capture(TEST)
    for pid, data in ((CHILD, b"c1 "), (TEST, b"t1\n"), (OTHER, b"o\n"), (CHILD, b"c2"), (TEST, b"t2\n")):
        capture.add(pid, data)
    assert capture.content() == (
        b" --- process 0 stdout ---\nt1\nt2\n --- process 1 stdout ---\nc1 c2\n --- process 2 stdout ---\no\n"
    )
    assert capture.text() == "t1\nt2\n"


def test_what_only_a_child_printed_is_not_taken_for_the_test_s() -> None:
    capture = Capture(TEST)
    capture.add(CHILD, b"from the child\n")
    assert capture.content() == b" --- process 0 stdout ---\n --- process 1 stdout ---\nfrom the child\n"
    assert capture.text() == ""


def test_beyond_the_bound_the_oldest_is_given_up_and_counted() -> None:
    capture = Capture(TEST, max_bytes=4100 + PIECE_COST)
    for data in (b"a" * 4096, b"b" * 4, b"c" * 3000):
        capture.add(TEST, data)
    assert capture.content() == b"[4096 bytes of output are lost]\nbbbb" + b"c" * 3000
    assert capture.text() == "bbbb" + "c" * 3000


def test_flood_of_children_leaves_the_test_s_words() -> None:
    capture = Capture(TEST, max_bytes=10_000)
    capture.add(TEST, b"mine\n")
    for number in range(20_000):
        capture.add(CHILD + number % 2, b"x")
    assert capture.text() == "mine\n"
    content = capture.content()
    assert b"mine\n" in content
    kept = content.count(b"x")
    assert 0 < kept * (1 + PIECE_COST) <= 10_000
    assert content.startswith(f"[{20_000 - kept} bytes of output are lost]\n".encode())


def test_processes_beyond_the_bound_share_the_last_heading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "MAX_STREAMS", 2)
    capture = Capture(TEST)
    for pid in (11, 12, 13):
        capture.add(pid, b"%d\n" % pid)
    assert capture.content() == (
        b" --- process 0 stdout ---\n --- process 1 stdout ---\n11\n --- process 2 stdout ---\n12\n13\n"
    )
