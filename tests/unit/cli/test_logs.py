"""Log lines: one event a line, with its facts; JSON unless a person is looking."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog

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
