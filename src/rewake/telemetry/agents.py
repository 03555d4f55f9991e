"""Attributes of spans for agents' work, named by OpenTelemetry's GenAI conventions: model calls, tools, handoffs.

rewake.runs reads the journal; this module turns its facts into attributes. Prompts and answers are left out, because
the collector is often another company's machine.
"""

from __future__ import annotations

from typing import Any

from rewake.agents.frameworks import TELEMETRY_PROVIDERS
from rewake.agents.replies import ModelReply
from rewake.runs.turns import Handoff, Turn

Attributes = dict[str, str | int | float | bool | list[str]]


def model_attributes(turn: Turn, reply: ModelReply) -> Attributes:
    """Attributes of a model call's span."""
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
    """Attributes of a tool call's span."""
    facts = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": turn.tool,
        "gen_ai.tool.type": "function",
        "gen_ai.agent.name": turn.agent,
    }
    return {**facts, "gen_ai.tool.call.id": turn.call_id} if turn.call_id else {**facts}


def decision_attributes(turn: Turn) -> Attributes:
    """Attributes of the span of a step that chooses the agent that answers."""
    chosen = {"rewake.decision": turn.choice} if turn.choice is not None else {}
    return {"gen_ai.agent.name": turn.agent, **chosen}


def agent_attributes(agent: str) -> Attributes:
    """Attributes of the span of one agent's work."""
    return {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent}


def handoff_attributes(handoff: Handoff) -> Attributes:
    """Attributes of a handoff, for one span: the deciding step's, the call's, or that of the consulted agent's work."""
    return {
        "rewake.handoff.from": handoff.source,
        "rewake.handoff.to": handoff.target,
        "rewake.handoff.kind": handoff.kind,
    }
