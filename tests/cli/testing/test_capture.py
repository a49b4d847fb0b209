"""What is kept of a test's output."""

from __future__ import annotations

from luna.cli.testing.capture import Capture


def test_everything_is_kept_in_order() -> None:
    capture = Capture()
    for data in (b"one ", b"two\n", b"\xff"):
        capture.add(data)
    assert capture.content() == b"one two\n\xff"
    assert capture.text() == "one two\n\N{REPLACEMENT CHARACTER}"


def test_beyond_the_bound_the_oldest_is_given_up_and_counted() -> None:
    capture = Capture(max_bytes=10)
    for data in (b"aaaa", b"bbbb", b"cccc", b"dd"):
        capture.add(data)
    assert capture.content() == b"[4 bytes of output are lost]\nbbbbccccdd"
    assert capture.text() == "bbbbccccdd"
