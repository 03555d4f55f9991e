"""The clock: wall time for all stored times, and a check whether it was set back.

Stored times are wall-clock times, but nearly all come from a duration: a back-off, a sleep or a delay. So if the wall
clock is set back, timers armed earlier follow the monotonic clock (see Housekeeping). If the clock is set forward,
timers are due early, as on any other server.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

SET_BACK_MS_MIN: Final = 1_000
"""Smaller steps back are ignored: they make a timer late by at most this much."""

_SET_BACK_NS_MIN: Final = SET_BACK_MS_MIN * 1_000_000


class Clock:
    """Reads the wall clock. Calls `on_set_back` with the milliseconds by which it was set back since the last read."""

    def __init__(self, on_set_back: Callable[[int], None]) -> None:
        self._on_set_back = on_set_back
        self._ahead_ns = time.time_ns() - time.monotonic_ns()

    def now_ms(self) -> int:
        now_ns = time.time_ns()
        ahead_ns = now_ns - time.monotonic_ns()
        set_back_ns = self._ahead_ns - ahead_ns
        self._ahead_ns = ahead_ns
        if set_back_ns >= _SET_BACK_NS_MIN:
            self._on_set_back(set_back_ns // 1_000_000)
        return now_ns // 1_000_000
