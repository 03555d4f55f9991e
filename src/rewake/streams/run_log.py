"""The stream of one run while somebody uses it: its file, its marks, its writers and its waiting readers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from rewake.core.ids import InvocationId
from rewake.streams.files import RunFile
from rewake.streams.marks import Marks, OpenStep

DEFAULT_VERSION: Final = 6
"""Version of the service protocol for runs that are not pinned to a deployment yet."""

EARLY_BYTES_MAX: Final = 256 * 1024
"""Bytes of deltas that are kept for a step whose command is not stored yet."""


class RunLog:
    """The stream of one run while somebody uses it. version: of its journal's service protocol.

    early: writers whose step is not stored yet.
    """

    def __init__(self, run: InvocationId, file: RunFile, now_us: int) -> None:
        self.run = run
        self.file = file
        self.marks = Marks(run, self.next_offset)
        self.version = DEFAULT_VERSION
        self.writers: set[Writing] = set()
        self.early: list[Writing] = []
        self.reader_count = 0
        self.is_dropped = False
        self._next_offset = max(file.last_offset + 1, now_us)  # above every offset that a lost end may have used
        self.first_offset = file.first_offset or self._next_offset
        self._waiting: set[asyncio.Future[None]] = set()

    def next_offset(self) -> int:
        offset = self._next_offset
        self._next_offset += 1
        return offset

    @property
    def is_idle(self) -> bool:
        return not self.writers and not self.reader_count

    def wake(self) -> None:
        """Wake all waiting readers."""
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def changed(self, timeout_s: float) -> bool:
        """Wait until `wake`; False if the time ran out first."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(future)
        return True


class Sink(Protocol):
    """Takes the deltas of writers."""

    def append_deltas(self, run_log: RunLog, step: OpenStep, deltas: list[bytes]) -> None: ...

    def cut(self, run_log: RunLog, step: OpenStep) -> None: ...

    def rest(self, run_log: RunLog) -> None: ...


class Writing:
    """The deltas of one try of a step. is_over: no more are accepted.

    A step is announced when its command is stored. Deltas that come earlier wait here, up to EARLY_BYTES_MAX.
    is_kept: keep them even if the body ends before the command is stored.
    """

    def __init__(self, sink: Sink, run_log: RunLog, name: str, kind: str | None, agent: str | None) -> None:
        self.name, self.kind, self.agent = name, kind, agent
        self.is_kept = True
        self.is_over = False
        self._sink = sink
        self._log = run_log
        self._step: OpenStep | None = None
        self._early: list[bytes] = []
        self._early_bytes = 0
        self._on_over: Callable[[], None] | None = None

    def put(self, deltas: list[bytes]) -> None:
        """Take deltas, each valid JSON without line breaks."""
        if self.is_over or not deltas:
            return
        if self._step is not None:
            self._sink.append_deltas(self._log, self._step, deltas)
        elif self._early_bytes <= EARLY_BYTES_MAX:
            self._early += deltas
            self._early_bytes += sum(map(len, deltas))

    def attach(self, step: OpenStep) -> None:
        """The step's command is stored: append the deltas that waited."""
        self._step = step
        if self._early:
            self._sink.append_deltas(self._log, step, self._early)
            self._early = []
        if self.is_over:
            self._leave()

    def end(self) -> None:
        """The step's body is complete."""
        self.is_over = True
        if self._step is not None or not self.is_kept:
            self._leave()

    def cut(self) -> None:
        """The try failed: its deltas are void."""
        if not self.is_over and self._step is not None:
            self._sink.cut(self._log, self._step)
        self.is_over = True
        self._leave()

    def on_over(self, call: Callable[[], None]) -> None:
        """Have `call` called when this writer is closed."""
        self._on_over = call

    def close(self) -> None:
        """The attempt is over, or its run."""
        if not self.is_over:
            self.is_over = True
            if self._on_over is not None:
                self._on_over()

    def _leave(self) -> None:
        if self in self._log.writers:
            self._log.writers.discard(self)
            if self in self._log.early:
                self._log.early.remove(self)
            if self._step is not None:
                self._step.writers = max(0, self._step.writers - 1)
            self._sink.rest(self._log)
