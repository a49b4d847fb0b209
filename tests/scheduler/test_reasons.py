"""Exit reasons put the cause first, and frames in a form for people."""

from __future__ import annotations

import pytest

from luna.scheduler.reasons import FRAMES_KEPT, NAME_SHOWN, explain

UNREACHABLE = "    wasm trap: wasm `unreachable` instruction executed"


def frames_of(*lines: str) -> list[str]:
    """How these frames of wasmtime are shown."""
    return explain("\n".join([UNREACHABLE, "wasm backtrace:", *lines])).split("\n")[1:]


def test_cause_of_a_trap_is_the_first_line_and_its_frames_follow() -> None:
    reason = (
        f"{UNREACHABLE}\nwasm backtrace:\n    0:   0x63 - <unknown>!inner\n    1:   0x70 - app.wasm!main\n"
    )
    assert explain(reason) == (
        "trap: wasm `unreachable` instruction executed\n"
        "  0: inner (offset 0x63)\n"
        "  1: main (app.wasm, offset 0x70)"
    )


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("   12: <unknown>!deep", " 12: deep"),
        ("    3:   0x43 - mod!<wasm function 3>", "  3: function 3 (mod, offset 0x43)"),
        ("    0:   0x1f - inner", "  0: inner (offset 0x1f)"),
        (
            "    0:   0x1f - a!core::panicking::panic::h0123456789abcdef",
            "  0: core::panicking::panic (a, offset 0x1f)",
        ),
        (
            "    0:   0x1f - a!<T as app[1a2b3c4d5e6f7081]::Trait>::run",
            "  0: <T as app::Trait>::run (a, offset 0x1f)",
        ),
        ("    0:   0x1f - a!vec::f::{closure#0}!", "  0: vec::f::{closure#0}! (a, offset 0x1f)"),
        ("    0:   0x1f - a!over[12]::here::h0123", "  0: over[12]::here::h0123 (a, offset 0x1f)"),
        ("                    at /src/app.c:2:50", "       at /src/app.c:2:50"),
    ],
)
def test_form_of_a_frame(line: str, shown: str) -> None:
    assert frames_of(line) == [shown]


def test_hint_of_wasmtime_about_a_variable_is_left_out() -> None:
    assert frames_of("    0:   0x1f - a!b", "note: using the `X=1` environment variable may show more") == [
        "  0: b (a, offset 0x1f)"
    ]


def test_backtrace_that_wasmtime_has_cut_says_so() -> None:
    lines = frames_of(*(f"    {number}: a!deeper" for number in range(FRAMES_KEPT)))
    assert len(lines) == FRAMES_KEPT + 1
    assert lines[-1] == "  ... and what called it"


def test_chain_of_causes_is_one_line() -> None:
    assert explain("    0: cannot grow\n    1: no memory\nwasm backtrace:\n    0: a!b") == (
        "trap: cannot grow: no memory\n  0: b (a)"
    )


def test_names_of_guests_cannot_steer_a_terminal_and_are_bounded() -> None:
    assert frames_of("    0:   0x1f - a!\x1b[2Jname") == ["  0: \\x1b[2Jname (a, offset 0x1f)"]
    (line,) = frames_of(f"    0:   0x1f - a!{'n' * 5000}")
    assert line == f"  0: {'n' * NAME_SHOWN}... (a, offset 0x1f)"


def test_other_reasons_stay_as_they_are() -> None:
    assert explain("exited with code 3") == "exited with code 3"
    assert explain("it cannot start:\nfor two reasons\n") == "it cannot start:\nfor two reasons"
