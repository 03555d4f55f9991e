"""Approvals between turns: a run that ended with `interruptions` stores them in the state of its object.

desk = restate.VirtualObject("Desk")
questions = BetweenTurns(desk, claims, Approvals(who="finance"))

@desk.handler()
async def message(ctx: restate.ObjectContext, text: str) -> str:
    return await questions.leave(await DurableRunner.run(claims, text))

@questions.next_turn
async def decided(ctx: restate.ObjectContext, state: RunState) -> str:
    return await questions.leave(await DurableRunner.run(claims, state))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import restate
from agents import Agent, RunResult
from agents.run_state import RunState
from restate import ObjectContext

from rewake.ext.kernel import Approvals, Decision, current_run
from rewake.ext.kernel import between as kernel
from rewake.ext.openai.approvals import about_of, call_id, decide, terms_of
from rewake.ext.openai.team import definition_of

NextTurn = Callable[[ObjectContext, RunState[Any]], Awaitable[Any]]


class BetweenTurns(kernel.TurnKeeper[NextTurn]):
    """Questions of OpenAI agents between turns.

    service: the virtual object; it gets the handlers `answer_approval`, `approval_due` and `continue_turn`.
    agent: the one that runs begin with.   approvals: how questions are asked.   context: of the next turns; default:
    the mapping that the framework stored of the context. The function of `next_turn` gets the state to continue from.
    """

    def __init__(
        self,
        service: restate.VirtualObject,
        agent: Agent[Any],
        approvals: Approvals | None = None,
        *,
        context: Any = None,
    ) -> None:
        super().__init__(service, approvals)
        self._agent, self._context = agent, context

    async def leave(self, result: RunResult) -> Any:
        """Store the questions of a run, if it has any; the turn should end then. Returns its answer, None if it waits.

        Call it in a handler of the object, as the last thing of the turn. Raises TerminalError 409 if too many
        questions are open.
        """
        if not result.interruptions:
            return result.final_output
        run = current_run()
        assert run is not None, "a turn is a handler's"
        outer = (result.last_agent.name,)
        asked = [
            kernel.Asked(terms=terms_of(item, self._approvals), about=about_of(item, outer))
            for item in result.interruptions
        ]
        await self.put(run, asked, lambda: result.to_state().to_json())
        return None

    def definition(self, question: Mapping[str, Any]) -> str:
        """See TurnKeeper."""
        return definition_of(self._agent, question["agent"], question["tool"])

    async def go_on(self, ctx: ObjectContext, snapshot: Any, decisions: Mapping[str, Decision]) -> Any:
        """See TurnKeeper."""
        state: RunState[Any] = await RunState.from_json(self._agent, snapshot, context_override=self._context)
        for item in state.get_interruptions():
            if (decision := decisions.get(call_id(item) or "")) is not None:
                decide(state, item, decision)
        return await self.following(ctx, state)
