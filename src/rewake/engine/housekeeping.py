"""Work that time triggers: timers, the retention sweep, and the release of free pages.

Timers are stored in the database; memory has only the time of the earliest. The wall clock decides. It is read at least
every CLOCK_CHECK_S, so a clock that was set forward or back is noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from rewake.core.commands import Command, Sweep, TimersDue
from rewake.core.ids import CompletionId, InvocationId
from rewake.core.model import Timer
from rewake.core.wakeups import KILL
from rewake.errors import RewakeError

CLOCK_CHECK_S = 10.0
TIMERS_PER_BATCH = 50
"""Timers fired in one commit, at about 0.1 ms each, so that other commands get a turn in between."""

SET_BACK_TIMERS_MAX = 10_000
"""When the wall clock is set back, the first so many timers follow the monotonic clock."""
SWEEP_PER_BATCH = 50
"""Invocations deleted in one commit, so that other commands get a turn in between."""

RELEASE_PAGES = 128
RELEASE_PAUSE_S = 0.05
RELEASE_INTERVAL_S = 5.0
"""Time between checks for free pages. They are released half a MiB at a time, at most 10 MiB a second."""

FOREVER_MS = 2**62


log = structlog.get_logger("rewake.engine")


class TimerReader(Protocol):
    """The store's reads that housekeeping uses."""

    def due_timers(self, now_ms: int, limit: int, *, without: int | None = None) -> list[Timer]: ...
    def next_timer_at(self) -> int | None: ...
    def expired_invocation_ids(self, now_ms: int, limit: int) -> list[InvocationId]: ...


class Housekeeping:
    """Fires due timers, sweeps, releases pages.

    submit, flush, unstored_timers: the commit loop's.   release_pages: the store's.
    """

    def __init__(
        self,
        reader: TimerReader,
        submit: Callable[[Command], None],
        flush: Callable[[], Awaitable[None]],
        now_ms: Callable[[], int],
        cleanup_interval_ms: int,
        release_pages: Callable[[int], int],
        unstored_timers: Callable[[], list[Timer]],
    ) -> None:
        self._reader = reader
        self._unstored_timers = unstored_timers
        self._submit = submit
        self._flush = flush
        self._now_ms = now_ms
        self._cleanup_interval_ms = cleanup_interval_ms
        self._release_pages = release_pages
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._next_at_ms: int | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._firing: asyncio.Task[None] | None = None
        self._timers_per_batch = TIMERS_PER_BATCH
        self._faulty: set[Timer] = set()
        self._sweep_per_batch = SWEEP_PER_BATCH
        self._unsweepable: set[InvocationId] = set()
        self._sweep_again = asyncio.Event()
        self._owed: list[tuple[float, Timer]] = []
        self._owed_handle: asyncio.TimerHandle | None = None
        self._is_stopped = False

    def start(self) -> None:
        self.rearm()
        self._tasks = [
            self._loop.create_task(self._sweep_forever()),
            self._loop.create_task(self._release_forever()),
        ]

    async def stop(self) -> None:
        """Fire no timer from now on, even if the last commits arm some."""
        self._is_stopped = True
        self._disarm()
        if self._owed_handle is not None:
            self._owed_handle.cancel()
        tasks = [*self._tasks, *([self._firing] if self._firing else [])]
        self._tasks = []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Timers

    @property
    def next_at_ms(self) -> int | None:
        """Time of the earliest timer."""
        return self._next_at_ms

    def arm(self, fire_at_ms: int) -> None:
        """A timer was stored: remember its time if it is the earliest."""
        if self._next_at_ms is None or fire_at_ms < self._next_at_ms:
            self._next_at_ms = fire_at_ms
            self._set_handle()

    def rearm(self) -> None:
        """Read the earliest timer from the database."""
        if self._faulty:
            earliest = self._reader.due_timers(FOREVER_MS, 1 + len(self._faulty))
            self._next_at_ms = next((timer[0] for timer in earliest if timer not in self._faulty), None)
        else:
            self._next_at_ms = self._reader.next_timer_at()
        self._set_handle()

    def suspect(self, due: list[Timer]) -> None:
        """Firing these timers met an engine bug: fire them one by one, and skip the faulty one until a restart."""
        if len(due) == 1:
            self._faulty.update(due)
        else:
            self._timers_per_batch = 1

    def on_set_back(self, by_ms: int) -> None:
        """The wall clock was set back: timers armed before are due as if it had not been.

        Timers armed later follow the new time. After a restart all timers follow the wall clock.
        """
        before_ms = self._now_ms() + by_ms
        armed = [*self._reader.due_timers(FOREVER_MS, SET_BACK_TIMERS_MAX), *self._unstored_timers()]
        self._owed.extend((self._loop.time() + (timer[0] - before_ms) / 1000, timer) for timer in armed)
        self._owed.sort(key=lambda owed: owed[0])
        self._pay()

    def _pay(self) -> None:
        """Fire timers that were armed before the clock was set back and are due; the core drops those already fired."""
        if self._owed_handle is not None:
            self._owed_handle.cancel()
            self._owed_handle = None
        if self._is_stopped:
            return
        now_s = self._loop.time()
        due = [timer for at_s, timer in self._owed if at_s <= now_s and timer not in self._faulty]
        self._owed = [owed for owed in self._owed if owed[0] > now_s]
        for start in range(0, len(due), TIMERS_PER_BATCH):
            with contextlib.suppress(RewakeError):  # memory is being rebuilt; after that they follow the wall clock
                self._submit(TimersDue(now_ms=self._now_ms(), due=due[start : start + TIMERS_PER_BATCH]))
        if self._owed:
            self._owed_handle = self._loop.call_at(self._owed[0][0], self._pay)

    def _set_handle(self) -> None:
        self._disarm()
        if self._next_at_ms is not None and not self._is_stopped:
            delay_s = max(self._next_at_ms - self._now_ms(), 0) / 1000
            self._handle = self._loop.call_later(min(delay_s, CLOCK_CHECK_S), self._on_wake)

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _on_wake(self) -> None:
        self._handle = None
        if self._next_at_ms is not None and self._next_at_ms > self._now_ms():
            self._set_handle()
        elif self._firing is None or self._firing.done():
            self._firing = self._loop.create_task(self._fire())

    async def _fire(self) -> None:
        """Fire due timers, batch by batch: the rows of one batch must be deleted before the next is read.

        The kill of a large tree takes many batches. After each, the time that it took is left to other commands.
        """
        try:
            while due := self._due():
                began_s = self._loop.time()
                self._submit(TimersDue(now_ms=self._now_ms(), due=due))
                await self._flush()
                if any(timer[2] == KILL for timer in due):
                    await asyncio.sleep(self._loop.time() - began_s)
        except RewakeError:
            return  # the engine rebuilds its memory, and then arms the timers again
        except Exception:
            log.exception("timers_failed")
            return
        self._timers_per_batch = TIMERS_PER_BATCH
        self.rearm()

    def _due(self) -> list[Timer]:
        due = self._due_without(None)
        if len(due) > 1 and any(timer[2] == KILL for timer in due):
            # The other timers do not wait for the end of a large tree.
            due = [timer for timer in due if timer[2] == KILL] + self._due_without(KILL)
        return due

    def _due_without(self, completion_id: CompletionId | None) -> list[Timer]:
        limit = self._timers_per_batch + len(self._faulty)
        found = self._reader.due_timers(self._now_ms(), limit, without=completion_id)
        return [timer for timer in found if timer not in self._faulty][: self._timers_per_batch]

    # Retention

    def suspect_expired(self, invocation_ids: list[InvocationId]) -> None:
        """Deleting these met an engine bug: sweep them one by one, and skip the faulty one until a restart."""
        if len(invocation_ids) == 1:
            self._unsweepable.update(invocation_ids)
        else:
            self._sweep_per_batch = 1
        self._sweep_again.set()

    async def _sweep_forever(self) -> None:
        """Sweep now and then at each interval. The first is at once: an engine may restart more often than that."""
        while True:
            try:
                await self.sweep()
            except RewakeError as error:
                log.warning("sweep_failed", code=error.code, error=error.message)
            except Exception:
                log.exception("sweep_failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._sweep_again.wait(), self._cleanup_interval_ms / 1000)
            self._sweep_again.clear()

    async def sweep(self) -> int:
        """Delete everything past its retention; returns how many invocations were checked."""
        count = 0
        while expired := self._expired():
            count += len(expired)
            self._submit(Sweep(now_ms=self._now_ms(), invocation_ids=expired))
            await self._flush()
        self._sweep_per_batch = SWEEP_PER_BATCH
        if count:
            log.info("retention_swept", invocation_count=count)
        return count

    async def _release_forever(self) -> None:
        """Return free pages to the system, in small parts, so that no commit waits long."""
        while True:
            pause_s = RELEASE_PAUSE_S if self._release_pages(RELEASE_PAGES) else RELEASE_INTERVAL_S
            await asyncio.sleep(pause_s)

    def _expired(self) -> list[InvocationId]:
        found = self._reader.expired_invocation_ids(self._now_ms(), self._sweep_per_batch + len(self._unsweepable))
        return [each for each in found if each not in self._unsweepable][: self._sweep_per_batch]
