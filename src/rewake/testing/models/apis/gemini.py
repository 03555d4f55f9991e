"""Gemini: `POST /v1beta/models/{model}:generateContent` and `:streamGenerateContent`.

Gemini puts tool results into messages of the role user and names tools in function declarations; both are
normalised. Calls carry an id, like those of newer models; older clients ignore it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..request import Message, ModelRequest, ToolCall
from ..rules import Text, ToolCalls
from . import Ids, JsonObject, must_call, pieces_of, tokens_of

STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def parse(body: JsonObject, model: str, is_stream: bool) -> ModelRequest:
    """See Api.parse."""
    messages: list[Message] = []
    for content in body.get("contents") or []:
        messages.extend(_messages(content))
    tools = [declared for tool in body.get("tools") or [] for declared in tool.get("functionDeclarations") or []]
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    instruction = body.get("systemInstruction") or body.get("system_instruction") or {}
    config = body.get("generationConfig") or {}
    return ModelRequest(
        api="gemini",
        model=model,
        system=_text_of(instruction.get("parts") or []),
        messages=tuple(messages),
        tools=tuple(tool["name"] for tool in tools),
        is_stream=is_stream,
        body=body,
        output_schema=config.get("responseJsonSchema") or config.get("responseSchema"),
        must_call=must_call(tools, is_required=calling.get("mode") == "ANY"),
    )


def respond(request: ModelRequest, answer: Text | ToolCalls, ids: Ids) -> JsonObject:
    """See Api.respond."""
    return _chunk(request, answer, ids.next("resp"), _parts(answer), is_last=True)


def stream(request: ModelRequest, answer: Text | ToolCalls, ids: Ids) -> Iterator[str]:
    """See Api.stream."""
    response_id = ids.next("resp")
    parts: list[JsonObject] = [{"text": piece} for piece in pieces_of(answer.text)]
    parts += _call_parts(answer) or ([] if parts else [{"text": ""}])
    for index, part in enumerate(parts):
        chunk = _chunk(request, answer, response_id, [part], is_last=index == len(parts) - 1)
        yield f"data: {json.dumps(chunk)}\n\n"


def error(status: int, message: str) -> JsonObject:
    """See Api.error."""
    name = STATUS_NAMES.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
    return {"error": {"code": status, "message": message, "status": name}}


def _messages(content: JsonObject) -> Iterator[Message]:
    parts = content.get("parts") or []
    for part in parts:
        if (result := part.get("functionResponse")) is not None:
            yield Message("tool", _result_text(result.get("response")), tool_name=result.get("name", ""))
    calls = tuple(_parse_call(part["functionCall"]) for part in parts if "functionCall" in part)
    text = _text_of(parts)
    if content.get("role") == "model":
        yield Message("assistant", text, calls)
    elif text:
        yield Message("user", text)


def _parse_call(call: JsonObject) -> ToolCall:
    return ToolCall(call.get("name", ""), call.get("args") or {}, call.get("id"))


def _result_text(response: Any) -> str:
    if isinstance(response, dict) and len(response) == 1 and isinstance(only := next(iter(response.values())), str):
        return only
    return json.dumps(response)


def _text_of(parts: list[JsonObject]) -> str:
    return "\n".join(part["text"] for part in parts if part.get("text"))


def _call_parts(answer: Text | ToolCalls) -> list[JsonObject]:
    calls = answer.calls if isinstance(answer, ToolCalls) else ()
    return [{"functionCall": {"name": call.name, "args": call.arguments, "id": call.id}} for call in calls]


def _parts(answer: Text | ToolCalls) -> list[JsonObject]:
    spoken = [{"text": answer.text}] if answer.text or isinstance(answer, Text) else []
    return spoken + _call_parts(answer)


def _chunk(
    request: ModelRequest, answer: Text | ToolCalls, response_id: str, parts: list[JsonObject], *, is_last: bool
) -> JsonObject:
    tokens = tokens_of(request, answer)
    candidate: JsonObject = {"content": {"role": "model", "parts": parts}, "index": 0}
    return {
        "candidates": [candidate | ({"finishReason": "STOP"} if is_last else {})],
        "usageMetadata": {
            "promptTokenCount": tokens.input,
            "candidatesTokenCount": tokens.output,
            "totalTokenCount": tokens.total,
        },
        "modelVersion": request.model,
        "responseId": response_id,
    }
