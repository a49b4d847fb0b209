"""Where the log goes: formats, and what the filter lets through."""

from __future__ import annotations

import json
import logging

import pytest
import structlog

from luna.cli.log_filter import parse
from luna.cli.node_logging import set_up_logging, set_up_program_logging, trace_of


def said(capfd: pytest.CaptureFixture[str]) -> str:
    captured = capfd.readouterr()
    assert captured.out == ""
    return captured.err


def talk() -> None:
    node = structlog.get_logger("luna.node.peers")
    process = structlog.get_logger("luna.process")
    for log in (node, process):
        log.debug("a debug")
        log.info("an info")
        log.warning("a warning", n=1)
        log.error("an error")


def test_filter_is_by_the_name_of_the_logger(capfd: pytest.CaptureFixture[str]) -> None:
    set_up_logging("json", parse("luna::process=error,luna::node=info", "warning"))
    talk()
    records = [json.loads(line) for line in said(capfd).splitlines()]
    assert [record["event"] for record in records] == ["an info", "a warning", "an error", "an error"]


def test_default_level_is_for_what_is_not_mentioned(capfd: pytest.CaptureFixture[str]) -> None:
    set_up_logging("json", parse("hyper=debug", "warning"))
    talk()
    events = [json.loads(line)["event"] for line in said(capfd).splitlines()]
    assert events == ["a warning", "an error"] * 2


def test_nothing_is_said_at_off(capfd: pytest.CaptureFixture[str]) -> None:
    set_up_logging("text", parse("off", "info"))
    talk()
    structlog.get_logger("luna").critical("never")
    assert said(capfd) == ""


def test_frames_stand_below_their_record_of_a_node(capfd: pytest.CaptureFixture[str]) -> None:
    for log_format in ("text", "json"):
        set_up_logging(log_format, parse("", "info"))
        structlog.get_logger("luna.process").warning("process 1 failed: why", stack="  0: f\n  1: g")
    first, *frames, as_json = said(capfd).splitlines()
    assert first.endswith("process 1 failed: why")
    assert frames == ["  0: f", "  1: g"]
    assert json.loads(as_json)["stack"] == "  0: f\n  1: g"


def test_tracebacks_are_for_bugs_and_not_for_a_network_that_is_gone(
    capfd: pytest.CaptureFixture[str],
) -> None:
    set_up_logging("text", parse("", "warning"))
    library = logging.getLogger("zeroconf")
    for error in (OSError(101, "Network is unreachable"), KeyError("a bug")):
        try:
            raise error
        except type(error):
            library.warning("Error: %s", error, exc_info=True)
    first, _, rest = said(capfd).partition("\n")
    assert "Network is unreachable" in first
    assert rest.count("Traceback") == 1
    assert "a bug" in rest.splitlines()[0]


def test_program_s_log_has_the_form_of_env_logger(capfd: pytest.CaptureFixture[str]) -> None:
    set_up_program_logging(parse("", "warn"))
    structlog.get_logger("luna.process").info("not this")
    structlog.get_logger("luna.process").warning("process \x1b 1 failed", links=2, stack="  0: f\x07")
    first, second = said(capfd).splitlines()
    assert first[25:] == " WARN  luna::process] process \\x1b 1 failed links=2"
    assert second == "    0: f\\x07"


def test_exception_of_the_host_is_in_the_program_s_log(capfd: pytest.CaptureFixture[str]) -> None:
    set_up_program_logging(parse("", "warn"))
    try:
        raise ZeroDivisionError
    except ZeroDivisionError as error:
        structlog.get_logger("luna.runtime").error("host call failed", exc_info=error)
    lines = said(capfd).splitlines()
    assert lines[0].endswith("ERROR luna::runtime] host call failed")
    assert lines[-1].strip() == "ZeroDivisionError"


@pytest.mark.parametrize(
    ("text", "lives", "calls", "signals"),
    [
        ("luna=debug", True, True, True),
        ("trace", True, True, True),
        ("luna::process=debug,luna::process::calls=off", True, False, True),
        ("luna::process::signals=debug", False, False, True),
        ("debug,luna::process=warn", False, False, False),
    ],
)
def test_trace_is_what_is_shown_at_debug(text: str, lives: bool, calls: bool, signals: bool) -> None:
    trace = trace_of(parse(text, "warn"), as_json=True)
    if not (lives or calls or signals):
        assert trace is None
    else:
        assert trace is not None
        assert (trace.lives, trace.calls, trace.signals, trace.as_json) == (lives, calls, signals, True)


def test_level_of_a_node_s_log_alone_traces_nothing() -> None:
    assert trace_of(parse("", "debug")) is None
    assert trace_of(parse("luna=info", "debug")) is None
