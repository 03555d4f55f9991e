"""Spreads the bytes of one connection over turns of the event loop, so that a flood does not block it.

A FrameGuard limits the bytes of a turn and keeps the others in its `rest`. Reading pauses meanwhile, so the peer has to
wait. Both sides of HTTP/2 use this: http2.py and serving/connection.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rewake.deployments.http.http2_frames import FrameGuard


class ReadTurns:
    """Passes bytes to `receive`, and those that the guard keeps one turn later."""

    def __init__(self, loop: asyncio.AbstractEventLoop, guard: FrameGuard, receive: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._guard = guard
        self._receive = receive
        self._transport: asyncio.Transport | None = None
        self._later = b""
        self._is_stopped = False

    def feed(self, transport: asyncio.Transport, data: bytes) -> None:
        """Bytes arrived."""
        if self._transport is None:
            self._take(transport, data)
        else:
            self._later += data

    def finish(self) -> None:
        """The connection ended: pass on the remaining bytes at once."""
        while self._transport is not None and self._guard.rest and not self._is_stopped:
            self._go_on()

    def stop(self) -> None:
        self._is_stopped = True

    def _take(self, transport: asyncio.Transport, data: bytes) -> None:
        self._receive(data)
        if self._guard.rest and not self._is_stopped:
            if self._transport is None:
                self._transport = transport
                transport.pause_reading()
            self._loop.call_soon(self._go_on)
        elif self._transport is not None:
            self._transport = None
            if not transport.is_closing():
                transport.resume_reading()

    def _go_on(self) -> None:
        if self._transport is not None and not self._is_stopped:
            data, self._later = self._guard.rest + self._later, b""
            self._take(self._transport, data)
