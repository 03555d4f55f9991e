"""Retries: decides whether a failed attempt leads to another one after a delay, to a pause, or to the end.

It keeps two counters. retry_count counts failed attempts since the last stored command, for the policy.
command_retry_count counts only attempts in which user code ran; Start has it, and the SDK limits `ctx.run` by it. Both
are stored, so they survive a restart. A failed attempt whose handler chose the delay counts like any other.
When a worker dies with several attempts in it, no attempt counts as failed. Each gets a higher loss_count instead, and
the deployment runs attempts with many losses apart from others. An attempt that was alone in a worker that dies is at
fault. A broken connection does not count either; the next attempt waits for the delay of the policy. An invocation that
calls a service which no part of a self-contained app serves fails for good after a few attempts. A cancelled invocation
ends as cancelled when its next attempt fails before it did anything. Called by attempts.py and apply.py. Read next:
failures.py, wakeups.py.
"""

from __future__ import annotations

import json

import msgspec

from rewake.core import failures, journal, lifecycle, wakeups
from rewake.core.effects import Note
from rewake.core.model import ALIKE_MIN, Attempt, AttemptError, Blame, Invocation, OnMaxAttempts, RetryPolicy, Status
from rewake.core.settings import (
    LOST_CONNECTIONS_MAX,
    RETRY_DELAY_MS_MAX,
    RETRY_JITTER,
    UNKNOWN_CALLEE_ATTEMPTS_MAX,
    WORKER_KILLS_MAX,
)
from rewake.core.state import State
from rewake.protocol.messages import Failure

CONNECTION_LOST = "RT0010"
UNKNOWN_CALLEE = "RT0018"


def next_delay_ms(policy: RetryPolicy, failures: int, jitter: float) -> int | None:
    """Delay before the next attempt; None if the policy is used up.

    failures: attempts that failed so far, from 1.   jitter: in [0, 1), drawn by the caller.
    """
    if policy.max_attempts is not None and failures >= max(policy.max_attempts, 1):
        return None
    try:
        delay = policy.initial_interval_ms * policy.exponentiation_factor ** (failures - 1)
    except OverflowError:
        delay = policy.max_interval_ms
    return int(min(delay, policy.max_interval_ms) * (1 + RETRY_JITTER * jitter))


def fail(
    state: State,
    invocation: Invocation,
    error: AttemptError,
    *,
    now_ms: int,
    jitter: float,
    delay_ms: int | None = None,
    reached_user_code: bool = True,
    exhausted: OnMaxAttempts | None = None,
    blame: Blame = Blame.OWN,
) -> None:
    """End the attempt as failed, and decide what follows. The caller has closed its stream.

    delay_ms: of the handler or the deployment, replaces the policy's; RETRY_DELAY_MS_MAX at most.
    exhausted: skip the policy.   blame: the cause; only this invocation's own failures use the policy.
    """
    attempt = invocation.attempt
    invocation.attempt = None
    if blame is Blame.OWN:
        error = failures.compared(error, invocation.last_error if invocation.retry_count else None)
    invocation.last_error = error
    _count(invocation, blame, reached_user_code)
    _record(state, invocation, error, blame, now_ms)
    if attempt is not None and attempt.pause_requested:
        lifecycle.pause(state, invocation, now_ms)
        return
    asked_ms = None if delay_ms is None else min(max(delay_ms, 0), RETRY_DELAY_MS_MAX)
    if not _is_charged(invocation, blame):
        wait_ms = _delay_after_loss(state, invocation, jitter) if blame is Blame.LOST else asked_ms or 0
        wakeups.arm_retry(state, invocation, now_ms + wait_ms)
        return
    if invocation.kill_count >= WORKER_KILLS_MAX:
        exhausted = OnMaxAttempts.PAUSE
    if _ignored_its_cancel(state, invocation, attempt) and exhausted is None:
        lifecycle.complete(state, invocation, lifecycle.CANCELED, now_ms)
        return
    if error.alike == state.settings.pause_after_alike:
        exhausted = OnMaxAttempts.PAUSE
    if _calls_nobody(state, error):
        exhausted = OnMaxAttempts.KILL
    policy = state.options_of(invocation.target).retry
    delay = None if exhausted else next_delay_ms(policy, invocation.retry_count, jitter)
    if delay is None:
        _give_up(state, invocation, exhausted or policy.on_max_attempts, error, now_ms)
        return
    if asked_ms is not None:
        delay = asked_ms
    elif error.restate_code == CONNECTION_LOST and invocation.retry_count == 1 and blame is Blame.OWN:
        delay = 0  # a dead process is back in milliseconds; only a second loss backs off
    wakeups.arm_retry(state, invocation, now_ms + delay)


def fail_unstartable(state: State, now_ms: int) -> None:
    """Fail the first attempt that could not start, unless a newer one has replaced it."""
    invocation_id, epoch, error = state.unstartable.popleft()
    invocation = state.invocations.get(invocation_id)
    if invocation is not None and invocation.epoch == epoch and invocation.status is Status.INVOKED:
        fail(state, invocation, error, now_ms=now_ms, jitter=0.0, reached_user_code=False)


def _ignored_its_cancel(state: State, invocation: Invocation, attempt: Attempt | None) -> bool:
    """Whether the attempt had a cancel in its journal from the start, and still failed or could not begin.

    Then it ends as cancelled. But a clean-up that has stored a command is retried like any other code.
    """
    cancelled_at = state.journal_of(invocation).cancelled_at
    return cancelled_at is not None and (attempt is None or cancelled_at < attempt.replayed)


def _calls_nobody(state: State, error: AttemptError) -> bool:
    """Whether it keeps calling a service that a self-contained app does not serve: its caller would wait for ever."""
    is_repeated = error.alike >= UNKNOWN_CALLEE_ATTEMPTS_MAX
    return error.restate_code == UNKNOWN_CALLEE and is_repeated and state.is_self_contained


def _delay_after_loss(state: State, invocation: Invocation, jitter: float) -> int:
    """No delay after the first loss; further losses back off like failures."""
    policy = msgspec.structs.replace(state.options_of(invocation.target).retry, max_attempts=None)
    delay = next_delay_ms(policy, invocation.loss_count - 1, jitter) if invocation.loss_count > 1 else 0
    assert delay is not None
    return delay


def _is_charged(invocation: Invocation, blame: Blame) -> bool:
    """Whether the end of the attempt uses up one attempt. Call it after the end was counted."""
    is_lost_for_good = blame is Blame.LOST and invocation.loss_count > LOST_CONNECTIONS_MAX
    return blame in (Blame.OWN, Blame.ALONE) or is_lost_for_good


def _count(invocation: Invocation, blame: Blame, reached_user_code: bool) -> None:
    if blame is Blame.OWN or (blame is Blame.LOST and invocation.stored_at_ms > (invocation.last_start_at_ms or 0)):
        invocation.loss_count = 0  # the attempt ended by itself, or made progress before its connection broke
    if blame in (Blame.SHARED, Blame.ALONE, Blame.LOST):
        invocation.loss_count += 1
    if blame is Blame.ALONE:
        invocation.kill_count += 1
    if _is_charged(invocation, blame):
        invocation.retry_count += 1
        invocation.command_retry_count += reached_user_code


def _give_up(state: State, invocation: Invocation, how: OnMaxAttempts, error: AttemptError, now_ms: int) -> None:
    if how is OnMaxAttempts.KILL:
        lifecycle.complete(state, invocation, Failure(error.code, error.message), now_ms)
    else:
        lifecycle.pause(state, invocation, now_ms)


def _record(state: State, invocation: Invocation, error: AttemptError, blame: Blame, now_ms: int) -> None:
    event = {"ty": "TransientError", **failures.facts_of(error)}
    journal.append_event(state, invocation, "TransientError", json.dumps(event), now_ms)
    facts: dict[str, object] = {
        "target": str(invocation.target),
        "attempt": invocation.retry_count if _is_charged(invocation, blame) else None,
        "code": error.restate_code,
        "message": error.message,
    }
    state.emit(Note("attempt_failed", invocation.id, facts, is_warning=True))
    if error.alike == ALIKE_MIN:
        alike: dict[str, object] = {"attempts_alike": error.alike, "hint": "it will not heal by retrying"}
        state.emit(Note("invocation_stuck", invocation.id, {**facts, **alike}, is_warning=True))
