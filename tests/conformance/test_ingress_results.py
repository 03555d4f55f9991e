"""Results asked for later, workflows and awakeables, through the ingress of both engines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from raw_http import Wire, fetch, request
from subject import JSON, UNKNOWN_ID, Subject, first_awakeable, until

from rewake.core.ids import (
    invocation_id_to_str,
    workflow_invocation_id,
)

UNKNOWN_AWAKEABLE = "sign_1AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEQ"

NOT_READY = "the invocation exists but has not completed yet"


@pytest.fixture
def port(surfaces: Subject) -> int:
    return surfaces.ingress_port


# Results later


def test_output_tells_running_and_completed_apart_and_attach_waits(surfaces: Subject) -> None:
    port, name = surfaces.ingress_port, surfaces.send("Greeter/wait")
    awakeable = first_awakeable(name)
    running = fetch(port, "GET", f"/restate/output/{name}")
    assert running.status == 470
    assert (running.json["code"], running.json["message"], running.json["source"]) == (470, NOT_READY, "ingress")
    with Wire(port) as waiting:
        waiting.send(request("GET", f"/restate/invocation/{name}/attach"))
        resolved = fetch(port, "POST", f"/restate/awakeables/{awakeable}/resolve", JSON, b'"done"')
        assert (resolved.status, resolved.body) == (202, b"")
        attached = waiting.answer()
    assert (attached.status, attached.body, attached.headers["x-restate-id"]) == (200, b'"done"', name)
    later = fetch(port, "GET", f"/restate/invocation/{name}/output")
    assert (later.status, later.body) == (200, b'"done"')
    assert "idempotency-expires" in later.headers
    assert later.headers["content-type"] == "application/json"


def test_results_are_found_by_every_way_to_name_them(port: int) -> None:
    headers = {**JSON, "idempotency-key": "named"}
    first = fetch(port, "POST", "/Counter/obj%20ect/add", headers, b"7")
    name = first.headers["x-restate-id"]
    named = {"target": "idempotentInvocation", "service": "Counter", "key": "obj ect", "handler": "add"}
    named["idempotencyKey"] = "named"
    for found in (
        fetch(port, "GET", f"/restate/output/{name}"),
        fetch(port, "GET", f"/restate/attach/{name}"),
        fetch(port, "GET", "/restate/invocation/Counter/obj%20ect/add/named/output"),
        fetch(port, "GET", "/restate/invocation/Counter/obj%20ect/add/named/attach"),
        fetch(port, "POST", "/restate/output", {}, json.dumps(named).encode()),
        fetch(port, "POST", "/restate/attach", {}, json.dumps(named).encode()),
        fetch(port, "POST", "/restate/attach", {}, json.dumps({"target": "invocation", "invocationId": name}).encode()),
    ):
        assert (found.status, found.body, found.headers["x-restate-id"]) == (200, b"7", name)
    looked_up = fetch(port, "POST", "/restate/lookup", {}, json.dumps(named).encode())
    assert (looked_up.status, looked_up.json) == (200, {"invocationId": name})


def test_a_result_has_the_content_type_its_handler_declares(port: int) -> None:
    first = fetch(port, "POST", "/Greeter/text", {"content-type": "text/css"}, b"p {}")
    again = fetch(port, "GET", f"/restate/output/{first.headers['x-restate-id']}")
    assert (again.body, again.headers["content-type"]) == (b"p {}", "text/plain")


def test_a_failure_is_replayed(port: int) -> None:
    first = fetch(port, "POST", "/Greeter/fail", {**JSON, "idempotency-key": "fails"}, b"409")
    again = fetch(port, "GET", "/restate/invocation/Greeter/fail/fails/output")
    assert (again.status, again.body) == (first.status, first.body) == (409, first.body)
    assert again.headers["x-restate-error-source"] == "invocation"
    assert "idempotency-expires" in again.headers


def test_attach_to_nothing_ends_as_a_failed_invocation(port: int) -> None:
    for path, name in (
        (f"/restate/attach/{UNKNOWN_ID}", UNKNOWN_ID),
        ("/restate/workflow/Flow/unknown/attach", invocation_id_to_str(workflow_invocation_id("Flow", "unknown"))),
    ):
        answer = fetch(port, "GET", path)
        assert (answer.status, answer.body) == (404, b'{"code":404,"message":"not found","source":"invocation"}')
        assert answer.headers["x-restate-error-source"] == "invocation"
        assert answer.headers["x-restate-id"] == name


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"target": "workflow", "workflowName": "Flow", "workflowKey": "w1"}, "inv_12kpUQONmeFb40HPiUbKSfrH18FxSmvYzH"),
        ({"target": "invocation", "invocationId": UNKNOWN_ID}, UNKNOWN_ID),
    ],
)
def test_lookup_computes_ids_as_the_public_server(port: int, body: dict[str, Any], expected: str) -> None:
    answer = fetch(port, "POST", "/restate/lookup", {}, json.dumps(body).encode())
    assert (answer.status, answer.json) == (200, {"invocationId": expected})


# Workflows


def test_a_workflow_runs_once_for_a_key(port: int) -> None:
    first = fetch(port, "POST", "/Flow/life/run/send", JSON, b'"a"')
    again = fetch(port, "POST", "/Flow/life/run/send", JSON, b'"b"')
    name = first.headers["x-restate-id"]
    assert first.json["status"] == "Accepted"
    assert again.json == {"invocationId": name, "status": "PreviouslyAccepted"}
    called = fetch(port, "POST", "/Flow/life/run", JSON, b'"c"')
    assert called.body == b'{"code":409,"message":"the workflow method was already invoked","source":"invocation"}'
    assert (called.status, called.headers["x-restate-id"]) == (409, name)
    assert fetch(port, "GET", "/restate/workflow/Flow/life/output").status == 470
    shared = fetch(port, "POST", "/Flow/life/go", {**JSON, "idempotency-key": "g"}, b'"done"')
    assert (shared.status, shared.body) == (200, b"")
    assert fetch(port, "GET", "/restate/workflow/Flow/life/attach").body == b'"done"'
    assert fetch(port, "GET", "/restate/workflow/Flow/life/output").body == b'"done"'
    assert fetch(port, "POST", "/Flow/life/run", JSON, b'"d"').status == 409


# Awakeables


def test_a_rejected_awakeable_fails_the_handler_with_the_text(surfaces: Subject) -> None:
    name = surfaces.send("Greeter/wait")
    path = f"/restate/a/{first_awakeable(name)}"
    until(lambda: "> Run" in surfaces.journal(name), lambda: str(surfaces.journal(name)))
    rejected = surfaces.ingress("POST", f"{path}/reject", b'{"no":1}', {"content-type": "text/plain"})
    assert (rejected.status, rejected.body) == (202, b"")
    assert surfaces.ingress("POST", f"{path}/resolve", b'"late"').status == 202
    answer = surfaces.attach(name)
    assert answer.status == 500
    assert answer.json == {"code": 500, "message": '{"no":1}', "source": "invocation"}


def test_an_awakeable_of_nothing_is_accepted(port: int) -> None:
    answer = fetch(port, "POST", f"/restate/awakeables/{UNKNOWN_AWAKEABLE}/resolve", {}, b"1")
    assert (answer.status, answer.body, answer.headers.get("content-type")) == (202, b"", None)
