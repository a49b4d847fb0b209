"""Where the log goes: to stderr, as text for people or as one JSON object a line.

Owns the set-up of structlog, and of the standard library's logging for what gRPC, asyncio and zeroconf say.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import MutableMapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from luna.cli.log_filter import OFF, LogFilter
from luna.cli.text import printable

if TYPE_CHECKING:
    from luna.scheduler.tracing import Trace

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")

Record = MutableMapping[str, Any]


class _Stderr:
    """stderr as far as it takes what is written: a full disk or a lost reader must not stop a node."""

    def write(self, text: str) -> int:
        """Write `text`, or lose it."""
        with contextlib.suppress(OSError, ValueError):
            return sys.stderr.write(text)
        return 0

    def flush(self) -> None:
        """Flush, if possible."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


class _Logger(structlog.WriteLogger):
    """Writes each record at once, and knows the target of its records, such as `luna::process`."""

    def __init__(self, *names: str) -> None:
        super().__init__(_Stderr())  # type: ignore[arg-type]
        self.target = "::".join(names).replace(".", "::")


def set_up_logging(log_format: str, log_filter: LogFilter) -> None:
    """Log from now on in `log_format` (of FORMATS) what `log_filter` lets through."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=log_format == "json"),
        structlog.processors.StackInfoRenderer(),
    ]
    if log_format == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer: Any = structlog.processors.JSONRenderer(default=str)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # The default shows the local variables of every frame: pages of them, and secrets of guests.
            exception_formatter=structlog.dev.plain_traceback,
        )
    _configure([*shared, renderer], log_filter, cache=True)
    handler = logging.StreamHandler(_Stderr())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(_spare_traceback)
    # Libraries report their own bugs at these levels; their everyday talk is not for the log of a node.
    logging.basicConfig(level=max(log_filter.level_of(""), logging.WARNING), handlers=[handler], force=True)
    _tell_problems(log_filter)


def _spare_traceback(record: logging.LogRecord) -> bool:
    """Spare zeroconf the traceback of what the network refuses: it is no bug, and the message names it."""
    if record.name == "zeroconf" and record.exc_info and isinstance(record.exc_info[1], OSError):
        record.exc_info = None
    return True


def set_up_program_logging(log_filter: LogFilter) -> None:
    """Log for `luna run`: in the form of env_logger, which is that of the trace too."""
    processors = [
        structlog.stdlib.add_log_level,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _line,
    ]
    _configure(processors, log_filter, cache=False)
    _tell_problems(log_filter)


def trace_of(log_filter: LogFilter, *, as_json: bool = False) -> Trace | None:
    """What the filter, and not its default level, asks to see of what processes do; None if nothing."""
    asked = replace(log_filter, default=OFF)
    lives, calls, signals = (
        asked.shows(f"luna::process{part}", logging.DEBUG) for part in ("", "::calls", "::signals")
    )
    if not (lives or calls or signals):
        return None
    from luna.scheduler.tracing import Trace

    return Trace(lives=lives, calls=calls, signals=signals, as_json=as_json)


def _configure(processors: list[Any], log_filter: LogFilter, *, cache: bool) -> None:
    def drop_unwanted(logger: Any, method: str, event: Record) -> Record:
        if not log_filter.shows(logger.target, _number(method)):
            raise structlog.DropEvent
        return event

    # structlog has no level below debug, and none above critical.
    lowest = min(max(log_filter.lowest(), logging.DEBUG), logging.CRITICAL)
    structlog.configure(
        processors=[drop_unwanted, *processors],
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=_Logger,
        cache_logger_on_first_use=cache,
    )


def _number(method: str) -> int:
    """The level of what a logger's method of that name says."""
    return logging.ERROR if method == "exception" else logging.getLevelNamesMapping()[method.upper()]


def _tell_problems(log_filter: LogFilter) -> None:
    log = structlog.get_logger("luna.cli")
    for problem in log_filter.problems:
        log.warning(problem)


def _line(logger: Any, method: str, event: Record) -> str:
    """A record as env_logger writes it; what has several lines follows, indented."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    level = event.pop("level").upper().replace("WARNING", "WARN")
    text = event.pop("event")
    below = [event.pop(key) for key in ("stack", "exception") if key in event]
    details = "".join(f" {key}={printable(str(value))}" for key, value in event.items())
    lines = [f"[{now} {level:<5} {logger.target}] {printable(text)}{details}"]
    lines += [f"  {printable(line)}" for block in below for line in block.splitlines()]
    return "\n".join(lines)
