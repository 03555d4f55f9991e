"""Attempts that fail, on both engines: back-off, limits of the policy and of a step, deployments in trouble."""

from __future__ import annotations

import json
from typing import Any

import pytest
from subject import Subject, outcome


def events(subject: Subject, invocation_id: str) -> list[dict[str, Any]]:
    rows = subject.query(f"SELECT event_json FROM sys_journal_events WHERE id = '{invocation_id}' ORDER BY appended_at")
    return [json.loads(row["event_json"]) for row in rows]


def why_paused(subject: Subject, invocation_id: str) -> tuple[str, int, str]:
    """Wait until it is paused; the codes and the message of the failure that did it."""
    subject.reaches(invocation_id, "paused")
    told = next(event["last_failure"] for event in events(subject, invocation_id) if event["ty"] == "Paused")
    return told["restate_doc_error_code"], told["error_code"], told["error_message"]


def test_a_failing_handler_is_tried_again(subject: Subject) -> None:
    invocation_id = subject.send("Retries/flaky", 4)
    assert subject.result(invocation_id) == "attempt 5"
    assert subject.marks(invocation_id).count("ran first") == 1
    assert subject.journal(invocation_id) == ["Input", "Run first", "> Run", "Output"]


def test_a_failing_step_is_tried_again(subject: Subject) -> None:
    invocation_id = subject.send("Retries/flaky_step", 3)
    assert subject.result(invocation_id) == "ran 4"
    assert subject.journal(invocation_id) == ["Input", "Run action", "> Run", "Output"]


@pytest.mark.parametrize("attempts_max", [1, 3])
def test_the_limit_of_a_step(subject: Subject, attempts_max: int) -> None:
    invocation_id = subject.send("Retries/bounded_step", attempts_max)
    assert subject.result(invocation_id) == f"500 ValueError('failure {attempts_max}')"
    assert subject.marks(invocation_id) == ["ran"] * attempts_max


def test_pause_when_attempts_are_used_up(subject: Subject) -> None:
    gate = subject.unique()
    invocation_id = subject.send("Retries/pauses", gate)
    assert why_paused(subject, invocation_id) == ("RT0007", 500, "ValueError('failure 3')")
    assert subject.marks(invocation_id) == ["attempt"] * 3
    assert subject.output(invocation_id).status == 470
    assert subject.operate(invocation_id, "resume").status == 200
    subject.marked(invocation_id, "attempt", times=6)
    row = subject.reaches(invocation_id, "paused")
    shown = subject.differs("paused-failure", rewake="[500 Internal] ValueError('failure 6')", restate=None)
    assert (row.get("last_failure") or "").splitlines()[:1] == ([shown] if shown else [])
    subject.open_gate(gate)
    assert subject.operate(invocation_id, "resume").status == 200
    assert subject.result(invocation_id) == "attempt 7"


def test_fail_when_attempts_are_used_up(subject: Subject) -> None:
    answer = subject.call("Retries/gives_up")
    assert (answer.status, answer.json["code"], answer.json["source"]) == (500, 500, "invocation")
    assert answer.json["message"] == "ValueError('failure 3')"
    assert ("stacktrace" in answer.json) is subject.differs("stack-of-the-handler", rewake=False, restate=True)
    invocation_id = answer.headers["x-restate-id"]
    assert subject.marks(invocation_id) == ["ran first", *["attempt"] * 3]
    assert subject.reaches(invocation_id, "completed")["completion_result"] == "failure"


def test_one_attempt_is_one(subject: Subject) -> None:
    invocation_id = subject.send("Retries/no_second_attempt")
    assert subject.result(invocation_id) == "500 ValueError('failure 1')"
    assert subject.marks(invocation_id) == ["attempt"]


def test_a_delay_the_handler_asks_for(subject: Subject) -> None:
    assert outcome(subject.call("Retries/asks_for_a_delay", 2)) == "attempt 3"


def test_a_delay_the_handler_asks_for_and_the_limit(subject: Subject) -> None:
    """A handler that asks for a delay each time."""
    invocation_id = subject.send("Retries/asks_for_a_delay", 12)
    row = subject.reaches(invocation_id, "paused", "completed")
    assert row["status"] == subject.differs("requested-delay", rewake="paused", restate="completed")
    assert len(subject.marks(invocation_id)) == subject.differs("requested-delay", rewake=10, restate=13)


def test_resume_ends_a_back_off(subject: Subject) -> None:
    invocation_id = subject.send("Retries/waits_long")
    row = subject.failing(invocation_id, "RT0007")
    subject.reaches(invocation_id, "backing-off")
    assert row["last_failure"].startswith("[500 Internal] ValueError('failure 1')")
    assert subject.operate(invocation_id, "resume").status == 200
    assert subject.result(invocation_id) == "attempt 2"


def test_pause_in_a_back_off(subject: Subject) -> None:
    invocation_id = subject.send("Retries/waits_long")
    subject.reaches(invocation_id, "backing-off")
    assert subject.operate(invocation_id, "pause").status == 202
    subject.reaches(invocation_id, "paused")
    assert subject.operate(invocation_id, "resume").status == 200
    assert subject.result(invocation_id) == "attempt 2"


def test_kill_in_a_back_off(subject: Subject) -> None:
    invocation_id = subject.send("Retries/waits_long")
    subject.reaches(invocation_id, "backing-off")
    assert subject.operate(invocation_id, "kill").status == 200
    assert subject.result(invocation_id) == "409 killed"


def test_failures_of_attempts_are_events(subject: Subject) -> None:
    invocation_id = subject.send("Retries/pauses", subject.unique())
    assert why_paused(subject, invocation_id)[2] == "ValueError('failure 3')"
    kinds = subject.differs(
        "event-of-the-last-failure",
        rewake=["TransientError", "TransientError", "TransientError", "Paused"],
        restate=["TransientError", "TransientError", "Paused"],
    )
    assert [event["ty"] for event in events(subject, invocation_id)] == kinds


def test_code_that_does_not_fit_the_journal(subject: Subject) -> None:
    invocation_id = subject.send("Retries/changes_its_mind")
    assert why_paused(subject, invocation_id)[:2] == ("RT0016", 570)
    assert subject.journal(invocation_id) == ["Input", "Run one", "> Run"]
    subject.operate(invocation_id, "kill")


def test_a_silent_step_is_aborted(subject: Subject) -> None:
    """Inactivity 100 ms, then 200 ms for the step to end."""
    gate = subject.unique()
    invocation_id = subject.send("Retries/silent", gate)
    assert why_paused(subject, invocation_id)[0] == "RT0001"
    assert subject.marks(invocation_id) == ["attempt"]
    subject.open_gate(gate)
    assert subject.operate(invocation_id, "resume").status == 200
    assert subject.result(invocation_id) == gate


@pytest.mark.parametrize(("what", "code"), [("awakeable", "RT0012"), ("invocation", "RT0017"), ("signal", "RT0012")])
def test_an_id_that_is_none_fails_the_attempt(subject: Subject, what: str, code: str) -> None:
    """And leaves nothing of the command in the journal."""
    invocation_id = subject.send("Retries/says_nonsense", what)
    subject.marked(invocation_id, "attempt", times=3)
    subject.failing(invocation_id, code)
    assert subject.journal(invocation_id) == ["Input"]
    assert subject.operate(invocation_id, "kill").status == 200


def test_a_service_that_is_down_is_waited_for(subject: Subject) -> None:
    subject.service.kill()
    try:
        invocation_id = subject.send("Steps/same", "still here")
        subject.failing(invocation_id, "RT0010")
    finally:
        subject.service.start()
    assert subject.result(invocation_id) == "still here"
