"""Restart as new: a completed invocation's journal prefix, run on as a new invocation beside the old one.

The prefix may be just the input (a plain re-run) or reach further; then it must hold the completion of every command
in it, and the new invocation keeps the old random seed so that replay agrees with it. A fork may also replace the
result of the last step it keeps: the new invocation decides otherwise there, and repeats nothing before.
"""

from __future__ import annotations

import msgspec

from rewake.core import ids, invocations, journal, retention
from rewake.core.commands import RestartAsNew
from rewake.core.effects import Reply, ReplyStatus
from rewake.core.model import Invocation, InvokedBy, Journal, Status
from rewake.core.state import COMPLETION_OF, State
from rewake.core.writes import EntryRow
from rewake.protocol.codec import encode_message
from rewake.protocol.messages import Completion, MessageType, Success

KEEP = "keep"


def on_restart(state: State, command: RestartAsNew) -> None:
    old = state.invocation(command.invocation_id)
    made = _restart(state, old, command)
    if isinstance(made, ReplyStatus):
        state.emit(Reply(command.token, made, command.invocation_id))
    else:
        state.emit(Reply(command.token, ReplyStatus.ACCEPTED, made.id))


def _restart(state: State, old: Invocation | None, command: RestartAsNew) -> Invocation | ReplyStatus:
    if old is None:
        return ReplyStatus.NOT_FOUND
    if old.status in (Status.SCHEDULED, Status.INBOXED):
        return ReplyStatus.NOT_STARTED
    if old.status is not Status.COMPLETED:
        return ReplyStatus.IN_PROGRESS
    if old.target.is_workflow_run:
        return ReplyStatus.UNSUPPORTED
    rows = state.entries_of(old)
    if not rows:
        return ReplyStatus.INPUT_GONE
    prefix = prefix_of(rows, command.from_index)
    if prefix is None:
        return ReplyStatus.INCOMPLETE_PREFIX
    if command.result is not None:
        replaced = with_result(prefix, command.from_index, command.result, old.pinned_version or 6)
        if replaced is None:
            return ReplyStatus.NO_STEP
        prefix = replaced
    pinned = old.pinned_deployment_id
    if command.deployment != KEEP:
        pinned = invocations.deployment_named(state, old.target, command.deployment)
        if pinned is None:
            return ReplyStatus.DEPLOYMENT_NOT_FOUND
    return _create(state, old, prefix, pinned, command)


def prefix_of(rows: list[EntryRow], last_index: int) -> list[EntryRow] | None:
    """Entries 0..last_index and the completions of the commands among them; None if one has no completion yet."""
    if last_index >= len(rows):
        return None
    prefix = rows[: last_index + 1]
    commands = [row for row in prefix if row.type_id < MessageType.GET_LAZY_STATE_COMPLETION]
    waiting = {row.completion_id for row in commands if MessageType(row.type_id) in COMPLETION_OF}
    waiting -= {row.completion_id for row in prefix if row.type_id >= MessageType.GET_LAZY_STATE_COMPLETION}
    for row in rows[last_index + 1 :]:
        if row.type_id >= MessageType.GET_LAZY_STATE_COMPLETION and row.completion_id in waiting:
            prefix.append(row)
            waiting.discard(row.completion_id)
        elif row.type_id == MessageType.CALL_INVOCATION_ID_COMPLETION and row.index == prefix[-1].index + 1:
            prefix.append(row)
    return None if waiting else prefix


def with_result(prefix: list[EntryRow], index: int, result: bytes, version: int) -> list[EntryRow] | None:
    """The prefix with another result of the Run at `index`; None if that entry is no Run."""
    step = prefix[index]
    if step.type_id != MessageType.RUN or step.completion_id is None:
        return None
    completion = Completion(MessageType.RUN_COMPLETION, step.completion_id, Success(result))
    payload = encode_message(completion, version)
    return [
        msgspec.structs.replace(row, payload=payload, is_failure=False)
        if row.type_id == MessageType.RUN_COMPLETION and row.completion_id == step.completion_id
        else row
        for row in prefix
    ]


def _create(
    state: State, old: Invocation, prefix: list[EntryRow], pinned: str | None, command: RestartAsNew
) -> Invocation:
    now_ms = command.now_ms
    invocation_id = old.id[:8] + ids.ulid_bytes(now_ms, command.random)
    completion_ms, journal_ms = retention.effective(state.options_of(old.target), old.target, None)
    is_rerun = len(prefix) == 1
    invocation = Invocation(
        id=invocation_id,
        target=old.target,
        status=Status.SCHEDULED,
        created_at_ms=now_ms,
        modified_at_ms=now_ms,
        invoked_by=InvokedBy.RESTART_AS_NEW,
        restarted_from=old.id,
        traceparent=old.traceparent,
        completion_retention_ms=completion_ms,
        journal_retention_ms=journal_ms,
        random_seed=ids.random_seed_of(invocation_id) if is_rerun else old.random_seed,
        pinned_deployment_id=None if is_rerun and command.deployment != KEEP else pinned,
        pinned_version=None if is_rerun else old.pinned_version,
        journal=Journal(),
        listeners=[],
    )
    state.add(invocation)
    for row in prefix:
        journal.copy_entry(state, invocation, row, now_ms)
    invocations.admit(state, invocation, now_ms)
    return invocation
