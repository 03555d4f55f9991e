"""Timers: what happens when a sleep of a handler, a delayed start, or the wait before a retry is over.

Firing is idempotent: a timer that no longer fits is dropped. Knows no clock: commands carry `now_ms`.
The rows themselves are wakeups.py's.
"""

from __future__ import annotations

from rewake.core import journal, lifecycle, wakeups
from rewake.core.commands import TimersDue
from rewake.core.model import Status
from rewake.core.state import State
from rewake.protocol.messages import VOID, Completion, MessageType


def on_due(state: State, command: TimersDue) -> None:
    for fire_at_ms, invocation_id, completion_id in command.due:
        wakeups.disarm(state, invocation_id, fire_at_ms, completion_id)
        invocation = state.invocation(invocation_id)
        if invocation is None or not invocation.is_open:
            continue
        if completion_id != wakeups.WAKE:
            completion = Completion(MessageType.SLEEP_COMPLETION, completion_id, VOID)
            journal.append_completion(state, invocation, completion, now_ms=command.now_ms)
        elif invocation.status is Status.SCHEDULED and invocation.start_at_ms == fire_at_ms:
            lifecycle.admit(state, invocation, command.now_ms)
        elif invocation.next_retry_at_ms == fire_at_ms:
            lifecycle.begin(state, invocation, command.now_ms)
