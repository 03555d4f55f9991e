"""Wakes the tasks of a handler that wait side by side.

The SDK has one queue for all waits of an attempt, and an event wakes one task. If a result for task A wakes task B, A
sleeps until the next event. An empty event wakes a task without a message. So a handler that sends nothing after a
delivery gets some empty events, one at a time, and its waiting tasks take turns. A handler that sends a command has
woken the right task and gets no empty event, so sequential steps only pay for the check. A handler without sleeping
tasks, such as an agent that works between two steps, gets none either.

Used by each part that passes messages to an ASGI app: in_process.py, worker_main.py, serving/. Source:
restate/server_types.py and server_context.py of restate-sdk 1.3.0; measured with two tasks of steps of random length.
"""

from __future__ import annotations

import asyncio
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final

TURNS_PER_WAKE_UP: Final = 3
"""Turns of the event loop between two wake-ups: a woken task must wait again before the next, or it takes both."""

SPARE_WAKE_UPS: Final = 2
"""Wake-ups right after a delivery, in addition to one for each of its messages."""

SWEEP_S: Final = 0.1
LATE_WAKE_UPS: Final = (4, 8, 16, 32)
"""Wake-ups of a handler that is still silent at each later sweep, but one for each task that sleeps then. Together they
serve some 60 waiting tasks."""


class Watched:
    """A Waker's data of one attempt. is_deaf: it needs no more events.   channel: the SDK's, where its tasks sleep.

    It has no slots, because a class may have only one base with slots: see serving/stream.py.
    """

    def __init__(self) -> None:
        self.channel: Any = None
        self.is_deaf = False
        self.is_queued = False
        self.unanswered = 0
        self.wake_ups = 0
        self.sweeps = 0

    def wake(self) -> None:
        """Give the app an empty event."""
        raise NotImplementedError

    @property
    def sleepers(self) -> int | None:
        """How many tasks wait for an event; None if that is not known."""
        sleepers = getattr(getattr(self.channel, "_queue", None), "_getters", None)
        return None if sleepers is None else len(sleepers)


_watched_here: ContextVar[Watched | None] = ContextVar("rewake_watched", default=None)


def watching(attempt: Watched) -> Context:
    """The contextvars for the task that runs the app; they connect its handler with this attempt."""
    context = copy_context()
    context.run(_watched_here.set, attempt)
    return context


def handler_begins(context: Any) -> None:
    """Called in the handler's task with the SDK's context, whose `receive` is the channel of all its waits."""
    if (watched := _watched_here.get()) is not None:
        watched.channel = getattr(context, "receive", None)


class Waker:
    """The wake-ups of all attempts on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._fresh: list[Watched] = []
        self._ripe: list[Watched] = []
        self._turns_left = 0
        self._silent: set[Watched] = set()
        self._silent_before: set[Watched] = set()
        self._is_sweep_due = False

    def delivered(self, attempt: Watched, message_count: int) -> None:
        """The app got so many messages."""
        attempt.unanswered += message_count
        attempt.wake_ups = attempt.unanswered - 1 + SPARE_WAKE_UPS
        attempt.sweeps = 0
        self._queue(attempt)
        self._silent_before.discard(attempt)
        self._silent.add(attempt)
        if not self._is_sweep_due:
            self._is_sweep_due = True
            self._loop.call_later(SWEEP_S, self._sweep)

    @staticmethod
    def answered(attempt: Watched, command_count: int) -> None:
        """The app sent so many commands, so as many of its tasks have woken."""
        if command_count and attempt.unanswered:
            attempt.unanswered = max(0, attempt.unanswered - command_count)
            if not attempt.unanswered:
                attempt.wake_ups = 0

    def _queue(self, attempt: Watched) -> None:
        if not attempt.is_queued:
            attempt.is_queued = True
            self._fresh.append(attempt)
            if not self._turns_left:
                self._turns_left = TURNS_PER_WAKE_UP
                self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turns_left -= 1
        if not self._turns_left:
            self._wake_ripe()
            if self._ripe:
                self._turns_left = TURNS_PER_WAKE_UP
        if self._turns_left:
            self._loop.call_soon(self._turn)

    def _wake_ripe(self) -> None:
        """Wake once each attempt that got a delivery before the last round and is still silent."""
        ripe, self._ripe, self._fresh = self._ripe, self._fresh, []
        for attempt in ripe:
            if attempt.wake_ups and not attempt.is_deaf and attempt.sleepers != 0:
                attempt.wake_ups -= 1
                attempt.wake()
                self._ripe.append(attempt)
            else:
                attempt.is_queued = False

    def _sweep(self) -> None:
        """Wake again all attempts without a delivery since the last sweep.

        An attempt that answered is woken once, too: its command may have come from a task that was not asleep.
        """
        due, self._silent_before, self._silent = self._silent_before, self._silent, set()
        for attempt in due:
            if not attempt.is_deaf:
                turns, sleepers = LATE_WAKE_UPS[attempt.sweeps], attempt.sleepers
                attempt.wake_ups = turns if sleepers is None else min(turns, max(sleepers, 1))
                self._queue(attempt)
                attempt.sweeps += 1
                if attempt.unanswered and attempt.sweeps < len(LATE_WAKE_UPS):
                    self._silent.add(attempt)
        self._is_sweep_due = bool(self._silent or self._silent_before)
        if self._is_sweep_due:
            self._loop.call_later(SWEEP_S, self._sweep)
