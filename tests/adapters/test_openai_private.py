"""What rewake.ext.openai uses beyond the public interfaces, each with what breaks without it.

Run with the oldest and the newest version by `make frameworks`: a version that changes one of them fails here, by name.
"""

from __future__ import annotations

import dataclasses
from contextvars import ContextVar
from typing import Any

from agents import Agent, FunctionTool, RunContextWrapper, function_tool, handoff
from agents.run import AgentRunner, get_default_agent_runner
from agents.run_internal.run_steps import ProcessedResponse
from agents.run_state import RunState
from restate import server_context

from rewake.ext.openai.handoffs import _callback_of
from rewake.ext.openai.runner import _NestedRunner

HELPER = Agent[Any](name="Helper")


def test_the_sdk_keeps_the_context_in_a_contextvar() -> None:
    """kernel/context.py: the SDK's own `current_context()` gives tools the context with turns."""
    assert isinstance(getattr(server_context, "_restate_context_var"), ContextVar)  # noqa: B009  # private


def test_a_tool_that_is_an_agent_says_which() -> None:
    """tools.py and adoption.py: it is a branch, and the nested agent's own tools and models are adopted."""
    tool = HELPER.as_tool("ask", "asks")
    assert (tool._is_agent_tool, tool._agent_instance is HELPER) == (True, True)


def test_a_tool_says_where_it_comes_from() -> None:
    """tools.py: calls of an MCP server's tools are stored with the server's name."""
    assert "_tool_origin" in {field.name for field in dataclasses.fields(FunctionTool)}


def test_an_invoker_is_bound_to_the_copy_of_its_tool() -> None:
    """tools.py: without it a copied tool, as MCP servers and clones have, loses its step."""

    @function_tool
    def plain() -> str:
        return ""

    assert hasattr(plain.on_invoke_tool, "__agents_bind_function_tool__")


def test_a_handoff_knows_its_agent_and_what_the_user_does() -> None:
    """handoffs.py: the agent that takes over is known without the body, and `on_handoff` is a step."""

    def noted(_: RunContextWrapper[Any]) -> None:
        pass

    made = handoff(HELPER, on_handoff=noted)
    assert made._agent_ref is not None
    assert made._agent_ref() is HELPER
    assert _callback_of(made.on_invoke_handoff) is noted
    assert _callback_of(handoff(HELPER).on_invoke_handoff) is None


def test_a_state_says_which_calls_are_open() -> None:
    """preparing.py: the calls that start together when a run goes on after an approval."""
    state = RunState[Any, Any](context=RunContextWrapper(None), original_input="hi", starting_agent=HELPER, max_turns=1)
    assert (state._last_processed_response, state._generated_items) == (None, [])
    assert "functions" in {field.name for field in dataclasses.fields(ProcessedResponse)}


def test_the_framework_asks_one_runner_for_nested_runs() -> None:
    """runner.py: agents as tools with a run_config of their own come by no other way."""
    assert isinstance(get_default_agent_runner(), _NestedRunner)
    assert issubclass(_NestedRunner, AgentRunner)
