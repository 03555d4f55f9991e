"""Retries: what a failed attempt leads to - another one after a delay, a pause, or the end.

Owns the two counters. retry_count counts failed attempts since the last stored command and drives the policy;
command_retry_count counts only those in which user code ran and travels in Start, where it limits `ctx.run`.
Both are stored, so they survive a restart. A delay the handler asked for counts as an attempt like any other.
Called by attempts.py. See timers.py for the wake-up.
"""

from __future__ import annotations

import json

from rewake.core import invocations, journal, timers
from rewake.core.effects import Note
from rewake.core.model import AttemptError, Invocation, OnMaxAttempts, RetryPolicy, Status
from rewake.core.settings import MESSAGE_CHARS_MAX, RETRY_DELAY_MS_MAX, RETRY_JITTER, STACKTRACE_CHARS_MAX
from rewake.core.state import State
from rewake.protocol.messages import Error, Failure, MessageType

CONNECTION_LOST = "RT0010"
JOURNAL_MISMATCH = 570
PROTOCOL_VIOLATION = 571
CODE_UNKNOWN = 500


def next_delay_ms(policy: RetryPolicy, failures: int, jitter: float) -> int | None:
    """Delay before the next attempt, or None when the policy is used up.

    failures: attempts that failed so far, from 1.   jitter: in [0, 1), drawn by the caller.
    """
    if policy.max_attempts is not None and failures >= max(policy.max_attempts, 1):
        return None
    try:
        delay = policy.initial_interval_ms * policy.exponentiation_factor ** (failures - 1)
    except OverflowError:
        delay = policy.max_interval_ms
    return int(min(delay, policy.max_interval_ms) * (1 + RETRY_JITTER * jitter))


def error_of(message: Error) -> AttemptError:
    """What is kept of an Error message, texts cut to their limits."""
    code = message.code if message.code <= 0xFFFF else CODE_UNKNOWN
    restate_code = {JOURNAL_MISMATCH: "RT0016", PROTOCOL_VIOLATION: "RT0012"}.get(code, "RT0007")
    type_id = message.related_command_type
    return AttemptError(
        code=code,
        message=message.message[:MESSAGE_CHARS_MAX],
        restate_code=restate_code,
        stacktrace=message.stacktrace[:STACKTRACE_CHARS_MAX],
        related_command_index=message.related_command_index,
        related_command_name=message.related_command_name,
        related_command_type=_type_name(type_id) if type_id is not None else None,
    )


def _type_name(type_id: int) -> str | None:
    try:
        return "".join(part.capitalize() for part in MessageType(type_id).name.split("_"))
    except ValueError:
        return None


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
) -> None:
    """End the attempt as failed and decide what follows. The caller has closed its stream.

    delay_ms: asked for by the handler or the deployment, instead of the policy's; RETRY_DELAY_MS_MAX at most.
    exhausted: skip the policy.
    """
    attempt = invocation.attempt
    invocation.attempt = None
    invocation.last_error = error
    invocation.retry_count += 1
    if reached_user_code:
        invocation.command_retry_count += 1
    state.touch(invocation)
    _record(state, invocation, error, now_ms)
    if attempt is not None and attempt.pause_requested:
        invocations.set_paused(state, invocation, now_ms)
        return
    policy = state.options_of(invocation.target).retry
    delay = None if exhausted else next_delay_ms(policy, invocation.retry_count, jitter)
    if delay is None:
        _give_up(state, invocation, exhausted or policy.on_max_attempts, error, now_ms)
        return
    if delay_ms is not None:
        delay = min(max(delay_ms, 0), RETRY_DELAY_MS_MAX)
    elif error.restate_code == CONNECTION_LOST and invocation.retry_count == 1:
        delay = 0  # a process that died once is back in milliseconds; a second loss backs off
    timers.arm_retry(state, invocation, now_ms + delay)


def _give_up(state: State, invocation: Invocation, how: OnMaxAttempts, error: AttemptError, now_ms: int) -> None:
    if how is OnMaxAttempts.KILL:
        invocations.complete(state, invocation, Failure(error.code, error.message), now_ms)
    else:
        invocations.set_paused(state, invocation, now_ms)


def _record(state: State, invocation: Invocation, error: AttemptError, now_ms: int) -> None:
    event = {"ty": "TransientError", **facts_of(error)}
    journal.append_event(state, invocation, "TransientError", json.dumps(event), now_ms)
    facts: dict[str, object] = {
        "target": str(invocation.target),
        "attempt": invocation.retry_count,
        "code": error.restate_code,
        "message": error.message,
    }
    state.emit(Note("attempt_failed", invocation.id, facts, is_warning=True))


def facts_of(error: AttemptError) -> dict[str, object]:
    """The error as `sys_journal_events.event_json` shows it; what is absent is left out."""
    facts: dict[str, object] = {"error_code": error.code, "error_message": error.message}
    optional = {
        "error_stacktrace": error.stacktrace or None,
        "restate_doc_error_code": error.restate_code,
        "related_command_index": error.related_command_index,
        "related_command_name": error.related_command_name,
        "related_command_type": error.related_command_type,
    }
    return facts | {name: value for name, value in optional.items() if value is not None}


def is_backing_off(invocation: Invocation) -> bool:
    return invocation.status is Status.INVOKED and invocation.next_retry_at_ms is not None
