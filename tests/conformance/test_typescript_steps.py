"""Handlers in TypeScript on both engines and both transports: steps, failures, payloads, calls, and being killed."""

from __future__ import annotations

import json
import time

import pytest
from subject import Subject, outcome, until

ROUTE = ["Input", "Run pick", "Call", "Run check", "Output"]


@pytest.fixture
def ts(typescript_subject: Subject) -> Subject:
    return typescript_subject


def is_http1(ts: Subject) -> bool:
    return ts.service.server == "node_http1"


# Steps


def test_the_deployment_says_how_it_is_driven(ts: Subject) -> None:
    found = ts.admin("GET", f"/deployments/{ts.deployment_id}").json
    assert found["protocol_type"] == ("RequestResponse" if is_http1(ts) else "BidiStream")
    assert found["http_version"] == ("HTTP/1.1" if is_http1(ts) else "HTTP/2.0")
    assert found["sdk_version"].startswith("restate-sdk-typescript/1.")
    assert (found["min_protocol_version"], found["max_protocol_version"]) == (5, 7)


def test_steps_and_a_call(ts: Subject) -> None:
    sent = ts.send("TsSteps/route", "Ada")
    assert ts.result(sent) == "pick, ask Ada, check"
    assert ts.marks(sent) == ["ran pick", "ran check"]
    assert ts.commands(sent) == ROUTE
    (child,) = ts.children(sent)
    assert ts.commands(child) == ["Input", "Sleep", "Run ask", "Output"]
    assert ts.marks(child) == ["ran ask"]


def test_steps_at_once(ts: Subject) -> None:
    names = [f"step {number}" for number in range(12)]
    sent = ts.send("TsSteps/together", names)
    assert ts.result(sent) == names
    assert sorted(ts.marks(sent)) == sorted(f"ran {name}" for name in names)
    assert ts.commands(sent) == ["Input", *(f"Run {name}" for name in names), "Output"]


@pytest.mark.parametrize("value", ["", "Grüße, 世界 🦀", 0, 1.5, True, [], {"deep": [{"é": None}]}])
def test_values_of_steps(ts: Subject, value: object) -> None:
    sent = ts.send("TsSteps/values", value)
    assert ts.result(sent) == [value, "nothing", None, [0, 255, 7]]
    assert ts.commands(sent) == ["Input", "Run value", "Run nothing", "Run null", "Run bytes", "Output"]


def test_a_journal_of_many_steps_is_replayed(ts: Subject) -> None:
    sent = ts.send("TsSteps/many", 150)
    ts.marked(sent, "attempt 150")
    assert ts.call("TsWaits/signal", {"to": sent, "name": "go", "value": 7}).status == 200
    assert ts.result(sent) == 157
    assert ts.commands(sent) == ["Input", *(f"Run step {index}" for index in range(150)), "Output"]


def test_chance_and_time_are_the_same_in_each_attempt(ts: Subject) -> None:
    sent = ts.send("TsSteps/chance")
    result = ts.result(sent)
    seen = {line for line in ts.marks(sent) if line.startswith("seen")}
    assert [json.loads(line.removeprefix("seen ")) for line in seen] == [result]
    assert ts.marks(sent).count(seen.pop()) >= 2


def test_what_a_handler_knows_of_its_request(ts: Subject) -> None:
    answer = ts.call("TsSteps/request", {"x": 1}, headers={"x-claim": "17"})
    assert answer.json == {
        "id": answer.headers["x-restate-id"],
        "target": "TsSteps/request",
        "claim": "17",
        "size": len('{"x": 1}'),
    }


# Failures


def test_a_terminal_error_is_the_answer(ts: Subject) -> None:
    assert outcome(ts.call("TsSteps/fails")) == "404 no such claim"


def test_a_terminal_error_reaches_a_caller_whole(ts: Subject) -> None:
    expected = {"code": 404, "message": "no such claim", "metadata": {"claim": "17"}}
    assert outcome(ts.call("TsSteps/failsForOthers")) == expected


def test_a_terminal_error_in_a_step_is_not_retried(ts: Subject) -> None:
    sent = ts.send("TsSteps/failsInStep")
    assert ts.result(sent) == "418 refused"
    assert ts.marks(sent) == ["ran refused"]
    assert ts.journal(sent) == ["Input", "Run refused", "> Run", "Output"]


def test_an_error_of_the_handler_is_retried(ts: Subject) -> None:
    sent = ts.send("TsSteps/failsAtFirst", 2)
    assert ts.result(sent) == "after all"
    assert ts.marks(sent)[:3] == ["attempt"] * 3
    assert ts.marks(sent).count("ran after all") == 1


def test_a_step_is_retried_until_it_works(ts: Subject) -> None:
    sent = ts.send("TsSteps/stepFailsAtFirst", 3)
    assert ts.result(sent) == "flaky"
    assert ts.marks(sent) == ["ran flaky"] * 4
    assert ts.commands(sent) == ["Input", "Run flaky", "Output"]


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_step_gives_up_after_so_many_attempts(ts: Subject, attempts: int) -> None:
    sent = ts.send("TsSteps/stepGivesUp", attempts)
    assert ts.result(sent) == "500 flaky does not work yet"
    assert ts.marks(sent) == ["ran flaky"] * attempts


def test_a_step_gives_up_after_so_much_time(ts: Subject) -> None:
    sent = ts.send("TsSteps/stepRunsOutOfTime")
    assert ts.result(sent) == "500 flaky does not work yet"
    assert ts.marks(sent).count("ran flaky") >= 2


def test_an_error_that_says_when_to_try_again(ts: Subject) -> None:
    sent = ts.send("TsSteps/stepNamesItsDelay")
    assert ts.result(sent) == "free"
    first_ms, second_ms = (int(line.split()[-1]) for line in ts.marks(sent) if line.startswith("ran at"))
    assert second_ms - first_ms >= 295


def test_an_error_of_their_own_may_be_terminal(ts: Subject) -> None:
    assert outcome(ts.call("TsSteps/ownError")) == "404 not found"


# Payloads


@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
def test_payloads_of_any_size(ts: Subject, size: int) -> None:
    text = "ä" * (size // 2)
    answer = outcome(ts.call("TsSteps/double", text))
    is_whole = answer == text + text
    assert is_whole


def test_bytes_and_nothing(ts: Subject) -> None:
    data = bytes(range(256)) * 40
    answer = ts.call("TsSteps/bytes", data, headers={"content-type": "application/octet-stream"})
    assert answer.body == data[::-1]
    assert answer.headers["content-type"] == "application/octet-stream"
    empty = ts.call("TsSteps/nothing")
    assert (empty.status, empty.body) == (200, b"")


# Calls


def test_a_send_goes_its_own_way(ts: Subject) -> None:
    child = outcome(ts.call("TsSteps/sends", {"text": "sent"}))
    assert ts.result(child) == "sent"
    assert ts.marks(child) == ["sent"]
    row = ts.invocation(child)
    assert row is not None and row["invoked_by_target"] == "TsSteps/sends"


def test_a_send_for_later(ts: Subject) -> None:
    before_s = time.monotonic()
    child = outcome(ts.call("TsSteps/sends", {"text": "sent", "delay": 400}))
    assert ts.status(child) == "scheduled" or time.monotonic() - before_s >= 0.4
    assert ts.result(child) == "sent"
    assert time.monotonic() - before_s >= 0.4


def test_an_idempotency_key_names_one_invocation(ts: Subject) -> None:
    key = ts.unique()
    values, callees = outcome(ts.call("TsSteps/thrice", key))
    assert values == ["once"] * 3
    assert len(set(callees)) == 1
    assert outcome(ts.call("TsSteps/sends", {"text": "other", "idempotencyKey": key})) == callees[0]
    from_outside = ts.call("TsSteps/leave", "other", idempotency_key=key)
    assert outcome(from_outside) == "once"
    assert from_outside.headers["x-restate-id"] == callees[0]
    assert ts.marks(callees[0]) == ["once"]


def test_headers_go_with_a_call(ts: Subject) -> None:
    assert outcome(ts.call("TsSteps/withHeader", "17")) == "17"


def test_attaching(ts: Subject) -> None:
    name = ts.unique()
    held = ts.send("TsSteps/held", name)
    attached = ts.calling("TsSteps/attachTo", held)
    ts.open_gate(name)
    assert outcome(attached.result()) == "held after"
    assert outcome(ts.call("TsSteps/attachTo", held)) == "held after"
    failed = ts.send("TsSteps/fails")
    assert outcome(ts.call("TsSteps/attachTo", failed)) == "404 no such claim"


def test_calls_by_name(ts: Subject) -> None:
    key = ts.unique("ключ/1 %")
    call = {"service": "TsCounter", "method": "add", "key": key, "parameter": 5}
    assert outcome(ts.call("TsSteps/generic", call)) == 5
    child = outcome(ts.call("TsSteps/genericSend", call))
    assert ts.result(child) == 10
    assert outcome(ts.call("TsSteps/generic", {"service": "TsSteps", "method": "fails"})) == "404 no such claim"
    row = ts.invocation(child)
    assert row is not None and row["target"] == f"TsCounter/{key}/add"


def test_calls_to_an_object(ts: Subject) -> None:
    key = ts.unique()
    assert outcome(ts.call("TsSteps/addTwice", key)) == [2, 5, 5]
    assert ts.state("TsCounter", key) == {"value": b"5"}


# Losses


def settles_first(ts: Subject, invocation_id: str) -> None:
    """Wait until the result of the step before the gate is stored."""
    until(
        lambda: ts.journal(invocation_id)[:3] == ["Input", "Run before", "> Run"],
        lambda: str(ts.journal(invocation_id)),
    )


HELD = ["Input", "Run before", "Run held", "Run after", "Output"]


def test_the_service_is_killed_in_a_step(ts: Subject) -> None:
    name = ts.unique()
    sent = [ts.send("TsSteps/held", name) for _ in range(5)]
    for each in sent:
        settles_first(ts, each)
    ts.service.restart()
    ts.open_gate(name)
    for each in sent:
        assert ts.result(each) == "held after"
        assert ts.marks(each).count("ran before") == ts.marks(each).count("ran after") == 1
        assert ts.commands(each) == HELD


def test_the_engine_is_killed_in_a_step(ts: Subject) -> None:
    name = ts.unique()
    sent = ts.send("TsSteps/held", name)
    settles_first(ts, sent)
    ts.restart()
    ts.open_gate(name)
    assert ts.result(sent) == "held after"
    assert ts.marks(sent).count("ran before") == 1
    assert ts.commands(sent) == HELD
