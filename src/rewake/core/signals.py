"""Signals: results addressed to an invocation from outside - cancel (index 1), awakeables (17 and up), and named ones.

They are stored when they arrive, even before the handler awaits them, and even while the invocation is scheduled or
queued (the real server then drops them). The first completion of an awakeable wins; unknown targets are ignored.
"""

from __future__ import annotations

from rewake.core import journal, operations
from rewake.core.commands import CompleteSignal
from rewake.core.effects import Reply, ReplyStatus
from rewake.core.ids import InvocationId
from rewake.core.state import State
from rewake.protocol.messages import CANCEL_SIGNAL, SignalResult


def send(state: State, target_id: InvocationId, signal: int | str, result: SignalResult, now_ms: int) -> bool:
    """Deliver a signal; False if the target cannot accept it."""
    if signal == CANCEL_SIGNAL:
        operations.cancel(state, target_id, now_ms)
        return True
    target = state.invocation(target_id)
    return target is not None and journal.append_signal(state, target, signal, result, now_ms=now_ms)


def on_complete(state: State, command: CompleteSignal) -> None:
    accepted = send(state, command.invocation_id, command.signal, command.result, command.now_ms)
    status = ReplyStatus.ACCEPTED if accepted else ReplyStatus.DONE
    state.emit(Reply(command.token, status, command.invocation_id))
