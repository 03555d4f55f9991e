"""Operations on one invocation - cancel, kill, pause, resume - and the recovery of all at a restart.

Cancel is cooperative: a signal in the journal, which the SDK passes on to callees. Kill is done by the core: it fences
the attempt and goes down the call tree. Called by apply.py; by signals.py for a handler that cancels; by timers.py,
which continues the kill of a large tree. retention.py has purge, restart.py restart as new.
"""

from __future__ import annotations

from rewake.core import journal, lifecycle, placement, wakeups
from rewake.core.commands import Cancel, Kill, Pause, PauseFaulty, Recover, Resume
from rewake.core.effects import CloseAttempt, CloseMode, Reply, ReplyStatus
from rewake.core.ids import InvocationId
from rewake.core.model import Invocation, Status, Timer
from rewake.core.state import State
from rewake.protocol.messages import CANCEL_SIGNAL, VOID


def on_cancel(state: State, command: Cancel) -> None:
    invocation = state.invocation(command.invocation_id)
    status = _cancel(state, invocation, command.now_ms)
    state.emit(Reply(command.token, status, command.invocation_id))


def cancel(state: State, invocation_id: InvocationId, now_ms: int) -> None:
    """Cancel on behalf of a handler; an unknown or finished invocation is ignored."""
    _cancel(state, state.invocation(invocation_id), now_ms)


def _cancel(state: State, invocation: Invocation | None, now_ms: int) -> ReplyStatus:
    if invocation is None:
        return ReplyStatus.NOT_FOUND
    match invocation.status:
        case Status.COMPLETED:
            return ReplyStatus.ALREADY_COMPLETED
        case Status.SCHEDULED | Status.INBOXED:
            lifecycle.forget_unstarted(state, invocation, lifecycle.CANCELED, now_ms)
            return ReplyStatus.DONE
    must_wake = invocation.status is Status.PAUSED or invocation.is_backing_off
    journal.append_signal(state, invocation, CANCEL_SIGNAL, VOID, now_ms=now_ms)
    if must_wake:
        lifecycle.wake(state, invocation, now_ms)
    elif invocation.attempt is not None:
        invocation.attempt.pause_requested = False  # otherwise the cancel would wait for a resume
    return ReplyStatus.ACCEPTED


def on_kill(state: State, command: Kill) -> None:
    invocation = state.invocation(command.invocation_id)
    if invocation is None:
        status = ReplyStatus.NOT_FOUND
    elif not invocation.is_open:
        status = ReplyStatus.ALREADY_COMPLETED
    else:
        status = ReplyStatus.DONE
        _kill_trees(state, [invocation.id], command.now_ms)
    state.emit(Reply(command.token, status, command.invocation_id))


def kill_due(state: State, due: list[Timer], now_ms: int) -> None:
    """Continue a kill; invocations beyond this slice stay due.

    An invocation that was created after the kill is not killed: it only has the id of an earlier one.
    """
    doomed: list[InvocationId] = []
    for fire_at_ms, invocation_id, completion_id in due[: state.settings.kills_per_command]:
        wakeups.disarm(state, invocation_id, fire_at_ms, completion_id)
        invocation = state.invocation(invocation_id)
        if invocation is not None and invocation.created_at_ms <= fire_at_ms:
            doomed.append(invocation_id)
    _kill_trees(state, doomed, now_ms)


def _kill_trees(state: State, doomed: list[InvocationId], now_ms: int) -> None:
    """Kill invocations and everything they called or sent, without recursion, because trees can be deep.

    One command kills a bounded number. The others get stored timers that are due at once, so a crash loses no kill.
    """
    budget = state.settings.kills_per_command
    while doomed and budget:
        budget -= 1
        invocation = state.invocation(doomed.pop())
        if invocation is None or not invocation.is_open:
            continue
        doomed.extend(state.journal_of(invocation).children)
        if invocation.status in (Status.SCHEDULED, Status.INBOXED):
            lifecycle.forget_unstarted(state, invocation, lifecycle.KILLED, now_ms)
        else:
            lifecycle.fence(state, invocation)
            lifecycle.complete(state, invocation, lifecycle.KILLED, now_ms)
    wakeups.arm_kills(state, doomed, now_ms)


def on_pause(state: State, command: Pause) -> None:
    invocation = state.invocation(command.invocation_id)
    state.emit(Reply(command.token, _pause(state, invocation, command.now_ms), command.invocation_id))


def _pause(state: State, invocation: Invocation | None, now_ms: int) -> ReplyStatus:
    """Pause an invocation. A running handler is asked to suspend first; its journal is kept."""
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
            lifecycle.pause(state, invocation, now_ms)
            return ReplyStatus.DONE
    if invocation.attempt is None:
        lifecycle.pause(state, invocation, now_ms)
    else:
        invocation.attempt.pause_requested = True
        state.emit(CloseAttempt(invocation.id, invocation.epoch, CloseMode.HALF_CLOSE))
    return ReplyStatus.ACCEPTED


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
        moved_to = placement.deployment_named(state, invocation.target, deployment)
        if moved_to is None:
            return ReplyStatus.DEPLOYMENT_NOT_FOUND
        invocation.pinned_deployment_id = moved_to
    invocation.retry_count = 0
    lifecycle.wake(state, invocation, now_ms)
    return ReplyStatus.DONE


def on_recover(state: State, command: Recover) -> None:
    """After a start: resume all invocations that ran. Those that back off have their timer."""
    for invocation_id in command.invocation_ids:
        invocation = state.invocation(invocation_id)
        if invocation is None or invocation.status is not Status.INVOKED or invocation.attempt is not None:
            continue
        if invocation.next_retry_at_ms is None:
            lifecycle.begin(state, invocation, command.now_ms)


def on_faulty(state: State, command: PauseFaulty) -> None:
    """Pause an invocation whose message raised an engine bug (see engine/runtime.py)."""
    invocation = state.invocation(command.invocation_id)
    if invocation is None or not invocation.is_open or invocation.status in (Status.SCHEDULED, Status.INBOXED):
        return
    lifecycle.fence(state, invocation)
    invocation.last_error = command.error
    state.touch(invocation)
    if invocation.status is not Status.PAUSED:
        lifecycle.pause(state, invocation, command.now_ms)
