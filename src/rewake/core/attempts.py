"""Attempts: messages of the live one, and its four ends - End, Suspension, Error, or a loss of the connection.

At most one attempt is live per invocation. Each gets a new epoch; a message with another epoch is stale and is dropped.
A suspended invocation holds no attempt and no memory, but keeps its key.
Called by apply.py; lifecycle.py begins them. Read next: sdk_commands.py, retries.py.
"""

from __future__ import annotations

from rewake.core import failures, journal, lifecycle, retries, sdk_commands
from rewake.core.commands import AttemptFailed, AttemptWithdrawn, MakeRoom, SdkMessages
from rewake.core.effects import CloseAttempt, CloseMode
from rewake.core.errors import CommandRejected
from rewake.core.ids import CompletionId, EntryIndex, Epoch, InvocationId
from rewake.core.model import AttemptError, Invocation, OnMaxAttempts
from rewake.core.state import State
from rewake.errors import ErrorCode
from rewake.names import some_of
from rewake.protocol.errors import AWAIT_TREE_TOO_DEEP, ProtocolViolation
from rewake.protocol.framing import Oversized
from rewake.protocol.messages import (
    REQUESTED_ACK,
    AwaitingOn,
    Completion,
    End,
    Error,
    ErrorBehavior,
    Failure,
    MessageType,
    ProposeRunCompletion,
    ProposeRunCompletionAck,
    Suspension,
)

RESULT_TOO_LARGE = 413
"""Code of the failure, the same as in HTTP."""

RUN_ACKS_SINCE = 7
"""First protocol version in which a proposed result can be acknowledged; earlier ones always forward it."""


def live(state: State, invocation_id: InvocationId, epoch: Epoch) -> Invocation | None:
    """The invocation, if this epoch is its live attempt; None for stale messages."""
    invocation = state.invocations.get(invocation_id)
    if invocation is None or invocation.attempt is None or invocation.attempt.epoch != epoch:
        return None
    return invocation


def on_messages(state: State, command: SdkMessages) -> None:
    """Handle messages of one attempt in order. A rejected one fails the attempt; those before it stay."""
    invocation = live(state, command.invocation_id, command.epoch)
    if invocation is None:
        return
    context = sdk_commands.Context(state, invocation, command.now_ms, command.seed)
    for message, type_id, payload, flags in command.messages:
        try:
            match message:
                case ProposeRunCompletion():
                    _on_run_proposed(context, message, flags)
                case End():
                    _on_end(context)
                case Suspension():
                    _on_suspension(context, message, command.delivered)
                case Error():
                    _on_error(context, message)
                case Oversized():
                    _on_oversized(context, message)
                case AwaitingOn():
                    pass  # a hint may be late, repeated or missing (5.3); nothing depends on it
                case _:
                    sdk_commands.on_command(context, message, type_id, payload, flags)
        except (ProtocolViolation, CommandRejected) as rejection:
            error = AttemptError(500, str(rejection.args[0]), rejection.code)
            state.emit(CloseAttempt(invocation.id, invocation.epoch, CloseMode.ABORT))
            jitter = context.jitter()
            retries.fail(state, invocation, error, now_ms=command.now_ms, jitter=jitter, exhausted=_exhausted_by(error))
        if invocation.attempt is None or invocation.attempt.epoch != command.epoch:
            return


def on_failed(state: State, command: AttemptFailed) -> None:
    invocation = live(state, command.invocation_id, command.epoch)
    if invocation is None:
        return
    state.emit(CloseAttempt(invocation.id, invocation.epoch, CloseMode.FINISHED))
    retries.fail(
        state,
        invocation,
        command.error,
        now_ms=command.now_ms,
        jitter=command.jitter,
        delay_ms=command.retry_after_ms,
        reached_user_code=command.reached_user_code,
        exhausted=_exhausted_by(command.error),
        blame=command.blame,
    )


def on_withdrawn(state: State, command: AttemptWithdrawn) -> None:
    """Pause the invocation; or queue another attempt, if the pause was taken back meanwhile."""
    invocation = live(state, command.invocation_id, command.epoch)
    if invocation is None:
        return
    assert invocation.attempt is not None
    if invocation.attempt.pause_requested:
        lifecycle.pause(state, invocation, command.now_ms)
    else:
        lifecycle.begin(state, invocation, command.now_ms)


def on_make_room(state: State, command: MakeRoom) -> None:
    """Ask the handler to suspend, unless it executes a step.

    The suspension would cut off a step in the background, which would run again (service-protocol.md 5.5). A handler
    without a pending entry waits for a signal or runs its own code; it is asked only if it is urgent.
    """
    invocation = live(state, command.invocation_id, command.epoch)
    if invocation is None:
        return
    waits_for = state.journal_of(invocation).pending.values()
    if (waits_for or command.is_urgent) and MessageType.RUN_COMPLETION not in waits_for:
        state.emit(CloseAttempt(invocation.id, invocation.epoch, CloseMode.HALF_CLOSE))


def _exhausted_by(error: AttemptError) -> OnMaxAttempts | None:
    """Skip the policy for an await that is too deep: it would be as deep at the next attempt."""
    return OnMaxAttempts.PAUSE if error.restate_code == AWAIT_TREE_TOO_DEEP else None


def _on_run_proposed(context: sdk_commands.Context, message: ProposeRunCompletion, flags: int) -> None:
    state, invocation = context.state, context.invocation
    assert invocation.attempt is not None
    completion_id = CompletionId(message.completion_id)
    if state.journal_of(invocation).pending.get(completion_id) is not MessageType.RUN_COMPLETION:
        raise ProtocolViolation(f"proposed the result of a run that is not waiting: {message.completion_id}")
    wants_ack = bool(flags & REQUESTED_ACK) and context.version >= RUN_ACKS_SINCE  # earlier ones have none
    completion = Completion(MessageType.RUN_COMPLETION, message.completion_id, message.result)
    journal.append_completion(state, invocation, completion, now_ms=context.now_ms, forward=not wants_ack)
    if wants_ack:
        context.acknowledge(ProposeRunCompletionAck(message.completion_id))


def _on_oversized(context: sdk_commands.Context, message: Oversized) -> None:
    """A result above the limit fails its step or handler for good: another attempt would not make it smaller."""
    state, invocation, now_ms = context.state, context.invocation, context.now_ms
    size = f"has {message.size} bytes, more than the {message.size_max} allowed"
    code = ErrorCode.RESULT_TOO_LARGE
    if message.type_id == MessageType.OUTPUT:
        lifecycle.fence(state, invocation)
        failure = Failure(RESULT_TOO_LARGE, f"{code} The result of {invocation.target} {size}.")
        lifecycle.complete(state, invocation, failure, now_ms)
        return
    completion_id = message.completion_id
    if state.journal_of(invocation).pending.get(CompletionId(completion_id)) is not MessageType.RUN_COMPLETION:
        raise ProtocolViolation(f"proposed the result of a run that is not waiting: {completion_id}")
    step = next(row for row in state.entries_of(invocation) if row.completion_id == completion_id)
    failure = Failure(RESULT_TOO_LARGE, f"{code} The result of the step {step.name!r} {size}.")
    completion = Completion(MessageType.RUN_COMPLETION, completion_id, failure)
    lifecycle.fence(state, invocation)
    journal.append_completion(state, invocation, completion, now_ms=now_ms)
    lifecycle.begin(state, invocation, now_ms)  # the stream cannot be read any further; a new attempt gets the failure


def _on_end(context: sdk_commands.Context) -> None:
    state, invocation = context.state, context.invocation
    result = state.output_of(invocation)
    if result is None:
        raise ProtocolViolation("the handler ended without a result")
    state.emit(CloseAttempt(invocation.id, invocation.epoch, CloseMode.FINISHED))
    lifecycle.complete(state, invocation, result, context.now_ms)


def _on_suspension(context: sdk_commands.Context, message: Suspension, delivered: EntryIndex) -> None:
    """Suspend, unless an entry that the handler has not seen already resolves its await (the race of 5.4)."""
    state, invocation, now_ms = context.state, context.invocation, context.now_ms
    attempt = invocation.attempt
    assert attempt is not None
    awaiting = message.awaiting_on
    if not (awaiting.completions or awaiting.signals or awaiting.named_signals or awaiting.nested):
        raise ProtocolViolation("suspended without naming what it waits for")
    missed = [item for item in invocation.notified or () if item.index >= delivered]
    is_resolved = bool(missed) and journal.await_resolved(awaiting, missed)
    given = [] if is_resolved else journal.given_before(state, invocation, awaiting, missed)
    context.pin()
    state.emit(CloseAttempt(invocation.id, invocation.epoch, CloseMode.FINISHED))
    if attempt.pause_requested:
        lifecycle.pause(state, invocation, now_ms)
        return
    if is_resolved:
        lifecycle.begin(state, invocation, now_ms, is_resumed=lifecycle.is_calm(state, invocation))
    elif journal.await_resolved(awaiting, given + missed):
        named = [f"{'signal' if item.is_signal else 'completion'} {item.id}" for item in given]
        _on_vain_suspension(context, f"suspended on what it had been given: {', '.join(named) or 'nothing'}")
    elif stuck := journal.never_coming(state, invocation, awaiting, given + missed):
        _on_vain_suspension(context, f"suspended on what never comes: completion {some_of(map(str, stuck))}")
    else:
        lifecycle.suspend(state, invocation, awaiting, awaiting_from=delivered, notified=given + missed, now_ms=now_ms)


def _on_vain_suspension(context: sdk_commands.Context, message: str) -> None:
    """Nothing would wake the invocation: run it again; a repetition is a failure.

    The real server resumes it at once each time (service-protocol.md 5.4), which makes a busy loop.
    """
    state, invocation, now_ms = context.state, context.invocation, context.now_ms
    if not invocation.retry_count:
        invocation.retry_count = 1
        lifecycle.begin(state, invocation, now_ms)
        return
    error = AttemptError(failures.PROTOCOL_VIOLATION, message, "RT0012")
    retries.fail(state, invocation, error, now_ms=now_ms, jitter=context.jitter(), reached_user_code=False)


def _on_error(context: sdk_commands.Context, message: Error) -> None:
    state, invocation, now_ms = context.state, context.invocation, context.now_ms
    state.emit(CloseAttempt(invocation.id, invocation.epoch, CloseMode.FINISHED))
    error = failures.error_of(message)
    if message.behavior is ErrorBehavior.FAIL:
        lifecycle.complete(state, invocation, Failure(error.code, error.message), now_ms)
        return
    retries.fail(
        state,
        invocation,
        error,
        now_ms=now_ms,
        jitter=context.jitter(),
        delay_ms=message.next_retry_delay,
        exhausted=OnMaxAttempts.PAUSE if message.behavior is ErrorBehavior.PAUSE else None,
    )
