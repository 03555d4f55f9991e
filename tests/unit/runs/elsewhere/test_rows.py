"""Rows of a server elsewhere become what our own database has: entries, times, failures, services, deployments."""

from __future__ import annotations

from typing import Any

import protocol_strategies as strategies
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewake.admin.render import deployment_item_json, service_json
from rewake.core import ids
from rewake.core.ids import DeploymentId
from rewake.core.model import Deployment, HandlerOptions, ServiceSchema, Status
from rewake.core.registry import schema_of
from rewake.protocol import messages as m
from rewake.protocol.codec import encode_message, message_type
from rewake.protocol.discovery import HandlerKind, ServiceType, parse_manifest
from rewake.protocol.journal_json import entry_lite_json, entry_name, entry_type_name
from rewake.protocol.messages import Failure, MessageType
from rewake.runs.elsewhere import rows
from rewake.runs.elsewhere.services import service_from
from rewake.timestamps import rfc3339_millis

RUN = ids.invocation_id_to_str(bytes(range(24)))
CHILD = ids.invocation_id_to_str(bytes(range(24, 48)))
VERSION = 7
AT_MS = 1_795_372_601_733
MANIFEST = b"""{"protocolMode": "BIDI_STREAM", "minProtocolVersion": 5, "maxProtocolVersion": 7, "services": [
  {"name": "Signup", "ty": "WORKFLOW", "documentation": "Signs up.", "inactivityTimeout": 3000, "handlers": [
    {"name": "run", "ty": "WORKFLOW", "metadata": {"a": "b"}, "workflowCompletionRetention": 7200000,
     "retryPolicyInitialInterval": 100, "retryPolicyMaxAttempts": 3, "retryPolicyOnMaxAttempts": "KILL",
     "input": {"required": true, "contentType": "application/json", "jsonSchema": {"type": "integer"}},
     "output": {"contentType": "application/json"}},
    {"name": "look", "ty": "SHARED", "ingressPrivate": true, "enableLazyState": true}]}]}"""


def journal_row(message: m.Message, index: int = 3) -> dict[str, Any]:
    """As SQL's JSON has it."""
    type_id, payload = message_type(message), encode_message(message, VERSION)
    row = {
        "id": RUN,
        "index": index,
        "entry_type": entry_type_name(type_id),
        "name": entry_name(type_id, payload, VERSION),
        "entry_lite_json": entry_lite_json(type_id, payload, VERSION),
        "appended_at": rfc3339_millis(AT_MS),
        "raw": payload.hex(),
    }
    return {name: value for name, value in row.items() if value is not None}


@given(strategies.commands | strategies.notifications)
def test_an_entry_survives_its_row(message: m.Message) -> None:
    entry = rows.entry_from(journal_row(message))
    assert (entry.type_id, entry.payload) == (message_type(message), encode_message(message, VERSION))
    assert (ids.invocation_id_to_str(entry.invocation_id), entry.index, entry.appended_at_ms) == (RUN, 3, AT_MS)
    match message:
        case m.Completion(completion_id=completion_id, result=result):
            assert (entry.completion_id, entry.is_failure) == (completion_id, isinstance(result, Failure))
        case m.Signal(signal=signal, result=result):
            assert (entry.signal, entry.is_failure) == (signal, isinstance(result, Failure))
        case m.CallCommand(result_completion_id=completion_id):
            assert entry.completion_id == completion_id
        case _:
            assert (entry.completion_id, entry.name) == (getattr(message, "completion_id", None), message.name)  # type: ignore[union-attr]
            assert not entry.is_failure


def test_whom_a_call_went_to() -> None:
    told = m.Completion(MessageType.CALL_INVOCATION_ID_COMPLETION, 1, m.InvocationIdResult(CHILD))
    assert rows.entry_from(journal_row(told)).child == ids.invocation_id_from_str(CHILD)
    nobody = m.Completion(MessageType.CALL_INVOCATION_ID_COMPLETION, 1, m.InvocationIdResult("inv_nobody"))
    assert rows.entry_from(journal_row(nobody)).child is None


def test_an_entry_of_a_kind_we_do_not_know_is_passed_over() -> None:
    row = {"id": RUN, "index": 0, "entry_type": "Command: Teleport", "appended_at": rfc3339_millis(AT_MS)}
    assert rows.entry_from(row).type_id not in set(MessageType)


@given(st.integers(0, 253_402_300_799_999))
def test_times(at_ms: int) -> None:
    assert rows.millis(rfc3339_millis(at_ms)) == at_ms
    assert rows.literal_of(at_ms) == f"'{rfc3339_millis(at_ms)}'"


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("[404] no such account", Failure(404, "no such account")),
        ("[409 Aborted] two\nlines", Failure(409, "two\nlines")),
        ("[500]", Failure(500, "")),
        ("whatever", Failure(500, "whatever")),
        (None, None),
    ],
)
def test_failures(text: str | None, failure: Failure | None) -> None:
    assert rows.failure_of(text) == failure


def invocation_row(**columns: Any) -> dict[str, Any]:
    return {
        "id": RUN,
        "target_service_name": "Desk",
        "target_service_key": "a",
        "target_handler_name": "approve",
        "target_service_ty": "virtual_object",
        "invoked_by": "ingress",
        "created_at": rfc3339_millis(AT_MS),
        "status": "running",
        **columns,
    }


@pytest.mark.parametrize(
    ("columns", "status", "seen"),
    [
        ({"status": "ready"}, Status.INVOKED, "running"),
        ({"status": "backing-off"}, Status.INVOKED, "backing-off"),
        ({"status": "pending"}, Status.INBOXED, "pending"),
        ({"status": "completed", "completion_result": "success"}, Status.COMPLETED, "succeeded"),
        ({"status": "completed", "completion_result": "failure"}, Status.COMPLETED, "failed"),
    ],
)
def test_statuses(columns: dict[str, Any], status: Status, seen: str) -> None:
    row = invocation_row(**columns)
    assert rows.invocation_from(row, {}).status is status
    assert rows.summary_from(row, None).status == seen


def test_an_invocation() -> None:
    row = invocation_row(
        status="completed",
        completion_result="failure",
        completion_failure="[409] cancelled",
        completed_at=rfc3339_millis(AT_MS + 5),
        completion_retention="PT60S",
        invoked_by="service",
        invoked_by_id=CHILD,
        trace_id="ab" * 16,
        suspended_waiting_for_signals=[17, 1],
        suspended_waiting_for_completions=[],
    )
    found = rows.invocation_from(row, {})
    assert (found.target.service, found.target.key, found.target.handler) == ("Desk", "a", "approve")
    assert (found.result, found.purge_at_ms) == (Failure(409, "cancelled"), AT_MS + 60_005)
    assert found.invoked_by_id == ids.invocation_id_from_str(CHILD)
    assert found.awaiting is not None
    assert found.awaiting.signals == (17, 1)
    assert (found.traceparent or "")[3:35] == "ab" * 16


def test_an_empty_key_is_a_key_and_a_service_has_none() -> None:
    without = {name: value for name, value in invocation_row().items() if name != "target_service_key"}
    assert rows.invocation_from(without, {}).target.key == ""
    assert rows.invocation_from({**without, "target_service_ty": "service"}, {}).target.key is None


def test_subscriptions_and_other_causes_do_not_hide_a_run() -> None:
    assert rows.invocation_from(invocation_row(invoked_by="subscription"), {}).invoked_by == "ingress"


def registered() -> ServiceSchema:
    (service,) = parse_manifest(MANIFEST).services
    return schema_of(service, DeploymentId("dp_1"), 4, HandlerOptions())


def test_a_service_survives_its_json() -> None:
    known = registered()
    found = service_from(service_json(known, None))
    assert (found.name, found.type, found.revision, found.deployment_id) == ("Signup", ServiceType.WORKFLOW, 4, "dp_1")
    assert found.manifest["documentation"] == "Signs up."
    run, look = found.handlers["run"], found.handlers["look"]
    assert (run.kind, look.kind) == (HandlerKind.WORKFLOW, HandlerKind.SHARED)
    for handler in (run, look):
        ours = known.handlers[handler.name].options
        assert handler.options.retry == ours.retry
        assert handler.options.inactivity_timeout_ms == ours.inactivity_timeout_ms == 3_000
        assert (handler.options.public, handler.options.enable_lazy_state) == (ours.public, ours.enable_lazy_state)
    assert run.manifest["input"] == {"jsonSchema": {"type": "integer"}}
    assert run.manifest["output"] == {"contentType": "application/json"}


def test_a_deployment_survives_its_json() -> None:
    ours = Deployment(
        id=DeploymentId("dp_1"),
        kind="http",
        uri="http://127.0.0.1:9081/",
        protocol_type="bidi_stream",
        min_protocol_version=5,
        max_protocol_version=7,
        sdk_version="restate-sdk-python/1.3.0",
        created_at_ms=AT_MS,
        manifest=b"",
        services={"Signup": 4},
    )
    found = rows.deployment_from(deployment_item_json(ours), "http")
    assert (found.id, found.kind, found.uri, found.created_at_ms) == (ours.id, ours.kind, ours.uri, AT_MS)
    assert (found.services, found.max_protocol_version) == ({"Signup": 4}, 7)


def test_a_lambda_has_an_arn_for_an_address() -> None:
    told = {"id": "dp_2", "arn": "arn:aws:lambda:x", "created_at": rfc3339_millis(AT_MS), "services": []}
    assert rows.deployment_from(told, "lambda").uri == "arn:aws:lambda:x"
