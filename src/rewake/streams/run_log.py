"""The stream of one run while somebody uses it: its file, its marks, who writes and who waits for something new."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from rewake.core.ids import InvocationId
from rewake.streams.files import RunFile
from rewake.streams.marks import Marks

if TYPE_CHECKING:
    from rewake.streams.writers import Writing

DEFAULT_VERSION: Final = 6
"""Of the service protocol, for what is not pinned yet."""


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
