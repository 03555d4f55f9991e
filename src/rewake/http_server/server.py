"""HttpServer: serves an ASGI app on a listening socket, checks for slow callers, and stops without losing answers.

Stopping closes the socket, sends `connection: close` with pending answers, and cuts the remaining connections at the
deadline, as the public server does (http-api.md 6.7). The program that uses it handles OS signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

from rewake.http_server.connection import Connection, Site
from rewake.http_server.exchange import App
from rewake.http_server.http1 import Http1ServerConnection
from rewake.http_server.limits import Limits, connections_max
from rewake.http_server.tls import CHECK_S, Certificate

BACKLOG: Final = 2048
CUT_SECONDS_MAX: Final = 1.0
"""Time to report aborted requests to callers, in versions of HTTP that can."""

KEEPALIVE_IDLE_S: Final = 30
KEEPALIVE_INTERVAL_S: Final = 10
KEEPALIVE_COUNT: Final = 3


class HttpServer:
    """Serves `app` on a bound socket, which it owns from start() on.

    cancels: cancel the app's task when its caller leaves; if False, only `receive` reports that.
    protocol: makes new connections.
    answers_half_closed: see Site.
    """

    def __init__(
        self,
        app: App,
        limits: Limits | None = None,
        *,
        cancels: bool = False,
        answers_half_closed: bool = True,
        protocol: Callable[[Site], asyncio.Protocol] = Http1ServerConnection,
    ) -> None:
        self.app = app
        self.limits = limits or Limits()
        self.cancels = cancels
        self.answers_half_closed = answers_half_closed
        self._protocol = protocol
        self._connections: set[Connection] = set()
        self._connections_max = self.limits.connections_max or connections_max()
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None

    async def start(self, listener: socket.socket, certificate: Certificate | None = None) -> None:
        """Begin to serve, over TLS if there is a certificate."""
        _keep_alive(listener)
        loop = asyncio.get_running_loop()
        tls = None if certificate is None else certificate.context
        self._server = await loop.create_server(lambda: self._protocol(self), sock=listener, backlog=BACKLOG, ssl=tls)
        if certificate is not None:
            self._renewing = loop.create_task(_renew_forever(certificate))
        self._timer = loop.call_later(self.limits.check_s, self._check)

    async def stop(self, drain_s: float) -> None:
        """Accept no connection, finish answers for at most `drain_s`, then cut. Safe to call twice."""
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
        """Requests that are not answered completely."""
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
        """Close the connection that has been idle longest, so that idle callers do not block others."""
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
    """Turn on TCP keep-alive, which accepted sockets inherit: the connection of a vanished machine ends."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", KEEPALIVE_COUNT),
    ):
        option = getattr(socket, name, None)
        if option is not None:  # Some systems lack some of these options.
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
