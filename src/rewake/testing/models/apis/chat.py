"""OpenAI Chat Completions: `POST /v1/chat/completions`, whole or streamed as deltas.

Most other providers and local servers copied this format, so most frameworks can use it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from ..request import Message, ModelRequest, ToolCall
from ..rules import Text, ToolCalls
from . import Ids, JsonObject, arguments_of, must_call, pieces_of, text_of, tokens_of
from .responses import error

__all__ = ["error", "parse", "respond", "stream"]


def parse(body: JsonObject, model: str, is_stream: bool) -> ModelRequest:
    """See Api.parse."""
    system: list[str] = []
    messages: list[Message] = []
    call_names: dict[str, str] = {}
    for item in body.get("messages") or []:
        if item.get("role") in ("system", "developer"):
            system.append(text_of(item.get("content")))
        else:
            messages.append(_message(item, call_names))
    tools = [tool["function"] for tool in body.get("tools") or [] if "function" in tool]
    return ModelRequest(
        api="chat",
        model=model,
        system="\n".join(part for part in system if part),
        messages=tuple(messages),
        tools=tuple(tool["name"] for tool in tools),
        is_stream=is_stream,
        body=body,
        output_schema=((body.get("response_format") or {}).get("json_schema") or {}).get("schema"),
        must_call=must_call(tools, is_required=body.get("tool_choice") == "required"),
    )


def respond(request: ModelRequest, answer: Text | ToolCalls, ids: Ids) -> JsonObject:
    """See Api.respond."""
    message: JsonObject = {"role": "assistant", "content": answer.text or None, "refusal": None, "annotations": []}
    if isinstance(answer, ToolCalls):
        message["tool_calls"] = _tool_calls(answer)
    else:
        message["content"] = answer.text
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(answer)}
    return _envelope(request, ids, "chat.completion") | {"choices": [choice], "usage": _usage(request, answer)}


def stream(request: ModelRequest, answer: Text | ToolCalls, ids: Ids) -> Iterator[str]:
    """See Api.stream."""
    envelope = _envelope(request, ids, "chat.completion.chunk")
    for delta in _deltas(answer):
        yield _event(envelope | {"choices": [_chunk_choice(delta, None)]})
    yield _event(envelope | {"choices": [_chunk_choice({}, _finish_reason(answer))]})
    if (request.body.get("stream_options") or {}).get("include_usage"):
        yield _event(envelope | {"choices": [], "usage": _usage(request, answer)})
    yield "data: [DONE]\n\n"


def _message(item: JsonObject, call_names: dict[str, str]) -> Message:
    content = text_of(item.get("content"))
    match item.get("role"):
        case "assistant":
            calls = tuple(_parse_call(call) for call in item.get("tool_calls") or [])
            call_names.update({call.id or "": call.name for call in calls})
            return Message("assistant", content, calls)
        case "tool":
            return Message("tool", content, tool_name=call_names.get(item.get("tool_call_id", ""), ""))
    return Message("user", content)


def _parse_call(call: JsonObject) -> ToolCall:
    function = call.get("function") or {}
    return ToolCall(function.get("name", ""), arguments_of(function.get("arguments")), call.get("id"))


def _envelope(request: ModelRequest, ids: Ids, kind: str) -> JsonObject:
    return {
        "id": ids.next("chatcmpl"),
        "object": kind,
        "created": time.time_ns() // 1_000_000_000,
        "model": request.model,
        "system_fingerprint": None,
    }


def _usage(request: ModelRequest, answer: Text | ToolCalls) -> JsonObject:
    tokens = tokens_of(request, answer)
    return {"prompt_tokens": tokens.input, "completion_tokens": tokens.output, "total_tokens": tokens.total}


def _finish_reason(answer: Text | ToolCalls) -> str:
    return "tool_calls" if isinstance(answer, ToolCalls) else "stop"


def _tool_calls(answer: ToolCalls) -> list[JsonObject]:
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": json.dumps(call.arguments)}}
        for call in answer.calls
    ]


def _deltas(answer: Text | ToolCalls) -> Iterator[JsonObject]:
    yield {"role": "assistant", "content": ""}
    for piece in pieces_of(answer.text):
        yield {"content": piece}
    for index, call in enumerate(_tool_calls(answer) if isinstance(answer, ToolCalls) else []):
        function = call["function"]
        yield {"tool_calls": [call | {"index": index, "function": function | {"arguments": ""}}]}
        for piece in pieces_of(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _chunk_choice(delta: JsonObject, finish_reason: str | None) -> JsonObject:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _event(chunk: JsonObject) -> str:
    return f"data: {json.dumps(chunk)}\n\n"
