"""One run of an OpenAI agent inside a handler: the agent of its steps, their path, and the expected calls.

Found by a contextvar, so agents, tools and models stay the user's own objects and hold nothing of a run. Nested runs
(agents as tools) have an AgentRun of their own, one level deeper.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from agents import Agent
from restate import RunOptions

from rewake.ext.kernel import Envelope, Run, current_run

T = TypeVar("T")

FRAMEWORK: Final = "openai-agents"
MODEL_CALL: Final = "model"


@dataclass
class AgentRun:
    """A run of an agent. outer: names of the agents that asked for it; calls: ids of the calls they asked with."""

    run: Run
    agent: Agent[Any]
    options: RunOptions[Any] | None = None
    outer: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    is_live: bool = False
    """Models are asked for their answers piece by piece where somebody may watch."""
    to_come: list[list[str]] = field(default_factory=list)
    """Calls that the framework starts together: a round opens when the first of them comes."""
    is_guarded: bool = False
    """The first call of the model has guardrails beside it."""
    has_tripped: bool = False
    waiting: set[str] = field(default_factory=set)
    """Calls of agents as tools whose own runs wait for a person: they have no result yet."""
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    is_closed: bool = False

    def envelope(self, kind: Any, **fields: Any) -> Envelope:
        """A step of this run's agent."""
        return Envelope(
            kind=kind,
            framework=FRAMEWORK,
            agent=self.agent.name,
            path=(*self.outer, self.agent.name),
            calls=self.calls,
            **fields,
        )

    def named(self, what: str) -> str:
        """The name of a step of this run's agent."""
        return f"{self.agent.name}: {what}"

    async def record(
        self, what: str, body: Callable[[], Awaitable[Envelope]], *, or_branch: Envelope | None = None
    ) -> Envelope:
        """A step of this run's agent."""
        return await self.run.record(self.named(what), body, or_branch=or_branch)

    async def ask(self, body: Callable[[], Awaitable[Envelope]]) -> Envelope:
        """A call of the model. Guardrails beside it end before its answer is given, so that entries keep one order."""

        async def step() -> Envelope:
            return await self.run.record(self.named(MODEL_CALL), body, options=self.options)

        if not self.is_guarded:
            return await step()
        self.is_guarded = False
        envelope = await self.arrive(MODEL_CALL, step)
        await self.run.rounds.closed()
        return envelope

    async def arrive(self, key: str, body: Callable[[], Awaitable[T]], *, part_of: str | None = None) -> T:
        """A call that the framework has started. part_of: the tool call it belongs to."""
        for group in self.to_come:
            if key in group:
                self.to_come.remove(group)
                self.run.expect(group)
                break
        return await self.run.piece(key, body, part_of=part_of)

    def expect_together(self, keys: Sequence[str]) -> None:
        """If the framework starts these calls, it starts them together."""
        if keys:
            self.to_come.append(list(keys))

    async def close(self) -> None:
        """End what was opened for this run, such as connections to MCP servers."""
        self.is_closed = True
        while self.closers:
            await self.closers.pop()()


agent_run_here: ContextVar[AgentRun | None] = ContextVar("rewake_agent_run", default=None)
call_here: ContextVar[str] = ContextVar("rewake_call", default="")


def agent_run() -> AgentRun | None:
    """The run that the calling code belongs to; None outside of a handler and in the body of a step."""
    found = agent_run_here.get()
    return None if found is None or current_run() is None else found
