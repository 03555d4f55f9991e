"""The commit loop: commands are applied at once, their writes committed in batches, their effects let out afterwards.

One batch is in flight at a time; commands that arrive meanwhile form the next one, so the batch grows with the load. A
batch without effects waits a moment: nobody waits for it, and the next one with effects takes it along.
The core's memory runs ahead of the disk by at most those two. If a commit fails or a transition raises, memory is
thrown away and rebuilt from what is stored: nobody has heard of anything that was not stored.
Called by everything in the engine; only this file calls core.apply and Store.submit.
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
from rewake.core.state import State
from rewake.core.writes import Batch
from rewake.engine.observer import Observer
from rewake.errors import RewakeError

log = structlog.get_logger("rewake.engine")

UNAWAITED_S: Final = 0.02
"""How long a batch that nobody waits for waits for company: a step's command is mostly stored with its result."""


class BatchStore(Protocol):
    """What the loop needs of a store."""

    def submit(self, batch: Batch, on_done: Callable[[BaseException | None], None]) -> None:
        """Make a batch durable, then call on_done on this thread, maybe before this returns."""


class _Sealed(NamedTuple):
    """A batch under way to the disk, what to let out behind it, and the commands it is made of."""

    batch: Batch
    effects: list[Effect]
    commands: list[Command]


class CommitLoop:
    """Owns the State. `release` gets the effects of each committed batch and the batch, also while the loop is halted.

    `on_lost` is called when memory had to be thrown away: with the cause, the command if one raised, and all that were
    applied and are not known to be stored. Once settled, `take_lost` has those of them that were not.
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
        if self._halted is not None:  # memory was thrown away meanwhile; what was stored shows when it is rebuilt
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
            self._loop.call_soon(self._commit)
        elif self._unawaited is None:
            self._unawaited = self._loop.call_later(UNAWAITED_S, self._commit)

    def hurry(self) -> None:
        """Commit at once also what nobody waited for when it was submitted."""
        if self._unawaited is not None:
            self._unawaited.cancel()
            self._unawaited = None
            self._is_scheduled = True
            self._loop.call_soon(self._commit)

    async def flush(self) -> None:
        """Wait until everything applied so far is committed and its effects are out.

        Raises what made the engine lose that work, if it was lost.
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
        """Why commands are refused at the moment."""
        return self._halted

    @property
    def is_halted(self) -> bool:
        return self._halted is not None

    async def settled(self) -> None:
        """Wait for the commit under way when the loop was halted, if there is one. Nothing may be read before."""
        while self._in_flight is not None:
            self._settled.clear()
            await self._settled.wait()

    def take_lost(self) -> list[Command]:
        """The commands that were applied and never stored, in order. Ask once settled."""
        lost, self._lost = self._lost, []
        return lost

    def restart(self, state: State) -> None:
        """Go on with rebuilt memory."""
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
