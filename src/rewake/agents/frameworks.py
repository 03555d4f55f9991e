"""Agent frameworks and their client libraries: one table with a row for each.

A new one needs a row in FRAMEWORKS, a function here that reads its replies, and a recorded journal in
tests/unit/agents. introspection.py reads the app's own objects, in the app's process. Called by decoding.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from rewake.agents import replies as read
from rewake.agents.replies import ModelReply

Json = dict[str, Any]

TELEMETRY_PROVIDERS: Final = {"google": "gcp.gemini"}
"""Names of providers in OpenTelemetry's GenAI conventions, if they differ from ours."""


class Framework(msgspec.Struct, frozen=True, kw_only=True):
    """One row. name: its usual spelling.   decode: (name, value of a step) -> the reply, None for another form.

    envelope: its name in the envelopes of rewake.ext.   names_consults: the tool's name names the agent inside it, if
    the app does not declare that agent.
    """

    name: str
    decode: Callable[[str, Json], ModelReply | None]
    envelope: str = ""
    names_consults: bool = False


def _openai_responses(name: str, value: Json) -> ModelReply | None:
    """OpenAI Agents' `call LLM`, and plain responses of that API."""
    items = value.get("output")
    if not isinstance(items, list) or not all(read.is_mapping(item) and "type" in item for item in items):
        return None
    if not items and "usage" not in value:
        return None
    texts, thoughts, calls = [], [], []
    for item in items:
        kind = item.get("type")
        if kind == "message":
            texts += [read.text(part.get("text") or part.get("refusal")) for part in read.mappings(item.get("content"))]
        elif kind == "reasoning":
            thoughts += [read.text(part.get("text")) for part in read.mappings(item.get("summary"))]
        elif kind in ("function_call", "custom_tool_call", "mcp_call"):
            given = item.get("arguments", item.get("input"))
            calls.append(read.call(item.get("name"), given, item.get("call_id") or item.get("id")))
        elif isinstance(kind, str) and kind.endswith("_call"):
            calls.append(read.call(kind.removesuffix("_call"), item.get("action"), item.get("id")))
    return read.reply(
        name,
        texts,
        calls,
        reasoning=thoughts,
        model=value.get("model"),
        provider="openai",
        tokens=read.tokens(value.get("usage")),
        finish=value.get("status"),
    )


def _chat_completion(name: str, value: Json) -> ModelReply | None:
    choices = read.mappings(value.get("choices"))
    message = read.mapping(choices[0].get("message")) if choices else {}
    if not message:
        return None
    calls = []
    for call in read.mappings(message.get("tool_calls")):
        function = read.mapping(call.get("function"))
        calls.append(read.call(function.get("name"), function.get("arguments"), call.get("id")))
    return read.reply(
        name,
        [read.parts_text(message.get("content")) or read.text(message.get("refusal"))],
        calls,
        reasoning=[read.text(message.get("reasoning_content") or message.get("reasoning"))],
        model=value.get("model"),
        tokens=read.tokens(value.get("usage"), "prompt_tokens", "completion_tokens"),
        finish=choices[0].get("finish_reason"),
    )


def _chat_message(name: str, value: Json) -> ModelReply | None:
    """The message of a chat completion, from steps of plain SDK programs."""
    if value.get("role") != "assistant" or not isinstance(value.get("content"), str | None):
        return None
    if "content" not in value and "tool_calls" not in value:
        return None
    return _chat_completion(name, {"choices": [{"message": value}]})


def _gemini(name: str, value: Json) -> ModelReply | None:
    """ADK's `call LLM`, and plain Gemini responses."""
    candidates = read.mappings(value.get("candidates"))
    answer = candidates[0] if candidates else value
    finish = answer.get("finish_reason") or answer.get("finishReason")
    parts = read.mapping(answer.get("content")).get("parts")
    if not isinstance(parts, list):
        return None
    texts: list[str] = []
    thoughts: list[str] = []
    calls = []
    for part in read.mappings(parts):
        (thoughts if part.get("thought") is True else texts).append(read.text(part.get("text")))
        function = read.mapping(part.get("function_call") or part.get("functionCall"))
        if function:
            calls.append(read.call(function.get("name"), function.get("args"), function.get("id")))
    usage = read.mapping(value.get("usage_metadata") or value.get("usageMetadata"))
    return read.reply(
        name,
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


def _pydantic(name: str, value: Json) -> ModelReply | None:
    parts = value.get("parts")
    if value.get("kind") != "response" or not isinstance(parts, list):
        return None
    texts, thoughts, calls = [], [], []
    for part in read.mappings(parts):
        kind = part.get("part_kind")
        if kind == "text":
            texts.append(read.text(part.get("content")))
        elif kind == "thinking":
            thoughts.append(read.text(part.get("content")))
        elif kind in ("tool-call", "builtin-tool-call"):
            calls.append(read.call(part.get("tool_name"), part.get("args"), part.get("tool_call_id")))
    return read.reply(
        name,
        texts,
        calls,
        reasoning=thoughts,
        model=value.get("model_name"),
        provider=value.get("provider_name"),
        tokens=read.tokens(value.get("usage")),
        finish=value.get("finish_reason"),
    )


def _vercel(name: str, value: Json) -> ModelReply | None:
    """A whole answer, or the parts of a streamed one."""
    if isinstance(value.get("parts"), list):
        value = _joined(read.mappings(value["parts"]))
    parts = value.get("content")
    if not isinstance(parts, list) or "finishReason" not in value:
        return None
    texts, thoughts, calls = [], [], []
    for part in read.mappings(parts):
        kind = part.get("type")
        if kind == "text":
            texts.append(read.text(part.get("text")))
        elif kind == "reasoning":
            thoughts.append(read.text(part.get("text")))
        elif kind == "tool-call":
            calls.append(read.call(part.get("toolName"), part.get("input", part.get("args")), part.get("toolCallId")))
    usage, response, finish = (
        read.mapping(value.get("usage")),
        read.mapping(value.get("response")),
        value.get("finishReason"),
    )
    return read.reply(
        name,
        texts,
        calls,
        reasoning=thoughts,
        model=response.get("modelId"),
        tokens=(read.total(usage.get("inputTokens")), read.total(usage.get("outputTokens"))),
        finish=finish.get("unified") if isinstance(finish, dict) else finish,
    )


def _joined(parts: list[Json]) -> Json:
    """A streamed answer in the form of a whole one."""
    blocks: dict[tuple[str, str], list[str]] = {}
    content, finish, response = [], {}, {}
    for part in parts:
        kind = read.text(part.get("type"))
        if kind in ("text-delta", "reasoning-delta"):
            block = (kind.removesuffix("-delta"), read.text(part.get("id")))
            blocks.setdefault(block, []).append(read.text(part.get("delta")))
        elif kind == "tool-call":
            content.append(part)
        elif kind == "finish":
            finish = part
        elif kind == "response-metadata":
            response = part
    texts = [{"type": kind, "text": "".join(said)} for (kind, _), said in blocks.items()]
    return {**finish, "content": [*texts, *content], "response": response}


def _anthropic(name: str, value: Json) -> ModelReply | None:
    parts = value.get("content")
    if value.get("role") != "assistant" or not isinstance(parts, list):
        return None
    texts = [read.text(part.get("text")) for part in read.mappings(parts) if part.get("type") == "text"]
    thoughts = [read.text(part.get("thinking")) for part in read.mappings(parts) if part.get("type") == "thinking"]
    calls = [
        read.call(part.get("name"), part.get("input"), part.get("id"))
        for part in read.mappings(parts)
        if part.get("type") == "tool_use"
    ]
    return read.reply(
        name,
        texts,
        calls,
        reasoning=thoughts,
        model=value.get("model"),
        provider="anthropic",
        tokens=read.tokens(value.get("usage")),
        finish=value.get("stop_reason"),
    )


def _langchain(name: str, value: Json) -> ModelReply | None:
    """A dumped AIMessage, bare or as {"type": "ai", "data": {...}}, in a list of results or alone."""
    found = value
    for field in ("result", "messages", "generations"):
        inside: Any = found.get(field)
        while isinstance(inside, list) and inside:
            inside = inside[0]
        found = inside if isinstance(inside, dict) else found
    found = read.mapping(found.get("message")) or found
    if read.is_mapping(found.get("kwargs")):
        found = found["kwargs"]
    elif found.get("type") in ("ai", "AIMessage") and read.is_mapping(found.get("data")):
        found = found["data"]
    if found.get("type") not in ("ai", "AIMessage") and "usage_metadata" not in found:
        return None
    if "content" not in found or read.is_mapping(found["content"]):
        return None
    calls = [
        read.call(call.get("name"), call.get("args"), call.get("id")) for call in read.mappings(found.get("tool_calls"))
    ]
    facts = read.mapping(found.get("response_metadata"))
    return read.reply(
        name,
        [read.parts_text(found["content"])],
        calls,
        model=facts.get("model_name") or facts.get("model"),
        provider=facts.get("model_provider"),
        tokens=read.tokens(found.get("usage_metadata")),
        finish=facts.get("finish_reason"),
    )


def _openai_agents(name: str, value: Json) -> ModelReply | None:
    return _openai_responses(name, value) if "response_id" in value else None


def _adk(name: str, value: Json) -> ModelReply | None:
    return _gemini(name, value) if "usage_metadata" in value else None


FRAMEWORKS: Final = (
    Framework(name="Pydantic AI", decode=_pydantic, envelope="pydantic-ai", names_consults=True),
    Framework(name="Chat completion", decode=_chat_completion),
    Framework(name="Vercel AI", decode=_vercel, envelope="vercel-ai", names_consults=True),
    Framework(name="Anthropic", decode=_anthropic),
    Framework(name="Chat completion", decode=_chat_message),
    Framework(name="OpenAI Agents", decode=_openai_agents, envelope="openai-agents"),
    Framework(name="OpenAI Responses", decode=_openai_responses),
    Framework(name="Google ADK", decode=_adk, envelope="adk"),
    Framework(name="Gemini", decode=_gemini),
    Framework(name="LangChain", decode=_langchain, names_consults=True),
)
"""Tried in this order: the first that knows a value's form decodes it."""

BY_ENVELOPE: Final = {row.envelope: row.name for row in FRAMEWORKS if row.envelope}
NAMING_CONSULTS: Final = frozenset(row.name for row in FRAMEWORKS if row.names_consults)
