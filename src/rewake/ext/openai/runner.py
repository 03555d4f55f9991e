"""The durable runner: the call forms of restate.ext.openai; beside them streams, approvals in place, nested runs."""

from __future__ import annotations

from typing import Any, Final

from agents import Agent, Runner, RunResult, RunResultStreaming, TResponseInputItem
from agents.run import AgentRunner, get_default_agent_runner, set_default_agent_runner
from agents.run_state import RunState
from restate import RunOptions, TerminalError

from rewake.ext.kernel import Approvals, NeedsBranch, Run, body_here, current_run
from rewake.ext.kernel.approvals import Notify
from rewake.ext.openai.agent_run import AgentRun, agent_run, agent_run_here, call_here
from rewake.ext.openai.approvals import answered
from rewake.ext.openai.failures import lasting
from rewake.ext.openai.preparing import DurableHooks, beginning, nested, prepared, resumed
from rewake.ext.openai.session import RestateSession
from rewake.ext.openai.streaming import Streaming

Input = str | list[TResponseInputItem] | RunState[Any]


class DurableRunner:
    """`Runner` for handlers: models, tools, guardrails and MCP servers of a run are steps of the invocation."""

    rewake_uses_context: Final = True
    """A tool whose code names this class is a durable one: see detect.py of the kernel."""

    @staticmethod
    async def run(
        starting_agent: Agent[Any],
        input: Input,
        *,
        use_restate_session: bool = False,
        run_options: RunOptions[Any] | None = None,
        wait_for_approvals: bool | Notify | Approvals = False,
        live: bool = False,
        **kwargs: Any,
    ) -> RunResult:
        """Run an agent durably. Outside of a handler, and in the body of a step of yours, it is `Runner.run`.

        A tool or a guardrail that calls it makes entries of its own.

        use_restate_session: keep the conversation in the state of the virtual object. run_options: of the engine's
        retries of model calls. wait_for_approvals: wait in place for calls that need an approval, instead of returning
        with `interruptions`. `Approvals(...)` says who is asked, until when, how often they are reminded and how many
        must approve; an async function alone is its `notify`, called in a step with each `ApprovalRequest`.
        live: where the engine takes deltas, models are asked for their answers piece by piece.

        Raises what `Runner.run` raises; limits, tripped guardrails, a misbehaving model and refusals of the provider
        end the invocation at once (they are TerminalErrors, too).
        """
        session = _session(use_restate_session, kwargs)
        run = _run_here()
        if run is None:
            return await Runner.run(starting_agent, input, session=session, **kwargs)
        found = beginning(run, starting_agent, run_options, agent_run())
        found.is_live = found.is_live or live
        token = agent_run_here.set(found)
        try:
            return await run.drive(lambda: _run(found, input, session, wait_for_approvals, kwargs))
        except Exception as error:
            last = lasting(error)
            if last is error:
                raise
            raise last from error.__cause__
        finally:
            agent_run_here.reset(token)

    @staticmethod
    def run_streamed(
        starting_agent: Agent[Any],
        input: Input,
        *,
        use_restate_session: bool = False,
        run_options: RunOptions[Any] | None = None,
        **kwargs: Any,
    ) -> RunResultStreaming:
        """Run an agent durably and read its events, with the call form of `Runner.run_streamed`.

        Deltas come live in the attempt that asks the model; at replay an answer comes whole. Read `stream_events()` to
        its end before the handler goes on: until then the run has the turn. `cancel()` takes effect after the turn.
        """
        session = _session(use_restate_session, kwargs)
        run = _run_here()
        if run is None:
            return Runner.run_streamed(starting_agent, input, session=session, **kwargs)
        found = beginning(run, starting_agent, run_options, agent_run())
        return Streaming(found).start(lambda: prepared(found, input, kwargs), starting_agent, input, session)


async def _run(
    found: AgentRun, input: Input, session: Any, wait_for_approvals: bool | Notify | Approvals, kwargs: dict[str, Any]
) -> RunResult:
    approvals = _approvals(wait_for_approvals)
    agent = found.agent
    given = prepared(found, input, kwargs)
    result: RunResult | None = None
    try:
        result = await Runner.run(agent, input, session=session, **given)
        while approvals is not None and result.interruptions:
            state = await answered(found, result, approvals)
            result = await Runner.run(agent, state, session=session, **resumed(found, state, given))
        return result
    finally:
        await _finished(found, session, None if result is None else result.last_agent.name)


def _run_here() -> Run | None:
    """The run of this attempt. Raises NeedsBranch in the body of a tool or guardrail, which then makes entries."""
    body = body_here.get()
    if body is not None and body.may_branch:
        raise NeedsBranch(f"The body of step {body.name!r} runs an agent durably.")
    return current_run()


def _approvals(given: bool | Notify | Approvals) -> Approvals | None:
    if isinstance(given, bool):
        return Approvals() if given else None
    return given if isinstance(given, Approvals) else Approvals(notify=given)


async def _finished(found: AgentRun, session: Any, agent: str | None) -> None:
    await found.close()
    if isinstance(session, RestateSession) and found.run.turns.broken is None:
        await session.flush(agent)


def _session(use_restate_session: bool, kwargs: dict[str, Any]) -> Any:
    session = kwargs.pop("session", None)
    if not use_restate_session:
        return session
    if session is not None:
        raise TerminalError("When use_restate_session is True, session config cannot be provided.")
    return RestateSession()


class _NestedRunner(AgentRunner):
    """The framework's runner. Runs that begin inside a durable one are durable, too, under a path of their own."""

    async def run(self, starting_agent: Agent[Any], input: Any, **kwargs: Any) -> RunResult:
        """As `Runner.run`."""
        outer = agent_run()
        if outer is None or isinstance(kwargs.get("hooks"), DurableHooks):
            return await super().run(starting_agent, input, **kwargs)
        found = nested(outer, starting_agent)
        token = agent_run_here.set(found)
        try:
            given = prepared(found, input, kwargs)
            result = await found.run.drive(lambda: AgentRunner.run(self, starting_agent, input, **given))
            if result.interruptions:
                outer.waiting.add(call_here.get())
            return result
        finally:
            agent_run_here.reset(token)
            await found.close()

    def run_streamed(self, starting_agent: Agent[Any], input: Any, **kwargs: Any) -> RunResultStreaming:
        """As `Runner.run_streamed`."""
        outer = agent_run()
        if outer is None or isinstance(kwargs.get("hooks"), DurableHooks):
            return super().run_streamed(starting_agent, input, **kwargs)
        found = nested(outer, starting_agent)
        token = agent_run_here.set(found)
        try:
            return super().run_streamed(starting_agent, input, **prepared(found, input, kwargs))
        finally:
            agent_run_here.reset(token)


if type(get_default_agent_runner()) is AgentRunner:
    # Not public API of the framework, and the only seam for agents as tools with a run_config of their own.
    set_default_agent_runner(_NestedRunner())
