"""Operating: the core's command for each operation that needs only an invocation (see rewake.operations)."""

from __future__ import annotations

from typing import assert_never

from rewake.core import commands
from rewake.core.ids import InvocationId
from rewake.operations import Operation


def command_of(
    operation: Operation, now_ms: int, token: int, invocation_id: InvocationId, deployment: str | None
) -> commands.Command:
    """The command of an operation. Restart as new needs more arguments and has its own method."""
    match operation:
        case Operation.CANCEL:
            return commands.Cancel(now_ms=now_ms, token=token, invocation_id=invocation_id)
        case Operation.KILL:
            return commands.Kill(now_ms=now_ms, token=token, invocation_id=invocation_id)
        case Operation.PAUSE:
            return commands.Pause(now_ms=now_ms, token=token, invocation_id=invocation_id)
        case Operation.RESUME:
            return commands.Resume(now_ms=now_ms, token=token, invocation_id=invocation_id, deployment=deployment)
        case Operation.PURGE | Operation.PURGE_JOURNAL:
            journal_only = operation is Operation.PURGE_JOURNAL
            return commands.Purge(now_ms=now_ms, token=token, invocation_id=invocation_id, journal_only=journal_only)
        case Operation.RESTART:
            raise ValueError("use restart_as_new() to restart an invocation as new")
    assert_never(operation)
