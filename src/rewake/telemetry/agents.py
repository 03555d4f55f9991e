"""What agents did, in the words of OpenTelemetry's GenAI conventions: model calls, tools, handoffs.

What frameworks write is read by rewake.agents (decoding.py: replies of models, routing.py: handoffs); here it becomes
attributes. Texts of prompts and answers are not among the attributes: a collector is often somebody else's machine.
"""

from __future__ import annotations

import re
from typing import Any, Final

import apsw

from rewake.agents.decoding import ModelReply, ToolCall, decode_reply
from rewake.agents.roster import Roster
from rewake.protocol.codec import VERSION_MAX, decode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.messages import Completion, MessageType, Success
from rewake.store import rows

Attributes = dict[str, str | int | float | bool | list[str]]

_PROVIDERS: Final = {"google": "gcp.gemini", "openai": "openai", "anthropic": "anthropic"}
_NOT_WORD: Final = re.compile(r"\W+")


def reply_in(content: bytes) -> ModelReply | None:
    """The reply of a model in a step's result; None when it is something else."""
    if content[:1] not in (b"{", b"["):
        return None
    reply = decode_reply(content)
    # A tool may return something shaped like a reply of no particular framework; without tokens or a model it is none.
    if reply is None or (reply.model is None and reply.input_tokens is None and not reply.calls):
        return None
    return reply


def reply_in_completion(payload: bytes) -> ModelReply | None:
    """The reply in a run's completion as it stands in the journal."""
    try:
        message = decode_message(MessageType.RUN_COMPLETION, payload, VERSION_MAX)
    except ProtocolViolation:
        return None
    if isinstance(message, Completion) and isinstance(message.result, Success):
        return reply_in(message.result.content)
    return None


def declared_model(connection: apsw.Connection, service: str, handler: str, agent: str) -> str | None:
    """The model that the app gives an agent of a handler, for replies that name none: see rewake.agents.roster."""
    row = connection.execute("select data from service where name = ?", (service,)).fetchone()
    known = None if row is None else rows.service_from(row[0]).handlers.get(handler)
    return None if known is None else Roster(known.manifest.get("metadata") or {}).model_of(agent)


def model_attributes(reply: ModelReply, agent: str, model: str | None) -> Attributes:
    """Of a span of one model call. model: of the reply, or the declared one."""
    facts: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(reply.provider or "", reply.provider),
        "gen_ai.agent.name": agent,
        "gen_ai.request.model": model,
        "gen_ai.response.model": reply.model,
        "gen_ai.usage.input_tokens": reply.input_tokens,
        "gen_ai.usage.output_tokens": reply.output_tokens,
        "gen_ai.response.finish_reasons": [reply.finish] if reply.finish else None,
        "rewake.agent.framework": reply.framework,
        "rewake.tool_calls": [call.name for call in reply.calls] or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def tool_attributes(name: str, call_id: str, agent: str) -> Attributes:
    """Of a span of one tool call."""
    facts = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.type": "function",
        "gen_ai.agent.name": agent,
    }
    return {**facts, "gen_ai.tool.call.id": call_id} if call_id else {**facts}


def agent_attributes(agent: str) -> Attributes:
    """Of a span that is the work of one agent."""
    return {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent}


def is_step_of(call: ToolCall, step_name: str) -> bool:
    """Whether a step named so is likely the execution of this tool call."""
    return _plain(call.name) == _plain(step_name)


def _plain(name: str) -> str:
    return _NOT_WORD.sub("_", name).strip("_").lower()
