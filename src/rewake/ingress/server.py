"""HttpServer: one listening socket, its connections, their timeouts, and a stop that lets answers out.

Stopping closes the socket, tells every caller `connection: close` with the answer it waits for, and cuts what is left
when the time given is over, as the public server does (http-api.md 6.7).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

from rewake.ingress.protocol import Connections, Handle, HttpConnection

BACKLOG: Final = 2048
CHECK_INTERVAL_S: Final = 5.0


class HttpServer:
    """Serves `handle` on a bound socket, which it owns from start() on."""

    def __init__(self, handle: Handle, *, body_bytes_max: int) -> None:
        self._connections = Connections(handle, body_bytes_max=body_bytes_max)
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, sock=listener, backlog=BACKLOG)
        self._timer = loop.call_later(CHECK_INTERVAL_S, self._check_timeouts)

    async def stop(self, drain_s: float) -> None:
        """Accept nothing more, let answers out for at most `drain_s`, then cut."""
        if self._server is None or self._timer is None:
            return
        self._server.close()
        self._server = None
        self._timer.cancel()
        for connection in list(self._connections.open):
            connection.close_when_done()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connections.emptied.wait(), drain_s)
        for connection in list(self._connections.open):
            connection.abort()
        await self._connections.emptied.wait()

    @property
    def connection_count(self) -> int:
        return len(self._connections.open)

    def _connection(self) -> HttpConnection:
        return HttpConnection(self._connections)

    def _check_timeouts(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._connections.open):
            connection.check_timeouts(now)
        self._timer = loop.call_later(CHECK_INTERVAL_S, self._check_timeouts)
