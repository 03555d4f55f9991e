"""The public tables: their columns in the public order, with types (http-api.md 4).

This file has names and types only. views.py makes the tables, query.py renders values by type, and the docs use it too.
Tables for features that the engine lacks exist and are empty, so that tools for the real server work.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class ColumnType(StrEnum):
    """Type of a column for tools. In SQL a TIMESTAMP is text and a DURATION milliseconds, so both compare and sort."""

    TEXT = "LargeUtf8"
    UINT32 = "UInt32"
    UINT64 = "UInt64"
    INT64 = "Int64"
    FLOAT64 = "Float64"
    BOOLEAN = "Boolean"
    TIMESTAMP = 'Timestamp(ms, "+00:00")'
    DURATION = "Duration(ms)"
    BINARY = "LargeBinary"
    LIST_UINT32 = "List(UInt32)"
    LIST_TEXT = "List(LargeUtf8)"


_LETTERS: Final = {
    "S": ColumnType.TEXT,
    "U": ColumnType.UINT32,
    "L": ColumnType.UINT64,
    "B": ColumnType.BOOLEAN,
    "T": ColumnType.TIMESTAMP,
    "D": ColumnType.DURATION,
    "X": ColumnType.BINARY,
    "N": ColumnType.LIST_UINT32,
    "M": ColumnType.LIST_TEXT,
}

Columns = dict[str, ColumnType]


def _columns(text: str) -> Columns:
    """Columns from a text of `name:letter`; without a letter the type is S."""
    columns = {}
    for word in text.split():
        name, _, letter = word.partition(":")
        columns[name] = _LETTERS[letter or "S"]
    return columns


_FAILURE_COLUMNS = """
    last_failure last_failure_error_code
    last_failure_related_{a}_index:L last_failure_related_{a}_name last_failure_related_{a}_type
    last_failure_related_{b}_index:L last_failure_related_{b}_name last_failure_related_{b}_type
    last_awaiting_on_future_json
"""

_VQUEUE_PROGRESS = """
    sequence_number:L {entry} entry_kind created_at:T transitioned_at:T num_attempts:U num_errors:U num_pauses:U
    num_suspensions:U num_yields:U first_attempt_at:T latest_attempt_at:T first_runnable_at:T deployment
"""

_BLOCKED_ON = (
    "invoker_concurrency",
    "throttling_rules",
    "invoker_throttling",
    "invoker_memory",
    "concurrency_rules",
    "lock",
    "deployment_concurrency",
)

TABLES: Final[dict[str, Columns]] = {
    "sys_invocation": _columns(
        """
        id vqueue_id target target_service_name target_service_key target_handler_name target_service_ty scope limit_key
        idempotency_key invoked_by invoked_by_service_name invoked_by_id invoked_by_subscription_id invoked_by_target
        restarted_from pinned_deployment_id pinned_service_protocol_version:U trace_id journal_size:U
        journal_commands_size:U created_at:T created_using_restate_version modified_at:T inboxed_at:T scheduled_at:T
        scheduled_start_at:T running_at:T completed_at:T completion_retention:D journal_retention:D
        suspended_waiting_for_completions:N suspended_waiting_for_signals:N suspended_waiting_future_json
        retry_count:L last_start_at:T next_retry_at:T last_attempt_deployment_id last_attempt_server
        """
        + _FAILURE_COLUMNS.format(a="entry", b="command")
        + "status completion_result completion_failure"
    ),
    "sys_invocation_status": _columns(
        """
        partition_key:L id vqueue_id status completion_result completion_failure target target_service_name
        target_service_key target_handler_name target_service_ty scope limit_key idempotency_key invoked_by
        invoked_by_id invoked_by_subscription_id invoked_by_service_name invoked_by_target restarted_from
        pinned_deployment_id pinned_service_protocol_version:U trace_id journal_size:U journal_commands_size:U
        created_at:T created_using_restate_version modified_at:T
        inboxed_at:T scheduled_at:T scheduled_start_at:T running_at:T completed_at:T
        completion_retention:D journal_retention:D suspended_waiting_for_completions:N suspended_waiting_for_signals:N
        suspended_waiting_future_json
        """
    ),
    "sys_invocation_state": _columns(
        """
        partition_key:L id in_flight:B retry_count:L last_start_at:T last_attempt_deployment_id last_attempt_server
        next_retry_at:T
        """
        + _FAILURE_COLUMNS.format(a="command", b="entry")
    ),
    "sys_journal": _columns(
        """
        partition_key:L id index:U entry_type name completed:B invoked_id invoked_target sleep_wakeup_at:T promise_name
        raw:X raw_length:L version:U entry_json entry_lite_json appended_at:T
        """
    ),
    "sys_effect": _columns("partition_key:L id name key state agent who why index:U updated_at:T"),
    "sys_journal_events": _columns(
        "partition_key:L id after_journal_entry_index:U appended_at:T event_type event_json"
    ),
    "state": _columns(
        "partition_key:L scope service_name service_key key key_length:L value_utf8 value:X value_length:L"
    ),
    "sys_promise": _columns(
        """
        partition_key:L scope service_name service_key key completed:B completion_success_value:X
        completion_success_value_utf8 completion_failure
        """
    ),
    "sys_inbox": _columns("partition_key:L service_name service_key id sequence_number:L created_at:T"),
    "sys_keyed_service_status": _columns("partition_key:L service_name service_key invocation_id"),
    "sys_service": _columns("name revision:L public:B ty deployment_id"),
    "sys_deployment": _columns(
        "id ty endpoint created_at:T min_service_protocol_version:U max_service_protocol_version:U services:M"
    ),
    "sys_rules": _columns("pattern concurrency:U description disabled:B version:U last_modified:T"),
    "sys_vqueue_meta": _columns(
        """
        partition_key:L id is_active:B queue_is_paused:B service_name scope limit_key lock_name created_at:T
        last_enqueued_at:T last_start_at:T last_attempt_at:T last_finish_at:T avg_queue_duration:D avg_inbox_duration:D
        avg_run_duration:D avg_suspension_duration:D avg_end_to_end_duration:D avg_blocked_on_concurrency_rules:D
        avg_blocked_on_invoker_concurrency:D avg_blocked_on_invoker_throttling:D avg_blocked_on_lock:D num_inbox:L
        num_running:L num_suspended:L num_paused:L num_finished:L
        """
    ),
    "sys_vqueues": _columns(
        "partition_key:L id stage status has_lock:B run_at:T " + _VQUEUE_PROGRESS.format(entry="entry_id")
    ),
    "sys_vqueue_entry_status": _columns(
        "partition_key:L entry_id vqueue_id stage status has_lock:B next_at:T "
        + _VQUEUE_PROGRESS.format(entry="")
        + "needed_memory:L retry_attempts:U retry_count_since_last_stored_command:U "
        + " ".join(f"{prefix}_blocked_on_{name}:D" for prefix in ("latest_attempt", "total") for name in _BLOCKED_ON)
    ),
    "sys_scheduler": _columns(
        "partition_key:L id num_inbox:L status head_entry_id scheduled_at:T blocked_on blocked_on_json "
        + " ".join(f"{name}_block_duration:D" for name in _BLOCKED_ON)
    ),
    "sys_user_limits": _columns(
        """
        partition_key:L scope l1 l2 level usage:U concurrency_limit:U rule_pattern available:U num_waiters:L
        """
    ),
    "sys_locks": _columns("partition_key:L scope lock_name acquired_at:T acquired_by"),
}
