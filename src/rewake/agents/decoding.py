"""Decodes models' replies from the journal entries of agent frameworks.

Each framework stores replies in its own form; frameworks.py converts them to `ModelReply`. An unknown form gives None
and is shown as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from rewake.agents import replies as read
from rewake.agents.frameworks import FRAMEWORKS
from rewake.agents.replies import ModelReply, loaded


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
    if read.is_mapping(value) and read.is_mapping(value.get("json")) and set(value) <= {"json", "meta"}:
        value = value["json"]  # superjson, from the Vercel AI middleware
    if not read.is_mapping(value):
        return None
    for framework in FRAMEWORKS:
        reply = framework.decode(framework.name, value)
        if reply is not None:
            return reply
    return None


def decode_conversation(content: bytes) -> list[Said]:
    """A conversation stored as state: items of OpenAI Agents, a session of ADK, messages of chat completions."""
    value = loaded(content)
    if read.is_mapping(value) and isinstance(value.get("events"), list):
        return [said for event in read.mappings(value["events"]) for said in _adk_event(event)]
    items = read.mappings(value)
    if items and any("role" in item or item.get("type") in ("function_call", "message") for item in items):
        return [said for item in items for said in _openai_item(item)]
    return []


# Stored conversations


def _openai_item(item: dict[str, Any]) -> Iterable[Said]:
    kind, call_id = item.get("type"), read.text(item.get("call_id") or item.get("tool_call_id"))
    if kind == "function_call":
        call = read.call(item.get("name"), item.get("arguments"), call_id)
        yield Said(role="tool call", name=call.name, value=call.arguments, call_id=call_id)
    elif kind == "function_call_output" or item.get("role") == "tool":
        yield Said(role="tool result", call_id=call_id, value=read.decoded(item.get("output", item.get("content"))))
    elif item.get("role") in ("user", "assistant", "system", "developer"):
        text = read.parts_text(item.get("content"))
        if text:
            yield Said(role=str(item["role"]), text=text)
        for asked in read.mappings(item.get("tool_calls")):
            function = read.mapping(asked.get("function"))
            made = read.call(function.get("name"), function.get("arguments"), asked.get("id"))
            yield Said(role="tool call", name=made.name, value=made.arguments, call_id=made.call_id)


def _adk_event(event: dict[str, Any]) -> Iterable[Said]:
    author = read.text(event.get("author"))
    role = "user" if author == "user" else "assistant"
    for part in read.mappings(read.mapping(event.get("content")).get("parts")):
        if text := read.text(part.get("text")):
            yield Said(role=role, text=text, agent="" if role == "user" else author)
        if asked := read.mapping(part.get("function_call")):
            made = read.call(asked.get("name"), asked.get("args"), asked.get("id"))
            yield Said(role="tool call", agent=author, name=made.name, value=made.arguments, call_id=made.call_id)
        if result := read.mapping(part.get("function_response")):
            yield Said(
                role="tool result",
                agent=author,
                name=read.text(result.get("name")),
                call_id=read.text(result.get("id")),
                value=result.get("response"),
            )
