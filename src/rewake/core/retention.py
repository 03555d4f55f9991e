"""Retention: how long a result and its journal are kept, and forgetting them.

A result served by an idempotency key or a workflow id stops being valid the moment its time is over, whether or not
the sweep has come by. Purging a workflow run forgets its state and promises too, so that the key can be used again.
"""

from __future__ import annotations

from rewake.core import keyed
from rewake.core.commands import Purge, Sweep
from rewake.core.effects import Reply, ReplyStatus
from rewake.core.model import HandlerOptions, Invocation, Status, Target
from rewake.core.state import State


def effective(options: HandlerOptions, target: Target, idempotency_key: str | None) -> tuple[int, int]:
    """(completion, journal) retention in ms of a new invocation (service-protocol.md 1.3)."""
    if target.is_workflow_run:
        completion_ms = options.workflow_retention_ms
    elif idempotency_key is not None:
        completion_ms = options.idempotency_retention_ms
    else:
        return options.journal_retention_ms, options.journal_retention_ms
    return completion_ms, min(options.journal_retention_ms, completion_ms)


def begin(state: State, invocation: Invocation, now_ms: int) -> None:
    """An invocation has just completed: set its deadlines, or forget it at once when nothing is to be kept."""
    if invocation.completion_retention_ms <= 0:
        forget(state, invocation)
        return
    invocation.purge_at_ms = now_ms + invocation.completion_retention_ms
    if invocation.journal_retention_ms <= 0:
        _drop_journal(state, invocation)
    elif invocation.journal_retention_ms < invocation.completion_retention_ms:
        invocation.journal_purge_at_ms = now_ms + invocation.journal_retention_ms


def is_expired(invocation: Invocation, now_ms: int) -> bool:
    return invocation.purge_at_ms is not None and invocation.purge_at_ms <= now_ms


def forget(state: State, invocation: Invocation) -> None:
    """Delete a completed invocation; with a workflow run go its state and promises."""
    target = invocation.target
    if target.is_workflow_run and target.key is not None:
        keyed.clear_values(state, target.service, target.key)
        state.forget_promises(target.service, target.key)
    state.delete(invocation)


def _drop_journal(state: State, invocation: Invocation) -> None:
    invocation.journal_purge_at_ms = None
    invocation.journal_length = invocation.command_count = 0
    invocation.journal = None
    state.drop_journal(invocation)


def on_purge(state: State, command: Purge) -> None:
    invocation = state.invocation(command.invocation_id)
    if invocation is None:
        status = ReplyStatus.NOT_FOUND
    elif invocation.status is not Status.COMPLETED:
        status = ReplyStatus.NOT_COMPLETED
    else:
        status = ReplyStatus.DONE
        if command.journal_only:
            _drop_journal(state, invocation)
        else:
            forget(state, invocation)
    state.emit(Reply(command.token, status, command.invocation_id))


def on_sweep(state: State, command: Sweep) -> None:
    for invocation_id in command.invocation_ids:
        invocation = state.invocation(invocation_id)
        if invocation is None or invocation.status is not Status.COMPLETED:
            continue
        if is_expired(invocation, command.now_ms):
            forget(state, invocation)
        elif invocation.journal_purge_at_ms is not None and invocation.journal_purge_at_ms <= command.now_ms:
            _drop_journal(state, invocation)
