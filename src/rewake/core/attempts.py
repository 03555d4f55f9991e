"""Attempts: beginning one, and the four ways it ends - End, Suspension, Error, or a loss of the connection.

At most one attempt is live per invocation. Each gets a new epoch; a message that carries another one is stale and is
dropped. A suspended invocation holds no attempt and no memory, but keeps its key.
Called by invocations.py, journal.py and timers.py. Read next: sdk_commands.py, retries.py.
"""

from __future__ import annotations

from rewake.core import invocations, journal, retries, sdk_commands, timers
from rewake.core.commands import AttemptFailed, AttemptWithdrawn, MakeRoom, SdkMessages
from rewake.core.effects import CloseAttempt, CloseMode, Forward, StartAttempt
from rewake.core.errors import CommandRejected
from rewake.core.model import Attempt, AttemptError, Deployment, Invocation, OnMaxAttempts, Status
from rewake.core.state import State
from rewake.protocol.discovery import ManifestError, choose_protocol_version
from rewake.protocol.errors import AWAIT_TREE_TOO_DEEP, ProtocolViolation
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

PROTOCOL_VERSION_MIN = 5
NO_DEPLOYMENT = "no deployment was found to process the invocation"
DEPLOYMENT_GONE = (
    "the invocation has a deployment id associated, but it was not found in the registry; "
    "register the deployment again, or pause the invocation and resume it on another one"
)


def begin(
    state: State, invocation: Invocation, now_ms: int, entries: tuple[tuple[int, bytes], ...] | None = None
) -> None:
    """Start an attempt. entries: the whole journal, when the caller knows it to be just the input."""
    state.touch(invocation)
    timers.disarm_wake(state, invocation)
    invocation.status = Status.INVOKED
    invocation.awaiting = None
    invocation.notified = []
    invocation.epoch = state.next_epoch()
    invocation.last_start_at_ms = now_ms
    if invocation.running_at_ms is None:
        invocation.running_at_ms = now_ms
    chosen = _deployment_and_version(state, invocation)
    if isinstance(chosen, AttemptError):
        # Not here: its end may wake who called it, which may fail the same way, and so on up a chain of any length.
        state.unstartable.append((invocation.id, invocation.epoch, chosen))
        return
    deployment, version = chosen
    invocation.attempt = Attempt(invocation.epoch, deployment.id, version, now_ms)
    invocation.last_deployment_id = deployment.id
    values, is_partial = _eager_state(state, invocation)
    state.emit(
        StartAttempt(
            invocation_id=invocation.id,
            epoch=invocation.epoch,
            target=invocation.target,
            deployment_id=deployment.id,
            version=version,
            state=values,
            partial_state=is_partial,
            retry_count=invocation.command_retry_count,
            stored_at_ms=invocation.stored_at_ms,
            random_seed=invocation.random_seed,
            options=state.options_of(invocation.target),
            idempotency_key=invocation.idempotency_key,
            traceparent=invocation.traceparent,
            entries=entries,
        )
    )


def fail_unstartable(state: State, now_ms: int) -> None:
    """Fail the first of the attempts that could not be made, unless it was overtaken since."""
    invocation_id, epoch, error = state.unstartable.popleft()
    invocation = state.invocations.get(invocation_id)
    if invocation is not None and invocation.epoch == epoch and invocation.status is Status.INVOKED:
        retries.fail(state, invocation, error, now_ms=now_ms, jitter=0.0, reached_user_code=False)


def _deployment_and_version(state: State, invocation: Invocation) -> tuple[Deployment, int] | AttemptError:
    deployment = _deployment_of(state, invocation)
    if isinstance(deployment, AttemptError):
        return deployment
    if invocation.pinned_version is not None:
        return deployment, invocation.pinned_version
    try:
        version = choose_protocol_version(
            deployment.min_protocol_version,
            deployment.max_protocol_version,
            ours_min=PROTOCOL_VERSION_MIN,
            ours_max=state.settings.protocol_version_max,
        )
    except ManifestError as error:
        return AttemptError(500, error.message, "RT0013")
    return deployment, version


def _deployment_of(state: State, invocation: Invocation) -> Deployment | AttemptError:
    if invocation.pinned_deployment_id is not None:
        pinned = state.deployments.get(invocation.pinned_deployment_id)
        return pinned or AttemptError(500, DEPLOYMENT_GONE, "RT0011")
    service = state.services.get(invocation.target.service)
    deployment = state.deployments.get(service.deployment_id) if service else None
    return deployment or AttemptError(500, NO_DEPLOYMENT, "RT0011")


def _eager_state(state: State, invocation: Invocation) -> tuple[tuple[tuple[bytes, bytes], ...], bool]:
    """State for Start, and whether it is partial. As much as fits the limit, in key order."""
    target = invocation.target
    if target.key is None or state.options_of(target).enable_lazy_state:
        return (), True
    values = sorted(state.values_of(target.service, target.key).items())
    size = 0
    for count, (name, value) in enumerate(values):
        size += len(name) + len(value)
        if size > state.settings.eager_state_bytes_max:
            return tuple(values[:count]), True
    return tuple(values), False


def wake(state: State, invocation: Invocation, now_ms: int) -> None:
    """Run a suspended, paused or backing-off invocation again, now."""
    invocation.modified_at_ms = now_ms
    begin(state, invocation, now_ms)


def live(state: State, invocation_id: bytes, epoch: int) -> Invocation | None:
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
                case AwaitingOn():
                    pass  # a late, repeated or missing hint (5.3); nothing may depend on it
                case _:
                    sdk_commands.on_command(context, message, type_id, payload, flags)
        except (ProtocolViolation, CommandRejected) as rejection:
            error = AttemptError(500, str(rejection.args[0]), rejection.code)
            _abort(state, invocation)
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
    )


def on_withdrawn(state: State, command: AttemptWithdrawn) -> None:
    """Pause it as it was asked to or, when that was taken back meanwhile, queue another attempt."""
    invocation = live(state, command.invocation_id, command.epoch)
    if invocation is None:
        return
    assert invocation.attempt is not None
    if invocation.attempt.pause_requested:
        invocations.set_paused(state, invocation, command.now_ms)
    else:
        begin(state, invocation, command.now_ms)


def on_make_room(state: State, command: MakeRoom) -> None:
    """Ask the handler to suspend, unless it executes a step, or may be at work on something the journal does not show.

    A step in the background would be cut off by the suspension and run again (service-protocol.md 5.5).
    """
    invocation = live(state, command.invocation_id, command.epoch)
    if invocation is None:
        return
    waits_for = state.journal_of(invocation).pending.values()
    if waits_for and MessageType.RUN_COMPLETION not in waits_for:
        state.emit(CloseAttempt(invocation.id, invocation.epoch, CloseMode.HALF_CLOSE))


def _exhausted_by(error: AttemptError) -> OnMaxAttempts | None:
    """An await too deep to evaluate will be no less deep the next time."""
    return OnMaxAttempts.PAUSE if error.restate_code == AWAIT_TREE_TOO_DEEP else None


def _abort(state: State, invocation: Invocation) -> None:
    assert invocation.attempt is not None
    state.emit(CloseAttempt(invocation.id, invocation.epoch, CloseMode.ABORT))


def fence(state: State, invocation: Invocation) -> None:
    """Cut off the live attempt, if there is one: nothing it still sends is accepted."""
    if invocation.attempt is not None:
        _abort(state, invocation)
        invocation.attempt = None


def _on_run_proposed(context: sdk_commands.Context, message: ProposeRunCompletion, flags: int) -> None:
    state, invocation = context.state, context.invocation
    assert invocation.attempt is not None
    if state.journal_of(invocation).pending.get(message.completion_id) is not MessageType.RUN_COMPLETION:
        raise ProtocolViolation(f"proposed the result of a run that is not waiting: {message.completion_id}")
    context.pin()
    wants_ack = bool(flags & REQUESTED_ACK)
    completion = Completion(MessageType.RUN_COMPLETION, message.completion_id, message.result)
    journal.append_completion(state, invocation, completion, now_ms=context.now_ms)
    if wants_ack:
        forwarded = state.effects[-1]
        assert isinstance(forwarded, Forward)
        forwarded.is_ack = True
        forwarded.type_id = MessageType.PROPOSE_RUN_COMPLETION_ACK
        forwarded.payload = context.encode(ProposeRunCompletionAck(message.completion_id))


def _on_end(context: sdk_commands.Context) -> None:
    state, invocation = context.state, context.invocation
    result = state.output_of(invocation)
    if result is None:
        raise ProtocolViolation("the handler ended without a result")
    state.emit(CloseAttempt(invocation.id, invocation.epoch, CloseMode.FINISHED))
    invocations.complete(state, invocation, result, context.now_ms)


def _on_suspension(context: sdk_commands.Context, message: Suspension, delivered: int) -> None:
    """Suspend, unless something the handler was not told resolves its await already (the race of 5.4)."""
    state, invocation, now_ms = context.state, context.invocation, context.now_ms
    attempt = invocation.attempt
    assert attempt is not None
    awaiting = message.awaiting_on
    if not (awaiting.completions or awaiting.signals or awaiting.named_signals or awaiting.nested):
        raise ProtocolViolation("suspended without naming what it waits for")
    missed = [item for item in invocation.notified or () if item.index >= delivered]
    is_resolved = journal.await_resolved(awaiting, missed)
    context.pin()
    state.emit(CloseAttempt(invocation.id, invocation.epoch, CloseMode.FINISHED))
    invocation.attempt = None
    if attempt.pause_requested:
        invocations.set_paused(state, invocation, now_ms)
        return
    if is_resolved:
        begin(state, invocation, now_ms)
        return
    invocation.status = Status.SUSPENDED
    invocation.awaiting = awaiting
    invocation.awaiting_from = delivered
    invocation.notified = missed
    invocation.retry_count = 0
    invocation.modified_at_ms = now_ms
    state.touch(invocation)


def _on_error(context: sdk_commands.Context, message: Error) -> None:
    state, invocation, now_ms = context.state, context.invocation, context.now_ms
    state.emit(CloseAttempt(invocation.id, invocation.epoch, CloseMode.FINISHED))
    error = retries.error_of(message)
    if message.behavior is ErrorBehavior.FAIL:
        invocations.complete(state, invocation, Failure(error.code, error.message), now_ms)
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
