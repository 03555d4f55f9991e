"""The commit loop: applies commands at once, commits their writes in batches, then releases their effects.

One batch is in flight at a time; commands that arrive meanwhile form the next one, so batches grow with the load. A
batch of several commands also waits one turn of the event loop: others have arrived while these were applied. A batch
without effects waits a moment, to be committed together with the next one that has effects.
The core's memory runs ahead of the disk by at most these two batches. If a commit fails or a transition raises, memory
is dropped and rebuilt from the store: no effect of an unstored command has left the engine.
All of the engine calls this file; only this file calls core.apply and Store.submit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import structlog

from rewake.core.apply import apply
from rewake.core.commands import Command
from rewake.core.effects import Effect
from rewake.core.model import Timer
from rewake.core.state import State
from rewake.core.writes import Batch
from rewake.engine.observer import Observer
from rewake.errors import RewakeError

log = structlog.get_logger("rewake.engine")

UNAWAITED_S: Final = 0.02
"""How long a batch without effects waits. So a step's command is mostly stored together with its result."""


GATHERED_MIN: Final = 4
"""Commands in a batch that show that many runs go on at once, so that further ones wait at the sockets. A single caller
has fewer commands in a batch, and waits for nothing."""


class BatchStore(Protocol):
    """The store's methods that the loop uses."""

    def submit(self, batch: Batch, on_done: Callable[[BaseException | None], None]) -> None:
        """Make a batch durable, then call on_done on this thread, maybe before this returns."""


class _Sealed(NamedTuple):
    """A batch in flight, its effects, and the commands behind it."""

    batch: Batch
    effects: list[Effect]
    commands: list[Command]


class CommitLoop:
    """Owns the State. `release` gets each committed batch and its effects, also while the loop is halted.

    `on_lost` is called when memory was dropped: with the cause, the command that raised (if any), and all applied
    commands that may be unstored. After `settled`, `take_lost` returns those that are unstored.
    """

    def __init__(
        self,
        store: BatchStore,
        state: State,
        release: Callable[[list[Effect], Batch], None],
        on_lost: Callable[[BaseException, Command | None, list[Command]], None],
        observer: Observer | None = None,
    ) -> None:
        self.state = state
        self._observer = observer
        self._submitted_at_s = 0.0
        self._store = store
        self._release = release
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._in_flight: _Sealed | None = None
        self._applied: list[Command] = []
        self._lost: list[Command] = []
        self._is_scheduled = False
        self._unawaited: asyncio.TimerHandle | None = None
        self._settled = asyncio.Event()
        self._halted: RewakeError | None = None
        self._flushing: list[tuple[int, asyncio.Future[None]]] = []
        self.batch_count = 0
        self.command_count = 0

    def submit(self, command: Command) -> None:
        """Apply a command. Raises the RewakeError that halted the loop, if one did."""
        if self._halted is not None:
            raise self._halted
        self.command_count += 1
        try:
            apply(self.state, command)
        except Exception as error:  # noqa: BLE001  # a bug of ours: memory is rebuilt, the invocation paused
            self._lose(error, command)
            return
        self._applied.append(command)
        self._schedule()

    def unstored_timers(self) -> list[Timer]:
        """Those of commands that are not stored yet."""
        return self.state.unstored_timers()

    def _gather(self) -> None:
        if len(self._applied) < GATHERED_MIN:
            self._commit()
        else:
            self._loop.call_soon(self._commit)

    def _commit(self) -> None:
        self._is_scheduled = False
        if self._unawaited is not None:
            self._unawaited.cancel()
            self._unawaited = None
        if self._in_flight is not None or self._halted is not None:
            return
        try:
            batch, effects = self.state.seal()
        except Exception as error:  # noqa: BLE001  # a bug of ours, as in submit
            self._lose(error, None)
            return
        applied, self._applied = self._applied, []
        if batch.is_empty:
            self._let_out(batch, effects)
            return
        self.batch_count += 1
        self._in_flight = finished = _Sealed(batch, effects, applied)
        self._submitted_at_s = time.perf_counter()
        self._store.submit(batch, lambda error: self._on_done(finished, error))

    def _on_done(self, finished: _Sealed, error: BaseException | None) -> None:
        assert finished is self._in_flight
        self._in_flight = None
        if error is not None:
            self._lost = finished.commands + self._lost
        elif self._observer is not None:
            self._observer.on_commit(finished.batch, time.perf_counter() - self._submitted_at_s)
        if self._halted is not None:  # memory was dropped meanwhile; the rebuild reads what was stored
            if error is None:
                self._release(finished.effects, finished.batch)
            self._settled.set()
        elif error is not None:
            self._lose(error, None)
        else:
            self._let_out(finished.batch, finished.effects)

    def _let_out(self, batch: Batch, effects: list[Effect]) -> None:
        try:
            self.state.committed(batch.sequence)
            self._release(effects, batch)
        except Exception as error:  # noqa: BLE001  # a bug of ours; the effects behind it come again by rebuilding
            self._lose(error, None)
            return
        self._settle(batch.sequence)
        if self._halted is None and (self.state.has_work or self._flushing):
            self._schedule()

    def _schedule(self) -> None:
        if self._is_scheduled or self._in_flight is not None:
            return
        if self.state.effects or self._flushing:
            self._is_scheduled = True
            self._loop.call_soon(self._gather)
        elif self._unawaited is None:
            self._unawaited = self._loop.call_later(UNAWAITED_S, self._commit)

    def hurry(self) -> None:
        """Commit waiting batches at once, even those without effects."""
        if self._unawaited is not None:
            self._unawaited.cancel()
            self._unawaited = None
            self._is_scheduled = True
            self._loop.call_soon(self._commit)

    @property
    def is_idle(self) -> bool:
        """Whether all submitted commands are committed and their effects released."""
        return self._in_flight is None and self._halted is None and not self.state.has_work

    async def flush(self) -> None:
        """Wait until all commands so far are committed and their effects released.

        If that work is lost, raises the error that caused the loss.
        """
        if self._halted is not None:
            raise self._halted
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._flushing.append((self.state.batch.sequence, waiter))
        self._schedule()
        await waiter

    def _settle(self, sequence: int) -> None:
        if self._flushing:
            for awaited, waiter in self._flushing:
                if awaited <= sequence and not waiter.done():
                    waiter.set_result(None)
            self._flushing = [item for item in self._flushing if not item[1].done()]

    def halt(self, error: RewakeError) -> None:
        """Refuse commands from now on, with this error."""
        self._halted = error
        self._fail_flushing(error)

    @property
    def problem(self) -> RewakeError | None:
        """The error with which commands are refused now, or None."""
        return self._halted

    @property
    def is_halted(self) -> bool:
        return self._halted is not None

    async def settled(self) -> None:
        """Wait for the commit that was in flight when the loop was halted. Read the store only after that."""
        while self._in_flight is not None:
            self._settled.clear()
            await self._settled.wait()

    def take_lost(self) -> list[Command]:
        """The commands that were applied but not stored, in order. Call it after `settled`."""
        lost, self._lost = self._lost, []
        return lost

    def restart(self, state: State) -> None:
        """Continue with rebuilt memory."""
        assert self._in_flight is None
        self.state = state
        self._halted = None
        self._is_scheduled = False

    def _lose(self, error: BaseException, command: Command | None) -> None:
        self._fail_flushing(error)
        self._lost += self._applied
        self._applied = []
        in_flight = self._in_flight.commands if self._in_flight is not None else []
        self._on_lost(error, command, in_flight + self._lost)

    def _fail_flushing(self, error: BaseException) -> None:
        flushing, self._flushing = self._flushing, []
        for _, waiter in flushing:
            if not waiter.done():
                waiter.set_exception(error)
