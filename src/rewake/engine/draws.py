"""Random bytes in small portions of a large one.

`os.urandom` is a system call and lets go of the interpreter lock, also for 16 bytes; each message of a handler needs
some. The bytes are those of the system, each is given out once. Belongs to the event loop's thread.
"""

from __future__ import annotations

import os
from typing import Final

PORTION_BYTES: Final = 4096


class Draws:
    """Unpredictable bytes, a few at a time."""

    __slots__ = ("_at", "_portion")

    def __init__(self) -> None:
        self._portion = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        """So many bytes, at most PORTION_BYTES, that nobody had before."""
        start, stop = self._at, self._at + count
        if stop > len(self._portion):
            self._portion = os.urandom(PORTION_BYTES)
            start, stop = 0, count
        self._at = stop
        return self._portion[start:stop]
