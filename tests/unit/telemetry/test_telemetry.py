"""The observer's counting: outcomes, failures, tokens of models with limits, and clocks that run backwards."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from rewake.core.effects import Completed, Note
from rewake.core.ids import EntryIndex, InvocationId
from rewake.core.model import Invocation, Status, Target
from rewake.core.writes import Batch, EntryRow
from rewake.protocol.codec import encode_message
from rewake.protocol.discovery import HandlerKind, ServiceType
from rewake.protocol.messages import Completion, Failure, MessageType, Success
from rewake.telemetry import Telemetry
from rewake.telemetry import telemetry as module
from rewake.telemetry.telemetry import REPLY_BYTES_MAX

ID = b"i" * 24
TARGET = Target("Desk", "route", None, ServiceType.SERVICE, HandlerKind.SHARED)


def invocation(created_at_ms: int = 100, completed_at_ms: int | None = 150) -> Invocation:
    return Invocation(
        id=InvocationId(ID),
        target=TARGET,
        status=Status.COMPLETED,
        created_at_ms=created_at_ms,
        modified_at_ms=150,
        completed_at_ms=completed_at_ms,
    )


def completion_row(value: Any) -> EntryRow:
    completion = Completion(MessageType.RUN_COMPLETION, 1, Success(json.dumps(value).encode()))
    return EntryRow(InvocationId(ID), EntryIndex(1), MessageType.RUN_COMPLETION, encode_message(completion), 100)


def reply(model: str | None) -> dict[str, Any]:
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    return {"model": model, "choices": [{"message": {"content": "x"}}], "usage": usage}


def test_outcomes() -> None:
    telemetry = Telemetry()
    results: list[Success | Failure] = [
        Success(b""),
        Failure(409, "killed"),
        Failure(409, "canceled"),
        Failure(409, "taken"),
        Failure(500, "no"),
    ]
    for result in results:
        telemetry.on_completed(Completed(InvocationId(ID), result, invocation()))
    telemetry.on_completed(
        Completed(InvocationId(ID), Failure(409, "killed"), invocation(completed_at_ms=None))
    )  # never started
    counts = telemetry.handlers["Desk", "route"]
    assert counts.outcomes == {"succeeded": 1, "killed": 2, "canceled": 1, "failed": 2}
    assert sum(counts.runs.counts) == 5
    assert counts.runs.total == 250


def test_a_clock_that_was_set_back_takes_no_time() -> None:
    telemetry = Telemetry()
    telemetry.on_completed(Completed(InvocationId(ID), Success(b""), invocation(created_at_ms=900)))
    assert telemetry.handlers["Desk", "route"].runs.total == 0


def test_failed_attempts_by_code() -> None:
    telemetry = Telemetry()
    for code in ("RT0007", "RT0007", "RT0010"):
        telemetry.on_note(Note("attempt_failed", InvocationId(ID), {"target": "Desk/k/route", "code": code}))
    telemetry.on_note(Note("invocation_paused", InvocationId(ID), {"target": "Desk/k/route"}))
    assert telemetry.failures == {("Desk", "RT0007"): 2, ("Desk", "RT0010"): 1}


def test_tokens_are_counted_where_a_model_answered_and_nowhere_else() -> None:
    telemetry = Telemetry()
    rows = [completion_row(value) for value in (reply("m"), reply("m"), {"usage": 1}, "usage", None)]
    telemetry.on_commit(Batch(entries=rows, inserts=[invocation()]), 0.0004)
    assert telemetry.tokens == {}  # not on the hot path
    telemetry.read_replies()
    telemetry.read_replies()
    assert telemetry.tokens == {("m", "input"): 6, ("m", "output"): 8}
    assert telemetry.model_calls == {"m": 2}
    assert telemetry.handlers["Desk", "route"].created == 1
    assert telemetry.commits.total == 400
    assert telemetry.commit_rows.total == 6


def test_replies_that_name_no_model_wait_for_the_declared_one(monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry = Telemetry()
    other_id = b"o" * 24
    rows = [completion_row(reply(None)) for _ in range(2)]
    rows.append(msgspec.structs.replace(rows[0], invocation_id=other_id))
    telemetry.on_commit(Batch(entries=rows), 0.0)
    telemetry.read_replies()
    assert (telemetry.model_calls, telemetry.unnamed) == ({}, {ID: (2, 6, 8), other_id: (1, 3, 4)})
    telemetry.name_models({ID: "m", other_id: None, b"gone": "m"})
    assert (telemetry.model_calls, telemetry.unnamed) == ({"m": 2, "unknown": 1}, {})
    assert telemetry.tokens["m", "input"] == 6
    monkeypatch.setattr(module, "REPLIES_MAX", 1)  # so many wait at most
    telemetry.on_commit(Batch(entries=rows), 0.0)
    assert (telemetry.model_calls, telemetry.unnamed) == ({"m": 2, "unknown": 2}, {ID: (2, 6, 8)})


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MODELS_MAX", 2)
    monkeypatch.setattr(module, "REPLIES_MAX", 4)
    telemetry = Telemetry()
    rows = [completion_row(reply(f"m{number}")) for number in range(4)]
    telemetry.on_commit(Batch(entries=rows), 0.0)  # so many are read at once
    assert telemetry.model_calls == {"m0": 1, "m1": 1, "other": 2}


def test_a_reply_that_cannot_be_read_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(payload: bytes) -> None:
        raise RuntimeError("a shape nobody thought of")

    monkeypatch.setattr(module, "_reply_in", broken)
    telemetry = Telemetry()
    telemetry.on_commit(Batch(entries=[completion_row(reply("m"))]), 0.0)
    telemetry.read_replies()
    assert telemetry.model_calls == {}


def test_a_reply_too_large_is_not_read() -> None:
    for more, calls in ((0, 1), (1, 0)):
        telemetry = Telemetry()
        row = completion_row(reply("m"))
        row.payload += b"\xf2\x06"  # a field that nobody knows, to fill
        room = REPLY_BYTES_MAX + more - len(row.payload) - 3
        row.payload += bytes((room & 0x7F | 0x80, room >> 7 & 0x7F | 0x80, room >> 14)) + bytes(room)
        assert len(row.payload) == REPLY_BYTES_MAX + more
        telemetry.on_commit(Batch(entries=[row]), 0.0)
        telemetry.read_replies()
        assert telemetry.model_calls["m"] == calls
