"""RestateAgent: the call form of `restate.ext.pydantic`, on RewakeDurability."""

from __future__ import annotations

import typing
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from pydantic_ai.agent import AbstractAgent, EventStreamHandler, WrapperAgent
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.output import OutputDataT
from pydantic_ai.run import AgentRun
from pydantic_ai.tools import AgentDepsT
from restate import Context, ObjectContext, RunOptions

from rewake.ext import kernel
from rewake.ext.pydantic.durability import RewakeDurability
from rewake.ext.pydantic.toolsets import name_by_place

_UNNAMED = "agent"


class RestateAgent(WrapperAgent[AgentDepsT, OutputDataT]):
    """An agent that is durable in a handler: `RestateAgent(agent)`, then `await restate_agent.run(...)`.

    Model calls, tools, MCP calls and nested agents are journaled. A tool may use `restate_context()`. Outside of a
    handler it behaves as the agent it wraps.

    event_stream_handler: see `RewakeDurability`.   auto_wrap_tools: accepted for `restate.ext.pydantic`'s sake; tools
    are always journaled.   run_options: how the engine retries steps.
    """

    def __init__(
        self,
        wrapped: AbstractAgent[AgentDepsT, OutputDataT],
        *,
        event_stream_handler: EventStreamHandler[AgentDepsT] | None = None,
        auto_wrap_tools: bool = True,
        run_options: RunOptions[Any] | None = None,
    ) -> None:
        super().__init__(wrapped)
        self.rewake_durability = _BoundOnce[AgentDepsT](
            event_stream_handler=event_stream_handler, name=wrapped.name or _UNNAMED, run_options=run_options
        )

    @asynccontextmanager
    async def iter(self, *args: Any, **kwargs: Any) -> AsyncIterator[AgentRun[AgentDepsT, Any]]:
        """As `Agent.iter`, which all ways to run an agent go through."""
        if RewakeDurability.from_agent(self.wrapped) is None:
            kwargs["capabilities"] = [*(kwargs.get("capabilities") or ()), self.rewake_durability]
        async with self.wrapped.iter(*args, **kwargs) as run:
            yield run


class _BoundOnce(RewakeDurability[AgentDepsT]):
    """Bound again only if the agent's toolsets differ from those of the last run."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._bound_for: tuple[object, ...] = ()
        self._last_bound: AbstractCapability[AgentDepsT] | None = None

    def for_agent(self, agent: AbstractAgent[AgentDepsT, Any]) -> AbstractCapability[AgentDepsT]:
        """The capability bound to the agent."""
        here = (agent, agent.model, *agent.toolsets)
        if self._last_bound is None or not _are_same(here, self._bound_for):
            for number, toolset in enumerate(agent.toolsets):
                toolset.apply(partial(name_by_place, number))
            self._bound_for, self._last_bound = here, super().for_agent(agent)
        return self._last_bound


def _are_same(here: tuple[object, ...], there: tuple[object, ...]) -> bool:
    return len(here) == len(there) and all(one is other for one, other in zip(here, there, strict=True))


def restate_context() -> Context:
    """The context of this invocation, also in tools. Raises RuntimeError outside of a handler."""
    return kernel.restate_context()


def restate_object_context() -> ObjectContext:
    """The same for handlers of virtual objects."""
    return typing.cast("ObjectContext", kernel.restate_context())
