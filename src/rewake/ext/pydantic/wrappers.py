"""The smaller names of `restate.ext.pydantic`: a model and a toolset that journal by themselves, and its serde."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter
from pydantic_ai.agent import EventStreamHandler
from pydantic_ai.durable_exec import JSON_CODEC, CallToolResult, durable_unit_scope
from pydantic_ai.durable_exec._toolset import unwrap_tool_call_result, wrap_tool_call_result
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import CompletedStreamedResponse, Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import AgentDepsT, RunContext
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool, WrapperToolset
from restate import RunOptions
from restate.serde import Serde

from rewake.ext.kernel import Envelope, current_run
from rewake.ext.pydantic.envelopes import FRAMEWORK, answered

T = TypeVar("T")


class PydanticTypeAdapter(Serde[T], Generic[T]):
    """A serde of the SDK for any type that Pydantic knows."""

    def __init__(self, model_type: type[T]) -> None:
        self._adapter: TypeAdapter[T] = TypeAdapter(model_type)

    def deserialize(self, buf: bytes) -> T | None:
        """The value of a JSON text. Raises ValidationError for a value of another type."""
        return self._adapter.validate_json(buf) if buf else None

    def serialize(self, obj: T | None) -> bytes:
        """JSON, by the value's own type, which may be narrower."""
        return b"" if obj is None else TypeAdapter(type(obj)).dump_json(obj)


class RestateModelWrapper(WrapperModel):
    """A model whose calls are steps called "Model call". Outside of a handler it is the model as it is."""

    def __init__(
        self, wrapped: Model, run_options: RunOptions[Any], event_stream_handler: EventStreamHandler[Any] | None = None
    ) -> None:
        super().__init__(wrapped)
        self._options = run_options
        self._event_stream_handler = event_stream_handler

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """The model's answer, from the journal at replay."""

        async def ask() -> ModelResponse:
            return await self.wrapped.request(messages, model_settings, model_request_parameters)

        return await self._journaled("Model call", ask)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncIterator[StreamedResponse]:
        """The answer as a whole; the handler given to the constructor hears its events as they come."""
        hear = self._event_stream_handler

        async def ask() -> ModelResponse:
            async with self.wrapped.request_stream(
                messages, model_settings, model_request_parameters, run_context
            ) as stream:
                if hear is not None and run_context is not None:
                    await hear(run_context, stream)
                async for _ in stream:
                    pass
            return stream.get()

        response = await self._journaled("Model stream call", ask)
        yield CompletedStreamedResponse(
            response, model_request_parameters=model_request_parameters, replay_events=hear is None
        )

    async def _journaled(self, name: str, ask: Any) -> ModelResponse:
        run = current_run()
        if run is None:
            return await ask()  # type: ignore[no-any-return]  # of a model
        begun = Envelope(kind="model", framework=FRAMEWORK, model=self.wrapped.model_name)

        async def body() -> Envelope:
            with durable_unit_scope():
                response = await ask()
            return answered(begun, response, JSON_CODEC.dump(ModelResponse, response))

        envelope = await run.record(name, body, options=self._options)
        return JSON_CODEC.load(ModelResponse, envelope.value)  # type: ignore[no-any-return]  # of that type


class RestateContextRunToolSet(WrapperToolset[AgentDepsT]):
    """A toolset whose calls are steps. Outside of a handler it is the toolset as it is."""

    def __init__(self, wrapped: AbstractToolset[AgentDepsT], run_options: RunOptions[Any]) -> None:
        super().__init__(wrapped)
        self._options = run_options

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[AgentDepsT], tool: ToolsetTool[AgentDepsT]
    ) -> Any:
        """The tool's result, from the journal at replay. An error that a tool raises for the model is raised again."""
        run = current_run()
        if run is None:
            return await self.wrapped.call_tool(name, tool_args, ctx, tool)

        async def body() -> Envelope:
            with durable_unit_scope():
                result = await wrap_tool_call_result(self.wrapped.call_tool(name, tool_args, ctx, tool))
            return begun.with_value(JSON_CODEC.dump(CallToolResult, result))

        begun = Envelope(kind="tool", framework=FRAMEWORK, tool=name, call=ctx.tool_call_id)
        envelope = await run.piece(
            ctx.tool_call_id or name, lambda: run.record(f"Calling {name}", body, options=self._options)
        )
        return unwrap_tool_call_result(JSON_CODEC.load(CallToolResult, envelope.value))
