"""Log lines of `rewake run` and `rewake server`: events as facts, one line each, on stderr.

auto: text on a terminal, JSON elsewhere.
text: `15:50:01.123 warning worker_exited pid=4711 reason='os_signal SIGKILL'`.   json: one object a line.
structlog is imported here, so nothing but engine_process.py may import this module.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict

from rewake.cli.times import now_ms
from rewake.disclosure import is_hiding, shown_text
from rewake.json_records import FORMAT_VARIABLE, facts_of
from rewake.outlets import flush_output, release_output
from rewake.printable import printable

_COLORS: Final = {"warning": "\033[33m", "error": "\033[31m", "critical": "\033[31m"}
_PLAIN: Final = "\033[0m"


def configure_logging(level: str, log_format: str, stream: TextIO | None = None) -> str:
    """Send all events of at least `level` to stderr. Returns the format that `auto` became.

    A pipe that nobody reads blocks neither the log nor other output of this process: see outlets.py.
    """
    if stream is None:
        if log_format == "auto":
            log_format = "text" if sys.stderr.isatty() else "json"
        os.environ[FORMAT_VARIABLE] = log_format  # for the worker processes
        logging.lastResort = _Records()
        release_output(_dropped_json if log_format == "json" else _dropped_text)
        atexit.register(flush_output)
        stream = sys.stderr
    if log_format == "auto":
        log_format = "text" if stream.isatty() else "json"
    text = TextLines(is_colored=stream.isatty() and not os.environ.get("NO_COLOR"))
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            hidden,
            json_line if log_format == "json" else text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    return log_format


def hidden(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """The texts of an event as they may be shown."""
    if is_hiding():
        for name, value in event.items():
            if isinstance(value, str):
                event[name] = shown_text(value)
    return event


class TextLines:
    """Renders an event as a line for people."""

    def __init__(self, *, is_colored: bool) -> None:
        self._is_colored = is_colored

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> str:
        """The line of one event."""
        level, name = str(event.pop("level")), str(event.pop("event"))
        exception = event.pop("exception", None)
        facts = " ".join(f"{key}={_fact(value)}" for key, value in event.items() if value is not None)
        moment_ms = now_ms()
        moment = datetime.fromtimestamp(moment_ms / 1_000, tz=UTC).astimezone()
        line = f"{moment:%H:%M:%S}.{moment_ms % 1_000:03d} {level:<7} {name}"
        if self._is_colored and level in _COLORS:
            line = f"{_COLORS[level]}{line}{_PLAIN}"
        return "\n".join([f"{line} {facts}".rstrip(), *_indented(exception)])


def json_line(_logger: Any, _method: str, event: EventDict) -> str:
    """One event as one line of JSON, `at_ms`, `level` and `event` first."""
    import msgspec

    ordered = {"at_ms": now_ms(), "level": event.pop("level"), "event": event.pop("event"), **event}
    return printable(msgspec.json.encode(ordered, enc_hook=str).decode())


def _dropped_json(count: int) -> str:
    return json_line(None, "", _dropped(count)) + "\n"


def _dropped_text(count: int) -> str:
    return TextLines(is_colored=False)(None, "", _dropped(count)) + "\n"


def _dropped(count: int) -> EventDict:
    return {"level": "warning", "event": "output_dropped", "writes": count, "reason": "nobody read it"}


class _Records(logging.Handler):
    """Turns records of `logging`, which nobody else takes, into events."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record."""
        facts = facts_of(record)
        structlog.get_logger("rewake.python").log(record.levelno, facts.pop("event"), **facts)


def _indented(text: str | None) -> list[str]:
    """The lines of a foreign text, indented, so that none looks like a line of the log."""
    return ["    " + line for line in printable(text).splitlines()] if text else []


def _fact(value: Any) -> str:
    text = str(value)
    is_bare = text and text.isprintable() and not any(character in text for character in " '\"=")
    return text if is_bare else repr(text)
