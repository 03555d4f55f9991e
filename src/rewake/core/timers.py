"""Timers: sleeps of handlers, delayed starts, and the wait before a retry.

A timer is a row (fire_at_ms, invocation id, completion id). A completion id of 0 wakes the invocation itself: a
scheduled one starts, one that backs off tries again. Firing is idempotent: a timer that no longer fits is dropped.
Knows no clock: commands carry `now_ms`; the engine only remembers the earliest (ArmTimer).
"""

from __future__ import annotations

from rewake.core import attempts, invocations, journal
from rewake.core.commands import TimersDue
from rewake.core.effects import ArmTimer
from rewake.core.model import Invocation, Status
from rewake.core.state import State
from rewake.protocol.messages import VOID, Completion, MessageType

WAKE = 0


def arm(state: State, invocation_id: bytes, fire_at_ms: int, completion_id: int) -> None:
    state.batch.timers[(fire_at_ms, invocation_id, completion_id)] = True
    state.emit(ArmTimer(fire_at_ms))


def _disarm(state: State, invocation_id: bytes, fire_at_ms: int, completion_id: int) -> None:
    state.batch.timers[(fire_at_ms, invocation_id, completion_id)] = False


def arm_start(state: State, invocation: Invocation, start_at_ms: int) -> None:
    invocation.start_at_ms = start_at_ms
    arm(state, invocation.id, start_at_ms, WAKE)


def arm_retry(state: State, invocation: Invocation, retry_at_ms: int) -> None:
    invocation.next_retry_at_ms = retry_at_ms
    state.touch(invocation)
    arm(state, invocation.id, retry_at_ms, WAKE)


def disarm_wake(state: State, invocation: Invocation) -> None:
    """Drop the pending start or retry, if any."""
    if invocation.next_retry_at_ms is not None:
        _disarm(state, invocation.id, invocation.next_retry_at_ms, WAKE)
        invocation.next_retry_at_ms = None
    if invocation.status is Status.SCHEDULED and invocation.start_at_ms is not None:
        _disarm(state, invocation.id, invocation.start_at_ms, WAKE)


def on_due(state: State, command: TimersDue) -> None:
    for fire_at_ms, invocation_id, completion_id in command.due:
        _disarm(state, invocation_id, fire_at_ms, completion_id)
        invocation = state.invocation(invocation_id)
        if invocation is None or not invocation.is_open:
            continue
        if completion_id != WAKE:
            completion = Completion(MessageType.SLEEP_COMPLETION, completion_id, VOID)
            journal.append_completion(state, invocation, completion, now_ms=command.now_ms)
        elif invocation.status is Status.SCHEDULED and invocation.start_at_ms == fire_at_ms:
            invocations.admit(state, invocation, command.now_ms)
        elif invocation.next_retry_at_ms == fire_at_ms:
            attempts.begin(state, invocation, command.now_ms)
