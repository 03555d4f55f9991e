"""Records of Python's logging as JSON lines, in worker processes."""

from __future__ import annotations

import json
import logging

import pytest

from rewake.json_records import JsonRecords


def test_a_record_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("boom\x1b[2J\n{forged}")
    except ValueError as error:
        record = logging.makeLogRecord({"name": "restate.server", "msg": "failed: %s", "args": ("a\nb",),
                                        "levelno": 40, "levelname": "ERROR",
                                        "exc_info": (ValueError, error, error.__traceback__)})  # fmt: skip
    JsonRecords().handle(record)
    (line,) = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert (event["level"], event["event"], event["logger"]) == ("error", "python_log", "restate.server")
    assert event["message"] == "failed: a\nb"
    assert "Traceback" in event["exception"] and "boom\x1b[2J" in event["exception"]
    assert "\x1b" not in line


def test_a_record_whose_arguments_do_not_fit_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    JsonRecords().handle(logging.makeLogRecord({"msg": "%d", "args": ("x",), "levelname": "WARNING"}))
    assert json.loads(capsys.readouterr().err)["message"] == "%d ('x',)"
