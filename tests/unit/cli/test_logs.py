"""Log lines: one event a line, with its facts; JSON unless a person is looking."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from rewake.cli import logs
from rewake.cli.logs import configure_logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _defaults() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def lines_of(stream: io.StringIO, log_format: str, level: str = "info") -> list[str]:
    configure_logging(level, log_format, stream)
    log = structlog.get_logger("test")
    log.debug("unseen")
    log.warning("attempt_failed", invocation_id="inv_1abc", attempt=3, message="no\nluck", code=None)
    return stream.getvalue().splitlines()


def test_json_when_nobody_looks() -> None:
    (line,) = lines_of(io.StringIO(), "auto")
    event = json.loads(line)
    assert list(event)[:3] == ["at_ms", "level", "event"]
    del event["at_ms"]
    assert event == {
        "level": "warning",
        "event": "attempt_failed",
        "invocation_id": "inv_1abc",
        "attempt": 3,
        "message": "no\nluck",
        "code": None,
    }


def test_text_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    (line,) = lines_of(Terminal(), "auto")
    assert line.endswith(r"warning attempt_failed invocation_id=inv_1abc attempt=3 message='no\nluck'")
    assert "\033" not in line


FORGED = "boom \x1b[2J\x9b31m\r\n12:00:00.000 warning engine_stopped reason='forged'"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_foreign_text_forges_no_line_and_steers_no_terminal(log_format: str) -> None:
    """Messages and tracebacks hold what models, callers and deployments said."""
    stream = io.StringIO()
    configure_logging("info", log_format, stream)
    try:
        raise ValueError(FORGED)
    except ValueError:
        structlog.get_logger("test").exception("attempt_failed", message=FORGED)
    written = stream.getvalue()
    assert written.isascii() and not set(written) & {chr(code) for code in (*range(10), *range(11, 32), 127)}
    lines = written.splitlines()
    if log_format == "json":
        (line,) = lines
        assert json.loads(line)["message"] == FORGED
    else:
        assert all(line.startswith("    ") for line in lines[1:])
        assert "Traceback" in lines[1] and "engine_stopped" in lines[-1]


def test_what_python_code_logs_becomes_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio's tracebacks of lost tasks came raw between the JSON lines."""
    stream = io.StringIO()
    monkeypatch.setattr(logging, "lastResort", logging.lastResort)
    configure_logging("info", "json", stream)
    handler = logs._Records()
    try:
        raise ValueError("lost")
    except ValueError as error:
        handler.handle(logging.makeLogRecord({"name": "asyncio", "msg": "Task %s", "args": ("died",), "levelno": 40,
                                              "exc_info": (ValueError, error, error.__traceback__)}))  # fmt: skip
    event = json.loads(stream.getvalue())
    assert (event["event"], event["logger"], event["message"]) == ("python_log", "asyncio", "Task died")
    assert "ValueError: lost" in event["exception"]


def test_a_format_that_was_asked_for_is_kept() -> None:
    (line,) = lines_of(io.StringIO(), "text")
    assert "warning attempt_failed" in line
    (line,) = lines_of(Terminal(), "json")
    assert json.loads(line)["event"] == "attempt_failed"


def test_the_format_that_was_chosen_is_told() -> None:
    assert configure_logging("info", "auto", io.StringIO()) == "json"
    assert configure_logging("info", "auto", Terminal()) == "text"


def test_exceptions_and_odd_values_stay_on_their_line() -> None:
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    try:
        raise ValueError("bad")
    except ValueError:
        structlog.get_logger("test").exception("tracing_failed", path=object)
    event = json.loads(stream.getvalue())
    assert "ValueError: bad" in event["exception"]
    assert event["path"] == "<class 'object'>"


def test_a_fact_cannot_steer_the_terminal() -> None:
    terminal = Terminal()
    configure_logging("info", "text", terminal)
    structlog.get_logger("test").info("called", key="a\x1b[2J", other="\x9b2J")
    line = terminal.getvalue()
    assert "key='a\\x1b[2J'" in line
    assert "\x9b" not in line
