"""Quarantine: processes of their own for attempts under which workers die, away from all others.

An attempt that was in flight when its worker died may have killed the worker, or only have been there. After
QUARANTINE_AFTER such deaths in a row it leaves the workers of the pool. Suspects with as many losses share a process
here, at most half as many as in the last one that died. So each death halves the suspects, until one dies alone
(Blame.ALONE). Innocent attempts run on meanwhile, and are free once they end. Called by worker_pool.py. The counting is
the core's, see core/retries.py.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from rewake.core.model import Blame
from rewake.deployments.worker import WorkerProcess, WorkerStream
from rewake.errors import RewakeError

QUARANTINE_AFTER: Final = 3
"""Losses in a row that make a suspect. Fewer are common: an operator, the OOM killer and a deploy end workers too, and
another process to run in costs as long as the app takes to import."""

PROCESSES_MAX: Final = 4
"""Processes that may still die of what they carry. Suspects beyond them wait."""

SETTLED_AFTER_S: Final = 10.0
"""A process that lived this long with its suspects carries none that kills at once; it makes room for another."""

SETTLED_MAX: Final = 8
IDLE_S: Final = 30.0
"""How long an empty process waits for suspects that back off."""

ROOM_DEFAULT: Final = 4
"""Suspects in a process while no death has shown how many there are: after a restart of the engine."""

NOT_STARTED_RETRY_MS: Final = 1_000

log = structlog.get_logger("rewake.deployments")


class Quarantine:
    """The suspects of one pool and their processes.

    spawn(on_dead): starts a worker process; it fails its attempts with Blame.ALONE when it carried a single one.
    """

    def __init__(self, spawn: Callable[[Callable[[WorkerProcess], None]], WorkerProcess]) -> None:
        self._spawn = spawn
        self._cells: list[_Cell] = []
        self._waiting: list[WorkerStream] = []
        self._room: dict[int, int] = {}
        self._is_closed = False

    def take(self, stream: WorkerStream) -> None:
        """Run a suspect, as soon as there is a place for it."""
        self._waiting.append(stream)
        self._assign()

    def on_death(self, loss_counts: Iterable[int]) -> None:
        """A process died, here or in the pool, under attempts that had lost so many before."""
        for losses, count in Counter(loss_counts).items():
            self._room[losses + 1] = (count + 1) // 2

    def tick(self) -> None:
        """Let go of what stays empty, and see who has settled. Called about once a second."""
        now_s = asyncio.get_running_loop().time()
        for cell in [cell for cell in self._cells if cell.is_idle(now_s)]:
            self._release(cell, grace_s=0.0)
        if self._waiting:
            self._assign()

    def retire(self, grace_s: float) -> None:
        """Replace the processes, because the code has changed; those that come from now on load the new one."""
        for cell in list(self._cells):
            self._waiting += cell.pending
            cell.pending = []
            self._release(cell, grace_s=grace_s)
        self._assign()

    def close(self) -> None:
        """Start nothing more; the processes are the pool's to end."""
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
            cell = self._cell_for(stream.loss_count)
            if cell is None:
                self._waiting.append(stream)
            else:
                cell.add(stream)

    def _cell_for(self, losses: int) -> _Cell | None:
        """A process whose suspects lost as often, an empty one, a new one, or None: all are taken."""
        now_s = asyncio.get_running_loop().time()
        unsettled = [cell for cell in self._cells if not cell.is_settled(now_s)]
        room = self._room.get(losses, ROOM_DEFAULT)
        for cell in unsettled:
            if cell.losses == losses and 0 < cell.count < room:
                return cell
        for cell in unsettled:
            if not cell.count:
                cell.losses = losses
                return cell
        if len(unsettled) >= PROCESSES_MAX or len(self._cells) >= PROCESSES_MAX + SETTLED_MAX:
            return None
        return self._open(losses)

    def _open(self, losses: int) -> _Cell | None:
        try:
            cell = _Cell(self._spawn(self._on_dead), losses)
        except RewakeError as error:  # the system refuses processes; tick tries again
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
        self.on_death(stream.loss_count for stream in process.streams.values())
        asyncio.get_running_loop().call_soon(self._assign)

    def _on_stream_end(self) -> None:
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._assign)


class _Cell:
    """One process with its suspects. pending: those that wait until it is ready.   since_s: when the last one came."""

    def __init__(self, process: WorkerProcess, losses: int) -> None:
        self.process = process
        self.losses = losses
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
