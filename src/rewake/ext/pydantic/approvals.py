"""Approvals of tools: each call that needs one is a question to people, and the run continues with their decisions.

The framework's `RequestInput` asks once for all calls of an answer, and takes their results in its own JSON. Here each
call has its own question, for its exact arguments, with the options of `ask()`: deadline, reminders, quorum, links.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.tools import AgentDepsT, DeferredToolRequests, DeferredToolResults, RunContext, ToolDenied

from rewake.ext.kernel import Approvals, Decision, Envelope, Outcome, Run, asked, current_run, fingerprint
from rewake.ext.pydantic.envelopes import FRAMEWORK
from rewake.ext.pydantic.flow import flow_here

EXPIRED: Final = "Nobody answered in time: the call was neither approved nor denied, and has not been made."


class DurableApprovals(AbstractCapability[AgentDepsT]):
    """Asks people about calls of tools with `requires_approval`, in a handler; elsewhere other code decides.

    approvals: who is asked, the deadline, the reminders, the quorum, and how people are notified.
    """

    def __init__(self, approvals: Approvals | None = None) -> None:
        self._approvals = approvals or Approvals()

    async def handle_deferred_tool_calls(
        self, ctx: RunContext[AgentDepsT], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        """The decisions on all calls that need one; they are asked for side by side."""
        run = current_run()
        if run is None or not requests.approvals:
            return None
        calls = requests.approvals
        decisions = await run.gather(*(partial(self._decided, run, call) for call in calls))
        given = zip(calls, decisions, strict=True)
        return requests.build_results(approvals={call.tool_call_id: result_of(decision) for call, decision in given})

    async def _decided(self, run: Run, call: ToolCallPart) -> Decision:
        flow, arguments = flow_here.get(), call.args_as_json_str()
        path, calls = ((), ()) if flow is None else (flow.path, flow.calls)
        agent = path[-1] if path else None
        about = Envelope(
            kind="approval",
            framework=FRAMEWORK,
            agent=agent,
            path=path,
            calls=calls,
            call=call.tool_call_id,
            tool=call.tool_name,
            fingerprint=fingerprint(arguments),
        )
        question = f"{agent or 'An agent'} wants to call {call.tool_name}"
        return await asked(run, self._approvals.terms(question, arguments), about)


def result_of(decision: Decision) -> Any:
    """The text for the model about a call that is not made. If nobody answered, it does not say "denied"."""
    if decision.is_approved:
        return True
    if decision.outcome is Outcome.EXPIRED:
        return ToolDenied(EXPIRED)
    return ToolDenied(decision.why) if decision.why else ToolDenied()
