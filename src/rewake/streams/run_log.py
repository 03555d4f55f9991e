"""The stream of one run while somebody uses it: its file, its marks, who writes and who waits for something new."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from rewake.core.ids import InvocationId
from rewake.streams.files import RunFile
from rewake.streams.marks import Marks, Step

DEFAULT_VERSION: Final = 6
"""Of the service protocol, for what is not pinned yet."""

EARLY_BYTES_MAX: Final = 256 * 1024
"""Deltas of a step whose command is not stored yet."""


class RunLog:
    """The stream of one run while somebody uses it. version: of the protocol its journal is written in.

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
        self._next_offset = max(file.last_offset + 1, now_us)  # beyond all that a lost end may have had
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
        """Something is there for the readers."""
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def changed(self, timeout_s: float) -> bool:
        """Wait for something new; False when the time is over."""
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
    """What takes what writers say."""

    def append_deltas(self, run_log: RunLog, step: Step, deltas: list[bytes]) -> None: ...

    def cut(self, run_log: RunLog, step: Step) -> None: ...

    def rest(self, run_log: RunLog) -> None: ...


class Writing:
    """One try of a step as it speaks. is_over: nothing more is taken.

    A step is shown once its command is stored; what its body says before that waits here, up to EARLY_BYTES_MAX.
    is_kept: also when the body has ended by then.
    """

    def __init__(self, sink: Sink, run_log: RunLog, name: str, kind: str | None, agent: str | None) -> None:
        self.name, self.kind, self.agent = name, kind, agent
        self.is_kept = True
        self.is_over = False
        self._sink = sink
        self._log = run_log
        self._step: Step | None = None
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

    def attach(self, step: Step) -> None:
        """The step is stored: show what it said."""
        self._step = step
        if self._early:
            self._sink.append_deltas(self._log, step, self._early)
            self._early = []
        if self.is_over:
            self._leave()

    def end(self) -> None:
        """The step's body has said all."""
        self.is_over = True
        if self._step is not None or not self.is_kept:
            self._leave()

    def cut(self) -> None:
        """The try failed: what it said is void."""
        if not self.is_over and self._step is not None:
            self._sink.cut(self._log, self._step)
        self.is_over = True
        self._leave()

    def on_over(self, call: Callable[[], None]) -> None:
        """Call when nothing more is taken."""
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
