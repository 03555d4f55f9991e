"""Approvals between turns: a run that ended with `DeferredToolRequests` stores them in the state of its object.

desk = restate.VirtualObject("Desk")
questions = BetweenTurns(desk, claims, Approvals(who="finance"))

@desk.handler()
async def message(ctx: restate.ObjectContext, text: str) -> str | None:
    return await questions.leave(await claims.run(text))

@questions.next_turn
async def decided(ctx, messages, results) -> str | None:
    return await questions.leave(await claims.run(message_history=messages, deferred_tool_results=results))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final

import restate
from pydantic_ai.agent import AbstractAgent
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ToolCallPart
from pydantic_ai.run import AgentRunResult
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, Tool
from pydantic_ai.toolsets import (
    AbstractToolset,
    ApprovalRequiredToolset,
    CombinedToolset,
    FilteredToolset,
    FunctionToolset,
    PrefixedToolset,
    PreparedToolset,
    RenamedToolset,
    WrapperToolset,
)
from restate import ObjectContext, TerminalError

from rewake.ext.kernel import Approvals, Decision, Envelope, current_run, fingerprint
from rewake.ext.kernel.between import Asked, TurnKeeper
from rewake.ext.pydantic.approvals import result_of
from rewake.ext.pydantic.envelopes import FRAMEWORK

_KEEPING_NAMES: Final = (ApprovalRequiredToolset, FilteredToolset, PreparedToolset)
"""Wrappers that leave the names of tools alone; others may do anything."""

NextTurn = Callable[[ObjectContext, list[ModelMessage], DeferredToolResults], Awaitable[Any]]


class BetweenTurns(TurnKeeper[NextTurn]):
    """Questions of a Pydantic AI agent between turns.

    service: the virtual object; it gets the handlers `answer_approval`, `approval_due` and `continue_turn`.
    agent: with DeferredToolRequests among its output types.   approvals: how questions are asked. The function of
    `next_turn` gets the messages and the tool results to continue with.
    """

    def __init__(
        self, service: restate.VirtualObject, agent: AbstractAgent[Any, Any], approvals: Approvals | None = None
    ) -> None:
        super().__init__(service, approvals)
        self._agent = agent

    async def leave(self, result: AgentRunResult[Any], *, keeps_messages: bool = True) -> Any:
        """Store the questions of a run, if it has any; the turn should end then. Returns its output, None if it waits.

        Call it in a handler of the object, as the last thing of the turn. keeps_messages: False if you store the
        messages yourself; the next turn then gets none. Raises TerminalError 409 if too many questions are open, 400
        for external tool calls, which no person decides.
        """
        requests = result.output
        if not isinstance(requests, DeferredToolRequests):
            return requests
        if requests.calls:
            names = ", ".join(call.tool_name for call in requests.calls)
            raise TerminalError(
                f"External tools ({names}) have no answer by approval. Give their results yourself.", 400
            )
        run = current_run()
        assert run is not None, "a turn is a handler's"
        messages = ModelMessagesTypeAdapter.dump_python(result.all_messages(), mode="json") if keeps_messages else []
        await self.put(run, [*map(self._asked, requests.approvals)], lambda: messages)
        return None

    def definition(self, question: Mapping[str, Any]) -> str:
        """See TurnKeeper. Tools outside the agent's function toolsets, such as those of MCP, count by name."""
        tool = question["tool"]
        found = [each for toolset in self._agent.toolsets for each in _named(toolset, tool)]
        if not found:
            raise LookupError(f"The agent {self._name!r} has no tool {tool!r} any more.")
        known = next((each.tool_def for each in found if each is not None), None)
        if known is None:
            return fingerprint(self._name, tool)
        return fingerprint(self._name, tool, known.description or "", known.parameters_json_schema)

    async def go_on(self, ctx: ObjectContext, snapshot: Any, decisions: Mapping[str, Decision]) -> Any:
        """See TurnKeeper."""
        results = DeferredToolResults(approvals={call: result_of(each) for call, each in decisions.items()})
        return await self.following(ctx, ModelMessagesTypeAdapter.validate_python(snapshot), results)

    @property
    def _name(self) -> str:
        return self._agent.name or "agent"

    def _asked(self, call: ToolCallPart) -> Asked:
        arguments = call.args_as_json_str()
        about = Envelope(
            kind="approval",
            framework=FRAMEWORK,
            agent=self._name,
            path=(self._name,),
            call=call.tool_call_id,
            tool=call.tool_name,
            fingerprint=fingerprint(arguments),
        )
        return Asked(
            terms=self._approvals.terms(f"{self._name} wants to call {call.tool_name}", arguments), about=about
        )


def _named(toolset: AbstractToolset[Any], name: str) -> Iterator[Tool[Any] | None]:
    """The tools that the model knows by a name. None: a toolset lists its tools in a run only, so it may have one."""
    match toolset:
        case FunctionToolset():
            if (tool := toolset.tools.get(name)) is not None:
                yield tool
        case CombinedToolset():
            for each in toolset.toolsets:
                yield from _named(each, name)
        case PrefixedToolset():
            if name.startswith(f"{toolset.prefix}_"):
                yield from _named(toolset.wrapped, name.removeprefix(f"{toolset.prefix}_"))
        case RenamedToolset():
            if name in toolset.name_map or name not in toolset.name_map.values():
                yield from _named(toolset.wrapped, toolset.name_map.get(name, name))
        case WrapperToolset():
            yield from _named(toolset.wrapped, name)
            if not isinstance(toolset, _KEEPING_NAMES):
                yield None
        case _:
            yield None
