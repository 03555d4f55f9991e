"""Structs to rows and back: one function per table and direction, with their lists of columns.

This is on the hot path: a run writes about nine rows, so each function only reads attributes and builds one tuple. The
stored numbers of enums are defined here. Used by writing.py and reader.py; schema.py has the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from rewake.core.ids import InvocationId
from rewake.core.model import (
    AttemptError,
    Deployment,
    Invocation,
    InvokedBy,
    Listener,
    Promise,
    ServiceSchema,
    StateMutation,
    Status,
    Target,
)
from rewake.core.writes import EntryRow, EventRow
from rewake.protocol.discovery import HandlerKind, ServiceType
from rewake.protocol.messages import Failure, Future, MessageType, Success

Row = tuple[Any, ...]

SERVICE_TYPES: Final = (ServiceType.SERVICE, ServiceType.VIRTUAL_OBJECT, ServiceType.WORKFLOW)
HANDLER_KINDS: Final = (HandlerKind.PLAIN, HandlerKind.EXCLUSIVE, HandlerKind.SHARED, HandlerKind.WORKFLOW)
"""The stored number is the position in this tuple. Append only."""

_INVOKED_BY: Final = {item.value: item for item in InvokedBy}
_STATUSES: Final = tuple(Status)
_SERVICE, _VIRTUAL_OBJECT = ServiceType.SERVICE, ServiceType.VIRTUAL_OBJECT
_PLAIN, _EXCLUSIVE, _SHARED = HandlerKind.PLAIN, HandlerKind.EXCLUSIVE, HandlerKind.SHARED

_U64: Final = 1 << 64
_INT64_MAX: Final = (1 << 63) - 1

_encode = msgspec.json.Encoder().encode
_decode_future = msgspec.json.Decoder(Future).decode
error_from = msgspec.json.Decoder(AttemptError).decode
_decode_metadata = msgspec.json.Decoder(tuple[tuple[str, str], ...]).decode
_pack = msgspec.msgpack.Encoder().encode
_decode_deployment = msgspec.msgpack.Decoder(Deployment).decode
_decode_service = msgspec.msgpack.Decoder(ServiceSchema).decode
_decode_state = msgspec.msgpack.Decoder(dict[bytes, bytes]).decode

INVOCATION_FIXED: Final = (
    "id", "service", "handler", "key", "service_type", "handler_kind", "created_at_ms", "invoked_by", "invoked_by_id",
    "invoked_by_target", "restarted_from", "branch_of", "idempotency_key", "traceparent", "completion_retention_ms",
    "journal_retention_ms", "random_seed",
)  # fmt: skip
"""Columns that do not change after the insert."""

INVOCATION_CHANGING: Final = (
    "status", "modified_at_ms", "inbox_sequence", "inboxed_at_ms", "scheduled_at_ms", "start_at_ms", "running_at_ms",
    "completed_at_ms", "purge_at_ms", "journal_purge_at_ms", "sweep_at_ms", "pinned_deployment_id", "pinned_version",
    "retry_count", "command_retry_count", "loss_count", "kill_count", "last_start_at_ms", "next_retry_at_ms",
    "last_deployment_id", "awaiting_from", "awaiting", "last_error", "result_code", "result_message", "result_metadata",
    "result_value", "result_value_id",
)  # fmt: skip

RESULT_VALUE: Final = "coalesce(result_value, large_value(result_value_id))"

INVOCATION_COLUMNS: Final = ", ".join((*INVOCATION_FIXED, *INVOCATION_CHANGING[:-2], RESULT_VALUE))
"""Columns to read, in the order of `invocation_from`."""

ENTRY_COLUMNS: Final = (
    "invocation_id, idx, type, payload, appended_at_ms, name, completion_id, signal, is_failure, child"
)
"""Columns in the field order of EntryRow, so that `entry_row` is one call into C."""

PAYLOAD_AT: Final = 3
"""Position of the payload among them."""

entry_row = msgspec.structs.astuple


def invocation_fixed(item: Invocation) -> Row:
    target = item.target
    type_, kind = target.service_type, target.kind
    seed = item.random_seed
    return (
        item.id,
        target.service,
        target.handler,
        target.key,
        0 if type_ is _SERVICE else 1 if type_ is _VIRTUAL_OBJECT else 2,
        0 if kind is _PLAIN else 1 if kind is _EXCLUSIVE else 2 if kind is _SHARED else 3,
        item.created_at_ms,
        item.invoked_by,
        item.invoked_by_id,
        item.invoked_by_target,
        item.restarted_from,
        item.branch_of,
        item.idempotency_key,
        item.traceparent,
        item.completion_retention_ms,
        item.journal_retention_ms,
        seed if seed <= _INT64_MAX else seed - _U64,
    )


def invocation_changing(item: Invocation) -> Row:
    awaiting, error = item.awaiting, item.last_error
    purge_at_ms, journal_purge_at_ms = item.purge_at_ms, item.journal_purge_at_ms
    return (
        item.status,
        item.modified_at_ms,
        item.inbox_sequence,
        item.inboxed_at_ms,
        item.scheduled_at_ms,
        item.start_at_ms,
        item.running_at_ms,
        item.completed_at_ms,
        purge_at_ms,
        journal_purge_at_ms,
        purge_at_ms if journal_purge_at_ms is None else _earliest(purge_at_ms, journal_purge_at_ms),
        item.pinned_deployment_id,
        item.pinned_version,
        item.retry_count,
        item.command_retry_count,
        item.loss_count,
        item.kill_count,
        item.last_start_at_ms,
        item.next_retry_at_ms,
        item.last_deployment_id,
        item.awaiting_from,
        None if awaiting is None else _encode(awaiting),
        None if error is None else _encode(error),
        *result_row(item.result),
        None,
    )


def with_large_result(row: Row, value_id: int) -> Row:
    """A row of `invocation_row` or `invocation_changing` with its result stored apart."""
    return (*row[:-2], None, value_id)


def invocation_row(item: Invocation) -> Row:
    """The values to write: fixed columns, then changing ones."""
    return invocation_fixed(item) + invocation_changing(item)


def invocation_from(row: Row) -> Invocation:
    """The struct of a row with INVOCATION_COLUMNS; facts of the journal stay zero."""
    (
        id_, service, handler, key, service_type, handler_kind, created_at_ms, invoked_by, invoked_by_id,
        invoked_by_target, restarted_from, branch_of, idempotency_key, traceparent, completion_retention_ms,
        journal_retention_ms, random_seed, status, modified_at_ms,
        inbox_sequence, inboxed_at_ms, scheduled_at_ms, start_at_ms, running_at_ms,
        completed_at_ms, purge_at_ms, journal_purge_at_ms, _, pinned_deployment_id, pinned_version, retry_count,
        command_retry_count, loss_count, kill_count, last_start_at_ms, next_retry_at_ms, last_deployment_id,
        awaiting_from, awaiting, last_error, result_code, result_message, result_metadata, result_value,
    ) = row  # fmt: skip
    return Invocation(
        id=id_,
        target=Target(service, handler, key, SERVICE_TYPES[service_type], HANDLER_KINDS[handler_kind]),
        status=_STATUSES[status],
        created_at_ms=created_at_ms,
        modified_at_ms=modified_at_ms,
        invoked_by=_INVOKED_BY[invoked_by],
        invoked_by_id=invoked_by_id,
        invoked_by_target=invoked_by_target,
        restarted_from=restarted_from,
        branch_of=branch_of,
        idempotency_key=idempotency_key,
        traceparent=traceparent,
        completion_retention_ms=completion_retention_ms,
        journal_retention_ms=journal_retention_ms,
        random_seed=random_seed if random_seed >= 0 else random_seed + _U64,
        inbox_sequence=inbox_sequence,
        inboxed_at_ms=inboxed_at_ms,
        scheduled_at_ms=scheduled_at_ms,
        start_at_ms=start_at_ms,
        running_at_ms=running_at_ms,
        completed_at_ms=completed_at_ms,
        purge_at_ms=purge_at_ms,
        journal_purge_at_ms=journal_purge_at_ms,
        pinned_deployment_id=pinned_deployment_id,
        pinned_version=pinned_version,
        awaiting=None if awaiting is None else _decode_future(awaiting),
        awaiting_from=awaiting_from,
        retry_count=retry_count,
        command_retry_count=command_retry_count,
        loss_count=loss_count,
        kill_count=kill_count,
        last_start_at_ms=last_start_at_ms,
        next_retry_at_ms=next_retry_at_ms,
        last_deployment_id=last_deployment_id,
        last_error=None if last_error is None else error_from(last_error),
        result=result_from(result_code, result_message, result_metadata, result_value),
        is_stored=True,
    )


def result_row(result: Success | Failure | None) -> Row:
    """(code, message, metadata, value). A failure has a code, a success a value, and an open one neither."""
    if result is None:
        return (None, None, None, None)
    if type(result) is Success:
        return (None, None, None, result.content)
    assert type(result) is Failure, result
    return (result.code, result.message, _encode(result.metadata) if result.metadata else None, None)


def result_from(
    code: int | None, message: str | None, metadata: bytes | None, value: bytes | None
) -> Success | Failure | None:
    if code is not None:
        return Failure(code, message or "", _decode_metadata(metadata) if metadata else ())
    return None if value is None else Success(value)


def entry_from(row: Sequence[Any]) -> EntryRow:
    """The entry of a row with ENTRY_COLUMNS."""
    invocation_id, index, type_id, payload, appended_at_ms, name, completion_id, signal, is_failure, child = row
    return EntryRow(
        invocation_id, index, type_id, payload, appended_at_ms, name, completion_id, signal, bool(is_failure), child
    )


def event_row(position: int, item: EventRow) -> Row:
    return (item.invocation_id, position, item.after_index, item.appended_at_ms, item.event_type, item.data)


def listener_row(invocation_id: InvocationId, position: int, item: Listener) -> Row:
    return (invocation_id, position, item.caller_id, item.completion_id, item.type)


def listener_from(row: Row) -> Listener:
    caller_id, completion_id, type_id = row
    return Listener(caller_id, completion_id, MessageType(type_id))


def promise_listener_row(promise_key: tuple[str, str, str], position: int, item: Listener) -> Row:
    return (*promise_key, position, item.caller_id, item.completion_id, item.type)


def promise_row(promise_key: tuple[str, str, str], result: Success | Failure | None) -> Row:
    return (*promise_key, *result_row(result))


def promise_from(promise_key: tuple[str, str, str], row: Row, listeners: list[Listener]) -> Promise:
    return Promise(*promise_key, result=result_from(*row), listeners=listeners)


def mutation_row(item: StateMutation) -> Row:
    return (item.sequence, item.service, item.key, item.expected_version, _pack(item.new_state))


def mutation_from(row: Row) -> StateMutation:
    sequence, service, key, expected_version, new_state = row
    return StateMutation(service, key, sequence, _decode_state(new_state), expected_version)


def deployment_row(item: Deployment) -> Row:
    return (item.id, item.created_at_ms, _pack(item))


def deployment_from(data: bytes) -> Deployment:
    return _decode_deployment(data)


def service_row(item: ServiceSchema) -> Row:
    return (item.name, _pack(item))


def service_from(data: bytes) -> ServiceSchema:
    return _decode_service(data)


def _earliest(purge_at_ms: int | None, journal_purge_at_ms: int) -> int:
    return journal_purge_at_ms if purge_at_ms is None else min(purge_at_ms, journal_purge_at_ms)
