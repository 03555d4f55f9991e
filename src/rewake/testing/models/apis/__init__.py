"""The providers' API formats, one module each: they parse requests, and render answers, streams and errors.

Each module has the same four functions (see `Api`); app.py routes to them. Pure: bytes and HTTP stay in app.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from secrets import token_hex
from typing import Any, Protocol

from ..request import ModelRequest
from ..rules import Text, ToolCalls

JsonObject = dict[str, Any]
TEXT_PIECE_CHARS = 12


class Api(Protocol):
    """The functions of each module."""

    def parse(self, body: JsonObject, model: str, is_stream: bool) -> ModelRequest:
        """The normalised request. `model` and `is_stream` come from the path, if the provider puts them there."""

    def respond(self, request: ModelRequest, answer: Text | ToolCalls, ids: Ids) -> JsonObject:
        """The whole response body."""

    def stream(self, request: ModelRequest, answer: Text | ToolCalls, ids: Ids) -> Iterator[str]:
        """The server-sent events, one string each."""

    def error(self, status: int, message: str) -> JsonObject:
        """An error body in the provider's shape."""


def must_call(tools: Sequence[JsonObject], *, is_required: bool) -> tuple[str, JsonObject] | None:
    """See ModelRequest.must_call. tools: the declared functions.   is_required: whether the model must call one."""
    if not tools or not is_required:
        return None
    last = tools[-1]
    return last["name"], last.get("parametersJsonSchema") or last.get("parameters") or {}


class Ids:
    """Makes ids that are unique even among servers: a stored conversation may go on at a second server."""

    def __init__(self) -> None:
        self._run = token_hex(4)
        self._count = count(1)

    def next(self, prefix: str) -> str:
        """A fresh id such as `call_1f00ba4a_000003`."""
        return f"{prefix}_{self._run}_{next(self._count):06}"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Usage of one call."""

    input: int
    output: int

    @property
    def total(self) -> int:
        """Both directions."""
        return self.input + self.output


def tokens_of(request: ModelRequest, answer: Text | ToolCalls) -> Tokens:
    """The answer's own figures, or a token per four characters: plausible and reproducible."""
    asked = len(request.system) + sum(len(message.text) for message in request.messages)
    given = len(answer.text)
    if isinstance(answer, ToolCalls):
        given += sum(len(call.name) + len(str(call.arguments)) for call in answer.calls)
    estimate = Tokens(asked // 4 + 1, given // 4 + 1)
    return Tokens(
        estimate.input if answer.input_tokens is None else answer.input_tokens,
        estimate.output if answer.output_tokens is None else answer.output_tokens,
    )


def pieces_of(text: str) -> Iterator[str]:
    """The pieces of a text in a stream; none for ''."""
    for start in range(0, len(text), TEXT_PIECE_CHARS):
        yield text[start : start + TEXT_PIECE_CHARS]


def text_of(content: Any) -> str:
    """The text of a content field: a string, a list of parts, or nothing."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [part if isinstance(part, str) else part.get("text") or part.get("refusal") or "" for part in content]
    return "\n".join(part for part in parts if part)


def arguments_of(raw: Any) -> JsonObject:
    """Tool arguments as an object; any other value is kept under the key `_raw`."""
    try:
        value = json.loads(raw) if isinstance(raw, str) else raw
    except ValueError:
        value = raw
    if value is None or value == "":
        return {}
    return value if isinstance(value, dict) else {"_raw": value}
