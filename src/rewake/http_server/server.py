"""HttpServer: an ASGI app on a listening socket, its connections and their clocks, and a stop that lets answers out.

Stopping closes the socket, says `connection: close` with the answers under way, and cuts what is left when the time
given is over, as the public server does (http-api.md 6.7). OS signals are the caller's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

from rewake.http_server.connection import Connection, Site
from rewake.http_server.exchange import App
from rewake.http_server.http1 import HttpConnection
from rewake.http_server.limits import Limits, connections_max
from rewake.http_server.tls import CHECK_S, Certificate

BACKLOG: Final = 2048
CUT_SECONDS_MAX: Final = 1.0
"""Time to say that a request is given up, for versions of HTTP that can."""

KEEPALIVE_IDLE_S: Final = 30
KEEPALIVE_INTERVAL_S: Final = 10
KEEPALIVE_COUNT: Final = 3


class HttpServer:
    """Serves `app` on a bound socket, which it owns from start() on.

    cancels: whether the app's task is cancelled when its caller leaves; else the app learns it from `receive` alone.
    protocol: of new connections.
    """

    def __init__(
        self,
        app: App,
        limits: Limits | None = None,
        *,
        cancels: bool = False,
        protocol: Callable[[Site], asyncio.Protocol] = HttpConnection,
    ) -> None:
        self.app = app
        self.limits = limits or Limits()
        self.cancels = cancels
        self._protocol = protocol
        self._connections: set[Connection] = set()
        self._connections_max = self.limits.connections_max or connections_max()
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None

    async def start(self, listener: socket.socket, certificate: Certificate | None = None) -> None:
        """Serve, over TLS when there is a certificate."""
        _keep_alive(listener)
        loop = asyncio.get_running_loop()
        tls = None if certificate is None else certificate.context
        self._server = await loop.create_server(lambda: self._protocol(self), sock=listener, backlog=BACKLOG, ssl=tls)
        if certificate is not None:
            self._renewing = loop.create_task(_renew_forever(certificate))
        self._timer = loop.call_later(self.limits.check_s, self._check)

    async def stop(self, drain_s: float) -> None:
        """Accept nothing more, let answers out for at most `drain_s`, then cut. Safe to call twice."""
        if self._server is None or self._timer is None:
            return
        self._server.close()
        self._server = None
        self._timer.cancel()
        if self._renewing is not None:
            self._renewing.cancel()
        for connection in list(self._connections):
            connection.leave()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._emptied(), drain_s)
        for connection in list(self._connections):
            connection.cut()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._emptied(), CUT_SECONDS_MAX)
        for connection in list(self._connections):
            connection.abort()
        await self._emptied()

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    @property
    def exchange_count(self) -> int:
        """Requests under way."""
        return sum(connection.exchange_count for connection in self._connections)

    # Site

    def on_open(self, connection: Connection) -> bool:
        if len(self._connections) >= self._connections_max and not self._make_room():
            return False
        self._connections.add(connection)
        return True

    def on_lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._changed.set()

    def _make_room(self) -> bool:
        """Close the connection that has been idle for longest, so that idle callers do not keep others out."""
        idle = [connection for connection in self._connections if connection.is_idle]
        if not idle:
            return False
        longest = min(idle, key=lambda connection: connection.moved_at)
        self._connections.discard(longest)
        longest.close()
        return True

    def _check(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._connections):
            connection.check(now)
        self._timer = loop.call_later(self.limits.check_s, self._check)

    async def _emptied(self) -> None:
        while self._connections:
            self._changed.clear()
            await self._changed.wait()


async def _renew_forever(certificate: Certificate) -> None:
    while True:
        await asyncio.sleep(CHECK_S)
        await asyncio.to_thread(certificate.renew)


def _keep_alive(listener: socket.socket) -> None:
    """Accepted sockets inherit it: a caller whose machine is gone does not hold its connection for ever."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", KEEPALIVE_COUNT),
    ):
        option = getattr(socket, name, None)
        if option is not None:  # Not every system names them.
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
