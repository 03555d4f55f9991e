"""A journal on the terminal: a command and its completion on one line, signals and failures in words."""

from __future__ import annotations

import json
from typing import Any

from rewake.cli.journal_view import journal_lines


def at(offset_ms: int) -> str:
    return f"2026-11-22T10:00:00.{offset_ms:03d}Z"


def command(index: int, offset_ms: int, kind: str, **fields: Any) -> dict[str, Any]:
    return row(index, offset_ms, f"Command: {kind}", {"Command": {kind: {"name": "", **fields}}})


def completion(index: int, offset_ms: int, kind: str, **fields: Any) -> dict[str, Any]:
    return row(index, offset_ms, f"Notification: {kind}", {"Notification": {"Completion": {kind: fields}}})


def row(index: int, offset_ms: int, entry_type: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "entry_type": entry_type, "appended_at": at(offset_ms), "entry_json": json.dumps(body)}


def test_steps_with_their_results() -> None:
    journal = [
        command(0, 0, "Input", payload=list(b'"claim"')),
        command(1, 5, "Run", completion_id=1, name="Pick specialist"),
        completion(2, 125, "Run", completion_id=1, result={"Success": list(b'"medical"')}),
        command(3, 126, "Sleep", completion_id=2, wake_up_time=1),
        command(4, 127, "Output", result={"Failure": {"code": 409, "message": "cancelled"}}),
    ]
    assert journal_lines(journal, []) == [
        "#  at        took    entry   name             value",
        '0  +0.000 s          Input                    "claim"',
        '1  +0.005 s  120 ms  Run     Pick specialist  "medical"',
        "3  +0.126 s          Sleep                    not finished",
        "4  +0.127 s          Output                   failed 409: cancelled",
    ]


def test_calls_name_their_target_and_signals_what_they_are() -> None:
    target = {"VirtualObject": {"name": "Counter", "key": "k", "handler": "add", "handler_ty": "Exclusive"}}
    journal = [
        command(
            0,
            0,
            "Call",
            request={"invocation_id": "inv_1", "invocation_target": target},
            invocation_id_completion_id=1,
            result_completion_id=2,
        ),
        completion(1, 1, "CallInvocationId", completion_id=1, invocation_id="inv_1"),
        completion(2, 9, "Call", completion_id=2, result={"Success": list(b"1")}),
        row(3, 10, "Notification: Signal", {"Notification": {"Signal": {"id": {"Index": 1}, "result": "Void"}}}),
        row(
            4,
            11,
            "Notification: Signal",
            {"Notification": {"Signal": {"id": {"Index": 17}, "result": {"Success": [50]}}}},
        ),
    ]
    lines = journal_lines(journal, [])
    assert [line.split(None, 3)[3] for line in lines[2:]] == ["Signal  cancel", "Signal  awakeable 17   2"]
    assert "9 ms" in lines[1]
    assert lines[1].endswith("Call    Counter/k/add  1")


def test_failures_of_attempts_are_listed_below() -> None:
    event = {
        "ty": "TransientError",
        "error_code": 500,
        "error_message": "not today",
        "restate_doc_error_code": "RT0007",
        "related_command_name": "first",
    }
    events = [
        {
            "after_journal_entry_index": 1,
            "appended_at": at(7),
            "event_type": "TransientError",
            "event_json": json.dumps(event),
        }
    ]
    lines = journal_lines([command(0, 0, "Input", payload=[])], events)
    assert lines[-1] == "1        +0.007 s  TransientError  RT0007 not today (in first)"


def test_an_entry_nobody_can_read_is_still_listed() -> None:
    journal = [{"index": 0, "entry_type": "Command: New", "appended_at": at(0), "name": "x", "entry_json": "?"}]
    assert journal_lines(journal, [])[1].split() == ["0", "+0.000", "s", "Command:", "New", "x"]
