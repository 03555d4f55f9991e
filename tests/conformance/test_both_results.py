"""Results, and how long they last, on both engines: attach, output, retention, purge, restart as new."""

from __future__ import annotations

import json
import re

import pytest
from subject import UNKNOWN_ID, Subject, outcome, until

EXPIRES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00")


# Attach and output


def test_output_before_and_after(subject: Subject) -> None:
    gate = subject.unique()
    invocation_id = subject.send("Steps/slow", gate)
    early = subject.output(invocation_id)
    assert (early.status, early.json["message"], early.json["source"]) == (
        470,
        "the invocation exists but has not completed yet",
        "ingress",
    )
    assert early.headers["x-restate-error-source"] == "ingress"
    waiting = [subject.attaching(invocation_id) for _ in range(3)]
    subject.open_gate(gate)
    assert [outcome(each.result()) for each in waiting] == [f"slow {gate}"] * 3
    for path in (
        f"/restate/attach/{invocation_id}",
        f"/restate/output/{invocation_id}",
        f"/restate/invocation/{invocation_id}/attach",
        f"/restate/invocation/{invocation_id}/output",
    ):
        answer = subject.ingress("GET", path)
        assert (answer.status, answer.json) == (200, f"slow {gate}")
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-restate-id"] == invocation_id
        assert EXPIRES.fullmatch(answer.headers["idempotency-expires"])


def test_the_result_of_a_failure_is_the_same_each_time(subject: Subject) -> None:
    first = subject.call("Steps/fails_with_metadata")
    invocation_id = first.headers["x-restate-id"]
    assert "idempotency-expires" not in first.headers
    for again in (subject.attach(invocation_id), subject.output(invocation_id)):
        assert (again.status, again.body) == (first.status, first.body)
        assert "idempotency-expires" in again.headers


def test_attach_and_output_of_what_is_unknown(subject: Subject) -> None:
    attached = subject.attach(UNKNOWN_ID)
    assert (attached.status, attached.json) == (404, {"code": 404, "message": "not found", "source": "invocation"})
    assert attached.headers["x-restate-id"] == UNKNOWN_ID
    read = subject.output(UNKNOWN_ID)
    assert (read.status, read.json["message"], read.json["source"]) == (404, "invocation not found", "ingress")


@pytest.mark.parametrize("kind", ["path", "body"])
def test_results_by_idempotency_key(subject: Subject, kind: str) -> None:
    key, object_key = subject.unique(), subject.unique()
    gate = subject.unique()
    running = subject.send("Steps/slow", gate, idempotency_key=key)
    assert outcome(subject.call(f"Counter/{object_key}/add", 5, idempotency_key=key)) == 5
    subject.open_gate(gate)
    subject.result(running)
    for operation in ("attach", "output"):
        if kind == "path":
            of_service = subject.ingress("GET", f"/restate/invocation/Steps/slow/{key}/{operation}")
            of_object = subject.ingress("GET", f"/restate/invocation/Counter/{object_key}/add/{key}/{operation}")
        else:
            target = {"target": "idempotentInvocation", "service": "Steps", "handler": "slow", "idempotencyKey": key}
            of_service = subject.ingress("POST", f"/restate/{operation}", target)
            target |= {"service": "Counter", "key": object_key, "handler": "add"}
            of_object = subject.ingress("POST", f"/restate/{operation}", target)
        assert outcome(of_service) == f"slow {gate}"
        assert outcome(of_object) == 5


def test_an_id_is_attached_by_a_handler(subject: Subject) -> None:
    done = subject.send("Steps/same", "a value")
    assert subject.result(done) == "a value"
    failed = subject.send("Steps/fails", 418)
    gate = subject.unique()
    running = subject.send("Steps/slow", gate)
    attached = subject.calling("Steps/attach_to", running)
    assert outcome(subject.call("Steps/attach_to", done)) == "got a value"
    assert outcome(subject.call("Steps/attach_to", failed)) == "418 no such claim"
    assert outcome(subject.call("Steps/attach_to", UNKNOWN_ID)) == "404 not found"
    subject.open_gate(gate)
    assert outcome(attached.result()) == f"got slow {gate}"


def test_a_second_call_with_the_key_has_the_result(subject: Subject) -> None:
    key = subject.unique()
    first = subject.call("Steps/same", "first", idempotency_key=key)
    second = subject.call("Steps/same", "second", idempotency_key=key)
    assert outcome(first) == outcome(second) == "first"
    assert first.headers["x-restate-id"] == second.headers["x-restate-id"]
    assert "idempotency-expires" not in first.headers
    assert EXPIRES.fullmatch(second.headers["idempotency-expires"])
    sent = subject.ingress("POST", "/Steps/same/send", "third", {"idempotency-key": key})
    assert sent.json == {"invocationId": first.headers["x-restate-id"], "status": "PreviouslyAccepted"}


def test_a_failure_is_kept_for_its_key_too(subject: Subject) -> None:
    key = subject.unique()
    answers = [subject.call("Steps/fails", code, idempotency_key=key) for code in (418, 419)]
    assert [answer.status for answer in answers] == [418, 418]


def test_the_header_may_be_empty(subject: Subject) -> None:
    """An empty key is a key."""
    handler = "Counter/" + subject.unique() + "/add"
    ids = {subject.call(handler, 1, idempotency_key="").headers["x-restate-id"] for _ in range(2)}
    assert len(ids) == 1


# Retention


def test_no_journal_is_kept_where_none_is_wanted(subject: Subject) -> None:
    kept = subject.send("Kept/no_journal", "a", idempotency_key=subject.unique())
    assert subject.result(kept) == "a"
    assert subject.journal(kept) == []
    assert subject.output(kept).status == 200
    root = subject.send("Kept/calls_no_journal", "b")
    assert subject.result(root) == "b"
    (child,) = subject.children(root)
    subject.vanishes(child)


def test_a_call_without_a_key_where_no_journal_is_kept(subject: Subject) -> None:
    """The public server gives it a key, and so keeps the result."""
    invocation_id = subject.call("Kept/no_journal", "a").headers["x-restate-id"]
    expected = subject.differs("automatic-key", rewake=404, restate=200)
    until(lambda: subject.output(invocation_id).status == expected, lambda: str(subject.output(invocation_id)))
    row = subject.invocation(invocation_id)
    assert (row is not None and "idempotency_key" in row) is subject.differs(
        "automatic-key", rewake=False, restate=True
    )


def test_a_journal_goes_before_the_result(subject: Subject) -> None:
    invocation_id = subject.send("Kept/short_journal", "a", idempotency_key=subject.unique())
    assert subject.result(invocation_id) == "a"
    until(lambda: not subject.journal(invocation_id), lambda: str(subject.journal(invocation_id)))
    assert subject.output(invocation_id).json == "a"


def test_a_key_is_free_again_after_its_retention(subject: Subject) -> None:
    key = subject.unique()
    invocation_id = subject.send("Kept/short", "first", idempotency_key=key)
    assert subject.result(invocation_id) == "first"
    subject.vanishes(invocation_id)
    assert outcome(subject.call("Kept/short", "second", idempotency_key=key)) == "second"


def test_a_workflow_is_forgotten_after_its_retention(subject: Subject) -> None:
    key = subject.unique()
    run = subject.send(f"ShortFlow/{key}/run")
    assert subject.result(run) == "short"
    subject.vanishes(run)
    assert subject.state("ShortFlow", key) == {}
    assert subject.query(f"SELECT key FROM sys_promise WHERE service_key = '{key}'") == []
    assert outcome(subject.call(f"ShortFlow/{key}/run")) == "short"


# Purge


def test_purge_forgets_result_and_journal(subject: Subject) -> None:
    key = subject.unique()
    first = subject.call("Steps/same", "first", idempotency_key=key)
    invocation_id = first.headers["x-restate-id"]
    assert subject.operate(invocation_id, "purge").status == 200
    subject.vanishes(invocation_id)
    assert subject.journal(invocation_id) == []
    assert subject.operate(invocation_id, "purge").status == 404
    assert outcome(subject.call("Steps/same", "second", idempotency_key=key)) == "second"


def test_purge_of_the_journal_keeps_the_result(subject: Subject) -> None:
    invocation_id = subject.send("Steps/route", "Ada")
    assert subject.result(invocation_id) == "pick, ask Ada, check"
    assert subject.operate(invocation_id, "purge-journal").status == 200
    until(lambda: not subject.journal(invocation_id), lambda: str(subject.journal(invocation_id)))
    assert subject.result(invocation_id) == "pick, ask Ada, check"
    refused = subject.operate(invocation_id, "restart-as-new")
    assert (refused.status, refused.json["message"]) == (
        410,
        f"The invocation '{invocation_id}' cannot be restarted because the input is not available."
        " This indicates that the journal was already purged, or not retained at all.",
    )


# Restart as new


def test_a_restart_runs_everything_again(subject: Subject) -> None:
    invocation_id = subject.send("Steps/route", "Ada", idempotency_key=subject.unique())
    subject.result(invocation_id)
    answer = subject.operate(invocation_id, "restart-as-new")
    assert answer.status == 200
    new_id = answer.json["new_invocation_id"]
    assert new_id != invocation_id
    assert new_id[:16] == invocation_id[:16]  # the part that says where it is stored
    assert subject.result(new_id) == "pick, ask Ada, check"
    assert subject.ran(new_id) == ["pick", "check"]
    row = subject.reaches(new_id, "completed")
    assert (row["invoked_by"], row["restarted_from"]) == ("restart_as_new", invocation_id)
    assert "idempotency_key" not in row


def test_a_restart_from_a_prefix_repeats_only_the_rest(subject: Subject) -> None:
    invocation_id = subject.send("Steps/route", "Ada")
    subject.result(invocation_id)
    journal = subject.journal(invocation_id)
    new_id = subject.operate(invocation_id, "restart-as-new", **{"from": journal.index("> Call")}).json[
        "new_invocation_id"
    ]
    assert subject.result(new_id) == "pick, ask Ada, check"
    assert subject.ran(new_id) == ["check"]
    assert subject.journal(new_id) == journal
    assert subject.children(new_id) == subject.children(invocation_id)


@pytest.mark.parametrize("place", ["a prefix within the journal", "past the end"])
def test_a_prefix_takes_the_completions_of_its_commands_along(subject: Subject, place: str) -> None:
    invocation_id = subject.send("Steps/route", "Ada")
    subject.result(invocation_id)
    index = 1 if place == "a prefix within the journal" else 99
    answer = subject.operate(invocation_id, "restart-as-new", **{"from": index})
    if index == 1:
        new_id = answer.json["new_invocation_id"]
        subject.result(new_id)
        assert subject.ran(new_id) == ["check"]
    else:
        assert (answer.status, answer.json["message"]) == (
            400,
            f"The prefix of the journal '{invocation_id}' up to 'from' (included) contains some Commands without "
            "respective Completions.",
        )


def test_a_workflow_is_not_restarted(subject: Subject) -> None:
    key = subject.unique()
    run = subject.send(f"Flow/{key}/run", "claim")
    outcome(subject.call(f"Flow/{key}/approve", "yes"))
    subject.result(run)
    answer = subject.operate(run, "restart-as-new")
    assert answer.status == 422
    assert answer.json["message"].startswith(f"Restarting the invocation '{run}' is not supported.")


# A payload that is not JSON


def test_malformed_json_is_the_handlers_error(subject: Subject) -> None:
    answer = subject.ingress("POST", "/Steps/nap", b"{", {"content-type": "application/json"})
    assert (answer.status, answer.json["source"]) == (500, "invocation")
    assert answer.json["message"].startswith("Unable to parse an input argument.")
    assert json.loads(answer.body)["code"] == 500
