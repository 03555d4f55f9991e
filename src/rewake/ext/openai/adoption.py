"""Agents are adopted, not cloned: what an agent holds is wrapped in place, once per process, and stays the user's own.

Wrapped objects find the current run by a contextvar and pass through outside of one, so the same agents used
outside of a handler behave as before. Later ones (tools of MCP servers, agents made at run time) are adopted when a
model is asked and when an agent takes over.
"""

from __future__ import annotations

from typing import Any

from agents import Agent, Handoff, Model

from rewake.ext.openai.guardrails import adopt_guardrail
from rewake.ext.openai.handoffs import adopt_handoff
from rewake.ext.openai.mcp import adopt_server
from rewake.ext.openai.models import durable
from rewake.ext.openai.tools import adopt_tool


def adopt(agent: Agent[Any], seen: set[int] | None = None) -> Agent[Any]:
    """Make an agent, those it hands over to and those it has as tools durable. Returns the same object."""
    seen = set() if seen is None else seen
    if id(agent) in seen:
        return agent
    seen.add(id(agent))
    if isinstance(agent.model, Model):
        agent.model = durable(agent.model)
    for tool in agent.tools:
        adopt_tool(tool)
        _adopt_within(tool, seen)
    for guardrail in (*agent.input_guardrails, *agent.output_guardrails):
        adopt_guardrail(guardrail)
    for server in agent.mcp_servers:
        adopt_server(server)
    for each in agent.handoffs:
        target: Any = each
        if isinstance(each, Handoff):
            adopt_handoff(each)
            target = each._agent_ref() if each._agent_ref is not None else None
        if isinstance(target, Agent):
            adopt(target, seen)
    return agent


def _adopt_within(tool: Any, seen: set[int]) -> None:
    """What a tool brings: an agent, guardrails of its own."""
    nested = getattr(tool, "_agent_instance", None)
    if isinstance(nested, Agent):
        adopt(nested, seen)
    for guardrail in (
        *(getattr(tool, "tool_input_guardrails", None) or ()),
        *(getattr(tool, "tool_output_guardrails", None) or ()),
    ):
        adopt_guardrail(guardrail)
