"""Turns spoken by an agent of Pydantic AI. Imported only for an agent of that framework."""

from __future__ import annotations

from typing import Any

import restate
from pydantic_ai import RunContext, capture_run_messages
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse, ToolCallPart
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.run import AgentRunResultEvent
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults
from restate import TerminalError

from rewake.ext.chat.steering import later_messages
from rewake.ext.kernel.sessions import SessionLog
from rewake.ext.pydantic import Approvals, BetweenTurns, DurableApprovals, RestateAgent


class PydanticTurns:
    """One agent, and those it calls. approvals: how calls that need one are asked for."""

    def __init__(self, agent: Any, *, approvals: Any, options: dict[str, Any]) -> None:
        self._agent = agent if isinstance(agent, RestateAgent) else RestateAgent(agent)
        self._approvals = approvals if isinstance(approvals, Approvals) else None
        asks = DurableApprovals[Any](self._approvals)
        self._given = [*options.get("capabilities", ()), _Steered()]
        self._options = {**options, "capabilities": [*options.get("capabilities", ()), asks, _Steered()]}
        self._questions: BetweenTurns | None = None

    def keeper(self, service: restate.VirtualObject) -> BetweenTurns:
        """From now on questions wait between turns, in the state of this object."""
        self._questions = BetweenTurns(service, self._agent, self._approvals)
        self._options |= {
            "capabilities": self._given,
            "output_type": [self._agent.output_type, DeferredToolRequests],
        }
        return self._questions

    async def __call__(self, text: str | list[ModelMessage], results: DeferredToolResults | None = None) -> str | None:
        """Answer one message, or go on with the results of calls. None while people are asked between turns.

        The answers of models come piece by piece.
        """
        log = SessionLog()
        if isinstance(text, str):
            await _forget_open_calls(log)
        options = self._options if results is None else {**self._options, "deferred_tool_results": results}
        history = ModelMessagesTypeAdapter.validate_python(await log.items())
        prompt = text if isinstance(text, str) else None
        with capture_run_messages() as said:
            try:
                async with self._agent.run_stream_events(prompt, message_history=history, **options) as events:
                    async for event in events:
                        if isinstance(event, AgentRunResultEvent):
                            result = event.result
            except TerminalError:  # such as a stopped turn: what it had got to is remembered
                await self._remember(log, _without_open_calls(said[len(history) :]))
                raise
        await self._remember(log, result.new_messages())
        if self._questions is not None and isinstance(result.output, DeferredToolRequests):
            await self._questions.leave(result, keeps_messages=False)
            return None
        return str(result.output)

    async def _remember(self, log: SessionLog, messages: list[ModelMessage]) -> None:
        await log.append(ModelMessagesTypeAdapter.dump_python(messages, mode="json"))
        await log.flush(self._agent.name)


class _Steered(AbstractCapability[Any]):
    """Messages that arrived while the agent was running: it reads them with its next request."""

    async def before_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Add messages that came since, but none before the first request: those are part of the turn's message."""
        for text in await later_messages() if ctx.run_step > 1 else []:
            ctx.enqueue(text)
        return request_context


async def _forget_open_calls(log: SessionLog) -> None:
    """Take back the last answer of a turn that was stopped while it waited for people."""
    found = ModelMessagesTypeAdapter.validate_python((await log.items())[-1:])
    if len(_without_open_calls(found)) < len(found):
        await log.pop()


def _without_open_calls(messages: list[ModelMessage]) -> list[ModelMessage]:
    """The messages without a last answer whose calls have no results: nothing may follow such an answer."""
    last = messages[-1] if messages else None
    is_open = isinstance(last, ModelResponse) and any(isinstance(part, ToolCallPart) for part in last.parts)
    return messages[:-1] if is_open else messages
