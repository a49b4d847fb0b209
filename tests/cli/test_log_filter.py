"""LUNA_LOG and RUST_LOG: filters in the form of env_logger."""

from __future__ import annotations

import pytest

from luna.cli.log_filter import LEVELS, MAX_PARTS, filter_from, parse

NAMES = {number: name for name, number in LEVELS.items()}


def level(text: str, target: str) -> str:
    """The name of the level that a filter with the default `warn` gives a target."""
    log_filter = parse(text, "warn")
    assert log_filter.problems == ()
    return NAMES[log_filter.level_of(target)]


@pytest.mark.parametrize("name", LEVELS)
def test_level_alone_is_for_everything(name: str) -> None:
    assert level(name, "luna::process") == level(name.upper(), "anything") == level(f" {name} ", "") == name


def test_warning_is_another_word_for_warn() -> None:
    assert level("warning", "luna") == level("luna=WARNING", "luna") == "warn"


def test_target_and_all_below_it_get_its_level() -> None:
    assert level("luna=debug", "luna") == "debug"
    assert level("luna=debug", "luna::process::calls") == "debug"
    assert level("luna::process=debug", "luna::process::calls") == "debug"
    assert level("luna::process=debug", "luna::node") == "warn"
    assert level("luna::proc=debug", "luna::process") == "warn"


def test_longest_target_that_fits_decides_in_any_order() -> None:
    for text in ("luna=debug,luna::process=off,error", "error,luna::process=off,luna=debug"):
        assert level(text, "luna::process::calls") == "off"
        assert level(text, "luna::node") == "debug"
        assert level(text, "hyper") == "error"


def test_later_part_for_a_target_counts() -> None:
    assert level("luna=debug,luna=info", "luna") == "info"


@pytest.mark.parametrize("text", ["luna", "luna=", "luna=trace"])
def test_target_without_level_is_shown_in_full(text: str) -> None:
    assert level(text, "luna::process") == "trace"


@pytest.mark.parametrize("text", ["lunatic=debug", "lunatic::process=debug", "lunatic_process=debug"])
def test_targets_of_lunatic_are_ours(text: str) -> None:
    assert level(text, "luna::process") == "debug"


def test_what_belongs_to_others_changes_nothing() -> None:
    assert level("hyper=debug,lunar=off", "luna::process") == "warn"


def test_empty_parts_are_nothing() -> None:
    assert level("", "luna") == level(" , ,", "luna") == "warn"


@pytest.mark.parametrize("part", ["luna=loud", "luna=info=debug", "=info", "two words", "luna=in fo"])
def test_bad_part_is_named_and_the_others_count(part: str) -> None:
    log_filter = parse(f"luna::node=error,{part},luna::process=debug", "warn", "RUST_LOG")
    (problem,) = log_filter.problems
    assert problem.startswith(f"RUST_LOG: {part!r} is ignored: ")
    assert log_filter.level_of("luna::node") == LEVELS["error"]
    assert log_filter.level_of("luna::process") == LEVELS["debug"]


def test_pattern_behind_a_slash_is_named_and_ignored() -> None:
    log_filter = parse("luna=debug/mess[ae]ge,x=y", "warn")
    assert "a pattern behind a slash is not supported" in log_filter.problems[0]
    assert len(log_filter.problems) == 1
    assert log_filter.level_of("luna") == LEVELS["debug"]


def test_parts_are_bounded() -> None:
    log_filter = parse(",".join(f"t{n}=debug" for n in range(MAX_PARTS + 10)), "warn")
    assert len(log_filter.levels) == MAX_PARTS
    assert log_filter.problems == (f"LUNA_LOG: only the first {MAX_PARTS} of {MAX_PARTS + 10} parts count",)


def test_long_bad_part_is_shown_in_part() -> None:
    (problem,) = parse("x" * 10_000 + "=loud", "warn").problems
    assert len(problem) < 300


def test_luna_log_wins_over_rust_log_unless_it_is_empty() -> None:
    assert filter_from({"LUNA_LOG": "error", "RUST_LOG": "debug"}, "info").level_of("luna") == LEVELS["error"]
    assert filter_from({"LUNA_LOG": " ", "RUST_LOG": "debug"}, "info").level_of("luna") == LEVELS["debug"]
    assert filter_from({"RUST_LOG": "lunatic=debug"}, "info").level_of("luna") == LEVELS["debug"]
    assert filter_from({}, "info").level_of("luna") == LEVELS["info"]
