"""Approvals in place: the run waits inside the invocation until people have decided each call that needs it."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from agents import RunResult
from agents.items import ToolApprovalItem
from agents.run_state import RunState

from rewake.ext.kernel import Approvals, Decision, Envelope, Outcome, asked, fingerprint
from rewake.ext.openai.agent_run import FRAMEWORK, AgentRun

EXPIRED: Final = "Nobody answered in time: the call was neither approved nor denied, and has not been made."


async def answered(found: AgentRun, result: RunResult, approvals: Approvals) -> RunState[Any]:
    """The state to go on with, after all open calls of the result are decided. They are asked for side by side."""
    state: RunState[Any] = result.to_state()
    items = result.interruptions
    decisions = await found.run.gather(*(partial(_decided, found, item, approvals) for item in items))
    for item, decision in zip(items, decisions, strict=True):
        _tell(state, item, decision)
    return state


def _tell(state: RunState[Any], item: ToolApprovalItem, decision: Decision) -> None:
    """What the model reads of a call that is not made. It never reads of a denial when nobody answered."""
    if decision.is_approved:
        state.approve(item)
    elif decision.outcome is Outcome.EXPIRED:
        state.reject(item, rejection_message=EXPIRED)
    elif decision.why is None:
        state.reject(item)
    else:
        state.reject(item, rejection_message=decision.why)


async def _decided(found: AgentRun, item: ToolApprovalItem, approvals: Approvals) -> Decision:
    agent, tool, arguments = item.agent.name, item.tool_name or "?", item.arguments or "{}"
    outer = (*found.outer, found.agent.name)
    path = outer if outer[-1] == agent else (*outer, agent)
    about = Envelope(
        kind="approval",
        framework=FRAMEWORK,
        agent=agent,
        path=path,
        calls=found.calls if len(path) == len(outer) else (*found.calls, ""),
        call=_call_id(item),
        tool=tool,
        fingerprint=fingerprint(arguments),
    )
    return await asked(found.run, approvals.terms(f"{agent} wants to call {tool}", arguments), about)


def _call_id(item: ToolApprovalItem) -> str | None:
    raw: Any = item.raw_item
    return raw.get("call_id") if isinstance(raw, dict) else getattr(raw, "call_id", None)
