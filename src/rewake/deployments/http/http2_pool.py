"""The HTTP/2 connections of one deployment, and the exchanges that wait for one.

An exchange goes to the first connection with room whose peer reads. Without such a connection a new one is made, up to
a limit, and the exchange waits. If it cannot be made, all waiting exchanges fail. Nothing is retried here: the engine's
retry policy decides.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

from rewake.deployments.http.address import Address
from rewake.deployments.http.connect_errors import ConnectionBroken, describe_error
from rewake.deployments.http.exchange import ClientExchange, HttpOptions
from rewake.deployments.http.http2 import Http2ClientConnection, connect_http2


class Http2Pool:
    """Carrier of waiting exchanges. on_idle: called when no exchange is left."""

    def __init__(
        self, address: Address, tls: ssl.SSLContext | None, options: HttpOptions, on_idle: Callable[[], None]
    ) -> None:
        self._address = address
        self._tls = tls
        self._options = options
        self._on_idle = on_idle
        self._connections: list[Http2ClientConnection] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: deque[ClientExchange] = deque()
        self.last_error: Exception | None = None

    def submit(self, exchange: ClientExchange) -> None:
        """Send an exchange. Its responder is never called from within this call."""
        exchange.carrier = self
        connection = self._choose() if not self._waiting else None
        if connection is not None:
            connection.open(exchange)
        else:
            self._waiting.append(exchange)
            self._grow()

    @property
    def is_idle(self) -> bool:
        """Whether it has no exchange."""
        return not self._waiting and all(connection.is_empty for connection in self._connections)

    # Carrier, while an exchange waits

    def on_written(self, exchange: ClientExchange) -> None:
        """Nothing to do: the exchange keeps the bytes."""

    def on_finished(self, exchange: ClientExchange) -> None:
        """Nothing to do: the exchange keeps the bytes."""

    def on_reset(self, exchange: ClientExchange) -> None:
        """Nothing to do: it is skipped at its turn."""
        asyncio.get_running_loop().call_soon(self._on_free)

    # Connections

    def _choose(self, *, may_be_blocked: bool = False) -> Http2ClientConnection | None:
        """A connection with room. One whose peer does not read is chosen only if no other can be made."""
        blocked = None
        for connection in self._connections:
            if connection.capacity > 0:
                if not connection.is_blocked:
                    return connection
                blocked = connection
        return blocked if may_be_blocked or not (self._can_grow or self._connecting) else None

    @property
    def _can_grow(self) -> bool:
        living = sum(not connection.is_leaving for connection in self._connections)
        return living + len(self._connecting) < self._options.connections_max

    def _grow(self) -> None:
        """Make as many connections as the waiting exchanges could fill."""
        wanted = -(-len(self._waiting) // self._options.streams_per_connection_max)
        while self._can_grow and len(self._connecting) < wanted:
            task = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._on_connected)

    async def _connect(self) -> None:
        try:
            connection = await connect_http2(
                self._address, self._tls, self._options, on_free=self._on_free, on_gone=self._on_gone
            )
        except (OSError, TimeoutError, ConnectionBroken) as error:
            self.last_error = error
        else:
            self.last_error = None
            if not connection.is_gone:
                self._connections.append(connection)

    def _on_connected(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        if task.cancelled():
            return
        task.result()
        error = self.last_error
        if error is None:
            self._on_free()
        elif not self._connecting:
            self._bind(may_be_blocked=True)
            if all(connection.is_leaving for connection in self._connections):
                self._fail_waiting(f"The deployment could not be reached: {describe_error(error)}.")

    def _on_free(self) -> None:
        """A connection has room, or the waiting exchanges have changed."""
        self._bind()
        if self._waiting:
            self._grow()
        elif self.is_idle:
            self._on_idle()

    def _bind(self, *, may_be_blocked: bool = False) -> None:
        """Assign waiting exchanges to connections with room."""
        waiting = self._waiting
        while waiting:
            if waiting[0].is_reset:
                waiting.popleft()
                continue
            connection = self._choose(may_be_blocked=may_be_blocked)
            if connection is None:
                return
            connection.open(waiting.popleft())

    def _on_gone(self, connection: Http2ClientConnection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
        asyncio.get_running_loop().call_soon(self._on_free)

    def _fail_waiting(self, message: str) -> None:
        waiting, self._waiting = self._waiting, deque()
        for exchange in waiting:
            if not exchange.is_reset:
                exchange.responder.on_error(message)

    # The end

    async def close(self) -> None:
        """Abort everything without a call to any responder."""
        self._waiting.clear()
        connecting = list(self._connecting)
        for task in connecting:
            task.cancel()
        await asyncio.gather(*connecting, return_exceptions=True)
        for connection in list(self._connections):
            connection.abandon()
