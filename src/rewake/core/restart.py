"""Restart as new: a new invocation begins with the first entries of an old one's journal. The old one is not changed.

The prefix is only the input (a plain re-run of a completed invocation) or longer (a fork, also of an open one). A
fork's prefix must have the completion of every command in it. The new invocation keeps the old random seed, so that its
replay agrees with the prefix. A fork may also replace the result of its last step: the new invocation goes another way
from there, and repeats nothing before. It uses the current state: kept steps do not write again. If later runs of the
key have changed what the kept steps read, the new invocation gets a branch of the key (branches.py).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from rewake.core import branches, ids, journal, lifecycle, placement
from rewake.core.commands import RestartAsNew
from rewake.core.effects import Reply, ReplyStatus
from rewake.core.ids import CompletionId, DeploymentId, InvocationId
from rewake.core.model import Invocation, InvokedBy, JournalSummary, Status
from rewake.core.state import COMPLETION_OF, State
from rewake.core.writes import EntryRow
from rewake.protocol.codec import encode_message
from rewake.protocol.messages import Completion, MessageType, Success

KEEP = "keep"
AWAKEABLE_ID: Final = re.compile(rb"sign_1[A-Za-z0-9_-]{38}")


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
    if old.status is not Status.COMPLETED and command.from_index == 0:
        return ReplyStatus.IN_PROGRESS
    if old.target.is_workflow_run:
        return ReplyStatus.UNSUPPORTED
    rows = state.entries_of(old)
    if not rows:
        return ReplyStatus.INPUT_GONE
    prefix = _kept(old, rows, command, _lineage(state, old))
    if isinstance(prefix, ReplyStatus):
        return prefix
    pinned = old.pinned_deployment_id
    if command.deployment != KEEP:
        pinned = placement.deployment_named(state, old.target, command.deployment)
        if pinned is None:
            return ReplyStatus.DEPLOYMENT_NOT_FOUND
    is_branch = not command.overwrite_state and branches.is_needed(state, old, prefix, rows)
    return _create(state, old, prefix, pinned, command, is_branch=is_branch)


def _lineage(state: State, invocation: Invocation) -> set[InvocationId]:
    """Its id and those of its origins: the entries that it took over may contain awakeables of all of them."""
    found = {invocation.id}
    origin = invocation.restarted_from
    while origin is not None and origin not in found:
        found.add(origin)
        earlier = state.invocation(origin)
        origin = None if earlier is None else earlier.restarted_from
    return found


def _kept(
    old: Invocation, rows: list[EntryRow], command: RestartAsNew, lineage: set[InvocationId]
) -> list[EntryRow] | ReplyStatus:
    """The first entries of the new journal, or the reason for a refusal."""
    if command.from_index >= len(rows):
        return ReplyStatus.INCOMPLETE_PREFIX
    prefix = prefix_of(rows, command.from_index)
    if command.result is not None:
        replaced = with_result(prefix, command.from_index, command.result, old.pinned_version or 6)
        if replaced is None:
            return ReplyStatus.NO_STEP
        prefix = replaced
    if waiting_in(prefix):
        return ReplyStatus.INCOMPLETE_PREFIX
    answers = answers_to_told(lineage, rows, prefix)
    if answers is None:
        return ReplyStatus.OPEN_AWAKEABLE
    return sorted(prefix + answers, key=lambda row: row.index)  # a replay decides races by this order


def prefix_of(rows: list[EntryRow], last_index: int) -> list[EntryRow]:
    """Entries 0..last_index and the existing completions of their commands."""
    prefix = rows[: last_index + 1]
    waiting = waiting_in(prefix)
    for row in rows[last_index + 1 :]:
        if not row.is_command and row.completion_id in waiting:
            prefix.append(row)
            waiting.discard(row.completion_id)
        elif row.type_id == MessageType.CALL_INVOCATION_ID_COMPLETION and row.index == prefix[-1].index + 1:
            prefix.append(row)
    return prefix


def waiting_in(prefix: list[EntryRow]) -> set[CompletionId | None]:
    """Completion ids of commands without a result."""
    waiting = {row.completion_id for row in prefix if row.type_id in COMPLETION_OF}
    return waiting - {row.completion_id for row in prefix if not row.is_command}


def with_result(prefix: list[EntryRow], index: int, result: bytes, version: int) -> list[EntryRow] | None:
    """The prefix with this result for the Run at `index`, replaced or added at the end; None if it is not a Run."""
    step = prefix[index]
    if step.type_id != MessageType.RUN or step.completion_id is None:
        return None
    known = [row for row in prefix if row.completion_id == step.completion_id and not row.is_command]
    completion = Completion(MessageType.RUN_COMPLETION, step.completion_id, Success(result))
    completed = msgspec.structs.replace(
        step,
        index=known[0].index if known else prefix[-1].index + 1,
        type_id=MessageType.RUN_COMPLETION,
        payload=encode_message(completion, version),
        name=None,
    )
    return [row for row in prefix if row not in known] + [completed]


def answers_to_told(lineage: set[InvocationId], rows: list[EntryRow], prefix: list[EntryRow]) -> list[EntryRow] | None:
    """Answers behind the prefix to awakeables whose ids are in the prefix; None if one of these is open.

    Answers to such an id go to the old invocation. Existing answers are taken over; later ones would not reach the new
    invocation. An id that is not in the prefix will be sent out by the steps that run again.
    """
    told: set[int] = set()
    for row in prefix:
        for text in AWAKEABLE_ID.findall(row.payload):
            owner, signal = ids.awakeable_id_parse(text.decode())
            if owner in lineage:
                told.add(signal)
    told -= {row.signal for row in prefix if isinstance(row.signal, int)}
    answers = [row for row in rows if row.signal in told]
    return answers if len(answers) == len(told) else None


def _create(
    state: State,
    old: Invocation,
    prefix: list[EntryRow],
    pinned: DeploymentId | None,
    command: RestartAsNew,
    *,
    is_branch: bool,
) -> Invocation:
    now_ms = command.now_ms
    invocation_id = InvocationId(old.id[:8] + ids.ulid_bytes(now_ms, command.random))
    completion_ms, journal_ms = state.options_of(old.target).retention_ms(old.target, None)
    is_rerun = len(prefix) == 1
    target = branches.make(state, old, prefix, invocation_id) if is_branch else old.target
    invocation = Invocation(
        id=invocation_id,
        target=target,
        created_at_ms=now_ms,
        modified_at_ms=now_ms,
        invoked_by=InvokedBy.RESTART_AS_NEW,
        restarted_from=old.id,
        branch_of=(old.branch_of or old.target.key) if is_branch else old.branch_of,
        traceparent=old.traceparent,
        completion_retention_ms=completion_ms,
        journal_retention_ms=journal_ms,
        random_seed=ids.random_seed_of(invocation_id) if is_rerun else old.random_seed,
        pinned_deployment_id=None if is_rerun and command.deployment != KEEP else pinned,
        pinned_version=None if is_rerun else old.pinned_version,
        journal=JournalSummary(),
        listeners=[],
    )
    state.add(invocation)
    for row in prefix:
        journal.copy_entry(state, invocation, row, now_ms)
    lifecycle.admit(state, invocation, now_ms)
    return invocation
