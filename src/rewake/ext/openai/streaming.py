"""A streamed run: it is a branch that has the turn until its events are read to the end."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable
from typing import Any

from agents import Agent, Runner, RunResultStreaming
from agents.stream_events import StreamEvent

from rewake.ext.kernel.turns import branch_here
from rewake.ext.openai.agent_run import AgentRun, agent_run_here
from rewake.ext.openai.failures import lasting
from rewake.ext.openai.session import RestateSession


class Streaming:
    """One streamed run of a handler."""

    def __init__(self, found: AgentRun) -> None:
        self._found, self._run = found, found.run
        self._parent = branch_here.get()
        self._context = contextvars.copy_context()
        self._session: Any = None

    def start(
        self, prepare: Callable[[], dict[str, Any]], agent: Agent[Any], input: Any, session: Any
    ) -> RunResultStreaming:
        """The framework's result; its events give the turn back at their end."""
        self._run.turns.claim()
        path = (*self._parent, f"stream {self._run.draw_id().hex[:8]}")
        self._context.run(branch_here.set, path)
        self._context.run(agent_run_here.set, self._found)
        self._session = session
        given = prepare()
        self._run.turns.give(path)
        result = self._context.run(lambda: Runner.run_streamed(agent, input, session=session, **given))
        events, cancel = result.stream_events, result.cancel
        self._run.closers.append(cancel)  # its tasks are the framework's, which outlive a handler that is cut off

        def stream_events() -> AsyncIterator[StreamEvent]:
            return self._events(result, events())

        def after_turn(mode: str = "after_turn") -> None:
            cancel(mode="after_turn")  # half a turn cannot be replayed

        result.stream_events = stream_events  # type: ignore[method-assign]  # the framework's own object, for its users
        result.cancel = after_turn  # type: ignore[method-assign]
        return result

    async def _events(
        self, result: RunResultStreaming, events: AsyncIterator[StreamEvent]
    ) -> AsyncIterator[StreamEvent]:
        over = self._run.turns.waker()
        try:
            while True:
                coming = asyncio.ensure_future(anext(events))
                both: set[asyncio.Future[Any]] = {coming, over}
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                if self._run.turns.broken is not None:
                    coming.cancel()
                    raise self._run.turns.broken
                try:
                    event = coming.result()
                except StopAsyncIteration:
                    break
                yield event
        except Exception as error:  # noqa: BLE001 - raised again as what it means for the invocation
            await self._ended(None)
            raise lasting(error) from error.__cause__
        finally:
            over.cancel()
        await self._ended(result.last_agent.name)

    async def _ended(self, agent: str | None) -> None:
        """The handler has the turn again."""
        if self._run.turns.broken is None:
            await asyncio.get_running_loop().create_task(self._settled(agent), context=self._context)
            self._run.turns.give(self._parent)

    async def _settled(self, agent: str | None) -> None:
        await self._run.rounds.settle(whatever=True)
        await self._found.close()
        if isinstance(self._session, RestateSession):
            await self._session.flush(agent)
