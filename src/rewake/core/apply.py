"""The only entrance to the core: a command changes the state, and adds writes and effects to the batch.

Each command type has one transition. An exception is always a bug of ours, such as EngineBug: mistakes of handlers and
callers become effects. engine/commit_loop.py handles the exception.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rewake.core import (
    attempts,
    calls,
    commands,
    keyed,
    lifecycle,
    operations,
    promises,
    registry,
    restart,
    retention,
    retries,
    signals,
    timers,
)
from rewake.core.state import State

_TRANSITIONS: dict[type, Callable[[State, Any], None]] = {
    commands.Invoke: calls.on_invoke,
    commands.Attach: calls.on_attach,
    commands.SdkMessages: attempts.on_messages,
    commands.AttemptFailed: attempts.on_failed,
    commands.AttemptWithdrawn: attempts.on_withdrawn,
    commands.MakeRoom: attempts.on_make_room,
    commands.TimersDue: timers.on_due,
    commands.Cancel: operations.on_cancel,
    commands.Kill: operations.on_kill,
    commands.Pause: operations.on_pause,
    commands.Resume: operations.on_resume,
    commands.Recover: operations.on_recover,
    commands.PauseFaulty: operations.on_faulty,
    commands.Purge: retention.on_purge,
    commands.Sweep: retention.on_sweep,
    commands.RestartAsNew: restart.on_restart,
    commands.CompleteSignal: signals.on_complete,
    commands.CompletePromise: promises.on_complete,
    commands.MutateState: keyed.on_mutate,
    commands.RegisterDeployment: registry.on_register,
    commands.RemoveDeployment: registry.on_remove,
    commands.UpdateService: registry.on_update,
}


def apply(state: State, command: commands.Command) -> None:
    """Apply a command to `state`."""
    _TRANSITIONS[type(command)](state, command)
    while state.ready or state.unstartable:
        if state.ready:
            lifecycle.begin_ready(state, command.now_ms)
        else:
            retries.fail_unstartable(state, command.now_ms)
