"""An engine on a clock that a test moves: sleeps, timeouts, delays and back-offs take no time.

While a test waits, the clock jumps to the next timer as soon as only timers are pending: all waiting handlers have
suspended, and everything is committed. The clock never jumps while no test waits, so an app that calls itself every
hour does not run away. The SDK reads the machine's clock, so its times are shifted to the engine's clock. Used by
virtual_engine.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from rewake.core.effects import Effect, Note
from rewake.core.ids import InvocationId
from rewake.core.writes import Batch
from rewake.deployments.base import AttemptFailure, AttemptHandle, AttemptSink, AttemptStart, ReceivedMessage
from rewake.deployments.in_process import InProcessDeployment
from rewake.engine.engine import Engine
from rewake.engine.observer import Observer
from rewake.engine.options import EngineOptions
from rewake.protocol.codec import encode_message
from rewake.protocol.messages import OneWayCallCommand, SleepCommand

T = TypeVar("T")

QUIET_S: Final = 0.02
"""If there is a timer to skip, a handler that waits for a journal entry suspends after so long without messages."""

STALLED_S: Final = 0.05
"""The same for a handler that waits for a signal, or runs code outside a step."""

PAUSED: Final = "invocation_paused"
"""The event in the engine's log."""

SKIPS_MAX: Final = 10_000
"""Jumps of the clock in one wait. It ends the wait for an app that only wakes itself again and again."""


class NeverEnds(Exception):
    """The awaited event will not happen: the run is paused, or the clock has jumped SKIPS_MAX times."""


class SkippingEngine(Engine):
    """An Engine with `skipping` and `advance`. skipped_ms: how far its clock is ahead of the machine's."""

    def __init__(
        self, path: Path, options: EngineOptions, observer: Observer | None = None, skipped_ms: int = 0
    ) -> None:
        self.skipped_ms = skipped_ms
        self._skip_count = 0
        self._waiting: dict[asyncio.Task[Any], InvocationId | None] = {}
        self._hopeless: dict[asyncio.Task[Any], str] = {}
        self._looking: asyncio.TimerHandle | None = None
        super().__init__(path, options=options, observer=observer)

    def now_ms(self) -> int:
        return super().now_ms() + self.skipped_ms

    async def skipping(self, work: Coroutine[Any, Any, T], run: InvocationId | None = None) -> T:
        """The result of `work`; while it waits, the clock skips. run: the run that it waits for.

        Raises NeverEnds after SKIPS_MAX jumps, or if the run is paused.
        """
        self._skip_count = 0
        task = asyncio.get_running_loop().create_task(work)
        self._waiting[task] = run
        self._skip_soon()
        try:
            return await task
        except asyncio.CancelledError:
            if (why := self._hopeless.pop(task, None)) is not None:
                raise NeverEnds(why) from None
            raise
        finally:
            del self._waiting[task]

    async def flush(self) -> None:
        """Wait until everything accepted is stored."""
        await self._loop.flush()

    async def settled(self) -> None:
        """Return when no handler runs: each has ended, or waits for a timer, an outside answer or a retry."""
        while not (self._attempts.rest(QUIET_S, STALLED_S) and self._loop.is_idle):  # noqa: ASYNC110  # no event says so
            await asyncio.sleep(QUIET_S / 4)

    async def advance(self, by_ms: int) -> None:
        """Move the clock, through every timer on the way, and wait until all has settled."""
        until_ms = self.now_ms() + by_ms
        await self.settled()
        for _ in range(SKIPS_MAX):
            next_at_ms = self._housekeeping.next_at_ms
            if next_at_ms is None or next_at_ms > until_ms:
                self._move_to(until_ms)
                return await self.settled()
            self._move_to(next_at_ms)
            await self._fired(next_at_ms)
            await self.settled()
        raise NeverEnds(f"There were more than {SKIPS_MAX:,} timers on the way.")

    async def _fired(self, at_ms: int) -> None:
        while (next_at_ms := self._housekeeping.next_at_ms) is not None and next_at_ms <= at_ms:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    def _release(self, effects: list[Effect], batch: Batch) -> None:
        super()._release(effects, batch)
        self._skip_soon()

    def _skip_soon(self) -> None:
        if self._waiting and self._looking is None and self.is_running:
            self._looking = asyncio.get_running_loop().call_later(QUIET_S / 4, self._skip)

    def _skip(self) -> None:
        """Jump to the next timer if nothing else is pending; otherwise check again later."""
        self._looking = None
        if not self._waiting or not self.is_running:
            return
        next_at_ms = self._housekeeping.next_at_ms
        if next_at_ms is None:
            return  # the next commit checks again
        if next_at_ms > self.now_ms() and self._attempts.rest(QUIET_S, STALLED_S) and self._loop.is_idle:
            self._skip_count += 1
            if self._skip_count >= SKIPS_MAX:
                for task in self._waiting:
                    self._give_up(task, f"The clock was moved {SKIPS_MAX:,} times, and the wait did not end.")
                return
            self._move_to(next_at_ms)
        self._skip_soon()

    def _on_note(self, note: Note) -> None:
        super()._on_note(note)
        for task, run in self._waiting.items():
            if note.event == PAUSED and run == note.invocation_id:
                self._give_up(task, "The run is paused.")

    def _give_up(self, task: asyncio.Task[Any], why: str) -> None:
        self._hopeless[task] = why
        task.cancel()

    def _move_to(self, at_ms: int) -> None:
        self.skipped_ms += max(at_ms - self.now_ms(), 0)
        self._housekeeping.rearm()


class SkippedDeployment(InProcessDeployment):
    """An app in this process on a SkippingEngine's clock."""

    def __init__(self, app: Any, engine: SkippingEngine) -> None:
        super().__init__(app)
        self._engine = engine

    def start_attempt(self, start: AttemptStart, sink: AttemptSink) -> AttemptHandle:
        return super().start_attempt(start, _Shifting(sink, self._engine, start.protocol_version))


class _Shifting:
    """A sink that shifts the ends of sleeps and the starts of delayed calls to the engine's clock."""

    def __init__(self, sink: AttemptSink, engine: SkippingEngine, version: int) -> None:
        self._sink = sink
        self._engine = engine
        self._version = version

    def on_messages(self, messages: list[ReceivedMessage]) -> None:
        if self._engine.skipped_ms:
            messages = [self._shifted(each) for each in messages]
        self._sink.on_messages(messages)

    def _shifted(self, received: ReceivedMessage) -> ReceivedMessage:
        message, type_id, _, flags = received
        by_ms = self._engine.skipped_ms
        if isinstance(message, SleepCommand):
            message = msgspec.structs.replace(message, wake_up_at_ms=message.wake_up_at_ms + by_ms)
        elif isinstance(message, OneWayCallCommand) and message.invoke_at_ms:
            message = msgspec.structs.replace(message, invoke_at_ms=message.invoke_at_ms + by_ms)
        else:
            return received
        return message, type_id, encode_message(message, self._version), flags

    def on_failure(self, failure: AttemptFailure) -> None:
        self._sink.on_failure(failure)

    def on_closed(self) -> None:
        self._sink.on_closed()
