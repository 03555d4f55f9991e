"""The agents that a run can reach from its first agent, and the fingerprints of their tools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents import Agent, FunctionTool, Handoff

from rewake.ext.kernel import fingerprint


def team(agent: Agent[Any], found: dict[str, Agent[Any]] | None = None) -> dict[str, Agent[Any]]:
    """The agent and all agents that it can hand over to, by name."""
    found = {} if found is None else found
    if agent.name in found:
        return found
    found[agent.name] = agent
    for each in agent.handoffs:
        target: Any = each
        if isinstance(each, Handoff):
            target = each._agent_ref() if each._agent_ref is not None else None
        if isinstance(target, Agent):
            team(target, found)
    return found


def definition_of(agent: Agent[Any], name: str, tool: str) -> str:
    """The fingerprint of an agent's tool as its model sees it. agent: the first one.   name: of the tool's agent.

    Raises LookupError with a sentence if there is no such agent or tool. Tools of MCP servers are compared by name
    only.
    """
    owner = next((each for each in _reachable(agent, set()) if each.name == name), None)
    if owner is None:
        raise LookupError(f"There is no agent {name!r} any more.")
    found = next((each for each in owner.tools if getattr(each, "name", None) == tool), None)
    if isinstance(found, FunctionTool):
        return fingerprint(name, tool, found.description, found.params_json_schema)
    if found is None and not owner.mcp_servers:
        raise LookupError(f"The agent {name!r} has no tool {tool!r} any more.")
    return fingerprint(name, tool)


def _reachable(agent: Agent[Any], seen: set[int]) -> Iterator[Agent[Any]]:
    """The agents of a team, and the agents that they use as tools."""
    for each in team(agent).values():
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        for tool in each.tools:
            nested = getattr(tool, "_agent_instance", None)
            if isinstance(nested, Agent):
                yield from _reachable(nested, seen)
