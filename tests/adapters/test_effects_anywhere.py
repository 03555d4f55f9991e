"""The same effects over HTTP, on Rewake and on the real server, which verifies more often; and undo over calls."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from adapter_kit import marks
from http_service import HTTP1_SERVERS, ServerKind, Service
from node_tour import EngineKind
from rows import ALL
from subject import Subject, until

HERE = Path(__file__).parent


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("kind", "server", "is_asked"),
    [("rewake", "uvicorn", False), ("restate", "uvicorn", True)] + [("restate", "hypercorn", False)] * ALL,
)
def test_one_booking_and_a_question_only_where_nobody_knows(
    kind: EngineKind, server: ServerKind, is_asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over HTTP/1.1 each wait ends the attempt. Only Rewake says that this was no crash.

    Undo reaches the effects of a called service on both.
    """
    monkeypatch.setenv("LAB_FOLDER", str(tmp_path))
    path = os.pathsep.join(str(HERE.parent / each) for each in ("adapters", "conformance"))
    service = Service("effects_served:app", server, LAB_FOLDER=str(tmp_path), PYTHONPATH=path)
    engine = Subject(kind, tmp_path, service, use_http_11=server in HTTP1_SERVERS)
    try:
        assert engine.call("Desk/pay", "calm").json == "calm"
        assert marks()["booked calm"] == 1
        assert bool(marks()["asked calm"]) is is_asked
        answer = engine.calling("Desk/pay", "deadly")
        until((tmp_path / "died").exists, lambda: "a process that died in the booking")
        service.restart()
        assert answer.result().json == "deadly"
        assert (marks()["booked deadly"], bool(marks()["asked deadly"])) == (1, True)
        failed = engine.call("Trips/plan", "seat")
        assert (failed.status, failed.json["message"]) == (500, "it rains")
        lines = (tmp_path / "marks").read_text().splitlines()
        assert lines[-4:] == ["booked seat 0", "booked seat 1", "undone seat 1", "undone seat 0"]
    finally:
        engine.close()
