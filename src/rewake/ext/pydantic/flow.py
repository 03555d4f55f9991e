"""The place of an agent's code: the agents that asked for it, and the expected calls of the model's last answer.

A `Flow` belongs to one run of one agent, found with a contextvar. Calls are planned when the model has answered and
announced to the kernel when the first of them arrives, so that what comes in between (events, validation) may still
make steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextvars import ContextVar

from pydantic_ai.messages import ModelResponse, ToolCallPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

from rewake.ext.kernel import Run

NO_CALL = "-"
"""In `calls`, where an agent ran another one outside of any tool call."""

flow_here: ContextVar[Flow | None] = ContextVar("rewake_pydantic_flow", default=None)
call_here: ContextVar[str] = ContextVar("rewake_pydantic_call", default=NO_CALL)


class Flow:
    """One run of one agent. path, calls: as in the envelope.   running: calls whose tools run at the moment."""

    def __init__(self, path: tuple[str, ...], calls: tuple[str, ...], *, is_sequential: bool) -> None:
        self.path = path
        self.calls = calls
        self.running = 0
        self._is_sequential = is_sequential
        self._planned: list[list[str]] = []

    def plan(self, response: ModelResponse, parameters: ModelRequestParameters) -> None:
        """Remember which calls of an answer will come side by side."""
        tools = {tool.name: tool for tool in parameters.function_tools}
        calls = [part for part in response.parts if isinstance(part, ToolCallPart)]
        self._planned = self._segments((part.tool_call_id, tools.get(part.tool_name)) for part in calls)

    def arrived(self, run: Run, call_id: str) -> None:
        """The framework starts this call: announce it and those beside it."""
        for number, segment in enumerate(self._planned):
            if call_id in segment:
                del self._planned[number]
                run.expect(segment)
                return

    def _segments(self, calls: Iterable[tuple[str, ToolDefinition | None]]) -> list[list[str]]:
        """Calls that run at once. Those of unknown tools, or which wait for a person, do not run in this turn."""
        segments: list[list[str]] = [[]]
        for call_id, tool in calls:
            if tool is None or tool.kind != "function":
                continue
            if self._is_sequential or tool.sequential:
                segments += [[call_id], []]
            else:
                segments[-1].append(call_id)
        return [segment for segment in segments if segment]


def flow_of(name: str, *, is_sequential: bool) -> Flow:
    """The flow of an agent that begins here, below the one that asked for it."""
    outer = flow_here.get()
    path: Sequence[str] = () if outer is None else outer.path
    calls: Sequence[str] = () if outer is None else (*outer.calls, call_here.get())
    return Flow((*path, name), tuple(calls), is_sequential=is_sequential)
