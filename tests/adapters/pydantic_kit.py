"""Agents of Pydantic AI with a model that plays a script in the process, and logs of what really ran."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import restate
from pydantic_ai.messages import ModelMessage, ModelResponse, ModelResponsePart, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

Answer = ModelResponsePart | Sequence[ModelResponsePart] | Exception
Handler = Callable[[restate.Context], Awaitable[Any]]
DEADLINE_S: Final = 20.0
FAST: Final = restate.InvocationRetryPolicy(timedelta(milliseconds=1), 1.0, timedelta(milliseconds=1), 200, "kill")


def app_of(handler: Handler) -> Any:
    """The handler as `go` of a service `Desk`, and of one where every wait ends the attempt, `Suspending`."""
    services = []
    for name, inactivity in (("Desk", None), ("Suspending", timedelta(0))):
        service = restate.Service(name, inactivity_timeout=inactivity, invocation_retry_policy=FAST)

        @service.handler(name="go")
        async def go(ctx: restate.Context) -> Any:
            return await handler(ctx)

        services.append(service)
    return restate.app(services)


class Log:
    """What ran: an entry for each body, when it begins and (with a plus) when it has ended."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def body(self, name: str) -> Iterator[None]:
        self.lines.append(name)
        yield
        self.lines.append(f"{name}+")

    def count(self, name: str) -> int:
        return self.lines.count(name)

    @property
    def finished(self) -> Counter[str]:
        """How often each body came to its end."""
        return Counter(line[:-1] for line in self.lines if line.endswith("+"))


def call(tool: str, call_id: str, **args: Any) -> ToolCallPart:
    return ToolCallPart(tool, args, tool_call_id=call_id)


def script(log: Log, name: str, *answers: Answer, seen: list[list[ModelMessage]] | None = None) -> FunctionModel:
    """A model that gives the n-th answer when the history has n answers of it. Logged as `name n`."""

    def chosen(messages: list[ModelMessage]) -> tuple[str, Sequence[ModelResponsePart]]:
        number = sum(isinstance(message, ModelResponse) for message in messages)
        if seen is not None:
            seen.append(list(messages))
        answer = answers[number]
        if isinstance(answer, Exception):
            log.lines.append(f"{name} {number}")
            raise answer
        return f"{name} {number}", answer if isinstance(answer, Sequence) else [answer]

    async def whole(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        label, parts = chosen(messages)
        with log.body(label):
            await asyncio.sleep(0)
            return ModelResponse(parts=list(parts))

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> Any:
        label, parts = chosen(messages)
        with log.body(label):
            for number, part in enumerate(parts):
                if isinstance(part, TextPart):
                    for word in part.content.split(" "):
                        yield f"{word} "
                elif isinstance(part, ToolCallPart):
                    yield {
                        number: DeltaToolCall(part.tool_name, part.args_as_json_str(), tool_call_id=part.tool_call_id)
                    }

    return FunctionModel(whole, stream_function=stream, model_name=f"{name}-model")


def text(content: str) -> TextPart:
    return TextPart(content)


def returned(messages: list[ModelMessage]) -> dict[str, Any]:
    """Results of tools in a history, by call id."""
    return {
        part.tool_call_id: part.content
        for message in messages
        for part in message.parts
        if part.part_kind == "tool-return"
    }
