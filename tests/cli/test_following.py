"""The transcript of a followed process: bounded, merged, and honest about what it lost."""

from __future__ import annotations

import pytest

from luna.cli import following
from luna.cli.following import Exit, Transcript, shell_code


def test_neighbouring_parts_of_a_stream_are_one() -> None:
    transcript = Transcript()
    for stream, data in ((1, b"\xc3"), (1, b"\xa4"), (2, b"x"), (1, b"y")):
        transcript.collect(stream, data)
    assert transcript.data()["output"] == [
        {"stream": "stdout", "text": "\u00e4"},
        {"stream": "stderr", "text": "x"},
        {"stream": "stdout", "text": "y"},
    ]


def test_collected_output_is_bounded_and_the_oldest_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MAX_COLLECTED_BYTES", 6)
    transcript = Transcript()
    for data in (b"aaa", b"bbb", b"ccc"):
        transcript.collect(1, data)
    assert transcript.data() == {
        "output": [{"stream": "stdout", "text": "bbbccc"}],
        "dropped_bytes": 3,
        "exit": None,
    }


@pytest.mark.parametrize(
    ("code", "shell"), [(0, 0), (1, 1), (255, 255), (256, 1), (257, 1), (300, 44), (-1, 255), (-256, 1)]
)
def test_failure_never_looks_like_success_to_a_shell(code: int, shell: int) -> None:
    assert shell_code(code) == shell


def test_exit_code_that_says_it_all_needs_no_remark() -> None:
    assert Exit("normal", 0, "").remark() is None
    assert Exit("failure", 3, "exited with code 3").remark() is None
    assert Exit("failure", 1, "trap: unreachable").remark() == "trap: unreachable"
    assert Exit("killed", 1, "").remark() == "killed"


def test_frames_of_a_trap_stand_below_its_cause_without_their_margin() -> None:
    exit_ = Exit("failure", 1, "trap: unreachable\n    0: 0x21 - f\n   10: 0x42 - g")
    assert exit_.remark() == "trap: unreachable\n 0: 0x21 - f\n10: 0x42 - g"
