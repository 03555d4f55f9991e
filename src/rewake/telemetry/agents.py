"""What agents did, in the words of OpenTelemetry's GenAI conventions: model calls, tools, handoffs.

rewake.runs reads what happened; here it becomes attributes. Texts of prompts and answers are not among the
attributes: a collector is often somebody else's machine.
"""

from __future__ import annotations

from typing import Any

from rewake.agents.frameworks import TELEMETRY_PROVIDERS
from rewake.agents.replies import ModelReply
from rewake.runs.turns import Handoff, Turn

Attributes = dict[str, str | int | float | bool | list[str]]


def model_attributes(turn: Turn, reply: ModelReply) -> Attributes:
    """Of a span of one model call."""
    facts: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": TELEMETRY_PROVIDERS.get(reply.provider or "", reply.provider),
        "gen_ai.agent.name": turn.agent,
        "gen_ai.request.model": turn.model,
        "gen_ai.response.model": reply.model,
        "gen_ai.usage.input_tokens": reply.input_tokens,
        "gen_ai.usage.output_tokens": reply.output_tokens,
        "gen_ai.response.finish_reasons": [reply.finish] if reply.finish else None,
        "rewake.agent.framework": reply.framework,
        "rewake.tool_calls": [call.name for call in reply.calls] or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def tool_attributes(turn: Turn) -> Attributes:
    """Of a span of one tool call."""
    facts = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": turn.tool,
        "gen_ai.tool.type": "function",
        "gen_ai.agent.name": turn.agent,
    }
    return {**facts, "gen_ai.tool.call.id": turn.call_id} if turn.call_id else {**facts}


def decision_attributes(turn: Turn) -> Attributes:
    """Of a span of a step that decides who answers."""
    chosen = {"rewake.decision": turn.choice} if turn.choice is not None else {}
    return {"gen_ai.agent.name": turn.agent, **chosen}


def agent_attributes(agent: str) -> Attributes:
    """Of a span that is the work of one agent."""
    return {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent}


def handoff_attributes(handoff: Handoff) -> Attributes:
    """Of the one span that shows a handoff: the step it was decided in, the call, or the consulted agent's work."""
    return {
        "rewake.handoff.from": handoff.source,
        "rewake.handoff.to": handoff.target,
        "rewake.handoff.kind": handoff.kind,
    }
