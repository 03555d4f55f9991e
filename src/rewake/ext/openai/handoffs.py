"""Handoffs: the user's callback at a handoff is a step. DurableHooks adopt the agent that takes over."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from agents import Agent, Handoff

from rewake.ext.kernel import Envelope, show_context, uses_context
from rewake.ext.openai.agent_run import agent_run


def adopt_handoff(handoff: Handoff[Any, Any]) -> None:
    """Make a handoff durable, in place."""
    inner = handoff.on_invoke_handoff
    if type(inner) is _DurableHandoff:
        return
    handoff.on_invoke_handoff = _DurableHandoff(handoff, inner)


class _DurableHandoff:
    """Stands for `on_invoke_handoff`."""

    def __init__(self, handoff: Handoff[Any, Any], inner: Any) -> None:
        self._handoff, self._inner = handoff, inner
        self._callback = _callback_of(inner)

    def __getattr__(self, name: str) -> Any:
        if name in ("_handoff", "_inner", "_callback"):
            raise AttributeError(name)
        return getattr(self._inner, name)

    async def __call__(self, context: Any, arguments: str) -> Agent[Any]:
        found = agent_run()
        if found is None:
            target: Agent[Any] = await self._inner(context, arguments)
            return target
        known = self._handoff._agent_ref() if self._handoff._agent_ref is not None else None
        if self._callback is None or not isinstance(known, Agent) or uses_context(self._callback):
            show_context(found.run)
            known = await self._inner(context, arguments)
        else:
            envelope = found.envelope("handoff", handoff=known.name)

            async def body() -> Envelope:
                await self._inner(context, arguments)
                return envelope

            branch = envelope.with_value(None, branch=True)
            if (await found.record(f"handoff {known.name}", body, or_branch=branch)).branch:
                show_context(found.run)
                known = await self._inner(context, arguments)
        return known


def _callback_of(inner: Any) -> Any:
    """The user's `on_handoff`, which `handoff()` keeps in a closure, or None."""
    functions = [inner, *getattr(inner, "args", ())] if isinstance(inner, functools.partial) else [inner]
    for function in functions:
        if inspect.isfunction(function) and (found := inspect.getclosurevars(function).nonlocals.get("on_handoff")):
            return found
    return None
