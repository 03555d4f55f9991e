"""Live text of a model, in the form that readers of a stream know for every framework.

A text delta is text; see rewake.ext.chat.live for the others. Events that no reader needs go nowhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from agents import ModelResponse, Usage
from openai.types.responses import Response
from restate import TerminalError

from rewake.ext.kernel import body_here, put_delta
from rewake.ext.openai.agent_run import AgentRun

_LAST_EVENTS: Final = ("response.completed", "response.incomplete")


def is_heard() -> bool:
    """Whether the engine takes deltas of the step whose body runs."""
    body = body_here.get()
    return body is not None and body.stream is not None


class Deltas:
    """Passes on the events of one answer. handoffs: names of tools that hand over, which show when they are made."""

    def __init__(self, found: AgentRun, handoffs: Iterable[str]) -> None:
        self._found, self._handoffs = found, frozenset(handoffs)
        self._calls: dict[str, str] = {}
        """Ids of calls, by the ids of the answer's items."""
        self._has_begun = False

    def put(self, event: Any) -> None:
        """Pass one event on."""
        match event.type:
            case "response.output_text.delta" | "response.refusal.delta":
                self._say(event.delta)
            case "response.reasoning_summary_text.delta":
                self._say({"type": "reasoning", "text": event.delta})
            case "response.output_item.added" if event.item.type == "function_call":
                if event.item.name not in self._handoffs:
                    self._calls[event.item.id or ""] = event.item.call_id
                    self._say({"type": "tool_input", "call": event.item.call_id, "tool": event.item.name, "text": ""})
            case "response.function_call_arguments.delta" if event.item_id in self._calls:
                self._say({"type": "tool_input", "call": self._calls[event.item_id], "text": event.delta})

    def _say(self, delta: Any) -> None:
        if not self._has_begun:
            self._has_begun = True
            if self._found.outer:
                path = [*self._found.outer, self._found.agent.name]
                put_delta({"type": "path", "path": path, "calls": list(self._found.calls)})
        put_delta(delta)


async def spoken(events: AsyncIterator[Any], deltas: Deltas) -> ModelResponse:
    """The whole answer of a model that is read piece by piece, in the framework's form."""
    response: Response | None = None
    items = []
    async for event in events:
        deltas.put(event)
        if event.type in _LAST_EVENTS:
            response = event.response
        elif event.type == "response.output_item.done":
            items.append(event.item)
        elif event.type == "response.failed":
            raise TerminalError(f"The model failed: {event.response.error}")
    if response is None:
        raise ConnectionError("The model's stream ended without its last event.")
    return ModelResponse(
        output=list(response.output or items),  # some backends leave the last event's empty
        usage=_usage(response),
        response_id=response.id,
        request_id=getattr(response, "_request_id", None),
    )


def _usage(response: Response) -> Usage:
    used = response.usage
    if used is None:
        return Usage(requests=1)
    return Usage(
        requests=1,
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        total_tokens=used.total_tokens,
        input_tokens_details=used.input_tokens_details,
        output_tokens_details=used.output_tokens_details,
    )
