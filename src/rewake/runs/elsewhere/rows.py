"""JSON rows of the public `sys_*` tables become the values of a Reading; times become SQL literals.

An entry's `raw` is its payload in the service protocol, so the pages decode it like our own. If the payload is not
fetched, the entry's facts come from its JSON form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from rewake.core import ids
from rewake.core.ids import InvalidId
from rewake.core.model import Deployment, Invocation, InvokedBy, ServiceSchema, Status, Target
from rewake.core.writes import EntryRow
from rewake.durations import DurationError, parse_duration_ms
from rewake.protocol.codec import decode_message
from rewake.protocol.discovery import HandlerKind, ServiceType
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.journal_json import entry_type_name
from rewake.protocol.messages import Completion, Failure, Future, InvocationIdResult, MessageType
from rewake.runs.facts import EventFact, RunSummary
from rewake.runs.steps import DEFAULT_VERSION
from rewake.timestamps import rfc3339_millis

Row = Mapping[str, Any]

INVOCATION_COLUMNS: Final = (
    "id, target_service_name, target_service_key, target_handler_name, target_service_ty, idempotency_key, "
    "invoked_by, invoked_by_id, invoked_by_target, restarted_from, pinned_deployment_id, "
    "pinned_service_protocol_version, trace_id, journal_size, created_at, modified_at, inboxed_at, "
    "scheduled_start_at, running_at, completed_at, completion_retention, suspended_waiting_for_completions, "
    "suspended_waiting_for_signals, retry_count, last_start_at, next_retry_at, last_failure, status, "
    "completion_result, completion_failure"
)
ENTRY_COLUMNS: Final = "id, index, entry_type, name, entry_lite_json, appended_at"

_STATUSES: Final = {
    "pending": Status.INBOXED,
    "scheduled": Status.SCHEDULED,
    "ready": Status.INVOKED,
    "running": Status.INVOKED,
    "backing-off": Status.INVOKED,
    "suspended": Status.SUSPENDED,
    "paused": Status.PAUSED,
    "completed": Status.COMPLETED,
}
STATUS_SQL: Final = {
    "scheduled": "status = 'scheduled'",
    "pending": "status = 'pending'",
    "running": "status in ('ready', 'running')",
    "backing-off": "status = 'backing-off'",
    "suspended": "status = 'suspended'",
    "paused": "status = 'paused'",
    "failed": "(status = 'completed' and completion_result = 'failure')",
    "succeeded": "(status = 'completed' and completion_result = 'success')",
}
"""Status that a person sees -> condition on `sys_invocation`."""

_TYPES: Final = {entry_type_name(item): item for item in MessageType if item >= MessageType.INPUT}
_UNKNOWN_TYPE: Final = -1
_INVOKED_BY: Final = frozenset(item.value for item in InvokedBy)
_FAILURE: Final = re.compile(r"\[(\d+)[^\]]*\] ?(.*)", re.DOTALL)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def millis(text: str | None) -> int | None:
    """A row's timestamp in milliseconds since the epoch; None for null."""
    if text is None:
        return None
    after = datetime.fromisoformat(text) - _EPOCH
    return after.days * 86_400_000 + after.seconds * 1_000 + after.microseconds // 1_000


def literal_of(at_ms: int) -> str:
    """A time as an SQL literal."""
    return f"'{rfc3339_millis(max(at_ms, 0))}'"


def status_of(row: Row) -> str:
    """The status that a person sees."""
    status: str = row["status"]
    if status == "completed":
        return "failed" if row.get("completion_result") == "failure" else "succeeded"
    return "running" if status == "ready" else status


def summary_from(row: Row, last_failure: Row | None) -> RunSummary:
    """A run's summary. last_failure: its last event, for runs that are retried or paused."""
    status = status_of(row)
    problem = row.get("completion_failure") if status == "failed" else None
    if status in ("backing-off", "paused") and last_failure is not None:
        problem = last_failure.get("error_message")
    retries = row.get("retry_count") or 0
    return RunSummary(
        id=row["id"],
        service=row["target_service_name"],
        handler=row["target_handler_name"],
        key=key_of(row),
        status=status,
        created_at_ms=millis(row["created_at"]) or 0,
        running_at_ms=millis(row.get("running_at")),
        completed_at_ms=millis(row.get("completed_at")),
        start_at_ms=millis(row.get("scheduled_start_at")),
        retry_count=retries - 1 if status == "running" and retries else retries,
        next_retry_at_ms=millis(row.get("next_retry_at")),
        invoked_by=row.get("invoked_by") or "",
        parent=row.get("invoked_by_id"),
        restarted_from=row.get("restarted_from"),
        problem=problem,
        modified_at_ms=millis(row.get("modified_at")) or 0,
    )


def key_of(row: Row) -> str | None:
    """The key, which may be the empty string; None for plain services."""
    return None if row.get("target_service_ty") == "service" else row.get("target_service_key", "")


def invocation_from(row: Row, services: Mapping[str, ServiceSchema]) -> Invocation:
    """An invocation without the value of its result, which only the journal has. services: by name."""
    created_at_ms = millis(row["created_at"]) or 0
    completed_at_ms = millis(row.get("completed_at"))
    retention_ms = duration_of(row.get("completion_retention"))
    waits = (row.get("suspended_waiting_for_completions"), row.get("suspended_waiting_for_signals"))
    trace_id, by = row.get("trace_id"), row.get("invoked_by")
    return Invocation(
        id=ids.invocation_id_from_str(row["id"]),
        target=_target(row, services),
        status=_STATUSES.get(row["status"], Status.INVOKED),
        created_at_ms=created_at_ms,
        modified_at_ms=millis(row.get("modified_at")) or created_at_ms,
        invoked_by=InvokedBy(by) if by in _INVOKED_BY else InvokedBy.INGRESS,
        invoked_by_id=_id_of(row.get("invoked_by_id")),
        invoked_by_target=row.get("invoked_by_target"),
        restarted_from=_id_of(row.get("restarted_from")),
        idempotency_key=row.get("idempotency_key"),
        traceparent=f"00-{trace_id}-" if trace_id else None,
        completion_retention_ms=retention_ms,
        inboxed_at_ms=millis(row.get("inboxed_at")),
        start_at_ms=millis(row.get("scheduled_start_at")),
        running_at_ms=millis(row.get("running_at")),
        completed_at_ms=completed_at_ms,
        purge_at_ms=None if completed_at_ms is None else completed_at_ms + retention_ms,
        pinned_deployment_id=row.get("pinned_deployment_id"),
        pinned_version=row.get("pinned_service_protocol_version"),
        journal_length=row.get("journal_size") or 0,
        awaiting=Future(tuple(waits[0] or ()), tuple(waits[1] or ())) if any(waits) else None,
        retry_count=row.get("retry_count") or 0,
        last_start_at_ms=millis(row.get("last_start_at")),
        next_retry_at_ms=millis(row.get("next_retry_at")),
        result=failure_of(row.get("completion_failure")),
    )


def _target(row: Row, services: Mapping[str, ServiceSchema]) -> Target:
    name, handler, key = row["target_service_name"], row["target_handler_name"], key_of(row)
    known = services.get(name)
    if known is not None and handler in known.handlers:
        return Target(name, handler, key, known.type, known.handlers[handler].kind)
    if key is None:
        return Target(name, handler, key, ServiceType.SERVICE, HandlerKind.PLAIN)
    is_workflow = row.get("target_service_ty") == "workflow"
    type_ = ServiceType.WORKFLOW if is_workflow else ServiceType.VIRTUAL_OBJECT
    # The service is gone: nearly all workflows name their main handler `run`.
    kind = HandlerKind.WORKFLOW if is_workflow and handler == "run" else HandlerKind.SHARED
    return Target(name, handler, key, type_, kind)


def failure_of(text: str | None) -> Failure | None:
    """The failure in a text such as `[404] no such account` or `[409 Aborted] reason`."""
    if text is None:
        return None
    found = _FAILURE.fullmatch(text)
    return Failure(500, text) if found is None else Failure(int(found[1]), found[2])


def duration_of(text: str | None) -> int:
    """Milliseconds of a duration in any of the server's forms; 0 for null."""
    try:
        return 0 if text is None else parse_duration_ms(text)
    except DurationError:
        return 0


def _id_of(text: str | None) -> ids.InvocationId | None:
    return None if text is None else ids.invocation_id_from_str(text)


def entry_from(row: Row) -> EntryRow:
    """An entry. Its payload is empty unless the row has `raw`."""
    type_ = _TYPES.get(row["entry_type"])
    raw = row.get("raw")
    entry = EntryRow(
        invocation_id=ids.invocation_id_from_str(row["id"]),
        index=row["index"],
        type_id=_UNKNOWN_TYPE if type_ is None else type_,
        payload=b"" if raw is None else bytes.fromhex(raw),
        appended_at_ms=millis(row.get("appended_at")) or 0,
        name=row.get("name"),
    )
    lite = row.get("entry_lite_json")
    told = msgspec.json.decode(lite) if lite else {}
    if "Notification" in told:
        _fill_notification(entry, told["Notification"])
    else:
        command: dict[str, Any] = next(iter(told.get("Command", {}).values()), {})
        entry.completion_id = command.get("result_completion_id", command.get("completion_id"))
    return entry


def _fill_notification(entry: EntryRow, told: dict[str, Any]) -> None:
    if entry.type_id == MessageType.CALL_INVOCATION_ID_COMPLETION and entry.payload:
        entry.child = _child_in(entry.payload)
    id_ = told.get("id", {})
    entry.completion_id = id_.get("CompletionId")
    entry.signal = id_.get("SignalIndex", id_.get("SignalName"))
    entry.is_failure = told.get("result") == "Failure"


def _child_in(payload: bytes) -> ids.InvocationId | None:
    """The callee's id; None if it cannot be decoded: one bad entry must not hide the others."""
    try:
        message = decode_message(MessageType.CALL_INVOCATION_ID_COMPLETION, payload, DEFAULT_VERSION)
        assert isinstance(message, Completion), "of the type asked for"
        assert isinstance(message.result, InvocationIdResult), "the codec allows no other"
        return ids.invocation_id_from_str(message.result.invocation_id)
    except (ProtocolViolation, InvalidId):
        return None


def event_from(row: Row) -> EventFact:
    data = msgspec.json.decode(row["event_json"])
    return EventFact(row["after_journal_entry_index"], millis(row["appended_at"]) or 0, row["event_type"], data)


def deployment_from(told: Row, kind: str) -> Deployment:
    """A deployment of `GET /deployments`. kind: from `sys_deployment`."""
    return Deployment(
        id=told["id"],
        kind=kind,
        uri=told.get("uri") or told.get("arn") or "",
        protocol_type=told.get("protocol_type") or "",
        min_protocol_version=told.get("min_protocol_version") or 0,
        max_protocol_version=told.get("max_protocol_version") or 0,
        sdk_version=told.get("sdk_version") or "",
        created_at_ms=millis(told["created_at"]) or 0,
        manifest=b"",
        services={item["name"]: item["revision"] for item in told.get("services", [])},
    )
