"""Prepares a run for the framework: adopted agents, wrapped models, hooks that follow the agent."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from agents import Agent, Model, RunConfig, RunHooks
from agents.lifecycle import RunHooksBase
from agents.run_state import RunState
from restate import RunOptions

from rewake.ext.kernel import Run
from rewake.ext.openai.adoption import adopt
from rewake.ext.openai.agent_run import MODEL_CALL, AgentRun, call_here
from rewake.ext.openai.guardrails import adopt_guardrail
from rewake.ext.openai.models import DurableProvider, durable

_OF_A_NEW_RUN: Final = ("context", "max_turns", "previous_response_id", "auto_previous_response_id", "conversation_id")


class DurableHooks(RunHooks[Any]):
    """The user's hooks; beside them the run learns which agent is next."""

    def __init__(self, found: AgentRun, inner: RunHooksBase[Any, Any] | None) -> None:
        self._found, self._inner = found, inner if inner is not None else RunHooks()

    async def on_agent_start(self, context: Any, agent: Any) -> None:
        """As the user's."""
        await self._inner.on_agent_start(context, agent)

    async def on_llm_start(self, context: Any, agent: Any, system_prompt: Any, input_items: Any) -> None:
        """As the user's."""
        self._found.agent = adopt(agent)
        await self._inner.on_llm_start(context, agent, system_prompt, input_items)

    async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
        """As the user's."""
        await self._inner.on_llm_end(context, agent, response)

    async def on_agent_end(self, context: Any, agent: Any, output: Any) -> None:
        """As the user's."""
        await self._inner.on_agent_end(context, agent, output)

    async def on_handoff(self, context: Any, from_agent: Any, to_agent: Any) -> None:
        """As the user's."""
        adopt(to_agent)
        await self._inner.on_handoff(context, from_agent, to_agent)

    async def on_tool_start(self, context: Any, agent: Any, tool: Any) -> None:
        """As the user's."""
        await self._inner.on_tool_start(context, agent, tool)

    async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
        """As the user's."""
        await self._inner.on_tool_end(context, agent, tool, result)


def beginning(run: Run, agent: Agent[Any], options: RunOptions[Any] | None, outer: AgentRun | None) -> AgentRun:
    """A run that a handler starts, or a durable tool of another run (outer)."""
    if outer is None:
        return AgentRun(run, agent, options)
    return dataclasses.replace(nested(outer, agent), options=options or outer.options)


def nested(outer: AgentRun, agent: Agent[Any]) -> AgentRun:
    """A run inside another one: an agent used as a tool, or one that a durable tool runs."""
    calls = (*outer.calls, call_here.get())
    return AgentRun(outer.run, agent, outer.options, (*outer.outer, outer.agent.name), calls, outer.is_live)


def prepared(found: AgentRun, input: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments for the framework's runner."""
    adopt(found.agent)
    config = _config(kwargs.get("run_config"))
    for guardrail in (*(config.input_guardrails or ()), *(config.output_guardrails or ())):
        adopt_guardrail(guardrail)
    if isinstance(input, RunState):
        found.expect_together(_pending(input))
    else:
        _expect_guardrails(found, [*found.agent.input_guardrails, *(config.input_guardrails or ())])
    model = durable(config.model) if isinstance(config.model, Model) else config.model
    durable_config = dataclasses.replace(config, model=model, model_provider=DurableProvider(config.model_provider))
    return {**kwargs, "run_config": durable_config, "hooks": DurableHooks(found, kwargs.get("hooks"))}


def resumed(found: AgentRun, state: RunState[Any], given: dict[str, Any]) -> dict[str, Any]:
    """The arguments for continuing from a state."""
    found.expect_together(_pending(state))
    return for_resuming(given)


def for_resuming(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a run that are also allowed if a run continues from a state."""
    return {name: each for name, each in given.items() if name not in _OF_A_NEW_RUN}


def _config(given: RunConfig | dict[str, Any] | None) -> RunConfig:
    if given is None:
        return RunConfig()
    return RunConfig(**given) if isinstance(given, dict) else given


def _expect_guardrails(found: AgentRun, guardrails: list[Any]) -> None:
    """Expect blocking guardrails before the model is asked, and the others beside its first call."""
    keys = [(f"guardrail {each.get_name()}", each.run_in_parallel) for each in guardrails]
    found.expect_together([key for key, is_beside in keys if not is_beside])
    beside = [key for key, is_beside in keys if is_beside]
    if beside:
        found.is_guarded = True
        found.expect_together([MODEL_CALL, *beside])


def _pending(state: RunState[Any]) -> list[str]:
    """Ids of the calls that start when a state goes on."""
    processed = getattr(state, "_last_processed_response", None)
    started = [run.tool_call.call_id for run in getattr(processed, "functions", ())]
    ended = {_call_id(item) for item in getattr(state, "_generated_items", ()) if item.type == "tool_call_output_item"}
    return [call_id for call_id in started if call_id not in ended]


def _call_id(item: Any) -> str | None:
    raw = item.raw_item
    found = raw.get("call_id") if isinstance(raw, dict) else getattr(raw, "call_id", None)
    return found if isinstance(found, str) else None
