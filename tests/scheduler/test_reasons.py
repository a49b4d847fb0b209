"""Exit reasons put the cause first."""

from __future__ import annotations

from luna.scheduler.reasons import FRAMES_SHOWN, explain


def test_cause_of_a_trap_comes_before_its_backtrace() -> None:
    reason = (
        "error while executing at wasm backtrace:\n    0:   0x63 - <unknown>!inner\n    1:   0x70 - main\n"
        "\nCaused by:\n    wasm trap: wasm `unreachable` instruction executed\n"
    )
    assert explain(reason).splitlines() == [
        "trap: wasm `unreachable` instruction executed",
        "    0:   0x63 - <unknown>!inner",
        "    1:   0x70 - main",
    ]


def test_long_backtrace_is_cut() -> None:
    frames = "\n".join(f"    {number}: deeper" for number in range(FRAMES_SHOWN + 5))
    lines = explain(
        f"error while executing at wasm backtrace:\n{frames}\n\nCaused by:\n    why\n"
    ).splitlines()
    assert lines[0] == "trap: why"
    assert lines[-1] == "    ... 5 more"
    assert len(lines) == FRAMES_SHOWN + 2


def test_other_reasons_stay_as_they_are() -> None:
    assert explain("exited with code 3") == "exited with code 3"
