"""The clock: wall time for all stored times, and a watch on it, since somebody may set it back.

Stored times are points on the wall clock, but nearly all of them come from a length of time: a back-off, a sleep, a
delay, each counted from when it was armed. So when the wall clock is set back, timers armed before are due by the
monotonic clock, which goes on (see Housekeeping). A clock set forward makes timers due early, as for any other server.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

SET_BACK_MS_MIN: Final = 1_000
"""A step back of less is left to itself: every timer is late by that much at most."""


class Clock:
    """Reads the wall clock. `on_set_back` hears by how many ms it was set back since it was read last."""

    def __init__(self, on_set_back: Callable[[int], None]) -> None:
        self._on_set_back = on_set_back
        self._ahead_ms = self._read()[1]

    def now_ms(self) -> int:
        now_ms, ahead_ms = self._read()
        set_back_ms, self._ahead_ms = self._ahead_ms - ahead_ms, ahead_ms
        if set_back_ms >= SET_BACK_MS_MIN:
            self._on_set_back(set_back_ms)
        return now_ms

    @staticmethod
    def _read() -> tuple[int, int]:
        now_ms = time.time_ns() // 1_000_000
        return now_ms, now_ms - time.monotonic_ns() // 1_000_000
