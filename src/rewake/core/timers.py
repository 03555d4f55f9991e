"""Timers: the end of a handler's sleep, of a delay before a start, or of the wait before a retry.

The kill of a large tree also continues by timers, which are due at once (see operations.py). Firing is idempotent: a
timer that no longer applies is dropped. Commands have the time, `now_ms`. wakeups.py has the rows.
"""

from __future__ import annotations

from rewake.core import journal, lifecycle, operations, wakeups
from rewake.core.commands import TimersDue
from rewake.core.model import Status
from rewake.core.state import State
from rewake.protocol.messages import VOID, Completion, MessageType


def on_due(state: State, command: TimersDue) -> None:
    doomed = [timer for timer in command.due if timer[2] == wakeups.KILL]
    for fire_at_ms, invocation_id, completion_id in command.due:
        if completion_id == wakeups.KILL:
            continue
        wakeups.disarm(state, invocation_id, fire_at_ms, completion_id)
        invocation = state.invocation(invocation_id)
        if invocation is None:
            continue
        if completion_id != wakeups.WAKE:
            completion = Completion(MessageType.SLEEP_COMPLETION, completion_id, VOID)
            journal.append_completion(state, invocation, completion, now_ms=command.now_ms)
        elif invocation.status is Status.SCHEDULED and invocation.start_at_ms == fire_at_ms:
            lifecycle.admit(state, invocation, command.now_ms)
        elif invocation.next_retry_at_ms == fire_at_ms:
            lifecycle.begin(state, invocation, command.now_ms)
    operations.kill_due(state, doomed, command.now_ms)
