"""Steps, calls, sends and idempotency keys, on both engines."""

from __future__ import annotations

import json
import time

import pytest
from subject import Subject, outcome, until

TREE = ["Input", "Run pick", "> Run", "Call", "> CallInvocationId", "> Call", "Run check", "> Run", "Output"]


def test_steps_and_calls_are_journaled(subject: Subject) -> None:
    invocation_id = subject.send("Steps/route", "Ada")
    assert subject.result(invocation_id) == "pick, ask Ada, check"
    assert subject.journal(invocation_id) == TREE
    assert subject.ran(invocation_id) == ["pick", "check"]
    (child,) = subject.children(invocation_id)
    assert subject.journal(child) == ["Input", "Sleep think", "> Sleep", "Run ask", "> Run", "Output"]
    row = subject.invocation(child)
    assert row is not None
    assert (row["invoked_by"], row["invoked_by_id"], row["invoked_by_target"]) == (
        "service",
        invocation_id,
        "Steps/route",
    )
    assert (row["target"], row["status"], row["completion_result"]) == ("Steps/ask", "completed", "success")


def test_a_service_process_that_dies_repeats_no_finished_step(subject: Subject) -> None:
    gate = subject.unique()
    invocation_id = subject.send("Steps/pick_then_hold", gate)
    subject.marked(invocation_id, "holding")
    subject.service.restart()
    subject.marked(invocation_id, "holding", times=2)
    subject.open_gate(gate)
    assert subject.result(invocation_id) == f"pick {gate}"
    assert subject.marks(invocation_id).count("ran pick") == 1


def test_an_engine_that_dies_repeats_no_finished_step(subject: Subject) -> None:
    gate, key = subject.unique(), subject.unique()
    invocation_id = subject.send("Steps/pick_then_hold", gate, idempotency_key=key)
    sleeping = subject.send("Steps/nap", 300)
    scheduled = subject.send("Steps/leave_mark", "late", delay="300ms")
    subject.marked(invocation_id, "holding")
    subject.marked(sleeping, "attempt")
    subject.restart()
    subject.open_gate(gate)
    assert outcome(subject.call("Steps/pick_then_hold", "other", idempotency_key=key)) == f"pick {gate}"
    assert subject.marks(invocation_id).count("ran pick") == 1
    assert subject.result(sleeping) == "woken"
    assert subject.result(scheduled) == "late"
    assert subject.marks(scheduled) == ["late"]


def test_a_sleep_ends_no_sooner_than_it_should(subject: Subject) -> None:
    begun_s = time.monotonic()
    assert outcome(subject.call("Steps/nap", 200)) == "woken"
    assert time.monotonic() - begun_s >= 0.2


def test_chance_and_time_are_the_same_in_every_attempt(subject: Subject) -> None:
    invocation_id = subject.send("Steps/who_am_i")
    drawn = subject.result(invocation_id)["drawn"]
    assert [mark for mark in subject.marks(invocation_id) if mark != "attempt"] == [f"drawn {drawn}"] * 2
    first, second = outcome(subject.call("Steps/at"))
    assert first <= second


def test_a_handler_sees_its_id_and_its_callers_headers(subject: Subject) -> None:
    answer = subject.call("Steps/who_am_i", headers={"X-Claim": "17", "idempotency-key": subject.unique()})
    told = answer.json
    assert told["id"] == answer.headers["x-restate-id"]
    assert told["headers"]["x-claim"] == "17"
    assert told["headers"]["x-restate-ingress-path"] == "/Steps/who_am_i"
    assert not {"host", "connection", "idempotency-key"} & set(told["headers"])


# Failures that are final


@pytest.mark.parametrize("code", [400, 404, 409, 418, 500, 599, 999])
def test_a_terminal_error_is_the_answer(subject: Subject, code: int) -> None:
    answer = subject.call("Steps/fails", code)
    assert answer.status == code
    assert answer.json == {"code": code, "message": "no such claim", "source": "invocation"}
    assert answer.headers["x-restate-error-source"] == "invocation"
    row = subject.reaches(answer.headers["x-restate-id"], "completed")
    assert (row["completion_result"], row["completion_failure"]) == ("failure", f"[{code}] no such claim")


def test_a_terminal_error_with_metadata(subject: Subject) -> None:
    answer = subject.call("Steps/fails_with_metadata")
    assert answer.json == {
        "code": 404,
        "message": "no such claim",
        "metadata": {"claim": "17", "office": "Wien"},
        "source": "invocation",
    }


def test_a_callees_terminal_error_reaches_the_caller(subject: Subject) -> None:
    request = {"service": "Steps", "handler": "fails_with_metadata", "body": ""}
    told = outcome(subject.call("Steps/call_generic", request))
    assert told.startswith("404 no such claim")
    assert "'claim': '17'" in told and "'office': 'Wien'" in told


def test_a_step_that_refuses_is_recorded(subject: Subject) -> None:
    invocation_id = subject.send("Steps/fails_in_a_step")
    assert subject.result(invocation_id) == "422 not this one"
    assert subject.marks(invocation_id) == ["ran refuse"]
    assert subject.journal(invocation_id) == ["Input", "Run refuse", "> Run", "Sleep", "> Sleep", "Output"]


# Payloads


@pytest.mark.parametrize("value", ["", "x" * 1_048_576, "ä€𐍈\u0000", {"a": [1, None, {"b": 1.5}]}, None, False, 0])
def test_payloads_arrive_as_they_are(subject: Subject, value: object) -> None:
    answer = subject.call("Steps/same", value)
    assert answer.status == 200
    assert (json.loads(answer.body) if answer.body else None) == value


def test_a_large_payload_through_a_step_and_a_call(subject: Subject) -> None:
    text = "x" * 1_048_576
    assert outcome(subject.call("Steps/through", text)) == 2 * len(text)


# Calls with idempotency keys, from outside and from handlers


def test_a_call_with_a_known_key_is_the_same_invocation(subject: Subject) -> None:
    """Whoever comes first brings the body."""
    key, other = subject.unique(), subject.unique()
    running = [subject.calling("Steps/slow", key, idempotency_key=key) for _ in range(4)]
    sent = subject.send("Steps/slow", other, idempotency_key=key)
    subject.marked(sent, "attempt")
    subject.open_gate(key)
    subject.open_gate(other)
    answers = [each.result() for each in running]
    results = {outcome(each) for each in answers}
    assert results in ({f"slow {key}"}, {f"slow {other}"})
    assert {each.headers["x-restate-id"] for each in answers} == {sent}
    assert subject.ran(sent) == ["slow"]


def test_handlers_that_call_with_one_key_share_one_invocation(subject: Subject) -> None:
    gate = subject.unique()
    invocation_id = subject.send("Steps/twice", gate)
    subject.has_children(invocation_id, 2)
    subject.open_gate(gate)
    *results, first, second, third = subject.result(invocation_id)
    assert results == [f"slow {gate}"] * 3
    assert first == second == third
    assert subject.ran(first) == ["slow"]


def test_the_same_key_names_other_invocations_of_other_handlers_and_objects(subject: Subject) -> None:
    key, one, other = subject.unique(), subject.unique(), subject.unique()
    ids = {
        subject.send("Steps/same", 1, idempotency_key=key),
        subject.send("Steps/leave_mark", "x", idempotency_key=key),
        subject.send(f"Counter/{one}/add", 1, idempotency_key=key),
        subject.send(f"Counter/{other}/add", 1, idempotency_key=key),
    }
    assert len(ids) == 4
    assert outcome(subject.call(f"Counter/{one}/add", 5, idempotency_key=key)) == 1


# Sends


def test_a_send_from_a_handler(subject: Subject) -> None:
    invocation_id = subject.send("Steps/sender", {"mark": "sent"})
    child = subject.result(invocation_id)
    assert subject.result(child) == "sent"
    assert subject.marks(child) == ["sent sender"]
    assert subject.journal(invocation_id) == ["Input", "OneWayCall", "> CallInvocationId", "Output"]
    assert subject.children(invocation_id) == [child]


def test_a_delayed_send_runs_when_it_is_due(subject: Subject) -> None:
    begun_s = time.monotonic()
    child = outcome(subject.call("Steps/sender", {"mark": "sent", "delay_ms": 300}))
    assert subject.reaches(child, "scheduled", "completed")["status"] == "scheduled"
    subject.marked(child, "sent")
    assert time.monotonic() - begun_s >= 0.3


def test_a_send_with_a_known_key_is_the_same_invocation(subject: Subject) -> None:
    key = subject.unique()
    request = {"mark": "sent", "idempotency_key": key}
    ids = {outcome(subject.call("Steps/sender", request)) for _ in range(2)}
    assert ids == {subject.send("Steps/leave_mark", "other", idempotency_key=key)}
    (child,) = ids
    assert subject.result(child) == "sent"
    assert subject.marks(child) == ["sent sender"]


@pytest.mark.parametrize("delay", ["PT0.2S", "200ms", "0.2s"])
def test_the_forms_of_a_delay(subject: Subject, delay: str) -> None:
    begun_s = time.monotonic()
    invocation_id = subject.send("Steps/leave_mark", "late", delay=delay)
    assert subject.result(invocation_id) == "late"
    assert time.monotonic() - begun_s >= 0.2


def test_the_result_of_a_step_that_is_too_large(subject: Subject) -> None:
    invocation_id = subject.send("Steps/huge", 33)
    if subject.differs("result-too-large", rewake=False, restate=True):
        subject.failing(invocation_id, "RT0003")
        subject.operate(invocation_id, "kill")
    else:
        text = "413 RW3006 The result of the step 'Draw image' has 346"
        assert subject.result(invocation_id).startswith(text)
        assert subject.marks(invocation_id) == ["drawn"]


# Targets that are not there


def test_a_call_waits_for_a_service_that_is_registered_later(subject: Subject) -> None:
    invocation_id = subject.send("Retries/calls_nobody", "Nobody")
    row = until(
        lambda: (
            (row := subject.reaches(invocation_id, "backing-off", "running")).get("last_failure_error_code") and row
        ),
        lambda: str(subject.invocation(invocation_id)),
    )
    assert row["last_failure_error_code"] == "RT0018"
    assert subject.commands(invocation_id) == ["Input"]
    subject.operate(invocation_id, "kill")


@pytest.mark.parametrize(("target", "key"), [("Steps/same", "a key"), ("Counter/add", None)])
def test_a_key_where_none_belongs_is_no_terminal_error(subject: Subject, target: str, key: str | None) -> None:
    """It fails the attempt, which is tried again; a missing key is the empty one."""
    service, handler = target.split("/")
    request = {"service": service, "handler": handler, "body": "1", "key": key}
    if key is None:
        assert int(outcome(subject.call("Steps/call_generic", request))) >= 1
        return
    invocation_id = subject.send("Steps/call_generic", request)
    subject.marked(invocation_id, "attempt", times=2)
    subject.failing(invocation_id, "RT0017")
    subject.operate(invocation_id, "kill")
