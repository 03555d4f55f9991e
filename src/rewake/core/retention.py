"""Retention: finds the invocations past their retention, and deletes them.

The result of an idempotency key or a workflow id is valid until its deadline, even if the sweep comes later.
lifecycle.py sets the deadlines when an invocation completes.
"""

from __future__ import annotations

from rewake.core import lifecycle
from rewake.core.commands import Purge, Sweep
from rewake.core.effects import Reply, ReplyStatus
from rewake.core.ids import InvocationId
from rewake.core.model import Invocation, Status
from rewake.core.state import State


def is_expired(invocation: Invocation, now_ms: int) -> bool:
    return invocation.purge_at_ms is not None and invocation.purge_at_ms <= now_ms


def find_live(state: State, invocation_id: InvocationId, now_ms: int) -> Invocation | None:
    """The invocation. If its retention is over, deletes it and returns None."""
    invocation = state.invocation(invocation_id)
    if invocation is not None and is_expired(invocation, now_ms):
        lifecycle.forget(state, invocation)
        return None
    return invocation


def on_purge(state: State, command: Purge) -> None:
    invocation = state.invocation(command.invocation_id)
    if invocation is None:
        status = ReplyStatus.NOT_FOUND
    elif invocation.status is not Status.COMPLETED:
        status = ReplyStatus.NOT_COMPLETED
    else:
        status = ReplyStatus.DONE
        if command.journal_only:
            lifecycle.drop_journal(state, invocation)
        else:
            lifecycle.forget(state, invocation)
    state.emit(Reply(command.token, status, command.invocation_id))


def on_sweep(state: State, command: Sweep) -> None:
    for invocation_id in command.invocation_ids:
        invocation = state.invocation(invocation_id)
        if invocation is None:
            continue
        if is_expired(invocation, command.now_ms):
            lifecycle.forget(state, invocation)
        elif invocation.journal_purge_at_ms is not None and invocation.journal_purge_at_ms <= command.now_ms:
            lifecycle.drop_journal(state, invocation)
