"""ModelReply: a model's answer in one form for all frameworks; and functions to read values of any type.

Journals may be hostile: every field may be missing or of another type, and a field of a wrong type counts as absent.
Used by decoding.py, frameworks.py and envelope.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

TEXT_CHARS_MAX: Final = 20_000
_CALLS_MAX: Final = 200


class ToolCall(msgspec.Struct, frozen=True):
    """A tool call of a model. arguments: decoded if they were JSON."""

    name: str
    arguments: Any = None
    call_id: str = ""


class ModelReply(msgspec.Struct, frozen=True, kw_only=True):
    """One model call's answer. Tokens and the model's name are None if the framework does not journal them."""

    framework: str
    text: str = ""
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    model: str | None = None
    provider: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    finish: str | None = None


def loaded(content: bytes | None) -> Any:
    """Decoded JSON; None if it is not JSON."""
    if not content:
        return None
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None


# Reading what may be anything


def reply(
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
        model=text(model) or None,
        provider=text(provider) or None,
        input_tokens=count(tokens[0]),
        output_tokens=count(tokens[1]),
        finish=text(finish) or None,
    )


def call(name: Any, arguments: Any, call_id: Any) -> ToolCall:
    return ToolCall(text(name) or "?", decoded(arguments), text(call_id))


def decoded(value: Any) -> Any:
    """The JSON in a string (most providers send arguments so); any other value unchanged."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        found = loaded(value.encode("utf-8", "replace"))
        return value if found is None else found
    return value


def parts_text(content: Any) -> str:
    if isinstance(content, str):
        return content[:TEXT_CHARS_MAX]
    return "\n".join(text(part.get("text")) for part in mappings(content) if part.get("text"))[:TEXT_CHARS_MAX]


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40 else None


def tokens(usage: Any, read: str = "input_tokens", written: str = "output_tokens") -> tuple[Any, Any]:
    """Input and output tokens. read, written: their names in `usage`."""
    given = mapping(usage)
    return given.get(read), given.get(written)


def total(value: Any) -> Any:
    return value.get("total") if is_mapping(value) else value


def is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
