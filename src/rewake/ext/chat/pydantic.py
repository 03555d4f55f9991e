"""Turns spoken by an agent of Pydantic AI. Imported only for an agent of that framework."""

from __future__ import annotations

from typing import Any

from pydantic_ai.messages import ModelMessagesTypeAdapter
from pydantic_ai.run import AgentRunResultEvent

from rewake.ext.kernel.sessions import SessionLog
from rewake.ext.pydantic import Approvals, DurableApprovals, RestateAgent


class PydanticTurns:
    """One agent, and those it calls. approvals: how calls that need one are asked for."""

    def __init__(self, agent: Any, *, approvals: Any, options: dict[str, Any]) -> None:
        self._agent = agent if isinstance(agent, RestateAgent) else RestateAgent(agent)
        asks = DurableApprovals[Any](approvals if isinstance(approvals, Approvals) else None)
        self._options = {**options, "capabilities": [*options.get("capabilities", ()), asks]}

    async def __call__(self, text: str) -> str:
        """Answer one message. The answers of models come piece by piece."""
        log = SessionLog()
        history = ModelMessagesTypeAdapter.validate_python(await log.items())
        async with self._agent.run_stream_events(text, message_history=history, **self._options) as events:
            async for event in events:
                if isinstance(event, AgentRunResultEvent):
                    result = event.result
        await log.append(ModelMessagesTypeAdapter.dump_python(result.new_messages(), mode="json"))
        await log.flush(self._agent.name)
        return str(result.output)
