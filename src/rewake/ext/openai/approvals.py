"""Approvals in place: the run waits inside the invocation until people have decided each call that needs it."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from agents import RunResult
from agents.items import ToolApprovalItem
from agents.run_state import RunState

from rewake.ext.kernel import Approvals, Decision, Envelope, Outcome, asked, fingerprint
from rewake.ext.kernel.asking import Terms
from rewake.ext.openai.agent_run import FRAMEWORK, AgentRun

EXPIRED: Final = "Nobody answered in time: the call was neither approved nor denied, and has not been made."


async def answered(found: AgentRun, result: RunResult, approvals: Approvals) -> RunState[Any]:
    """The state to continue with, once all open calls are decided. The questions are open side by side."""
    state: RunState[Any] = result.to_state()
    items = result.interruptions
    decisions = await found.run.gather(*(partial(_decided, found, item, approvals) for item in items))
    for item, decision in zip(items, decisions, strict=True):
        decide(state, item, decision)
    return state


def decide(state: RunState[Any], item: ToolApprovalItem, decision: Decision) -> None:
    """Put a decision into the state. If nobody answered, the model does not read "denied"."""
    if decision.is_approved:
        state.approve(item)
    elif decision.outcome is Outcome.EXPIRED:
        state.reject(item, rejection_message=EXPIRED)
    elif decision.why is None:
        state.reject(item)
    else:
        state.reject(item, rejection_message=decision.why)


async def _decided(found: AgentRun, item: ToolApprovalItem, approvals: Approvals) -> Decision:
    about = about_of(item, (*found.outer, found.agent.name), found.calls)
    return await asked(found.run, terms_of(item, approvals), about)


def terms_of(item: ToolApprovalItem, approvals: Approvals) -> Terms:
    """The question about a call."""
    return approvals.terms(f"{item.agent.name} wants to call {item.tool_name or '?'}", _arguments(item))


def about_of(item: ToolApprovalItem, outer: tuple[str, ...], calls: tuple[str, ...] = ()) -> Envelope:
    """Whose call it is. outer: the agents of the run, of which the last may be the call's own."""
    agent = item.agent.name
    path = outer if outer[-1] == agent else (*outer, agent)
    return Envelope(
        kind="approval",
        framework=FRAMEWORK,
        agent=agent,
        path=path,
        calls=calls if len(path) == len(outer) else (*calls, ""),
        call=call_id(item),
        tool=item.tool_name or "?",
        fingerprint=fingerprint(_arguments(item)),
    )


def _arguments(item: ToolApprovalItem) -> str:
    return item.arguments or "{}"


def call_id(item: ToolApprovalItem) -> str | None:
    """The id of the model's call."""
    raw: Any = item.raw_item
    return raw.get("call_id") if isinstance(raw, dict) else getattr(raw, "call_id", None)
