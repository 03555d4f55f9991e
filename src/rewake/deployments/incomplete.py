"""A bound on the bytes of incomplete messages, over all attempts of all transports.

A message may have 32 MiB or more, so a few attempts that never complete large messages could fill the memory. Above
the bound the attempt with the most bytes is aborted. Called by framed_attempt.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

INCOMPLETE_BYTES_MAX: Final = 256 * 1024 * 1024

MESSAGES_MIN: Final = 3
"""So many of the largest messages may always be under way, where an operator allows large ones."""

COUNTED_FROM_BYTES: Final = 64 * 1024
"""Incomplete messages below this size are not counted: they need little memory, and counting costs time."""


def bytes_max(message_bytes_max: int) -> int:
    """The bound, for attempts whose messages may have so many bytes."""
    return max(INCOMPLETE_BYTES_MAX, MESSAGES_MIN * message_bytes_max)


class IncompleteMessages:
    """The bytes of incomplete messages, by the function that aborts the attempt."""

    def __init__(self) -> None:
        self._sizes: dict[Callable[[], None], int] = {}
        self.total_bytes = 0

    def note(self, give_up: Callable[[], None], size: int, all_bytes_max: int) -> None:
        """An attempt holds `size` bytes now. May call `give_up` of any attempt, which then calls `forget`."""
        self.total_bytes += size - self._sizes.pop(give_up, 0)
        self._sizes[give_up] = size
        while self.total_bytes > all_bytes_max:
            largest = max(self._sizes, key=lambda each: self._sizes[each])
            self.forget(largest)
            largest()

    def forget(self, give_up: Callable[[], None]) -> None:
        """The attempt holds no bytes any more."""
        self.total_bytes -= self._sizes.pop(give_up, 0)
