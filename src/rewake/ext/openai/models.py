"""Models whose answers are steps. They wrap the user's models, and pass through outside of a handler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from agents import AgentsException, FunctionTool, Handoff, Model, ModelProvider, ModelResponse
from agents.items import TResponseStreamEvent
from openai.types.responses import Response
from restate import TerminalError

from rewake.ext.kernel import Envelope, body_here, fingerprint
from rewake.ext.openai.agent_run import AgentRun, agent_run
from rewake.ext.openai.answers import last_event, read_answer, stored_answer, stored_response, usage_of
from rewake.ext.openai.deltas import Deltas, is_heard, spoken
from rewake.ext.openai.handoffs import adopt_handoff
from rewake.ext.openai.tools import adopt_tool

_ARGUMENTS: Final = ("system_instructions", "input", "model_settings", "tools", "output_schema", "handoffs", "tracing")
_LAST_EVENTS: Final = ("response.completed", "response.incomplete", "response.failed")
_TRIPPED_S: Final = 5.0
_HEARD_S: Final = 0.05


class DurableModel(Model):
    """A model of the user's. Its attributes, and its class for isinstance, are those of the user's own object."""

    def __init__(self, inner: Model, name: str | None = None) -> None:
        self._inner, self._name = inner, name

    @property  # type: ignore[misc]  # users ask with isinstance
    def __class__(self) -> Any:
        return type(self._inner)

    def __getattr__(self, name: str) -> Any:
        if name in ("_inner", "_name"):  # not set yet, as when it is copied
            raise AttributeError(name)
        return getattr(self._inner, name)

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        """An answer, asked for once per journal."""
        found = agent_run()
        if found is None:
            answer = await self._inner.get_response(*args, **kwargs)
            _count(usage_of(answer.usage))
            return answer
        request = _Request(self, found, dict(zip(_ARGUMENTS, args, strict=False)) | kwargs)
        fresh: list[ModelResponse] = []  # of this attempt, as the journal has it: no need to read it twice

        async def ask() -> Envelope:
            answer = await _called(request.answer(self._inner, args, kwargs))
            stored = stored_answer(answer)
            fresh.append(read_answer(stored))
            fields = request.told(answer.output)
            return request.envelope.with_value(
                stored, usage=usage_of(answer.usage), request_id=answer.request_id, **fields
            )

        envelope = await found.ask(ask)
        answer = fresh[-1] if fresh else read_answer(envelope.value)
        await request.heard(answer.output)
        return answer

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[TResponseStreamEvent]:
        """Events as they come in the attempt that asks; at replay the last one, which has the answer."""
        found = agent_run()
        if found is None:
            async for event in self._inner.stream_response(*args, **kwargs):
                yield event
            return
        request = _Request(self, found, dict(zip(_ARGUMENTS, args, strict=False)) | kwargs)
        live: asyncio.Queue[TResponseStreamEvent | None] = asyncio.Queue()

        async def ask() -> Envelope:
            return await request.streamed(self._inner.stream_response(*args, **kwargs), live)

        answer = asyncio.get_running_loop().create_task(found.ask(ask))
        answer.add_done_callback(lambda _: live.put_nowait(None))
        number = 0
        try:
            while (delta := await live.get()) is not None:
                number += 1
                yield delta
            last = last_event((await answer).value, number + 1)
        finally:
            answer.cancel()
        # A streamed run looks for a tripped guardrail itself when the last event comes; it only must have heard of it.
        await request.heard(last.response.output, tripped_s=_HEARD_S)
        yield last

    async def close(self) -> None:
        """As the user's model."""
        await self._inner.close()

    async def _cleanup_on_run_end(self, owner: object) -> None:
        if (cleanup := getattr(self._inner, "_cleanup_on_run_end", None)) is not None:
            await cleanup(owner)

    def get_retry_advice(self, request: Any) -> Any:
        """As the user's model."""
        return self._inner.get_retry_advice(request)


class DurableProvider(ModelProvider):
    """Wraps the models of the user's provider."""

    def __init__(self, inner: ModelProvider) -> None:
        self._inner = inner

    def get_model(self, model_name: str | None) -> Model:
        """The model that the user's provider gives, with its answers as steps."""
        return durable(self._inner.get_model(model_name), model_name)

    async def aclose(self) -> None:
        """As the user's provider."""
        await self._inner.aclose()

    def __getattr__(self, name: str) -> Any:
        if name == "_inner":
            raise AttributeError(name)
        return getattr(self._inner, name)


def durable(model: Model, name: str | None = None) -> Model:
    """The model with its answers as steps; the same object if they are already."""
    return model if type(model) is DurableModel else DurableModel(model, name)


class _Request:
    """One question to the model: the name of its step, and the calls that its answer starts."""

    def __init__(self, model: DurableModel, found: AgentRun, given: dict[str, Any]) -> None:
        self.run = found
        self.tools: list[Any] = given.get("tools") or []
        self.handoffs: list[Handoff[Any, Any]] = given.get("handoffs") or []
        for tool in self.tools:  # those of MCP servers and those made at run time come by no other way
            adopt_tool(tool)
        for handoff in self.handoffs:
            adopt_handoff(handoff)
        named = getattr(model, "model", None)
        names = [getattr(tool, "name", "") for tool in self.tools]
        self.envelope = found.envelope(
            "model",
            model=named if isinstance(named, str) else model._name,
            fingerprint=fingerprint(given.get("system_instructions") or "", names),
        )

    def told(self, output: list[Any]) -> dict[str, Any]:
        """The content of the answer beside its items: the agent that it hands over to."""
        names = {handoff.tool_name: handoff.agent_name for handoff in self.handoffs}
        targets = (names.get(item.name) for item in output if item.type == "function_call")
        return {"handoff": next((target for target in targets if target), None)}

    def deltas(self) -> Deltas:
        """Where the events of the answer go."""
        return Deltas(self.run, (handoff.tool_name for handoff in self.handoffs))

    async def answer(self, model: Model, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ModelResponse:
        """Ask for the answer: whole, or piece by piece where somebody may watch."""
        if self.run.is_live and is_heard():
            try:
                return await spoken(model.stream_response(*args, **kwargs), self.deltas())
            except NotImplementedError:  # a model of the user's that does not stream
                pass
        return await model.get_response(*args, **kwargs)

    async def streamed(self, events: AsyncIterator[Any], live: asyncio.Queue[Any]) -> Envelope:
        """The body of a streamed call: deltas go out live, the last event is kept until it is stored."""
        response: Response | None = None
        deltas = self.deltas()
        try:
            async for event in events:
                if event.type in _LAST_EVENTS:
                    response = event.response
                else:
                    live.put_nowait(event)
                    deltas.put(event)
        except AgentsException as problem:
            raise TerminalError(f"{type(problem).__name__}: {problem}") from problem
        if response is None:
            raise ConnectionError("The model's stream ended without its last event.")
        request_id = getattr(response, "_request_id", None)
        return self.envelope.with_value(
            stored_response(response),
            usage=usage_of(response.usage),
            request_id=request_id,
            **self.told(response.output),
        )

    async def heard(self, output: list[Any], *, tripped_s: float = _TRIPPED_S) -> None:
        """The framework gets the answer now: the calls it will start are expected.

        tripped_s: how long the answer is held after a guardrail has tripped.
        """
        found = self.run
        if found.has_tripped:
            # Whether the runner hears of the guardrail first or goes on with the answer is a race of its own tasks: it
            # cancels this wait.
            await asyncio.sleep(tripped_s)
        calls = [item for item in output if item.type == "function_call"]
        tools = {tool.name: tool for tool in self.tools if isinstance(tool, FunctionTool)}
        handoffs = {handoff.tool_name for handoff in self.handoffs}
        starts = [call.call_id for call in calls if _starts(tools.get(call.name)) and call.name not in handoffs]
        if not calls:
            found.expect_together([f"guardrail {name}" for name in _output_guardrails(found)])
        found.run.expect(starts)


def _starts(tool: FunctionTool | None) -> bool:
    """Whether a call of the tool begins at once; one that always needs an approval does not."""
    return tool is not None and tool.needs_approval is not True


def _output_guardrails(found: AgentRun) -> list[str]:
    return [guardrail.get_name() for guardrail in found.agent.output_guardrails]


async def _called(answer: Any) -> Any:
    try:
        return await answer
    except AgentsException as problem:  # of the framework itself: the same answer would fail the same way
        raise TerminalError(f"{type(problem).__name__}: {problem}") from problem


def _count(usage: dict[str, int]) -> None:
    """Count tokens for the step whose body asks the model, for example a guardrail."""
    if (body := body_here.get()) is not None:
        for name, count in usage.items():
            body.usage[name] = body.usage.get(name, 0) + count
