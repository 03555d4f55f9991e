"""Quarantine: separate processes for attempts under which workers die.

An attempt that was in flight when its worker died may be the cause, or a bystander. After QUARANTINE_AFTER such deaths
in a row it is a suspect and leaves the workers of the pool. Suspects with equal losses share a process here, at most
half as many as in the last one that died. So each death halves the suspects, until one dies alone (Blame.ALONE).
Innocent attempts go on meanwhile, and are free once they end. Attempts of a watched handler (watched_handlers.py) share
one process; its death counts like one in the pool. Called by worker_pool.py; core/retries.py counts losses.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import structlog

from rewake.core.model import Blame
from rewake.deployments.worker import WorkerProcess, WorkerStream
from rewake.errors import RewakeError

QUARANTINE_AFTER: Final = 3
"""Losses in a row that make a suspect. Fewer are common: an operator, the OOM killer or a deploy also end workers. And
another process costs the time to import the app."""

PROCESSES_MAX: Final = 4
"""Processes that are not settled yet. Further suspects wait."""

SETTLED_AFTER_S: Final = 10.0
"""After so long a process is settled: none of its suspects kills at once. It then makes room for another."""

SETTLED_MAX: Final = 8
IDLE_S: Final = 30.0
"""How long an empty process is kept for suspects that back off."""

ROOM_DEFAULT: Final = 4
"""Suspects in a process before the first death, after a restart of the engine."""

NOT_STARTED_RETRY_MS: Final = 1_000

log = structlog.get_logger("rewake.deployments")


class Spawn(Protocol):
    """Starts a process."""

    def __call__(self, on_dead: Callable[[WorkerProcess], None], *, is_quarantine: bool) -> WorkerProcess: ...


class Quarantine:
    """The suspects of one pool and their processes.

    spawn(on_dead, is_quarantine=...): starts a worker process. If a quarantined one dies with a single attempt, it
    fails that with Blame.ALONE.   on_handlers_lost: gets a watched handler's process that died.
    """

    def __init__(self, spawn: Spawn, on_handlers_lost: Callable[[WorkerProcess], None]) -> None:
        self._spawn = spawn
        self._on_handlers_lost = on_handlers_lost
        self._cells: list[_Cell] = []
        self._waiting: list[WorkerStream] = []
        self._room: dict[int, int] = {}
        self._is_closed = False

    def take(self, stream: WorkerStream) -> None:
        """Run a suspect as soon as there is a place."""
        self._waiting.append(stream)
        self._assign()

    def on_death(self, loss_counts: Iterable[int]) -> None:
        """A process died, here or in the pool, under attempts with these earlier losses."""
        for losses, count in Counter(loss_counts).items():
            self._room[losses + 1] = (count + 1) // 2

    def tick(self) -> None:
        """End empty processes, and note settled ones. Called about once a second."""
        now_s = asyncio.get_running_loop().time()
        for cell in [cell for cell in self._cells if cell.is_idle(now_s)]:
            self._release(cell, grace_s=0.0)
        if self._waiting:
            self._assign()

    def retire(self, grace_s: float) -> None:
        """Retire the processes, because the code has changed; new ones load the new code."""
        for cell in list(self._cells):
            self._waiting += cell.pending
            cell.pending = []
            self._release(cell, grace_s=grace_s)
        self._assign()

    def close(self) -> None:
        """Start no further process. The pool ends the existing ones."""
        self._is_closed = True
        for stream in (*self._waiting, *(stream for cell in self._cells for stream in cell.pending)):
            stream.attempt.is_over = True
        self._waiting = []
        self._cells = []

    def _release(self, cell: _Cell, grace_s: float) -> None:
        self._cells.remove(cell)
        cell.process.retire(grace_s)

    # Places

    def _assign(self) -> None:
        waiting, self._waiting = self._waiting, []
        for stream in waiting:
            if stream.attempt.is_over or self._is_closed:
                continue
            cell = self._cell_of(stream.group) if isinstance(stream.group, str) else self._cell_for(stream.group)
            if cell is None:
                self._waiting.append(stream)
            else:
                cell.add(stream)

    def _cell_of(self, handler: str) -> _Cell | None:
        """The process of a watched handler."""
        return next((cell for cell in self._cells if cell.group == handler), None) or self._open(handler)

    def _cell_for(self, losses: int) -> _Cell | None:
        """A process whose suspects have equal losses, an empty one, a new one; None if all are taken."""
        now_s = asyncio.get_running_loop().time()
        of_suspects = [cell for cell in self._cells if isinstance(cell.group, int)]
        unsettled = [cell for cell in of_suspects if not cell.is_settled(now_s)]
        room = self._room.get(losses, ROOM_DEFAULT)
        for cell in unsettled:
            if cell.group == losses and 0 < cell.count < room:
                return cell
        for cell in unsettled:
            if not cell.count:
                cell.group = losses
                return cell
        if len(unsettled) >= PROCESSES_MAX or len(of_suspects) >= PROCESSES_MAX + SETTLED_MAX:
            return None
        return self._open(losses)

    def _open(self, group: int | str) -> _Cell | None:
        try:
            cell = _Cell(self._spawn(self._on_dead, is_quarantine=isinstance(group, int)), group)
        except RewakeError as error:  # the system refused a process; tick tries again
            log.warning("quarantine_not_started", code=error.code.value, reason=error.message)
            return None
        cell.process.on_stream_end = self._on_stream_end
        cell.process.ready.add_done_callback(lambda _: self._on_ready(cell))
        self._cells.append(cell)
        return cell

    # What the processes report

    def _on_ready(self, cell: _Cell) -> None:
        pending, cell.pending = cell.pending, []
        failed = cell.process.is_dead or cell.process.ready.exception() is not None
        if failed and cell in self._cells:
            self._cells.remove(cell)
        for stream in pending:
            if stream.attempt.is_over:
                continue
            if not failed:
                stream.bind(cell.process)
            else:
                stream.attempt.on_error("The worker process did not start.", NOT_STARTED_RETRY_MS, Blame.NOBODY)
        cell.since_s = asyncio.get_running_loop().time()

    def _on_dead(self, process: WorkerProcess) -> None:
        self._cells = [cell for cell in self._cells if cell.process is not process]
        if not process.is_quarantine:
            self._on_handlers_lost(process)
        self.on_death(stream.loss_count for stream in process.streams.values())
        asyncio.get_running_loop().call_soon(self._assign)

    def _on_stream_end(self) -> None:
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._assign)


class _Cell:
    """One process with its attempts. group: the common losses of its suspects, or a watched handler.

    pending: attempts that wait until it is ready.   since_s: time of its newest attempt.
    """

    def __init__(self, process: WorkerProcess, group: int | str) -> None:
        self.process = process
        self.group = group
        self.pending: list[WorkerStream] = []
        self.since_s = process.started_at_s

    @property
    def count(self) -> int:
        return len(self.process.streams) + len(self.pending)

    def add(self, stream: WorkerStream) -> None:
        self.since_s = asyncio.get_running_loop().time()
        if self.process.is_available:
            stream.bind(self.process)
        else:
            self.pending.append(stream)

    def is_settled(self, now_s: float) -> bool:
        return bool(self.process.streams) and now_s - self.since_s >= SETTLED_AFTER_S

    def is_idle(self, now_s: float) -> bool:
        return not self.count and now_s - self.since_s >= IDLE_S
