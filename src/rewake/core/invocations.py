"""The life of an invocation: created, admitted, completed; cancelled, killed, paused, resumed.

scheduled -> inboxed (key busy) -> invoked <-> suspended; invoked, suspended <-> paused; any -> completed -> forgotten.
Cancel is cooperative: a signal in the journal, which the SDK passes on to callees. Kill is ours: it fences the attempt
and goes down the call tree. Called by apply.py, sdk_commands.py and timers.py. Read next: attempts.py, keyed.py.
"""

from __future__ import annotations

import json

from rewake.core import attempts, journal, keyed, retention, retries, timers
from rewake.core.commands import Cancel, Kill, Pause, PauseFaulty, Recover, Resume
from rewake.core.effects import CloseAttempt, CloseMode, Completed, Note, Reply, ReplyStatus
from rewake.core.model import Invocation, InvokedBy, Journal, Status, Target
from rewake.core.state import State
from rewake.protocol.codec import encode_message
from rewake.protocol.messages import (
    CANCEL_SIGNAL,
    VOID,
    Completion,
    Failure,
    Header,
    InputCommand,
    MessageType,
    Success,
)

CANCELED = Failure(409, "canceled")
KILLED = Failure(409, "killed")

WAITS_ELSEWHERE = frozenset(
    {
        MessageType.SLEEP_COMPLETION,
        MessageType.CALL_COMPLETION,
        MessageType.ATTACH_INVOCATION_COMPLETION,
        MessageType.GET_PROMISE_COMPLETION,
    }
)
"""Results that a row beside the journal stands for: a timer, or a place among listeners."""


def create(
    state: State,
    *,
    invocation_id: bytes,
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
    """Store a new invocation with its input and, unless it is delayed, admit it."""
    completion_ms, journal_ms = retention.effective(state.options_of(target), target, idempotency_key)
    invocation = Invocation(
        id=invocation_id,
        target=target,
        status=Status.SCHEDULED,
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
        journal=Journal(),
        listeners=[],
    )
    state.add(invocation)
    payload = encode_message(InputCommand(headers, input))
    journal.append_command(state, invocation, MessageType.INPUT, payload, now_ms=now_ms, name="")
    if execute_at_ms is not None and execute_at_ms > now_ms:
        invocation.scheduled_at_ms = now_ms
        timers.arm_start(state, invocation, execute_at_ms)
    else:
        admit(state, invocation, now_ms, entries=((MessageType.INPUT, payload),))
    return invocation


def admit(
    state: State, invocation: Invocation, now_ms: int, entries: tuple[tuple[int, bytes], ...] | None = None
) -> None:
    """Start the invocation now or, when its key is taken, put it behind those that wait."""
    state.touch(invocation)
    invocation.modified_at_ms = now_ms
    if invocation.target.is_exclusive and not keyed.acquire(state, invocation):
        timers.disarm_wake(state, invocation)
        invocation.status = Status.INBOXED
        invocation.inboxed_at_ms = now_ms
        return
    attempts.begin(state, invocation, now_ms, entries)


def complete(state: State, invocation: Invocation, result: Success | Failure, now_ms: int) -> None:
    """Give the invocation its result: tell who waits, free its key, begin its retention."""
    was_holder = invocation.target.is_exclusive and invocation.status not in (Status.SCHEDULED, Status.INBOXED)
    timers.disarm_wake(state, invocation)
    invocation.status = Status.COMPLETED
    invocation.attempt = None
    invocation.awaiting = None
    invocation.notified = None
    invocation.result = result
    invocation.completed_at_ms = invocation.modified_at_ms = now_ms
    state.touch(invocation)
    if not WAITS_ELSEWHERE.isdisjoint(state.journal_of(invocation).pending.values()):
        state.abandon(invocation)
    notify_listeners(state, invocation, result, now_ms)
    state.emit(Completed(invocation.id, result, invocation))
    if was_holder:
        keyed.release(state, invocation, now_ms)
    retention.begin(state, invocation, now_ms)


def notify_listeners(state: State, invocation: Invocation, result: Success | Failure, now_ms: int) -> None:
    """Append the result to the journal of every invocation that called or attached."""
    listeners = state.listeners_of(invocation)
    if not listeners:
        return
    invocation.listeners = []
    state.batch.listeners = [row for row in state.batch.listeners if row[0] != invocation.id]
    state.batch.listener_deletes.append(invocation.id)
    for listener in listeners:
        caller = state.invocation(listener.caller_id)
        if caller is not None:
            completion = Completion(listener.type, listener.completion_id, result)
            journal.append_completion(state, caller, completion, now_ms=now_ms)


def forget_unstarted(state: State, invocation: Invocation, result: Failure, now_ms: int) -> None:
    """Remove a scheduled or queued invocation; its callers get `result`, nothing reaches a handler."""
    timers.disarm_wake(state, invocation)
    notify_listeners(state, invocation, result, now_ms)
    state.emit(Completed(invocation.id, result, invocation))
    if invocation.status is Status.INBOXED:
        keyed.leave_queue(state, invocation)
    state.delete(invocation)


def on_cancel(state: State, command: Cancel) -> None:
    invocation = state.invocation(command.invocation_id)
    status = _cancel(state, invocation, command.now_ms)
    state.emit(Reply(command.token, status, command.invocation_id))


def cancel(state: State, invocation_id: bytes, now_ms: int) -> None:
    """Cancel on behalf of a handler; what is unknown or finished is left alone."""
    _cancel(state, state.invocation(invocation_id), now_ms)


def _cancel(state: State, invocation: Invocation | None, now_ms: int) -> ReplyStatus:
    if invocation is None:
        return ReplyStatus.NOT_FOUND
    match invocation.status:
        case Status.COMPLETED:
            return ReplyStatus.ALREADY_COMPLETED
        case Status.SCHEDULED | Status.INBOXED:
            forget_unstarted(state, invocation, CANCELED, now_ms)
            return ReplyStatus.DONE
    must_wake = invocation.status is Status.PAUSED or retries.is_backing_off(invocation)
    journal.append_signal(state, invocation, CANCEL_SIGNAL, VOID, now_ms=now_ms)
    if must_wake:
        attempts.wake(state, invocation, now_ms)
    elif invocation.attempt is not None:
        invocation.attempt.pause_requested = False  # else the cancel would wait for somebody to resume
    return ReplyStatus.ACCEPTED


def on_kill(state: State, command: Kill) -> None:
    invocation = state.invocation(command.invocation_id)
    if invocation is None:
        status = ReplyStatus.NOT_FOUND
    elif not invocation.is_open:
        status = ReplyStatus.ALREADY_COMPLETED
    else:
        status = ReplyStatus.DONE
        _kill_tree(state, invocation, command.now_ms)
    state.emit(Reply(command.token, status, command.invocation_id))


def _kill_tree(state: State, root: Invocation, now_ms: int) -> None:
    """Kill an invocation and everything it called, calls and sends alike; without recursion, trees can be deep."""
    remaining = [root.id]
    while remaining:
        invocation = state.invocation(remaining.pop())
        if invocation is None or not invocation.is_open:
            continue
        remaining.extend(state.journal_of(invocation).children)
        if invocation.status in (Status.SCHEDULED, Status.INBOXED):
            forget_unstarted(state, invocation, KILLED, now_ms)
        else:
            attempts.fence(state, invocation)
            complete(state, invocation, KILLED, now_ms)


def on_pause(state: State, command: Pause) -> None:
    invocation = state.invocation(command.invocation_id)
    state.emit(Reply(command.token, _pause(state, invocation, command.now_ms), command.invocation_id))


def _pause(state: State, invocation: Invocation | None, now_ms: int) -> ReplyStatus:
    """A running handler is asked to suspend and paused when it does; what it has journaled stays."""
    if invocation is None:
        return ReplyStatus.NOT_FOUND
    match invocation.status:
        case Status.COMPLETED:
            return ReplyStatus.ALREADY_COMPLETED
        case Status.SCHEDULED | Status.INBOXED:
            return ReplyStatus.NOT_RUNNING
        case Status.PAUSED:
            return ReplyStatus.DONE
        case Status.SUSPENDED:
            set_paused(state, invocation, now_ms)
            return ReplyStatus.DONE
    if invocation.attempt is None:
        set_paused(state, invocation, now_ms)
    else:
        invocation.attempt.pause_requested = True
        state.emit(CloseAttempt(invocation.id, invocation.epoch, CloseMode.HALF_CLOSE))
    return ReplyStatus.ACCEPTED


def set_paused(state: State, invocation: Invocation, now_ms: int) -> None:
    """Stop driving the invocation until someone resumes or cancels it; any awaited set is forgotten."""
    timers.disarm_wake(state, invocation)
    invocation.status = Status.PAUSED
    invocation.attempt = None
    invocation.awaiting = None
    invocation.notified = None
    invocation.retry_count = 0
    invocation.modified_at_ms = now_ms
    event: dict[str, object] = {"ty": "Paused"}
    if invocation.last_error is not None:
        event["last_failure"] = retries.facts_of(invocation.last_error)
    journal.append_event(state, invocation, "Paused", json.dumps(event), now_ms)
    state.emit(Note("invocation_paused", invocation.id, {"target": str(invocation.target)}, is_warning=True))
    state.touch(invocation)


def on_resume(state: State, command: Resume) -> None:
    invocation = state.invocation(command.invocation_id)
    status = _resume(state, invocation, command.deployment, command.now_ms)
    state.emit(Reply(command.token, status, command.invocation_id))


def _resume(state: State, invocation: Invocation | None, deployment: str | None, now_ms: int) -> ReplyStatus:
    if invocation is None:
        return ReplyStatus.NOT_FOUND
    match invocation.status:
        case Status.COMPLETED:
            return ReplyStatus.ALREADY_COMPLETED
        case Status.SCHEDULED | Status.INBOXED:
            return ReplyStatus.NOT_STARTED
        case Status.INVOKED if deployment is not None:
            return ReplyStatus.NOT_PINNED
        case Status.INVOKED if invocation.attempt is not None:
            invocation.attempt.pause_requested = False
            return ReplyStatus.DONE
    if deployment is not None:
        moved_to = deployment_named(state, invocation.target, deployment)
        if moved_to is None:
            return ReplyStatus.DEPLOYMENT_NOT_FOUND
        invocation.pinned_deployment_id = moved_to
    invocation.retry_count = 0
    attempts.wake(state, invocation, now_ms)
    return ReplyStatus.DONE


def deployment_named(state: State, target: Target, deployment: str) -> str | None:
    """A deployment id by id or as "latest" for the target's service; None when there is none."""
    if deployment != "latest":
        return deployment if deployment in state.deployments else None
    service = state.services.get(target.service)
    return service.deployment_id if service and service.deployment_id in state.deployments else None


def on_recover(state: State, command: Recover) -> None:
    """After a start: run again what ran when the engine stopped. Those backing off have their timer."""
    for invocation_id in command.invocation_ids:
        invocation = state.invocation(invocation_id)
        if invocation is None or invocation.status is not Status.INVOKED or invocation.attempt is not None:
            continue
        if invocation.next_retry_at_ms is None:
            attempts.begin(state, invocation, command.now_ms)


def on_faulty(state: State, command: PauseFaulty) -> None:
    """Pause an invocation whose message raised an engine bug (see engine/runtime.py)."""
    invocation = state.invocation(command.invocation_id)
    if invocation is None or not invocation.is_open or invocation.status in (Status.SCHEDULED, Status.INBOXED):
        return
    attempts.fence(state, invocation)
    invocation.last_error = command.error
    set_paused(state, invocation, command.now_ms)
