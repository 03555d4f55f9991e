"""Parts of a model's answer, read from its envelope: one reader for each framework's JSON. No framework is imported."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

Part = dict[str, Any]


def parts_of(envelope: Mapping[str, Any]) -> list[Part]:
    """Texts, thoughts and calls of an answer, in order; a call that hands over is a handoff."""
    value, agent = envelope.get("value"), envelope.get("agent")
    if not isinstance(value, Mapping):
        return []
    if envelope.get("framework") == "pydantic-ai":
        return [part for each in value.get("parts") or [] if (part := _of_pydantic(each, agent)) is not None]
    items = value.get("output") or []
    target = envelope.get("handoff")
    to = None if target is None else _handing_over(items, target)
    parts: list[Part] = []
    for item in items:
        if item.get("type") == "function_call" and item.get("call_id") == to:
            parts.append({"type": "handoff", "agent": target})
        else:
            parts += _of_openai(item, agent)
    return parts


def _of_openai(item: Mapping[str, Any], agent: str | None) -> list[Part]:
    match item.get("type"):
        case "message":
            text = "".join(each.get("text") or each.get("refusal") or "" for each in item.get("content") or [])
            return [{"type": "text", "text": text}] if text else []
        case "reasoning":
            text = "\n\n".join(each.get("text", "") for each in item.get("summary") or [])
            return [{"type": "reasoning", "text": text}] if text else []
        case "function_call":
            return [_call(item.get("call_id"), item.get("name"), item.get("arguments"), agent)]
    return []


def _of_pydantic(part: Mapping[str, Any], agent: str | None) -> Part | None:
    match part.get("part_kind"):
        case "text" if part.get("content"):
            return {"type": "text", "text": part["content"]}
        case "thinking" if part.get("content"):
            return {"type": "reasoning", "text": part["content"]}
        case "tool-call":
            return _call(part.get("tool_call_id"), part.get("tool_name"), part.get("args"), agent)
    return None


def parsed(arguments: Any) -> Any:
    """Arguments as JSON where a model wrote JSON."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def _call(call: str | None, tool: str | None, arguments: Any, agent: str | None) -> Part:
    return {
        "type": "tool",
        "call": call or "",
        "tool": tool or "?",
        "agent": agent,
        "input": parsed(arguments),
        "state": "called",
    }


def _handing_over(items: list[Any], agent: str) -> str | None:
    """The id of the call that hands over: of the default name, else the first call."""
    calls = [item for item in items if item.get("type") == "function_call"]
    named = "transfer_to_" + re.sub(r"[^a-z0-9]", "_", agent.lower())
    found = next((item for item in calls if re.sub(r"[^a-z0-9]", "_", item.get("name", "").lower()) == named), None)
    return (found or (calls[0] if calls else {})).get("call_id")
