"""Messages that have not come whole: one bound over all attempts of all transports.

Each may have 32 MiB, so a few attempts that begin large messages and never end them would hold more memory than all
else. When the bound is passed, the attempt that holds most is given up. Called by framed_attempt.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

INCOMPLETE_BYTES_MAX: Final = 256 * 1024 * 1024

COUNTED_FROM_BYTES: Final = 64 * 1024
"""Smaller beginnings are not counted: they cost nothing to speak of, and counting them would."""


class IncompleteMessages:
    """What attempts hold of messages under way, by the function that gives an attempt up."""

    def __init__(self) -> None:
        self._sizes: dict[Callable[[], None], int] = {}
        self.total_bytes = 0

    def note(self, give_up: Callable[[], None], size: int) -> None:
        """An attempt holds so many bytes now. May call `give_up` of any attempt, which forgets it."""
        self.total_bytes += size - self._sizes.pop(give_up, 0)
        self._sizes[give_up] = size
        while self.total_bytes > INCOMPLETE_BYTES_MAX:
            largest = max(self._sizes, key=lambda each: self._sizes[each])
            self.forget(largest)
            largest()

    def forget(self, give_up: Callable[[], None]) -> None:
        """It holds nothing any more."""
        self.total_bytes -= self._sizes.pop(give_up, 0)
