"""One request to a model, in a form that fits every provider.

`apis/` parses each provider's body into a ModelRequest; rules match on it and tests read it. The raw body has what the
normalised form leaves out. Pure data, without HTTP and rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Api = Literal["responses", "chat", "gemini"]
Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool the model asks for. `arguments` is the decoded JSON object; `id` is None until the server names it."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """A tool's result. `name` is '' if the request does not contain the tool's call."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of the conversation. Only an assistant has `tool_calls`, only a tool has `tool_name`."""

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A request of an agent to a model.

    `system` joins the instructions and every system or developer message. `tools` are the offered names, with handoffs,
    in the order of the request. `messages` is the conversation without the system messages. `output_schema` is the JSON
    schema that the answer must have, or None. `must_call` is the name and the JSON schema of the tool to call if the
    model must call one: the last, where frameworks put the one for structured output.
    """

    api: Api
    model: str
    system: str
    messages: tuple[Message, ...]
    tools: tuple[str, ...]
    is_stream: bool
    body: dict[str, Any]
    output_schema: dict[str, Any] | None = None
    must_call: tuple[str, dict[str, Any]] | None = None

    @property
    def last_user_text(self) -> str:
        """The latest uninterrupted run of user messages, one per line; '' when no user has spoken."""
        texts: list[str] = []
        for message in reversed(self.messages):
            if message.role == "user":
                texts.append(message.text)
            elif texts:
                break
        return "\n".join(reversed(texts))

    @property
    def tool_results(self) -> tuple[ToolResult, ...]:
        """The tool results since the user last spoke, oldest first."""
        results: list[ToolResult] = []
        for message in reversed(self.messages):
            if message.role == "user":
                break
            if message.role == "tool":
                results.append(ToolResult(message.tool_name, message.text))
        return tuple(reversed(results))
