"""Turns spoken by OpenAI agents. Imported only for an agent of that SDK."""

from __future__ import annotations

from typing import Any

from agents import Agent, Handoff, TResponseInputItem

from rewake.ext.openai import DurableRunner, RestateSession


class OpenAITurns:
    """One agent or a team of them. start_with: who gets a new message, the agent given or the one that spoke last."""

    def __init__(self, agent: Agent[Any], *, starts_with_last: bool, approvals: Any, options: dict[str, Any]) -> None:
        self._agent, self._starts_with_last = agent, starts_with_last
        self._approvals, self._options = approvals, options

    async def __call__(self, text: str) -> str:
        """Answer one message."""
        session = ChatSession()
        agent = self._agent
        if self._starts_with_last:
            await session.get_items()
            agent = team(agent).get(session.last_agent or "", agent)
        result = await DurableRunner.run(
            agent, text, session=session, wait_for_approvals=self._approvals, live=True, **self._options
        )
        return str(result.final_output)


class ChatSession(RestateSession):
    """A session without calls that have no result: a turn that was stopped leaves some, and providers refuse them."""

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """All items that a model can be asked with, or the newest `limit` ones."""
        items: list[Any] = await super().get_items()
        answered = {item.get("call_id") for item in items if item.get("type") == "function_call_output"}
        made = {item.get("call_id") for item in items if item.get("type") == "function_call"}
        whole = [item for item in items if not _is_half(item, made & answered)]
        return whole if limit is None else whole[-limit:] if limit > 0 else []


def _is_half(item: Any, whole: set[Any]) -> bool:
    is_call = item.get("type") in ("function_call", "function_call_output")
    return is_call and item.get("call_id") not in whole


def team(agent: Agent[Any], found: dict[str, Agent[Any]] | None = None) -> dict[str, Agent[Any]]:
    """The agent and all it can hand over to, by name."""
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
