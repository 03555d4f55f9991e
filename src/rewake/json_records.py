"""What Python code says through `logging`, as JSON lines like those of the engine's log.

Takes the place of `logging.lastResort`, so it serves where nobody has configured logging: asyncio's "Task exception was
never retrieved", the SDK's tracebacks. A program that calls `logging.basicConfig` keeps its choice. For worker
processes; cli/logs.py does the same for the engine's own.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from rewake.printable import printable


class JsonRecords(logging.Handler):
    """Writes each record as one line: `at_ms`, `level`, `event` (`python_log`), `logger`, `message`, `exception`."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        event = {"at_ms": time.time_ns() // 1_000_000, "level": record.levelname.lower(), **facts_of(record)}
        sys.stderr.write(printable(json.dumps(event, ensure_ascii=False)) + "\n")


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """The event of a record, without its level."""
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001  arguments that do not fit the text are no reason to lose both
        message = f"{record.msg} {record.args}"
    facts = {"event": "python_log", "logger": record.name, "message": message}
    if record.exc_info and record.exc_info[0] is not None:
        facts["exception"] = logging.Formatter().formatException(record.exc_info)
    return facts
