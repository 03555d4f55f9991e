"""Wake-ups: adds and removes the rows of timers.

A row is (fire_at_ms, invocation id, completion id). Completion id 0 (WAKE) wakes the invocation itself: a scheduled one
starts, a backing-off one tries again. KILL continues the kill of a large tree. Any other id completes a sleep. The
engine only remembers the earliest (ArmTimer). timers.py fires them.
"""

from __future__ import annotations

from collections.abc import Iterable

from rewake.core.effects import ArmTimer
from rewake.core.ids import CompletionId, InvocationId
from rewake.core.model import Invocation, Status
from rewake.core.state import State

WAKE = CompletionId(0)
KILL = CompletionId(-1)
"""Not an id of a handler: those are unsigned."""


def arm(state: State, invocation_id: InvocationId, fire_at_ms: int, completion_id: CompletionId) -> None:
    state.batch.timers[(fire_at_ms, invocation_id, completion_id)] = True
    state.emit(ArmTimer(fire_at_ms))


def disarm(state: State, invocation_id: InvocationId, fire_at_ms: int, completion_id: CompletionId) -> None:
    state.batch.timers[(fire_at_ms, invocation_id, completion_id)] = False


def arm_kills(state: State, invocation_ids: Iterable[InvocationId], now_ms: int) -> None:
    """Have later commands kill these, even after a crash."""
    timers = dict.fromkeys(((now_ms, invocation_id, KILL) for invocation_id in invocation_ids), True)
    if timers:
        state.batch.timers.update(timers)
        state.emit(ArmTimer(now_ms))


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
        disarm(state, invocation.id, invocation.next_retry_at_ms, WAKE)
        invocation.next_retry_at_ms = None
    if invocation.status is Status.SCHEDULED and invocation.start_at_ms is not None:
        disarm(state, invocation.id, invocation.start_at_ms, WAKE)
