"""The stored form of a step of Pydantic AI: the kernel's envelope, with the framework's own JSON as its value."""

from __future__ import annotations

from typing import Any, Final

from pydantic_ai.durable_exec import (
    CapabilityOperationId,
    DurableOperationId,
    DynamicToolsetCallToolParams,
    EventStreamHandlerId,
    ModelCompactMessagesId,
    ModelRequestId,
    ModelRequestParams,
    ToolsetCallToolId,
    ToolsetCallToolParams,
    ToolsetGetInstructionsId,
    ToolsetGetToolsId,
)
from pydantic_ai.messages import ModelResponse

from rewake.ext.kernel import Envelope, fingerprint
from rewake.ext.pydantic.flow import Flow

FRAMEWORK: Final = "pydantic-ai"
_USAGE: Final = {"input_tokens": "input_tokens", "output_tokens": "output_tokens", "cache_read_tokens": "cached_tokens"}


def envelope_of(operation_id: DurableOperationId, params: Any, flow: Flow | None, *, agent: str) -> Envelope:
    """The envelope of an operation before its outcome is known. agent: its agent, if there is no run."""
    path, calls = ((agent,), ()) if flow is None else (flow.path, flow.calls)
    return Envelope(framework=FRAMEWORK, agent=path[-1], path=path, calls=calls, **_fields_of(operation_id, params))


def _fields_of(operation_id: DurableOperationId, params: Any) -> dict[str, Any]:
    """The kind of step of an operation, and its known fields."""
    match operation_id:
        case ModelRequestId() | ModelCompactMessagesId():
            return {"kind": "model", "model": operation_id.model_name, "fingerprint": _asked(params)}
        case ToolsetCallToolId(toolset_kind=kind, toolset_id=toolset_id):
            return _called(params, server=toolset_id if kind == "mcp" else None)
        case ToolsetGetToolsId(toolset_kind="mcp", toolset_id=toolset_id):
            return {"kind": "mcp", "server": toolset_id}
        case ToolsetGetInstructionsId(toolset_id=toolset_id):
            return {"kind": "mcp", "server": toolset_id}
        case EventStreamHandlerId() | CapabilityOperationId():
            return {"kind": "decision"}
        case _:  # the union grows in minor releases
            return {"kind": "decision"}


def answered(begun: Envelope, result: Any, value: Any) -> Envelope:
    """The envelope with its outcome. result: what the operation returned.   value: its JSON form."""
    if not isinstance(result, ModelResponse):
        return begun.with_value(value)
    usage = {"requests": 1}
    for theirs, ours in _USAGE.items():
        if count := getattr(result.usage, theirs, 0):
            usage[ours] = count
    if reasoning := result.usage.details.get("reasoning_tokens"):
        usage["reasoning_tokens"] = reasoning
    return begun.with_value(
        value, model=result.model_name or begun.model, usage=usage, request_id=result.provider_response_id
    )


def _called(params: ToolsetCallToolParams | DynamicToolsetCallToolParams, *, server: str | None) -> dict[str, Any]:
    return {
        "kind": "tool" if server is None else "mcp",
        "server": server,
        "tool": params.name,
        "call": params.ctx.tool_call_id,
        "fingerprint": fingerprint(params.tool_args),
    }


def _asked(params: Any) -> str | None:
    """The fingerprint of instructions and tools, by which two versions of an agent differ."""
    if not isinstance(params, ModelRequestParams):
        return None
    asked = params.model_request_parameters
    instructions = [part.content for part in asked.instruction_parts or ()]
    tools = [(tool.name, tool.description, tool.parameters_json_schema) for tool in asked.function_tools]
    return fingerprint(instructions, tools)
