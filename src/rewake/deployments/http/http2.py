"""One HTTP/2 connection with its socket and clocks: the shell around http2_state.py.

It writes once per turn of the event loop, and not while the socket is full. It handles a peer that does not answer a
PING, does not end a finished stream, or leaves. If the connection is lost, every attempt on it fails. An idle
connection closes after a while.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable
from typing import Final, cast

from rewake.deployments.http.address import Address
from rewake.deployments.http.connect_errors import ConnectionBroken, describe_error
from rewake.deployments.http.exchange import ClientExchange, HttpOptions
from rewake.deployments.http.http2_state import Http2State
from rewake.deployments.http.read_turns import ReadTurns

DRAIN_CHECK_S: Final = 1.0
PING_JITTER: Final = 0.2


class Http2ClientConnection(asyncio.Protocol):
    """Carrier of exchanges. on_free: called when it has room.   on_gone: called once, at its end."""

    def __init__(
        self,
        address: Address,
        options: HttpOptions,
        on_free: Callable[[], None],
        on_gone: Callable[[Http2ClientConnection], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._options = options
        self._state = Http2State(address.scheme.encode(), address.authority.encode(), options)
        self._on_free = on_free
        self._on_gone = on_gone
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.transport: asyncio.Transport | None = None
        self._is_paused = False
        self._turns = ReadTurns(self._loop, self._state.guard, self._receive)
        self._is_gone = False
        self._is_flush_scheduled = False
        self._draining: dict[ClientExchange, float] = {}
        self._drain_timer: asyncio.TimerHandle | None = None
        self._ping_timer: asyncio.TimerHandle | None = None
        self._idle_since_s = self._loop.time()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its class.
        self._state.begin()
        self._flush()
        interval_s = self._options.ping_interval_s * (1 + PING_JITTER * random.random())
        self._ping_timer = self._loop.call_later(interval_s, self._on_ping_due)

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        self._turns.feed(self.transport, data)

    def _receive(self, data: bytes) -> None:
        """Process as many bytes as one turn of the event loop may take."""
        was_leaving = self._state.is_leaving
        was_blocked = self._state.is_blocked
        count = len(self._state.exchanges)
        try:
            self._state.receive(data)
        except ConnectionBroken as error:
            self._break(error)
            return
        if not self.ready.done() and self._state.is_ready:
            self.ready.set_result(None)
        self._flush()
        if self._state.is_leaving and not was_leaving and self._state.exchanges:
            self._ping()  # Some servers send GOAWAY and then drop the streams that they should finish.
        if len(self._state.exchanges) < count:
            self._on_less()
        elif was_blocked and not self.is_blocked:
            self._on_free()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._flush()
        self._on_free()

    def connection_lost(self, exc: Exception | None) -> None:
        self._turns.finish()
        self._go(f"The connection was lost: {describe_error(exc) if exc else 'the server closed it'}.")

    def check_alpn(self) -> None:
        """Over TLS the server must have agreed to HTTP/2. Raises ConnectionBroken."""
        assert self.transport is not None
        tls = self.transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            raise ConnectionBroken("The server did not agree to HTTP/2.", is_http1=True)

    # Carrier

    @property
    def capacity(self) -> int:
        """How many more exchanges it takes now."""
        return 0 if self._is_gone else self._state.capacity

    @property
    def is_blocked(self) -> bool:
        """Whether the peer does not read; another connection may be better."""
        return self._is_paused or self._state.is_blocked

    @property
    def is_leaving(self) -> bool:
        """Whether it takes no new exchange any more."""
        return self._is_gone or self._state.is_leaving

    @property
    def is_empty(self) -> bool:
        return not self._state.exchanges

    @property
    def is_gone(self) -> bool:
        return self._is_gone

    def open(self, exchange: ClientExchange) -> None:
        """Take over an exchange."""
        exchange.carrier = self
        self._state.open(exchange)
        self._schedule_flush()

    def on_written(self, exchange: ClientExchange) -> None:
        self._state.mark(exchange)
        self._schedule_flush()

    def on_finished(self, exchange: ClientExchange) -> None:
        self._state.mark(exchange)
        self._schedule_flush()
        self._draining[exchange] = self._loop.time() + self._options.drain_timeout_s
        if self._drain_timer is None:
            self._drain_timer = self._loop.call_later(DRAIN_CHECK_S, self._check_draining)

    def on_reset(self, exchange: ClientExchange) -> None:
        self._state.reset(exchange)
        self._schedule_flush()
        self._loop.call_soon(self._on_less)

    def _on_less(self) -> None:
        """An exchange is over; others may wait for its place."""
        if self._is_gone:
            return
        if not self._state.exchanges:
            self._idle_since_s = self._loop.time()
            if self._state.is_leaving:
                self.close()
        self._on_free()

    # Writing

    def _schedule_flush(self) -> None:
        if not self._is_flush_scheduled:
            self._is_flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_scheduled = False
        while not (self._is_paused or self._is_gone):
            assert self.transport is not None
            data = self._state.pump()
            if not data:
                return
            self.transport.write(data)

    # Clocks

    def _on_ping_due(self) -> None:
        """Send a PING, or close the connection if it is idle or the last PING has no answer."""
        now_s = self._loop.time()
        if not self._state.exchanges and now_s - self._idle_since_s >= self._options.idle_timeout_s:
            self.close()
            return
        self._ping()

    def _ping(self) -> None:
        if self._ping_timer is not None:
            self._ping_timer.cancel()
        self._state.ping()
        self._flush()
        self._ping_timer = self._loop.call_later(self._options.ping_timeout_s, self._on_ping_timeout)

    def _on_ping_timeout(self) -> None:
        if not self._state.has_ping_answer:
            text = f"The server did not answer a PING within {self._options.ping_timeout_s:g} s."
            self._break(ConnectionBroken(text))
            return
        rest_s = max(self._options.ping_interval_s - self._options.ping_timeout_s, 0.0)
        interval_s = rest_s + self._options.ping_interval_s * PING_JITTER * random.random()
        self._ping_timer = self._loop.call_later(interval_s, self._on_ping_due)

    def _check_draining(self) -> None:
        """Reset streams that finished long ago but that the peer has not ended."""
        self._drain_timer = None
        now_s = self._loop.time()
        for exchange, deadline_s in list(self._draining.items()):
            if self._state.exchanges.get(exchange.stream_id) is not exchange:
                del self._draining[exchange]
            elif deadline_s <= now_s:
                del self._draining[exchange]
                exchange.reset()
        if self._draining and not self._is_gone:
            self._drain_timer = self._loop.call_later(DRAIN_CHECK_S, self._check_draining)

    # The end

    def close(self) -> None:
        """Send GOAWAY and close; open exchanges fail."""
        if not self._is_gone and self.transport is not None:
            self._state.leave()
            self._flush()
            self.transport.close()
        self._go("The connection was closed.")

    def abandon(self) -> None:
        """Reset every exchange without a call to its responder, then close."""
        for exchange in list(self._state.exchanges.values()):
            exchange.reset()
        self.close()

    def _break(self, error: ConnectionBroken) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()
        self._go(error.message)
        if self.transport is not None:
            self.transport.abort()

    def _go(self, message: str) -> None:
        """End the connection: fail its exchanges and call on_gone."""
        if self._is_gone:
            return
        self._is_gone = True
        self._turns.stop()
        for timer in (self._ping_timer, self._drain_timer):
            if timer is not None:
                timer.cancel()
        if not self.ready.done():
            self.ready.set_exception(ConnectionBroken(message))
            self.ready.exception()
        self._draining.clear()
        self._state.fail_all(message)
        self._on_gone(self)


async def connect_http2(
    address: Address,
    tls: ssl.SSLContext | None,
    options: HttpOptions,
    on_free: Callable[[], None],
    on_gone: Callable[[Http2ClientConnection], None],
) -> Http2ClientConnection:
    """A new connection, once the peer has sent its settings. Raises OSError, TimeoutError or ConnectionBroken."""
    loop = asyncio.get_running_loop()
    connection = Http2ClientConnection(address, options, on_free, on_gone)
    try:
        async with asyncio.timeout(options.connect_timeout_s):
            await loop.create_connection(
                lambda: connection,
                address.host,
                address.port,
                ssl=tls,
                server_hostname=address.host if tls is not None else None,
            )
            connection.check_alpn()
            await connection.ready
    except BaseException:
        connection.close()
        raise
    return connection
