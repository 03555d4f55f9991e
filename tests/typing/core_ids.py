"""Ids of the core that are mixed up do not type-check. Read by mypy alone: an ignore that nothing needs fails it."""

from __future__ import annotations

from rewake.core import commands, wakeups
from rewake.core.effects import CloseAttempt, CloseMode, Forward
from rewake.core.ids import CompletionId, DeploymentId, EntryIndex, Epoch, InvocationId
from rewake.core.model import Listener
from rewake.core.state import State
from rewake.core.writes import EntryRow
from rewake.protocol.messages import MessageType


def mixed_up(
    state: State, first: InvocationId, at: EntryIndex, step: CompletionId, epoch: Epoch, deployment: DeploymentId
) -> None:
    fire_at_ms, payload = 1, b""
    wakeups.arm(state, first, fire_at_ms, step)
    wakeups.arm(state, first, step, fire_at_ms)  # type: ignore[arg-type]
    wakeups.arm(state, payload, fire_at_ms, step)  # type: ignore[arg-type]
    Forward(first, epoch, at, 5, payload)
    Forward(first, at, epoch, 5, payload)  # type: ignore[arg-type]
    CloseAttempt(first, at, CloseMode.ABORT)  # type: ignore[arg-type]
    EntryRow(first, step, 5, payload, 0)  # type: ignore[arg-type]
    EntryRow(first, at, 5, payload, 0, completion_id=at)  # type: ignore[arg-type]
    Listener(payload, step, MessageType.CALL_COMPLETION)  # type: ignore[arg-type]
    Listener(first, at, MessageType.CALL_COMPLETION)  # type: ignore[arg-type]
    commands.Cancel(now_ms=0, token=1, invocation_id=payload)  # type: ignore[arg-type]
    commands.MakeRoom(now_ms=0, invocation_id=first, epoch=at)  # type: ignore[arg-type]
    commands.TimersDue(now_ms=0, due=[(fire_at_ms, first, at)])  # type: ignore[list-item]
    commands.RemoveDeployment(now_ms=0, token=1, deployment_id=deployment)
    commands.RemoveDeployment(now_ms=0, token=1, deployment_id="Greeter")  # type: ignore[arg-type]
