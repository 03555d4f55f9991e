"""Turns spoken by an agent of Pydantic AI. Imported only for an agent of that framework."""

from __future__ import annotations

from typing import Any

from pydantic_ai import DeferredToolRequests, DeferredToolResults, ToolDenied
from pydantic_ai.messages import ModelMessagesTypeAdapter, ToolCallPart
from pydantic_ai.run import AgentRunResult, AgentRunResultEvent

from rewake.ext.kernel import Approvals, Envelope, Outcome, asked, current_run, fingerprint
from rewake.ext.kernel.sessions import SessionLog
from rewake.ext.pydantic import RestateAgent
from rewake.ext.pydantic.envelopes import FRAMEWORK

_EXPIRED = "Nobody answered in time: the call was neither approved nor denied, and has not been made."


class PydanticTurns:
    """One agent, and those it calls. approvals: how calls that need one are asked for."""

    def __init__(self, agent: Any, *, approvals: Any, options: dict[str, Any]) -> None:
        self._agent = agent if isinstance(agent, RestateAgent) else RestateAgent(agent)
        self._approvals = approvals if isinstance(approvals, Approvals) else Approvals()
        self._options = options

    async def __call__(self, text: str) -> str:
        """Answer one message."""
        log = SessionLog()
        history = ModelMessagesTypeAdapter.validate_python(await log.items())
        result = await self._run(text, message_history=history)
        new = result.new_messages()
        while isinstance(result.output, DeferredToolRequests):
            answers = await self._answers(result.output)
            result = await self._run(None, message_history=result.all_messages(), deferred_tool_results=answers)
            new += result.new_messages()
        await log.append(ModelMessagesTypeAdapter.dump_python(new, mode="json"))
        await log.flush(self._agent.name)
        return str(result.output)

    async def _run(self, text: str | None, **more: Any) -> AgentRunResult[Any]:
        """A run whose answers come piece by piece."""
        output: Any = [self._agent.output_type, DeferredToolRequests]
        async with self._agent.run_stream_events(text, output_type=output, **more, **self._options) as events:
            async for event in events:
                if isinstance(event, AgentRunResultEvent):
                    return event.result
        raise AssertionError("a run ends with its result")

    async def _answers(self, requests: DeferredToolRequests) -> DeferredToolResults:
        run = current_run()
        assert run is not None, "a handler has a run"
        decisions = await run.gather(*(lambda call=call: self._ask(call) for call in requests.approvals))
        calls = [call.tool_call_id for call in requests.approvals]
        return DeferredToolResults(approvals=dict(zip(calls, decisions, strict=True)))

    async def _ask(self, call: ToolCallPart) -> bool | ToolDenied:
        run, agent = current_run(), self._agent.name or "agent"
        assert run is not None, "a handler has a run"
        arguments = call.args_as_json_str()
        about = Envelope(
            kind="approval",
            framework=FRAMEWORK,
            agent=agent,
            path=(agent,),
            call=call.tool_call_id,
            tool=call.tool_name,
            fingerprint=fingerprint(arguments),
        )
        terms = self._approvals.terms(f"{agent} wants to call {call.tool_name}", arguments)
        decision = await asked(run, terms, about)
        if decision.is_approved:
            return True
        if decision.outcome is Outcome.EXPIRED:
            return ToolDenied(_EXPIRED)
        return ToolDenied(decision.why) if decision.why else ToolDenied()
