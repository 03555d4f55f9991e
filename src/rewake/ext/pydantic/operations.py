"""How an operation of an agent becomes a step: the backend of the durability capability.

Each operation is one step under the name of Pydantic AI's journal convention, which is stored data. Calls to tools run
as pieces of the kernel, so those of one answer run side by side and replay in the same places. A tool that uses the
context or runs another durable agent is a branch: its step says so, and its own entries follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_ai.durable_exec import (
    BoundDurableOperation,
    DurableOperation,
    DurableOperationBackend,
    DurableOperationId,
    JournalOperationNamer,
    ModelRequestId,
    ToolsetCallToolId,
    durable_unit_scope,
)
from pydantic_ai.exceptions import ModelAPIError
from pydantic_ai.messages import ModelResponse
from restate import RunOptions

from rewake.ext.kernel import Envelope, InPlace, NeedsBranch, Run, current_run, show_context
from rewake.ext.kernel.asking import asker_here
from rewake.ext.pydantic.envelopes import answered, envelope_of
from rewake.ext.pydantic.flow import call_here, flow_here
from rewake.ext.pydantic.newer import record_durable_unit
from rewake.ext.pydantic.taking_over import failure_in, is_taken_over, stored_failure
from rewake.ext.pydantic.tools import is_durable_tool

tool_body_here: ContextVar[bool] = ContextVar("rewake_pydantic_tool_body", default=False)
"""In the body of a tool's step: a durable agent that begins there asks for a branch."""


@dataclass(frozen=True)
class StepOptions:
    """How a step is retried. is_branch: the tool makes entries of its own (metadata `{"rewake": False}`)."""

    options: RunOptions[Any]
    retry: InPlace | None
    is_branch: bool = False


class StepBackend(DurableOperationBackend[StepOptions]):
    """Binds the operations of one agent. options: for steps of this role, see `RewakeDurability`."""

    def __init__(self, *, agent_name: str, default_model_id: str | None, options: Callable[[str], StepOptions]) -> None:
        self.agent_name = agent_name
        self.namer = JournalOperationNamer(agent_name, default_model_id=default_model_id or "default")
        self.options = options

    def bind(self, operation: DurableOperation[Any, Any, Any]) -> BoundDurableOperation[Any, Any, Any]:
        """The caller of an operation."""
        return _Bound(self, operation)

    def config_for_tool(
        self, operation: DurableOperation[Any, Any, Any], *, tool: Any, tool_name: str
    ) -> StepOptions | Literal[False]:
        """Options of a tool's step. Never False, which would run it outside of the journal."""
        return self.options("tool")

    def registrations(self) -> Sequence[Callable[..., object]]:
        """Nothing is registered before it is called."""
        return ()


class _Bound(BoundDurableOperation[Any, Any, Any]):
    def __init__(self, backend: StepBackend, operation: DurableOperation[Any, Any, Any]) -> None:
        self._backend = backend
        self._operation = operation

    @property
    def operation(self) -> DurableOperation[Any, Any, Any]:
        return self._operation

    async def __call__(self, params: Any, *, config: object | None = None) -> Any:
        run, flow, kind = current_run(), flow_here.get(), self._operation.operation_id
        assert run is not None, "the base asks in_durable_context first"
        given = config if isinstance(config, StepOptions) else self._backend.options(self._operation.config_role)
        if not isinstance(kind, ToolsetCallToolId):
            result = await self._step(run, params, given)
            if isinstance(kind, ModelRequestId) and flow is not None and isinstance(result, ModelResponse):
                flow.plan(result, params.model_request_parameters)
            return result
        if flow is None or params.ctx.tool_call_id is None:
            return await self._call(run, params, given)
        flow.arrived(run, params.ctx.tool_call_id)
        flow.running += 1
        try:
            return await run.piece(params.ctx.tool_call_id, lambda: self._call(run, params, given))
        finally:
            flow.running -= 1

    async def _call(self, run: Run, params: Any, given: StepOptions) -> Any:
        """A tool's call: a step, or a branch that says so in a step."""
        call_here.set(params.ctx.tool_call_id or call_here.get())
        is_branch = given.is_branch or is_durable_tool(params)
        envelope = await self._record(run, params, given, is_branch=is_branch)
        if not envelope.branch:
            return self._operation.result_codec.load(envelope.value)
        show_context(run)
        asker_here.set(envelope)
        result = await self._operation.handler(params)
        if run.listeners:
            run.tell(envelope.with_value(self._operation.result_codec.dump(result), branch=False))
        return result

    async def _step(self, run: Run, params: Any, given: StepOptions) -> Any:
        stored = (await self._record(run, params, given)).value
        if (failure := failure_in(stored)) is not None:
            raise failure
        return self._operation.result_codec.load(stored)

    async def _record(self, run: Run, params: Any, given: StepOptions, *, is_branch: bool | None = None) -> Envelope:
        """The step. is_branch: None for one that cannot be a branch."""
        operation, executed = self._operation, False
        kind: DurableOperationId = operation.operation_id
        label = operation.invocation_label(params) if operation.invocation_label is not None else None
        name = self._backend.namer.invocation_name(kind, label=label).operation_name
        begun = envelope_of(kind, params, flow_here.get(), agent=self._backend.agent_name)

        async def body() -> Envelope:
            nonlocal executed
            executed = True
            if is_branch:
                raise NeedsBranch
            tool_body_here.set(is_branch is not None)
            try:
                with durable_unit_scope():
                    result = await operation.handler(params)
            except ModelAPIError as error:
                if isinstance(kind, ModelRequestId) and is_taken_over(error, params):
                    return begun.with_value(stored_failure(error))
                raise
            return answered(begun, result, operation.result_codec.dump(result))

        or_branch = None if is_branch is None else begun.with_value(None, branch=True)
        try:
            return await run.record(name, body, options=given.options, retry=given.retry, or_branch=or_branch)
        finally:
            record_durable_unit(executed=executed)
