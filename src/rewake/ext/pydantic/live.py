"""Streams that are live in the attempt that asks the model: the body of the model's step passes its events on.

The framework makes the streams of durable engines when the answer is complete. Here `run_stream` and
`run_stream_events` get each event during the step; the end of the stream waits until the answer is stored. At replay
the whole answer comes at once. If the step is retried in place, only the first try is live, and the end of the stream
has the whole answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

from pydantic_ai.agent import EventStreamHandler
from pydantic_ai.messages import (
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
)
from pydantic_ai.models import CompletedStreamedResponse, Model, StreamedResponse
from pydantic_ai.tools import RunContext

from rewake.ext.kernel import put_delta
from rewake.ext.kernel.steps import body_here
from rewake.ext.pydantic.flow import flow_here

_live_here: ContextVar[asyncio.Queue[ModelResponseStreamEvent] | None] = ContextVar(
    "rewake_pydantic_live", default=None
)


def make_live(model: Model) -> None:
    """Let a durable model of the framework, whose streams are complete when they begin, stream live."""
    complete = model.request_stream

    @asynccontextmanager
    async def request_stream(messages: Any, settings: Any, parameters: Any, *more: Any) -> AsyncGenerator[LiveStream]:
        async def ask() -> StreamedResponse:
            async with complete(messages, settings, parameters, *more) as stream:
                return stream

        begun = ModelResponse(parts=[], model_name=model.model_name, provider_name=model.system)
        stream = LiveStream(begun, model_request_parameters=parameters, replay_events=True)
        try:
            await stream.open(ask())
            yield stream
        finally:
            await stream.ended()

    model.request_stream = request_stream  # type: ignore[method-assign, assignment]  # an object of this run's own


async def hand_on(
    hear: EventStreamHandler[Any] | None, ctx: RunContext[Any], events: AsyncIterable[ModelResponseStreamEvent]
) -> None:
    """In the body of a model's step: let the stream, watchers and the user's handler have each event."""
    passed = _passed(events)
    if hear is not None:
        await hear(ctx, passed)
    async for _ in passed:  # what the handler left
        pass


async def _passed(events: AsyncIterable[ModelResponseStreamEvent]) -> AsyncIterator[ModelResponseStreamEvent]:
    live, body = _live_here.get(), body_here.get()
    is_first = body is None or body.attempts <= 1
    said = _Said()
    async for event in events:
        said.pass_on(event)
        if live is not None and is_first:
            live.put_nowait(event)
        yield event


class _Said:
    """Deltas of one answer, in the form that readers of a stream know for every framework: see rewake.ext.chat.live."""

    def __init__(self) -> None:
        self._calls: dict[int, str] = {}
        """Ids of calls, by the places of their parts."""
        self._has_begun = False

    def pass_on(self, event: ModelResponseStreamEvent) -> None:
        """Put the delta of an event, if it has one."""
        delta = self._delta(event)
        if not delta:
            return
        flow = flow_here.get()
        if not self._has_begun and flow is not None:  # names of the framework's steps do not begin with the agent's
            put_delta({"type": "path", "path": list(flow.path), "calls": list(flow.calls)})
        self._has_begun = True
        put_delta(delta)

    def _delta(self, event: ModelResponseStreamEvent) -> Any:
        match event:
            case PartStartEvent(part=TextPart(content=text)):
                return text
            case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                return text
            case PartStartEvent(part=ThinkingPart(content=text)) if text:
                return {"type": "reasoning", "text": text}
            case PartDeltaEvent(delta=ThinkingPartDelta(content_delta=thought)) if thought:
                return {"type": "reasoning", "text": thought}
            case PartStartEvent(index=index, part=ToolCallPart() as call):
                self._calls[index] = call.tool_call_id
                text = call.args_as_json_str() if call.args else ""
                return {"type": "tool_input", "call": call.tool_call_id, "tool": call.tool_name, "text": text}
            case PartDeltaEvent(index=index, delta=ToolCallPartDelta(args_delta=str(text))) if index in self._calls:
                return {"type": "tool_input", "call": self._calls[index], "text": text}
        return None


class LiveStream(CompletedStreamedResponse):
    """The stream of a model's step. During the step `get` returns the parts so far, afterwards the stored answer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._events: asyncio.Queue[ModelResponseStreamEvent] = asyncio.Queue()
        self._step: asyncio.Future[StreamedResponse] | None = None
        self._coming: asyncio.Future[ModelResponseStreamEvent] | None = None

    async def open(self, ask: Any) -> None:
        """Start the step, and wait for its first event or its end. Raises its error if no event comes before."""
        token = _live_here.set(self._events)
        self._step = asyncio.ensure_future(ask)
        _live_here.reset(token)
        if not await self._has_next():
            await self._step

    async def ended(self) -> None:
        """Wait until the step is stored, even if its events were not read: a replay has the whole answer."""
        if self._coming is not None:
            self._coming.cancel()
        if self._step is not None and not self._finished:
            self._store(await self._step)

    def __aiter__(self) -> AsyncIterator[ModelResponseStreamEvent]:
        if self._event_iterator is None:
            self._event_iterator = self._iterated()
        return self._event_iterator

    def get(self) -> ModelResponse:
        """The stored answer, or the parts so far."""
        if not self._finished:
            self.response.parts = self._parts_manager.get_parts()
        return super().get()

    async def _iterated(self) -> AsyncIterator[ModelResponseStreamEvent]:
        assert self._step is not None, "opened before"
        was_live = False
        while await self._has_next():
            assert self._coming is not None
            event, self._coming, was_live = self._coming.result(), None, True
            self._parts_manager.apply_event(event)
            yield event
        complete = await self._step
        if not was_live:
            async for event in complete:
                self._parts_manager.apply_event(event)
                yield event
        self._store(complete)

    async def _has_next(self) -> bool:
        """Whether there is another live event, in `_coming`; not when the step has ended and none is left."""
        assert self._step is not None
        if self._coming is None:
            self._coming = asyncio.ensure_future(self._events.get())
            await asyncio.sleep(0)  # takes what is there already
        either: set[asyncio.Future[Any]] = {self._coming, self._step}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return self._coming.done()

    def _store(self, complete: StreamedResponse) -> None:
        self.response, self._finished = complete.get(), True
        self.state = self.response.state
        if hasattr(complete, "canonical_system"):  # not in 2.62
            self.canonical_system = complete.canonical_system
