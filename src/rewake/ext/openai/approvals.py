"""Approvals in place: the run waits inside the invocation until a person has answered each call that needs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from agents import RunResult
from agents.items import ToolApprovalItem
from agents.run_state import RunState
from restate import RestateDurableFuture

from rewake.ext.kernel import Envelope, fingerprint
from rewake.ext.kernel.approvals import decision
from rewake.ext.openai.agent_run import FRAMEWORK, AgentRun


@dataclass(frozen=True)
class ApprovalRequest:
    """A call that waits for a person. id: of the awakeable to answer, with true, false or {"approved", "reason"}."""

    id: str
    agent: str
    tool: str
    arguments: str
    call_id: str


Notify = Callable[[ApprovalRequest], Awaitable[None]]


async def answered(found: AgentRun, result: RunResult, notify: Notify | None) -> RunState[Any]:
    """The state to go on with, after all open calls of the result are approved or denied.

    All are asked for before the first is waited for. notify: called in a step, once for each.
    """
    state: RunState[Any] = result.to_state()
    asked = [(item, await _ask(found, item, notify)) for item in result.interruptions]
    for item, answer in asked:
        given = decision(await found.run.wait(answer))
        if given.is_approved:
            state.approve(item)
        elif given.reason is None:
            state.reject(item)
        else:
            state.reject(item, rejection_message=given.reason)
    return state


async def _ask(found: AgentRun, item: ToolApprovalItem, notify: Notify | None) -> RestateDurableFuture[Any]:
    await found.run.rounds.settle()
    found.run.turns.claim()
    awakeable: tuple[str, RestateDurableFuture[Any]] = found.run.ctx.awakeable()
    token, answer = awakeable
    request = _request(token, item)
    outer = (*found.outer, found.agent.name)
    path = outer if outer[-1] == request.agent else (*outer, request.agent)
    envelope = Envelope(
        kind="approval",
        framework=FRAMEWORK,
        agent=request.agent,
        path=path,
        calls=found.calls if len(path) == len(outer) else (*found.calls, ""),
        call=request.call_id,
        tool=request.tool,
        fingerprint=fingerprint(request.arguments),
        value={"awakeable": token, "arguments": request.arguments},
    )

    async def body() -> Envelope:
        if notify is not None:
            await notify(request)
        return envelope

    await found.run.record(f"{request.agent}: ask {request.tool}", body)
    return answer


def _request(token: str, item: ToolApprovalItem) -> ApprovalRequest:
    raw: Any = item.raw_item
    call_id = raw.get("call_id") if isinstance(raw, dict) else getattr(raw, "call_id", None)
    return ApprovalRequest(
        id=token,
        agent=item.agent.name,
        tool=item.tool_name or "?",
        arguments=item.arguments or "{}",
        call_id=call_id or "",
    )
