"""RewakeDurability: the capability that makes an agent of Pydantic AI durable in a Restate handler.

On the public interface for engines (`pydantic_ai.durable_exec`); what it does not offer is behind private names, which
a test pins: `_find_model_id` (model objects given per run), `_dispatch_event_stream_event` (events while tools run),
`_toolsets_by_id` and `_wrap_leaf_toolset` (toolsets given per run),
`_build_durable_model` and `_model_stream_event_handler` (live streams, see live.py).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar

from pydantic_ai.agent import EventStreamHandler
from pydantic_ai.durable_exec import (
    JSON_CODEC,
    BaseDurabilityCapability,
    DurabilityEngineSpec,
    conversation_id_from_run_id,
)
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import AgentStreamEvent
from pydantic_ai.models import Model, ModelResolutionContext
from pydantic_ai.run import AgentRunResult
from pydantic_ai.tool_manager import ToolManager
from pydantic_ai.tools import AgentDepsT, RunContext
from pydantic_ai.toolsets import AbstractToolset
from restate import RunOptions, TerminalError

from rewake.ext.kernel import Envelope, InPlace, NeedsBranch, Run, current_run
from rewake.ext.pydantic.envelopes import FRAMEWORK
from rewake.ext.pydantic.failures import FINAL, terminal
from rewake.ext.pydantic.flow import flow_here, flow_of
from rewake.ext.pydantic.history import settle_times
from rewake.ext.pydantic.live import hand_on, make_live
from rewake.ext.pydantic.newer import external_event_scope, replay_scope
from rewake.ext.pydantic.operations import StepBackend, StepOptions, tool_body_here
from rewake.ext.pydantic.toolsets import ToolsetsOfARun
from rewake.ext.pydantic.waiting import AwakeableWaiter

_models_here: ContextVar[dict[str, Model] | None] = ContextVar("rewake_pydantic_models", default=None)


class RewakeDurability(BaseDurabilityCapability[AgentDepsT]):
    """`Agent(..., name="desk", capabilities=[RewakeDurability()])`: durable in a handler, unchanged outside of one.

    models: further models by id, for `agent.run(model=id)`. Strings need not be registered, nor model objects.
    event_stream_handler: hears model events while the model answers, and each event of a tool in a step of its own.
    name: begins the names of the agent's steps; default: the agent's name.   run_options: how the engine retries steps;
    without `max_attempts`, for ever.   retry: retries in place, before the engine's.
    """

    engine_spec: ClassVar[DurabilityEngineSpec] = DurabilityEngineSpec(
        engine_name="Rewake",
        durable_unit_noun="step",
        durable_container_noun="handler",
        codec=JSON_CODEC,
        serialization_failure=lambda problem: TerminalError(f"The result of a step cannot be stored: {problem}"),
        toolset_lifecycles={"function": "enter-always", "mcp": "enter-in-durable-unit", "dynamic": "enter-never"},
    )

    def __init__(
        self,
        *,
        models: Mapping[str, Model] | None = None,
        event_stream_handler: EventStreamHandler[AgentDepsT] | None = None,
        name: str | None = None,
        run_options: RunOptions[Any] | None = None,
        retry: InPlace | None = None,
    ) -> None:
        super().__init__(models=models, event_stream_handler=event_stream_handler, name=name)
        self._options = StepOptions(run_options or RunOptions(), retry)

    @property
    def in_durable_context(self) -> bool:
        """In a handler, and not in the body of one of its steps."""
        if tool_body_here.get() and current_run() is None:
            raise NeedsBranch("a durable agent runs in this tool")
        return current_run() is not None

    def get_durable_operation_backend(self) -> StepBackend:
        """Steps of the kernel, named for this agent."""
        # Without the id of the default model, names carry the model and change with it.
        return StepBackend(
            agent_name=self.name, default_model_id=self.default_model_id, options=lambda role: self._options
        )

    # Ids and time

    def get_default_run_id(self) -> str | None:
        """The same in each attempt."""
        run = _run_here()
        return None if run is None else str(run.draw_id())

    def get_default_conversation_id(self, run_id: str) -> str | None:
        """Follows from the run's id."""
        return None if _run_here() is None else conversation_id_from_run_id(run_id)

    async def get_run_start_time(self, run_id: str) -> datetime | None:
        """When a run with a timeout began, in a step."""
        if (run := _run_here()) is None:
            return None

        async def body() -> Envelope:
            return Envelope(kind="decision", framework=FRAMEWORK, agent=self.name, value=time.time_ns())

        began_ns = (await run.record(f"{self.name}.run_start_time", body)).value
        return datetime.fromtimestamp(began_ns / 1e9, tz=UTC)

    # A run

    async def wrap_run(self, ctx: RunContext[AgentDepsT], *, handler: Any) -> AgentRunResult[Any]:
        """Run the agent as a flow of the kernel: its tools side by side, its waits durable."""
        agent = self._agent
        if not self.in_durable_context or agent is None:
            plain: AgentRunResult[Any] = await handler()
            return plain
        run = current_run()
        assert run is not None
        # In 'parallel' mode events come in the order in which tools end, which is another one at replay.
        mode = ToolManager.get_parallel_execution_mode(None)  # type: ignore[arg-type]  # it reads a contextvar alone
        ordered = mode if mode == "sequential" else "parallel_ordered_events"
        flow_here.set(flow_of(self.name, is_sequential=mode == "sequential"))
        _models_here.set({})
        with external_event_scope(AwakeableWaiter()), agent.parallel_tool_call_execution_mode(ordered), replay_scope():
            result = await run.drive(lambda: super(RewakeDurability, self).wrap_run(ctx, handler=handler))
        settle_times(result.new_messages())
        return result

    async def on_run_error(self, ctx: RunContext[AgentDepsT], *, error: BaseException) -> AgentRunResult[Any]:
        """Raise errors that end the invocation: a cancellation, and errors that each attempt would repeat."""
        run = _run_here()
        if run is not None and run.turns.cancelled is not None:
            raise run.turns.cancelled
        if run is not None and isinstance(error, FINAL):
            raise terminal(error) from error
        return await super().on_run_error(ctx, error=error)

    # Tools given per run

    def get_wrapper_toolset(self, toolset: AbstractToolset[AgentDepsT]) -> AbstractToolset[AgentDepsT] | None:
        """Wrap toolsets given for one run, too. They need no registration, because steps run in this process."""
        if not self.in_durable_context:
            return super().get_wrapper_toolset(toolset)
        return toolset.visit_and_replace(ToolsetsOfARun(self._toolsets_by_id, self._wrap_leaf_toolset).durable)

    # Models given per run

    def _find_model_id(self, model: Model) -> str | None:
        """Works for an unregistered object, too, because steps run in this process, which finds it again."""
        try:
            return super()._find_model_id(model)
        except UserError:
            known = _models_here.get()
            if known is None:
                raise
            known[model.model_id] = model
            return model.model_id

    async def resolve_model_id(self, ctx: ModelResolutionContext[AgentDepsT], *, model_id: str) -> Model | None:
        """The model of an id: registered, or seen in this run."""
        return (_models_here.get() or {}).get(model_id) or await super().resolve_model_id(ctx, model_id=model_id)

    # Events

    async def _build_durable_model(self, ctx: RunContext[AgentDepsT], request_context: Any) -> Any:
        """The model of a request, whose streams are live."""
        model = await super()._build_durable_model(ctx, request_context)
        make_live(model)
        return model

    def _model_stream_event_handler(self) -> EventStreamHandler[AgentDepsT]:
        """Hears a model in the body of its step."""
        return partial(hand_on, super()._model_stream_event_handler())

    async def _dispatch_event_stream_event(self, ctx: RunContext[AgentDepsT], event: AgentStreamEvent) -> None:
        """One event of a tool, in a step; while tools run, which make steps themselves, without one."""
        flow, hear = flow_here.get(), self._effective_event_stream_handler()
        if flow is None or hear is None or not flow.running:
            await super()._dispatch_event_stream_event(ctx, event)
        else:
            await hear(replace(ctx), self._single_event_stream(event))


def _run_here() -> Run | None:
    return current_run()
