"""Records of Python's `logging` as JSON lines, like those of the engine's log.

It replaces `logging.lastResort`, so it is used if nobody has configured logging: for asyncio's "Task exception was
never retrieved" and the SDK's tracebacks. If a program calls `logging.basicConfig`, that is used instead. This is for
worker processes; cli/logs.py does the same for the engine's process.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Any, Final

from rewake.disclosure import hide_from_now_on, is_hiding, shown_text
from rewake.printable import printable
from rewake.redaction import by_patterns

FORMAT_VARIABLE: Final = "REWAKE_LOG_FORMAT"
PATTERNS_VARIABLE: Final = "REWAKE_LOG_PATTERNS"
"""Environment variable from an engine to its workers: the format of log lines, and the hidden patterns as JSON."""


def configure_records() -> None:
    """Log like the engine that started this process."""
    hide_from_now_on(by_patterns(json.loads(os.environ.get(PATTERNS_VARIABLE, "[]")), PATTERNS_VARIABLE))
    if os.environ.get(FORMAT_VARIABLE) == "json":
        logging.lastResort = JsonRecords()
    elif is_hiding() and logging.lastResort is not None:
        logging.lastResort.setFormatter(ShownRecords())


class JsonRecords(logging.Handler):
    """Writes each record as one line: `at_ms`, `level`, `event` (`python_log`), `logger`, `message`, `exception`."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        event = {"at_ms": time.time_ns() // 1_000_000, "level": record.levelname.lower(), **facts_of(record)}
        sys.stderr.write(printable(json.dumps(event, ensure_ascii=False)) + "\n")


class ShownRecords(logging.Formatter):
    """Records as text, with hidden parts left out."""

    def format(self, record: logging.LogRecord) -> str:
        return shown_text(super().format(record))


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """The event of a record, without its level."""
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001  arguments that do not fit the text are no reason to lose both
        message = f"{record.msg} {record.args}"
    facts = {"event": "python_log", "logger": record.name, "message": shown_text(message)}
    if record.exc_info and record.exc_info[0] is not None:
        facts["exception"] = shown_text(logging.Formatter().formatException(record.exc_info))
    return facts
