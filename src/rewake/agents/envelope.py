"""Reads the envelope of each agent's step that `rewake.ext` stores, the same for all frameworks.

Persisted form (version 1; rewake.ext writes it, and a test checks both sides with the same samples): `{"rewake": 1,
"kind": ..., "framework": ..., "agent": ..., "path": [...], "calls": [...], ..., "value": ...}`. This reader is separate
from rewake.ext, because handlers may run with another release or another engine. The input may be hostile: a field of
another type counts as absent, and of a newer version the known fields are read.
"""

from __future__ import annotations

import base64
from typing import Any, Final

import msgspec

from rewake.agents.decoding import decode_reply, reply_in
from rewake.agents.frameworks import BY_ENVELOPE
from rewake.agents.replies import TEXT_CHARS_MAX, ModelReply, loaded

KINDS: Final = frozenset(
    {
        "model", "tool", "handoff", "decision", "approval", "guardrail", "mcp", "session", "order", "effect",
        "steering", "undoable",
    }
)  # fmt: skip
PATH_MAX: Final = 64


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an agent. kind: of KINDS, or of a newer release.   framework: its usual spelling.

    path: agents from the outermost asker down to `agent`.   calls: ids of the tool calls that led here, one fewer.
    call: id of the model's call that this step answers.   handoff: the agent that a model's answer hands over to.
    reply: of a model, with the envelope's own name and tokens.   is_branch: its own entries follow; it has no value.
    """

    kind: str
    framework: str
    value: Any = None
    agent: str = ""
    path: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    call: str = ""
    tool: str = ""
    server: str = ""
    handoff: str = ""
    attempts: int = 1
    reply: ModelReply | None = None
    is_branch: bool = False


def decode_envelope(content: bytes | None) -> Envelope | None:
    """The envelope in a step's result; None for any other value."""
    if content is None or not content.startswith(b"{") or b'"rewake"' not in content[:200]:
        return None
    told = loaded(content)
    if not isinstance(told, dict) or not _is_count(told.get("rewake")) or not isinstance(told.get("kind"), str):
        return None
    path = _texts(told.get("path")) or _texts([told.get("agent")])
    name = _text(told.get("framework"))
    return Envelope(
        kind=told["kind"],
        framework=BY_ENVELOPE.get(name, name),
        value=told.get("value"),
        agent=_text(told.get("agent")) or (path[-1] if path else ""),
        path=path,
        calls=_texts(told.get("calls"))[: max(len(path) - 1, 0)],
        call=_text(told.get("call")),
        tool=_text(told.get("tool")),
        server=_text(told.get("server")),
        handoff=_text(told.get("handoff")),
        attempts=told["attempts"] if _is_count(told.get("attempts")) else 1,
        reply=_reply(told, BY_ENVELOPE.get(name, name)) if told["kind"] == "model" else None,
        is_branch=told.get("branch") is True,
    )


def own_answer(content: bytes) -> bytes:
    """A handler's answer, without the envelope that a caller gets who may undo the handler's effects."""
    envelope = decode_envelope(content)
    if envelope is None or envelope.kind != "undoable" or not isinstance(envelope.value, dict):
        return content
    answer: Any = envelope.value.get("answer")
    encoded: Any = envelope.value.get("base64")
    try:
        return answer.encode() if isinstance(answer, str) else base64.b64decode(encoded, validate=True)
    except (TypeError, ValueError):
        return content


def model_reply(content: bytes) -> ModelReply | None:
    """The reply of a model in a step's result, in an envelope or as a framework stores it."""
    envelope = decode_envelope(content)
    return decode_reply(content) if envelope is None else envelope.reply


def _reply(told: dict[str, Any], framework: str) -> ModelReply:
    """The framework's reply in the envelope. If it lacks model or tokens, the envelope's are used."""
    found = reply_in(told.get("value")) or _failure(told.get("value"), framework) or ModelReply(framework=framework)
    usage = told.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return msgspec.structs.replace(
        found,
        framework=framework,
        model=_text(told.get("model")) or found.model,
        input_tokens=_count(usage.get("input_tokens"), found.input_tokens),
        output_tokens=_count(usage.get("output_tokens"), found.output_tokens),
    )


def _failure(value: Any, framework: str) -> ModelReply | None:
    """A failed call that another model took over."""
    failed = value.get("$failed") if isinstance(value, dict) else None
    if not isinstance(failed, dict):
        return None
    text = f"{_text(failed.get('error'))}: {_text(failed.get('text'))}"[:TEXT_CHARS_MAX]
    return ModelReply(framework=framework, text=text, finish="error")


def _count(value: Any, otherwise: int | None) -> int | None:
    return value if _is_count(value) else otherwise


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        return ()
    return tuple(value for value in values[:PATH_MAX] if isinstance(value, str) and value)
