"""What a model said, out of the journal entries the agent frameworks write.

Each framework stores the reply of a model call in a shape of its own; here they become one `ModelReply`. A shape nobody
here knows gives None and is shown as JSON instead. Reads hostile input: every field may be missing or of another type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

TEXT_CHARS_MAX: Final = 20_000
_CALLS_MAX: Final = 200


class ToolCall(msgspec.Struct, frozen=True):
    """A tool the model asked for. arguments: decoded where they were JSON."""

    name: str
    arguments: Any = None
    call_id: str = ""


class ModelReply(msgspec.Struct, frozen=True, kw_only=True):
    """One model call's answer. Tokens are None where the framework does not journal them, like the model's name."""

    framework: str
    text: str = ""
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    model: str | None = None
    provider: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    finish: str | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a stored conversation. role: `user`, `assistant`, `tool call` or `tool result`."""

    role: str
    text: str = ""
    agent: str = ""
    name: str = ""
    call_id: str = ""
    value: Any = None


def decode_reply(content: bytes) -> ModelReply | None:
    """The reply in the content of a step's result."""
    return reply_in(loaded(content))


def reply_in(value: Any) -> ModelReply | None:
    """The same for a decoded value."""
    if _is_mapping(value) and _is_mapping(value.get("json")) and set(value) <= {"json", "meta"}:
        value = value["json"]  # superjson, as the Vercel AI middleware writes
    if not _is_mapping(value):
        return None
    for decode in _DECODERS:
        reply = decode(value)
        if reply is not None:
            return reply
    return None


def loaded(content: bytes | None) -> Any:
    """Decoded JSON, None when it is none."""
    if not content:
        return None
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None


def decode_conversation(content: bytes) -> list[Said]:
    """A conversation kept as state: items of OpenAI Agents, a session of ADK, messages of chat completions."""
    value = loaded(content)
    if _is_mapping(value) and isinstance(value.get("events"), list):
        return [said for event in _mappings(value["events"]) for said in _adk_event(event)]
    items = _mappings(value)
    if items and any("role" in item or item.get("type") in ("function_call", "message") for item in items):
        return [said for item in items for said in _openai_item(item)]
    return []


# The frameworks


def _openai_responses(value: dict[str, Any]) -> ModelReply | None:
    """OpenAI Agents' `call LLM`, and plain responses of that API."""
    items = value.get("output")
    if not isinstance(items, list) or not all(_is_mapping(item) and "type" in item for item in items):
        return None
    if not items and "usage" not in value:
        return None
    texts, thoughts, calls = [], [], []
    for item in items:
        kind = item.get("type")
        if kind == "message":
            texts += [_text(part.get("text") or part.get("refusal")) for part in _mappings(item.get("content"))]
        elif kind == "reasoning":
            thoughts += [_text(part.get("text")) for part in _mappings(item.get("summary"))]
        elif kind in ("function_call", "custom_tool_call", "mcp_call"):
            given = item.get("arguments", item.get("input"))
            calls.append(_call(item.get("name"), given, item.get("call_id") or item.get("id")))
        elif isinstance(kind, str) and kind.endswith("_call"):
            calls.append(_call(kind.removesuffix("_call"), item.get("action"), item.get("id")))
    usage = _mapping(value.get("usage"))
    return _reply(
        "OpenAI Agents" if "response_id" in value else "OpenAI Responses",
        texts,
        calls,
        reasoning=thoughts,
        model=value.get("model"),
        provider="openai",
        tokens=(usage.get("input_tokens"), usage.get("output_tokens")),
        finish=value.get("status"),
    )


def _chat_completion(value: dict[str, Any]) -> ModelReply | None:
    choices = _mappings(value.get("choices"))
    message = _mapping(choices[0].get("message")) if choices else {}
    if not message:
        return None
    calls = []
    for call in _mappings(message.get("tool_calls")):
        function = _mapping(call.get("function"))
        calls.append(_call(function.get("name"), function.get("arguments"), call.get("id")))
    usage = _mapping(value.get("usage"))
    return _reply(
        "Chat completion",
        [_parts_text(message.get("content")) or _text(message.get("refusal"))],
        calls,
        reasoning=[_text(message.get("reasoning_content") or message.get("reasoning"))],
        model=value.get("model"),
        tokens=(usage.get("prompt_tokens"), usage.get("completion_tokens")),
        finish=choices[0].get("finish_reason"),
    )


def _chat_message(value: dict[str, Any]) -> ModelReply | None:
    """The message of a chat completion alone, as steps of plain SDK programs return it."""
    if value.get("role") != "assistant" or not isinstance(value.get("content"), str | None):
        return None
    if "content" not in value and "tool_calls" not in value:
        return None
    return _chat_completion({"choices": [{"message": value}]})


def _gemini(value: dict[str, Any]) -> ModelReply | None:
    """ADK's `call LLM`, and plain Gemini responses."""
    candidates = _mappings(value.get("candidates"))
    answer = candidates[0] if candidates else value
    finish = answer.get("finish_reason") or answer.get("finishReason")
    parts = _mapping(answer.get("content")).get("parts")
    if not isinstance(parts, list):
        return None
    texts: list[str] = []
    thoughts: list[str] = []
    calls = []
    for part in _mappings(parts):
        (thoughts if part.get("thought") is True else texts).append(_text(part.get("text")))
        function = _mapping(part.get("function_call") or part.get("functionCall"))
        if function:
            calls.append(_call(function.get("name"), function.get("args"), function.get("id")))
    usage = _mapping(value.get("usage_metadata") or value.get("usageMetadata"))
    return _reply(
        "Google ADK" if "usage_metadata" in value else "Gemini",
        texts,
        calls,
        reasoning=thoughts,
        model=value.get("model_version") or value.get("modelVersion"),
        provider="google",
        tokens=(
            usage.get("prompt_token_count", usage.get("promptTokenCount")),
            usage.get("candidates_token_count", usage.get("candidatesTokenCount")),
        ),
        finish=finish,
    )


def _pydantic(value: dict[str, Any]) -> ModelReply | None:
    parts = value.get("parts")
    if value.get("kind") != "response" or not isinstance(parts, list):
        return None
    texts, thoughts, calls = [], [], []
    for part in _mappings(parts):
        kind = part.get("part_kind")
        if kind == "text":
            texts.append(_text(part.get("content")))
        elif kind == "thinking":
            thoughts.append(_text(part.get("content")))
        elif kind in ("tool-call", "builtin-tool-call"):
            calls.append(_call(part.get("tool_name"), part.get("args"), part.get("tool_call_id")))
    usage = _mapping(value.get("usage"))
    return _reply(
        "Pydantic AI",
        texts,
        calls,
        reasoning=thoughts,
        model=value.get("model_name"),
        provider=value.get("provider_name"),
        tokens=(usage.get("input_tokens"), usage.get("output_tokens")),
        finish=value.get("finish_reason"),
    )


def _vercel(value: dict[str, Any]) -> ModelReply | None:
    parts = value.get("content")
    if not isinstance(parts, list) or "finishReason" not in value:
        return None
    texts, thoughts, calls = [], [], []
    for part in _mappings(parts):
        kind = part.get("type")
        if kind == "text":
            texts.append(_text(part.get("text")))
        elif kind == "reasoning":
            thoughts.append(_text(part.get("text")))
        elif kind == "tool-call":
            calls.append(_call(part.get("toolName"), part.get("input", part.get("args")), part.get("toolCallId")))
    usage, response, finish = _mapping(value.get("usage")), _mapping(value.get("response")), value.get("finishReason")
    return _reply(
        "Vercel AI",
        texts,
        calls,
        reasoning=thoughts,
        model=response.get("modelId"),
        tokens=(_total(usage.get("inputTokens")), _total(usage.get("outputTokens"))),
        finish=finish.get("unified") if isinstance(finish, dict) else finish,
    )


def _anthropic(value: dict[str, Any]) -> ModelReply | None:
    parts = value.get("content")
    if value.get("role") != "assistant" or not isinstance(parts, list):
        return None
    texts = [_text(part.get("text")) for part in _mappings(parts) if part.get("type") == "text"]
    thoughts = [_text(part.get("thinking")) for part in _mappings(parts) if part.get("type") == "thinking"]
    calls = [
        _call(part.get("name"), part.get("input"), part.get("id"))
        for part in _mappings(parts)
        if part.get("type") == "tool_use"
    ]
    usage = _mapping(value.get("usage"))
    return _reply(
        "Anthropic",
        texts,
        calls,
        reasoning=thoughts,
        model=value.get("model"),
        provider="anthropic",
        tokens=(usage.get("input_tokens"), usage.get("output_tokens")),
        finish=value.get("stop_reason"),
    )


def _langchain(value: dict[str, Any]) -> ModelReply | None:
    """A dumped AIMessage, bare or as {"type": "ai", "data": {...}}, in a list of results or alone."""
    found = value
    for name in ("result", "messages", "generations"):
        inside: Any = found.get(name)
        while isinstance(inside, list) and inside:
            inside = inside[0]
        found = inside if isinstance(inside, dict) else found
    found = _mapping(found.get("message")) or found
    if _is_mapping(found.get("kwargs")):
        found = found["kwargs"]
    elif found.get("type") in ("ai", "AIMessage") and _is_mapping(found.get("data")):
        found = found["data"]
    if found.get("type") not in ("ai", "AIMessage") and "usage_metadata" not in found:
        return None
    if "content" not in found or _is_mapping(found["content"]):
        return None
    calls = [_call(call.get("name"), call.get("args"), call.get("id")) for call in _mappings(found.get("tool_calls"))]
    usage, facts = _mapping(found.get("usage_metadata")), _mapping(found.get("response_metadata"))
    return _reply(
        "LangChain",
        [_parts_text(found["content"])],
        calls,
        model=facts.get("model_name") or facts.get("model"),
        provider=facts.get("model_provider"),
        tokens=(usage.get("input_tokens"), usage.get("output_tokens")),
        finish=facts.get("finish_reason"),
    )


_DECODERS: Final[tuple[Callable[[dict[str, Any]], ModelReply | None], ...]] = (
    _pydantic,
    _chat_completion,
    _vercel,
    _anthropic,
    _chat_message,
    _openai_responses,
    _gemini,
    _langchain,
)


# Stored conversations


def _openai_item(item: dict[str, Any]) -> Iterable[Said]:
    kind, call_id = item.get("type"), _text(item.get("call_id") or item.get("tool_call_id"))
    if kind == "function_call":
        call = _call(item.get("name"), item.get("arguments"), call_id)
        yield Said(role="tool call", name=call.name, value=call.arguments, call_id=call_id)
    elif kind == "function_call_output" or item.get("role") == "tool":
        yield Said(role="tool result", call_id=call_id, value=_decoded(item.get("output", item.get("content"))))
    elif item.get("role") in ("user", "assistant", "system", "developer"):
        text = _parts_text(item.get("content"))
        if text:
            yield Said(role=str(item["role"]), text=text)
        for asked in _mappings(item.get("tool_calls")):
            function = _mapping(asked.get("function"))
            made = _call(function.get("name"), function.get("arguments"), asked.get("id"))
            yield Said(role="tool call", name=made.name, value=made.arguments, call_id=made.call_id)


def _adk_event(event: dict[str, Any]) -> Iterable[Said]:
    author = _text(event.get("author"))
    role = "user" if author == "user" else "assistant"
    for part in _mappings(_mapping(event.get("content")).get("parts")):
        if text := _text(part.get("text")):
            yield Said(role=role, text=text, agent="" if role == "user" else author)
        if asked := _mapping(part.get("function_call")):
            made = _call(asked.get("name"), asked.get("args"), asked.get("id"))
            yield Said(role="tool call", agent=author, name=made.name, value=made.arguments, call_id=made.call_id)
        if result := _mapping(part.get("function_response")):
            yield Said(
                role="tool result",
                agent=author,
                name=_text(result.get("name")),
                call_id=_text(result.get("id")),
                value=result.get("response"),
            )


# Reading what may be anything


def _reply(
    framework: str,
    texts: list[str],
    calls: list[ToolCall],
    *,
    tokens: tuple[Any, Any],
    reasoning: Iterable[str] = (),
    model: Any = None,
    provider: Any = None,
    finish: Any = None,
) -> ModelReply:
    return ModelReply(
        framework=framework,
        text="\n".join(filter(None, texts))[:TEXT_CHARS_MAX],
        reasoning="\n".join(filter(None, reasoning))[:TEXT_CHARS_MAX],
        calls=tuple(calls[:_CALLS_MAX]),
        model=_text(model) or None,
        provider=_text(provider) or None,
        input_tokens=_count(tokens[0]),
        output_tokens=_count(tokens[1]),
        finish=_text(finish) or None,
    )


def _call(name: Any, arguments: Any, call_id: Any) -> ToolCall:
    return ToolCall(_text(name) or "?", _decoded(arguments), _text(call_id))


def _decoded(value: Any) -> Any:
    """JSON inside a string, as most providers send arguments; else the value itself."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        found = loaded(value.encode("utf-8", "replace"))
        return value if found is None else found
    return value


def _parts_text(content: Any) -> str:
    if isinstance(content, str):
        return content[:TEXT_CHARS_MAX]
    return "\n".join(_text(part.get("text")) for part in _mappings(content) if part.get("text"))[:TEXT_CHARS_MAX]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40 else None


def _total(value: Any) -> Any:
    return value.get("total") if _is_mapping(value) else value


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
