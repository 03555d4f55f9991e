"""HalfClosed: finds out whether a caller that ended its side still waits for its answer (as `nc -N` does) or has left.

TCP shows the same in both cases. But if the caller has left, its system resets the connection at the next bytes. So an
interim answer, which every client of HTTP/1.1 ignores, is sent now and then until the real one begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

FIRST_DELAYS_S: Final = (0.2, 0.2)
"""Delays of the first two interim answers: the first one causes the reset, and the second one's write reports it."""

DELAY_S: Final = 10.0


class HalfClosed:
    """Calls `send` after these delays, then every DELAY_S, until `stop`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, send: Callable[[], None]) -> None:
        self._loop = loop
        self._send = send
        self._sent_count = 0
        self._timer = self._set()

    def stop(self) -> None:
        self._timer.cancel()

    def _set(self) -> asyncio.TimerHandle:
        count = self._sent_count
        delay_s = FIRST_DELAYS_S[count] if count < len(FIRST_DELAYS_S) else DELAY_S
        return self._loop.call_later(delay_s, self._go_on)

    def _go_on(self) -> None:
        self._sent_count += 1
        self._timer = self._set()
        self._send()
