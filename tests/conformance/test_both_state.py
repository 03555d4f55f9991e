"""State of virtual objects, their queues, and workflows, on both engines."""

from __future__ import annotations

import json
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import pytest
from subject import Subject, outcome, until

OBJECTS = ("Counter", "LazyCounter", "BriefCounter")
KEYS = ("plain", "", "ä€𐍈", "a/b c%", "üñ" * 100, "'; DROP", "a+b", "\u0001")


def quoted(key: str) -> str:
    return urllib.parse.quote(key, safe="")


# State


@pytest.mark.parametrize("service", OBJECTS)
def test_reads_and_writes_of_every_kind(subject: Subject, service: str) -> None:
    """Eager, lazy, and continued by a later attempt."""
    key = subject.unique()
    invocation_id = subject.send(f"{service}/{key}/use")
    assert subject.result(invocation_id) == [[], None, 1, ["a", "b", "empty"], None, None, []]
    assert subject.state(service, key) == {"a": b"4", "c": b"3"}
    assert outcome(subject.call(f"{service}/{key}/see")) == [["a", "c"], 4, None]
    kind = "GetLazyState" if service == "LazyCounter" else "GetEagerState"
    commands = subject.commands(invocation_id)
    # What was written is known without asking, so only the first two reads are journaled as either kind.
    assert commands[:3] == ["Input", f"{kind}Keys", kind]
    assert [each for each in commands if each.startswith(("Set", "Clear"))] == [
        "SetState", "SetState", "SetState", "ClearState", "ClearAllState", "SetState", "SetState",
    ]  # fmt: skip


@pytest.mark.parametrize("service", OBJECTS)
def test_state_is_kept_from_call_to_call(subject: Subject, service: str) -> None:
    key = subject.unique()
    assert [outcome(subject.call(f"{service}/{key}/add", amount)) for amount in (1, 2, 3)] == [1, 3, 6]
    assert outcome(subject.call(f"{service}/{key}/read")) == 6
    assert outcome(subject.call(f"{service}/{subject.unique()}/read")) is None


@pytest.mark.parametrize("service", OBJECTS)
def test_what_a_failed_handler_wrote_stays(subject: Subject, service: str) -> None:
    key = subject.unique()
    assert outcome(subject.call(f"{service}/{key}/set_and_fail", "terminal")) == "409 after the write"
    assert outcome(subject.call(f"{service}/{key}/read")) == 7


@pytest.mark.parametrize("key", KEYS)
def test_keys_of_any_text(subject: Subject, key: str) -> None:
    before = outcome(subject.call(f"Counter/{quoted(key)}/read")) or 0
    assert outcome(subject.call(f"Counter/{quoted(key)}/add", 1)) == before + 1
    assert outcome(subject.call(f"Counter/{quoted(key)}/key")) == key


def test_a_shared_handler_may_not_write(subject: Subject) -> None:
    """The attempt fails, the state stays as it is."""
    key = subject.unique()
    invocation_id = subject.send(f"Counter/{key}/writes_shared")
    subject.marked(invocation_id, "attempt", times=2)
    subject.failing(invocation_id, "RT0017")
    assert subject.commands(invocation_id) == ["Input"]
    assert subject.state("Counter", key) == {}
    assert subject.operate(invocation_id, "kill").status == 200


# The queue of a key


def test_one_key_runs_one_at_a_time_in_order(subject: Subject) -> None:
    key = subject.unique()
    holder = subject.send(f"Counter/{key}/hold", key)
    subject.marked(holder, "holds")
    queued = [subject.send(f"Counter/{key}/add", 1) for _ in range(5)]
    assert {subject.reaches(each, "pending")["status"] for each in queued} == {"pending"}
    assert subject.query(f"SELECT COUNT(*) AS n FROM sys_inbox WHERE service_key = '{key}'") == [{"n": 5}]
    assert outcome(subject.call(f"Counter/{key}/read")) is None
    assert outcome(subject.call(f"Counter/{subject.unique()}/add", 1)) == 1
    subject.open_gate(key)
    assert [subject.result(each) for each in queued] == [1, 2, 3, 4, 5]


def test_the_key_is_held_while_suspended(subject: Subject) -> None:
    key = subject.unique()
    holder = subject.send(f"BriefCounter/{key}/hold_suspended")
    subject.reaches(holder, "suspended")
    queued = subject.send(f"BriefCounter/{key}/add", 1)
    assert subject.reaches(queued, "pending")["status"] == "pending"
    outcome(subject.call("Waits/signaller", {"resolve": "go", "to": holder, "value": "now"}))
    assert subject.result(holder) == "now"
    assert subject.result(queued) == 1


def test_many_callers_of_one_key_lose_nothing(subject: Subject) -> None:
    key = subject.unique()
    with ThreadPoolExecutor(8) as callers:
        results = list(callers.map(lambda _: outcome(subject.call(f"Counter/{key}/add", 1)), range(40)))
    assert sorted(results) == list(range(1, 41))


def test_calls_between_keys(subject: Subject) -> None:
    one, other = subject.unique(), subject.unique()
    assert outcome(subject.call(f"Counter/{one}/call_other_key", other)) == [1, 10, 1]


# State by the admin API


def test_state_is_replaced_as_a_whole(subject: Subject) -> None:
    key = subject.unique()
    outcome(subject.call(f"Counter/{key}/use"))
    asked = {"object_key": key, "new_state": {"value": list(b"41")}}
    answer = subject.admin("POST", "/services/Counter/state", asked)
    assert (answer.status, answer.body) == (202, b"")
    until(lambda: subject.state("Counter", key) == {"value": b"41"}, lambda: str(subject.state("Counter", key)))
    assert outcome(subject.call(f"Counter/{key}/add", 1)) == 42
    assert subject.admin("POST", "/services/Counter/state", {"object_key": key, "new_state": {}}).status == 202
    until(lambda: not subject.state("Counter", key), lambda: str(subject.state("Counter", key)))


def test_a_state_change_waits_for_who_holds_the_key(subject: Subject) -> None:
    key = subject.unique()
    holder = subject.send(f"Counter/{key}/hold", key)
    subject.marked(holder, "holds")
    asked = {"object_key": key, "new_state": {"value": list(b"41")}}
    assert subject.admin("POST", "/services/Counter/state", asked).status == 202
    following = subject.send(f"Counter/{key}/add", 1)
    assert subject.state("Counter", key) == {}
    subject.open_gate(key)
    assert subject.result(following) == 42


def test_a_state_change_for_another_version_is_dropped(subject: Subject) -> None:
    key = subject.unique()
    assert outcome(subject.call(f"Counter/{key}/add", 1)) == 1
    empty = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    asked = {"object_key": key, "new_state": {"value": list(b"9")}, "version": empty}
    assert subject.admin("POST", "/services/Counter/state", asked).status == 202
    assert outcome(subject.call(f"Counter/{key}/add", 1)) == 2


# Workflows


def test_a_workflow_waits_for_a_promise(subject: Subject) -> None:
    key = subject.unique()
    run = subject.send(f"Flow/{key}/run", "claim")
    subject.marked(run, "run")
    until(lambda: outcome(subject.call(f"Flow/{key}/peek")) == [None, "waiting"], lambda: "the status")
    assert outcome(subject.call(f"Flow/{key}/approve", "yes")) == "done"
    assert subject.result(run) == "claim yes"
    assert outcome(subject.call(f"Flow/{key}/peek")) == ["yes", "approved"]
    assert subject.journal(run) == [
        "Input", "SetState", "GetPromise", "> GetPromise", "SetState", "Output",
    ]  # fmt: skip


def test_a_promise_is_completed_once(subject: Subject) -> None:
    key = subject.unique()
    assert outcome(subject.call(f"Flow/{key}/approve", "first")) == "done"
    assert outcome(subject.call(f"Flow/{key}/approve", "second")) == "409 promise was already completed"
    assert outcome(subject.call(f"Flow/{key}/reject", "third")) == "409 promise was already completed"
    assert outcome(subject.call(f"Flow/{key}/run", "claim")) == "claim first"


def test_a_rejected_promise(subject: Subject) -> None:
    key = subject.unique()
    run = subject.send(f"Flow/{key}/run", "claim")
    assert outcome(subject.call(f"Flow/{key}/reject", "too late")) == "done"
    assert subject.result(run) == "claim 418 too late"


def test_shared_handlers_wait_for_a_promise_too(subject: Subject) -> None:
    key = subject.unique()
    waiting = [subject.send(f"Flow/{key}/wait", "opinion") for _ in range(3)]
    for each in waiting:
        subject.marked(each, "waits")
    assert outcome(subject.call(f"Flow/{key}/fulfil", "opinion")) is None
    assert [subject.result(each) for each in waiting] == ["opinion fulfilled"] * 3


def test_a_workflow_runs_once(subject: Subject) -> None:
    key = subject.unique()
    run = subject.send(f"Flow/{key}/run", "first")
    again = subject.ingress("POST", f"/Flow/{key}/run/send", "second")
    assert (again.status, again.json) == (202, {"invocationId": run, "status": "PreviouslyAccepted"})
    refused = subject.call(f"Flow/{key}/run", "third")
    told = {"code": 409, "message": "the workflow method was already invoked", "source": "invocation"}
    assert (refused.status, refused.json) == (409, told)
    outcome(subject.call(f"Flow/{key}/approve", "yes"))
    assert subject.result(run) == "first yes"
    assert subject.call(f"Flow/{key}/run", "fourth").json == told
    request = {"service": "Flow", "handler": "run", "key": key, "body": json.dumps("fifth")}
    assert outcome(subject.call("Steps/call_generic", request)) == "409 the workflow method was already invoked"


def test_the_result_of_a_workflow_by_its_key(subject: Subject) -> None:
    key = subject.unique()
    run = subject.send(f"Flow/{key}/run", "claim")
    subject.marked(run, "run")
    path = f"/restate/workflow/Flow/{key}"
    assert subject.ingress("GET", f"{path}/output").status == 470
    asked = {"target": "workflow", "workflowName": "Flow", "workflowKey": key}
    assert subject.ingress("POST", "/restate/lookup", asked).json == {"invocationId": run}
    outcome(subject.call(f"Flow/{key}/approve", "yes"))
    for answer in (
        subject.ingress("GET", f"{path}/attach"),
        subject.ingress("GET", f"{path}/output"),
        subject.ingress("POST", "/restate/attach", asked),
        subject.ingress("POST", "/restate/output", asked),
    ):
        assert (answer.status, answer.json) == (200, "claim yes")


def test_purge_of_a_workflow_forgets_state_and_promises(subject: Subject) -> None:
    key = subject.unique()
    run = subject.send(f"Flow/{key}/run", "first")
    outcome(subject.call(f"Flow/{key}/approve", "yes"))
    assert subject.result(run) == "first yes"
    assert subject.state("Flow", key) == {"status": b'"approved"'}
    answer = subject.operate(run, "purge")
    assert (answer.status, answer.body) == (200, b"")
    subject.vanishes(run)
    assert outcome(subject.call(f"Flow/{key}/peek")) == [None, None]
    assert subject.send(f"Flow/{key}/run", "second") == run
    outcome(subject.call(f"Flow/{key}/approve", "no"))
    assert subject.result(run) == "second no"
