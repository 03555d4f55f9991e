"""OpenAI Responses: `POST /v1/responses`, whole or as typed events.

Handoffs of the OpenAI Agents SDK are ordinary function calls here. Built-in tools, such as web search, stay in the raw
body; rules do not see them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from ..request import Message, ModelRequest, ToolCall
from ..rules import Text, ToolCalls
from . import Ids, JsonObject, arguments_of, must_call, pieces_of, text_of, tokens_of


def parse(body: JsonObject, model: str, is_stream: bool) -> ModelRequest:
    """See Api.parse."""
    given = body.get("input") or []
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    system = [body.get("instructions") or ""]
    messages: list[Message] = []
    call_names: dict[str, str] = {}
    for item in items:
        if item.get("role") in ("system", "developer"):
            system.append(text_of(item.get("content")))
        elif (message := _message(item, call_names)) is not None:
            messages.append(message)
    tools = [tool for tool in body.get("tools") or [] if "name" in tool]
    return ModelRequest(
        api="responses",
        model=model,
        system="\n".join(part for part in system if part),
        messages=tuple(messages),
        tools=tuple(tool["name"] for tool in tools),
        is_stream=is_stream,
        body=body,
        output_schema=((body.get("text") or {}).get("format") or {}).get("schema"),
        must_call=must_call(tools, is_required=body.get("tool_choice") == "required"),
    )


def respond(request: ModelRequest, answer: Text | ToolCalls, ids: Ids) -> JsonObject:
    """See Api.respond."""
    return _response(request, answer, ids, _output_items(answer, ids))


def stream(request: ModelRequest, answer: Text | ToolCalls, ids: Ids) -> Iterator[str]:
    """See Api.stream."""
    for number, event in enumerate(_events(request, answer, ids)):
        data = json.dumps(event | {"sequence_number": number})
        yield f"event: {event['type']}\ndata: {data}\n\n"


def error(status: int, message: str) -> JsonObject:
    """See Api.error."""
    kind = {429: "rate_limit_error", 401: "authentication_error"}.get(
        status, "server_error" if status >= 500 else "invalid_request_error"
    )
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _message(item: JsonObject, call_names: dict[str, str]) -> Message | None:
    match item.get("type", "message"):
        case "message":
            content = text_of(item.get("content"))
            return Message("assistant" if item.get("role") == "assistant" else "user", content)
        case "function_call":
            call = ToolCall(item["name"], arguments_of(item.get("arguments")), item.get("call_id"))
            call_names[item.get("call_id", "")] = call.name
            return Message("assistant", tool_calls=(call,))
        case "function_call_output":
            return Message("tool", text_of(item.get("output")), tool_name=call_names.get(item.get("call_id", ""), ""))
    return None


def _response(request: ModelRequest, answer: Text | ToolCalls, ids: Ids, output: list[JsonObject]) -> JsonObject:
    tokens = tokens_of(request, answer)
    return _envelope(request, ids) | {
        "status": "completed",
        "output": output,
        "usage": {
            "input_tokens": tokens.input,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": tokens.output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": tokens.total,
        },
    }


def _envelope(request: ModelRequest, ids: Ids) -> JsonObject:
    body = request.body
    return {
        "id": ids.next("resp"),
        "object": "response",
        "created_at": time.time_ns() // 1_000_000_000,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "model": request.model,
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "truncation": body.get("truncation", "disabled"),
        "usage": None,
    }


def _output_items(answer: Text | ToolCalls, ids: Ids) -> list[JsonObject]:
    items: list[JsonObject] = []
    if answer.text or isinstance(answer, Text):
        items.append(
            {
                "id": ids.next("msg"),
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [_text_part(answer.text)],
            }
        )
    items.extend(
        {
            "id": ids.next("fc"),
            "type": "function_call",
            "status": "completed",
            "call_id": call.id,
            "name": call.name,
            "arguments": json.dumps(call.arguments),
        }
        for call in (answer.calls if isinstance(answer, ToolCalls) else ())
    )
    return items


def _text_part(text: str) -> JsonObject:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _events(request: ModelRequest, answer: Text | ToolCalls, ids: Ids) -> Iterator[JsonObject]:
    output = _output_items(answer, ids)
    finished = _response(request, answer, ids, output)
    started = finished | {"status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": started}
    yield {"type": "response.in_progress", "response": started}
    for index, item in enumerate(output):
        yield from _message_events(index, item) if item["type"] == "message" else _call_events(index, item)
    yield {"type": "response.completed", "response": finished}


def _message_events(index: int, item: JsonObject) -> Iterator[JsonObject]:
    text: str = item["content"][0]["text"]
    place: dict[str, Any] = {"item_id": item["id"], "output_index": index, "content_index": 0}
    added = item | {"status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", "output_index": index, "item": added}
    yield {"type": "response.content_part.added", **place, "part": _text_part("")}
    for piece in pieces_of(text):
        yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **place, "text": text, "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": _text_part(text)}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _call_events(index: int, item: JsonObject) -> Iterator[JsonObject]:
    place: dict[str, Any] = {"item_id": item["id"], "output_index": index}
    added = item | {"status": "in_progress", "arguments": ""}
    yield {"type": "response.output_item.added", "output_index": index, "item": added}
    for piece in pieces_of(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
    done = {"name": item["name"], "arguments": item["arguments"]}
    yield {"type": "response.function_call_arguments.done", **place, **done}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}
