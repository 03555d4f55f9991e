"""OpenAI Agents on durable handlers: change the import from `restate.ext.openai`, and each call is a step.

    from rewake.ext.openai import DurableRunner
    result = await DurableRunner.run(agent, "My leg hurts.")

Models, function tools, agents as tools, handoffs, guardrails, MCP servers, sessions, approvals and streams: see
docs/how-to/openai-agents.md. runner.py is the way in; adoption.py says how the user's own objects become durable.
"""

from __future__ import annotations

from typing import cast

from restate import Context, ObjectContext

from rewake.ext.kernel import ApprovalRequest, Approvals, Done, EffectUnknown, external
from rewake.ext.kernel import restate_context as _restate_context
from rewake.ext.openai.between import BetweenTurns
from rewake.ext.openai.failures import AgentsTerminalException, raise_terminal_errors
from rewake.ext.openai.functions import durable_function_tool, propagate_cancellation
from rewake.ext.openai.runner import DurableRunner
from rewake.ext.openai.session import RestateSession


def restate_context() -> Context:
    """The context of this invocation, as durable tools may use it. Raises RuntimeError outside of a handler."""
    return _restate_context()


def restate_object_context() -> ObjectContext:
    """The same, in a handler of a virtual object or a workflow."""
    return cast(ObjectContext, _restate_context())  # a tool cannot know what it is called from


__all__ = [
    "AgentsTerminalException",
    "ApprovalRequest",
    "Approvals",
    "BetweenTurns",
    "Done",
    "DurableRunner",
    "EffectUnknown",
    "RestateSession",
    "durable_function_tool",
    "external",
    "propagate_cancellation",
    "raise_terminal_errors",
    "restate_context",
    "restate_object_context",
]
