"""The life of an invocation: created, admitted, begun, suspended, paused, completed, forgotten.

Only this file changes a status, always through `move`, which checks the table of legal MOVES. The functions here also
do what follows from a move: wake-ups, keys, listeners, retention. The files above decide which move to make:
attempts.py, retries.py, operations.py, timers.py, calls.py. An invocation that can run again waits in `state.ready`;
apply.py calls `begin_ready` for it.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Final

from rewake.core import failures, journal, keyed, placement, wakeups
from rewake.core.effects import CloseAttempt, CloseMode, Completed, Note, StartAttempt
from rewake.core.errors import EngineBug
from rewake.core.ids import EntryIndex, InvocationId
from rewake.core.model import Attempt, AttemptError, Invocation, InvokedBy, JournalSummary, Notified, Status, Target
from rewake.core.state import State
from rewake.protocol.codec import encode_message
from rewake.protocol.messages import Completion, Failure, Future, Header, InputCommand, MessageType, Success

SCHEDULED, INBOXED, INVOKED = Status.SCHEDULED, Status.INBOXED, Status.INVOKED
SUSPENDED, PAUSED, COMPLETED = Status.SUSPENDED, Status.PAUSED, Status.COMPLETED

MOVES: Final = MappingProxyType(
    {
        (None, SCHEDULED): "call, send, restart",
        (SCHEDULED, INBOXED): "due, key is taken",
        (SCHEDULED, INVOKED): "due",
        (SCHEDULED, None): "cancelled or killed",
        (INBOXED, INVOKED): "key is free",
        (INBOXED, None): "cancelled or killed",
        (INVOKED, INVOKED): "next attempt",
        (INVOKED, SUSPENDED): "only waits",
        (INVOKED, PAUSED): "retries used up, or on request",
        (INVOKED, COMPLETED): "ended, or killed",
        (SUSPENDED, INVOKED): "what it waits for is there",
        (SUSPENDED, PAUSED): "on request",
        (SUSPENDED, COMPLETED): "killed",
        (PAUSED, INVOKED): "resumed or cancelled",
        (PAUSED, COMPLETED): "killed",
        (COMPLETED, None): "retention is over, or purged",
    }
)
"""Every legal move (from, to) with its cause. None stands for "does not exist": before creation, after deletion."""

CANCELED: Final = Failure(409, "canceled")
KILLED: Final = Failure(409, "killed")

WAITS_ELSEWHERE: Final = frozenset(
    {
        MessageType.SLEEP_COMPLETION,
        MessageType.CALL_COMPLETION,
        MessageType.ATTACH_INVOCATION_COMPLETION,
        MessageType.GET_PROMISE_COMPLETION,
    }
)
"""Results that depend on a row beside the journal: a timer or a listener."""


def move(invocation: Invocation, to: Status) -> None:
    """Change the status. Raises EngineBug if the move is not legal."""
    _check(invocation, to)
    invocation.status = to


def _check(invocation: Invocation, to: Status | None) -> None:
    if (invocation.status, to) not in MOVES:
        target = to.name if to is not None else "forgotten"
        raise EngineBug(invocation.id, f"no move leads from {invocation.status.name} to {target}")


# Coming and going


def create(
    state: State,
    *,
    invocation_id: InvocationId,
    target: Target,
    input: bytes,
    headers: tuple[Header, ...],
    now_ms: int,
    random_seed: int,
    idempotency_key: str | None = None,
    execute_at_ms: int | None = None,
    invoked_by: InvokedBy = InvokedBy.INGRESS,
    caller: Invocation | None = None,
    traceparent: str | None = None,
) -> Invocation:
    """Store a new invocation with its input, and admit it unless it is delayed."""
    completion_ms, journal_ms = state.options_of(target).retention_ms(target, idempotency_key)
    invocation = Invocation(
        id=invocation_id,
        target=target,
        created_at_ms=now_ms,
        modified_at_ms=now_ms,
        invoked_by=invoked_by,
        invoked_by_id=caller.id if caller else None,
        invoked_by_target=str(caller.target) if caller else None,
        idempotency_key=idempotency_key,
        traceparent=traceparent or (caller.traceparent if caller else None),
        completion_retention_ms=completion_ms,
        journal_retention_ms=journal_ms,
        random_seed=random_seed,
        journal=JournalSummary(),
        listeners=[],
    )
    state.add(invocation)
    payload = encode_message(InputCommand(headers, input))
    journal.append_command(state, invocation, MessageType.INPUT, payload, now_ms=now_ms, name="")
    if execute_at_ms is not None and execute_at_ms > now_ms:
        invocation.scheduled_at_ms = now_ms
        wakeups.arm_start(state, invocation, execute_at_ms)
    else:
        admit(state, invocation, now_ms, entries=((MessageType.INPUT, payload),))
    return invocation


def admit(
    state: State, invocation: Invocation, now_ms: int, entries: tuple[tuple[int, bytes], ...] | None = None
) -> None:
    """Start a scheduled invocation now, or queue it if its key is taken."""
    state.touch(invocation)
    invocation.modified_at_ms = now_ms
    if invocation.target.is_exclusive and not keyed.acquire(state, invocation):
        move(invocation, INBOXED)
        invocation.inboxed_at_ms = now_ms
        return
    begin(state, invocation, now_ms, entries)


def complete(state: State, invocation: Invocation, result: Success | Failure, now_ms: int) -> None:
    """Complete an invocation that has begun: notify its listeners, free its key, begin its retention."""
    wakeups.disarm_wake(state, invocation)
    move(invocation, COMPLETED)
    invocation.attempt = None
    invocation.awaiting = None
    invocation.notified = None
    invocation.result = result
    invocation.completed_at_ms = invocation.modified_at_ms = now_ms
    state.touch(invocation)
    if not WAITS_ELSEWHERE.isdisjoint(state.journal_of(invocation).pending.values()):
        state.abandon(invocation)
    _notify_listeners(state, invocation, result, now_ms)
    state.emit(Completed(invocation.id, result, invocation))
    if invocation.target.is_exclusive:
        keyed.release(state, invocation)
    _begin_retention(state, invocation, now_ms)


def _notify_listeners(state: State, invocation: Invocation, result: Success | Failure, now_ms: int) -> None:
    """Append the result to the journal of every invocation that called or attached."""
    for listener in state.take_listeners(invocation):
        caller = state.invocation(listener.caller_id)
        if caller is not None:
            completion = Completion(listener.type, listener.completion_id, result)
            journal.append_completion(state, caller, completion, now_ms=now_ms)


def _begin_retention(state: State, invocation: Invocation, now_ms: int) -> None:
    """Set the deadlines of a completed invocation, or delete it at once if it has no retention."""
    if invocation.completion_retention_ms <= 0:
        forget(state, invocation)
        return
    invocation.purge_at_ms = now_ms + invocation.completion_retention_ms
    if invocation.journal_retention_ms <= 0:
        drop_journal(state, invocation)
    elif invocation.journal_retention_ms < invocation.completion_retention_ms:
        invocation.journal_purge_at_ms = now_ms + invocation.journal_retention_ms


def drop_journal(state: State, invocation: Invocation) -> None:
    """Delete the journal of a completed invocation and keep its result."""
    invocation.journal_purge_at_ms = None
    invocation.journal_length = invocation.command_count = 0
    invocation.journal = None
    state.drop_journal(invocation)


def forget(state: State, invocation: Invocation) -> None:
    """Delete a completed invocation. For a workflow run also its state and promises, which frees the key."""
    _check(invocation, None)
    target = invocation.target
    if target.is_workflow_run and target.key is not None:
        keyed.clear_values(state, target.service, target.key)
        state.forget_promises(target.service, target.key)
    state.delete(invocation)


def forget_unstarted(state: State, invocation: Invocation, result: Failure, now_ms: int) -> None:
    """Delete a scheduled or queued invocation; its callers get `result`, and no handler runs."""
    _check(invocation, None)
    wakeups.disarm_wake(state, invocation)
    _notify_listeners(state, invocation, result, now_ms)
    state.emit(Completed(invocation.id, result, invocation))
    if invocation.status is INBOXED:
        keyed.leave(state, invocation)
    state.delete(invocation)


# Running and resting


def begin(
    state: State,
    invocation: Invocation,
    now_ms: int,
    entries: tuple[tuple[int, bytes], ...] | None = None,
    *,
    is_resumed: bool = False,
) -> None:
    """Start an attempt.

    entries: the whole journal, if it is only the input.   is_resumed: see StartAttempt.
    """
    state.touch(invocation)
    wakeups.disarm_wake(state, invocation)
    move(invocation, INVOKED)
    invocation.attempt = None
    invocation.awaiting = None
    invocation.notified = []
    invocation.epoch = state.next_epoch()
    invocation.last_start_at_ms = now_ms
    if invocation.running_at_ms is None:
        invocation.running_at_ms = now_ms
    chosen = placement.deployment_and_version(state, invocation)
    if isinstance(chosen, AttemptError):
        # Not here: its end may wake its caller, which may fail in the same way, and so on up a chain of any length.
        state.unstartable.append((invocation.id, invocation.epoch, chosen))
        return
    deployment, version = chosen
    invocation.attempt = Attempt(
        invocation.epoch, deployment.id, version, now_ms, EntryIndex(invocation.journal_length)
    )
    invocation.last_deployment_id = deployment.id
    values, is_partial = placement.eager_state(state, invocation)
    state.emit(
        StartAttempt(
            invocation_id=invocation.id,
            epoch=invocation.epoch,
            target=invocation.target,
            key=invocation.branch_of or invocation.target.key or "",
            deployment_id=deployment.id,
            version=version,
            state=values,
            partial_state=is_partial,
            retry_count=invocation.command_retry_count,
            loss_count=invocation.loss_count,
            stored_at_ms=invocation.stored_at_ms,
            random_seed=invocation.random_seed,
            options=state.options_of(invocation.target),
            idempotency_key=invocation.idempotency_key,
            traceparent=invocation.traceparent,
            entries=entries,
            is_resumed=is_resumed,
        )
    )


def wake(state: State, invocation: Invocation, now_ms: int) -> None:
    """Run a resting or backing-off invocation again, now."""
    invocation.modified_at_ms = now_ms
    begin(state, invocation, now_ms, is_resumed=invocation.status is SUSPENDED and is_calm(state, invocation))


def is_calm(state: State, invocation: Invocation) -> bool:
    """Whether all steps have a result. A suspension cuts off the bodies of steps that no task waits for."""
    return MessageType.RUN_COMPLETION not in state.journal_of(invocation).pending.values()


def begin_ready(state: State, now_ms: int) -> None:
    """Begin the first ready invocation, unless it was begun, paused or deleted meanwhile."""
    invocation = state.invocations.get(state.ready.popleft())
    if invocation is None:
        return
    if invocation.status is SUSPENDED or (invocation.status is INBOXED and keyed.holds_key(state, invocation)):
        wake(state, invocation, now_ms)


def suspend(
    state: State,
    invocation: Invocation,
    awaiting: Future,
    *,
    awaiting_from: EntryIndex,
    notified: list[Notified],
    now_ms: int,
) -> None:
    """Suspend the invocation until journal entries from `awaiting_from` on resolve `awaiting`.

    notified: such entries that exist already.
    """
    move(invocation, SUSPENDED)
    invocation.attempt = None
    invocation.awaiting = awaiting
    invocation.awaiting_from = awaiting_from
    invocation.notified = notified
    invocation.retry_count = 0
    invocation.loss_count = 0
    invocation.modified_at_ms = now_ms
    state.touch(invocation)


def pause(state: State, invocation: Invocation, now_ms: int) -> None:
    """Pause the invocation until somebody resumes or cancels it; its await is dropped."""
    wakeups.disarm_wake(state, invocation)
    move(invocation, PAUSED)
    invocation.attempt = None
    invocation.awaiting = None
    invocation.notified = None
    invocation.retry_count = 0
    invocation.kill_count = 0
    invocation.modified_at_ms = now_ms
    event: dict[str, object] = {"ty": "Paused"}
    if invocation.last_error is not None:
        event["last_failure"] = failures.facts_of(invocation.last_error)
    journal.append_event(state, invocation, "Paused", json.dumps(event), now_ms)
    state.emit(Note("invocation_paused", invocation.id, {"target": str(invocation.target)}, is_warning=True))
    state.touch(invocation)


def fence(state: State, invocation: Invocation) -> None:
    """Cut off the live attempt, if there is one: its later messages are not accepted."""
    if invocation.attempt is not None:
        state.emit(CloseAttempt(invocation.id, invocation.epoch, CloseMode.ABORT))
        invocation.attempt = None
