"""HTTP/1.1, request and response: a connection carries one exchange at a time, and is kept for the next one.

A request is sent when it is complete; its answer is read as it comes. Bytes outside an answer's body are bounded, and
its head has a deadline, so a deployment cannot fill the engine's memory with endless headers.

If the server closes a kept connection before it answers, its idle timer did that, not the request. So the exchange is
sent once more.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections import deque
from collections.abc import Callable
from typing import Final, cast

import httptools

from rewake.core.model import Blame
from rewake.deployments.http.address import Address
from rewake.deployments.http.connect_errors import ConnectionBroken, describe_error
from rewake.deployments.http.exchange import ANSWER_HEAD_BYTES_MAX, ClientExchange, HttpOptions

_FINAL_STATUS: Final = 200
"""Lower statuses are interim answers, before the final one."""

_LENGTH_HEADERS: Final = frozenset({b"content-length", b"transfer-encoding"})


class Http1ClientConnection(asyncio.Protocol):
    """Carrier of one exchange at a time. on_done(connection, unsent): called when it is free or closed.

    unsent: its exchange, if the server closed a kept connection without an answer.
    """

    def __init__(
        self,
        address: Address,
        options: HttpOptions,
        on_done: Callable[[Http1ClientConnection, ClientExchange | None], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._address = address
        self._options = options
        self._on_done = on_done
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self.exchange: ClientExchange | None = None
        self.is_gone = False
        self.end_reason = ""
        self._was_used = False
        self._sent = b""
        self._answer = _Answer()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has another class.

    def data_received(self, data: bytes) -> None:
        exchange, answer = self.exchange, self._answer
        if exchange is None:
            self._go("The server sent bytes without a request.")
            return
        try:
            answer.feed(data)
        except httptools.HttpParserError as error:
            self._go(f"The server's answer is not HTTP/1.1: {error}.")
            return
        if answer.overhead_bytes > ANSWER_HEAD_BYTES_MAX:
            self._go(f"The server's answer has more than {ANSWER_HEAD_BYTES_MAX} bytes of headers.")
            return
        self._time_head(answer)
        if answer.has_new_head:
            answer.has_new_head = False
            exchange.responder.on_head(answer.status, answer.headers)
        if answer.body and self.exchange is exchange:
            exchange.responder.on_data(answer.take_body())
        if answer.is_complete and self.exchange is exchange:
            self._complete(exchange, keeps=answer.keeps_connection)

    def connection_lost(self, exc: Exception | None) -> None:
        exchange = self.exchange
        if exchange is not None and exc is None and self._answer.ends_with_connection:
            self._complete(exchange, keeps=False)
        else:
            self._go(f"The connection was lost: {describe_error(exc) if exc else 'the server closed it'}.")

    # Carrier

    def open(self, exchange: ClientExchange) -> None:
        """Send a complete request."""
        assert self._transport is not None
        exchange.carrier = self
        self.exchange = exchange
        self._answer = _Answer()
        self._stop_timer()
        self._sent = exchange.take(sys.maxsize)
        self._transport.writelines([_head(self._address, exchange, len(self._sent)), self._sent])

    def on_written(self, exchange: ClientExchange) -> None:
        """Nothing to do: the request is complete."""

    def on_finished(self, exchange: ClientExchange) -> None:
        self._set_timer(self._options.drain_timeout_s, self.close)

    def on_reset(self, exchange: ClientExchange) -> None:
        if exchange is self.exchange:
            self.close()

    def _complete(self, exchange: ClientExchange, *, keeps: bool) -> None:
        self.exchange = None
        self._sent = b""
        self._was_used = True
        if keeps:
            self._set_timer(self._options.idle_timeout_s, self.close)
            self._on_done(self, None)
        else:
            self.close()
        exchange.responder.on_end()

    # The end

    def close(self) -> None:
        """Close the connection; its exchange fails."""
        self._go("The connection was closed.")

    def _time_head(self, answer: _Answer) -> None:
        """Start the deadline for a head that has begun."""
        if answer.is_in_head and self._head_timer is None:
            self._head_timer = self._loop.call_later(self._options.head_timeout_s, self._on_slow_head)
        elif not answer.is_in_head:
            self._stop_head_timer()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_slow_head(self) -> None:
        self._go(f"The head of the server's answer was not complete within {self._options.head_timeout_s:g} s.")

    def _go(self, message: str) -> None:
        if self.is_gone:
            return
        self.is_gone = True
        self.end_reason = message
        self._stop_timer()
        self._stop_head_timer()
        if self._transport is not None:
            self._transport.abort()
        exchange, self.exchange = self.exchange, None
        unsent = None
        if exchange is not None and not exchange.is_reset:
            if self._was_used and self._answer.is_empty:
                unsent = exchange
                unsent.put_back(self._sent)
            else:
                exchange.responder.on_error(message, blame=Blame.LOST)
        self._on_done(self, unsent)

    def _set_timer(self, delay_s: float, action: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(delay_s, action)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Answer:
    """The parser's results for one answer. It only records, so that no responder is called from within the parser.

    overhead_bytes: bytes since the last byte of the body.   is_in_head: a head has begun and is not complete.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._has_length = False
        self.is_empty = True
        self.overhead_bytes = 0
        self.is_in_head = False
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body: list[bytes] = []
        self.has_new_head = False
        self.is_complete = False
        self.keeps_connection = False

    def feed(self, data: bytes) -> None:
        """Parse more. Raises httptools.HttpParserError."""
        self.is_empty = False
        self.overhead_bytes += len(data)
        self._parser.feed_data(data)
        if self.body:
            self.overhead_bytes = 0

    def take_body(self) -> bytes:
        body, self.body = b"".join(self.body), []
        return body

    @property
    def ends_with_connection(self) -> bool:
        """Whether the end of the connection ends the answer."""
        return self.status != 0 and not self._has_length

    def on_message_begin(self) -> None:
        self.headers = []
        self._has_length = False
        self.is_in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.headers.append((name, value))
        self._has_length = self._has_length or name in _LENGTH_HEADERS

    def on_headers_complete(self) -> None:
        self.is_in_head = False
        status = self._parser.get_status_code()
        if status >= _FINAL_STATUS:
            self.status = status
            self.has_new_head = True

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        if self.status:
            self.is_complete = True
            self.keeps_connection = self._has_length and self._parser.should_keep_alive()


class Http1Pool:
    """Carrier of exchanges that are incomplete or wait for a connection. See Http2Pool."""

    def __init__(
        self, address: Address, tls: ssl.SSLContext | None, options: HttpOptions, on_idle: Callable[[], None]
    ) -> None:
        self._address = address
        self._tls = tls
        self._options = options
        self._on_idle = on_idle
        self._idle: list[Http1ClientConnection] = []
        self._busy: set[Http1ClientConnection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: deque[ClientExchange] = deque()
        self._is_closed = False
        self.last_error: Exception | None = None

    def submit(self, exchange: ClientExchange) -> None:
        """Send an exchange once its request is complete."""
        exchange.carrier = self
        if exchange.is_ended:
            self.on_written(exchange)

    @property
    def is_idle(self) -> bool:
        return not (self._waiting or self._busy)

    # Carrier, while an exchange waits

    def on_written(self, exchange: ClientExchange) -> None:
        if exchange.is_ended:
            self._waiting.append(exchange)
            self._bind()

    def on_finished(self, exchange: ClientExchange) -> None:
        """Nothing to do: it was not sent."""

    def on_reset(self, exchange: ClientExchange) -> None:
        """Nothing to do: it is skipped at its turn."""

    # Connections

    def _bind(self) -> None:
        """Assign waiting exchanges to free connections, and make connections for the others."""
        waiting = self._waiting
        while waiting:
            if waiting[0].is_reset:
                waiting.popleft()
            elif self._idle:
                connection = self._idle.pop()
                self._busy.add(connection)
                connection.open(waiting.popleft())
            else:
                break
        limit = self._options.http1_connections_max
        while len(self._connecting) < len(waiting) and len(self._connecting) + len(self._busy) < limit:
            task = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._on_connected)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        address = self._address
        try:
            async with asyncio.timeout(self._options.connect_timeout_s):
                _, connection = await loop.create_connection(
                    lambda: Http1ClientConnection(address, self._options, self._on_done),
                    address.host,
                    address.port,
                    ssl=self._tls,
                    server_hostname=address.host if self._tls is not None else None,
                )
        except (OSError, TimeoutError, ConnectionBroken) as error:
            self.last_error = error
        else:
            self.last_error = ConnectionBroken(connection.end_reason) if connection.is_gone else None
            if not connection.is_gone:
                self._idle.append(connection)
                # At once: bytes that a server sends before the request must fail it, not cause another try.
                self._bind()

    def _on_connected(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        if task.cancelled():
            return
        task.result()
        if self.last_error is not None and not self._connecting and not self._busy:
            self._fail_waiting(f"The deployment could not be reached: {describe_error(self.last_error)}.")

    def _on_done(self, connection: Http1ClientConnection, unsent: ClientExchange | None) -> None:
        self._busy.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not connection.is_gone:
            self._idle.append(connection)
        if self._is_closed:
            return
        if unsent is not None:
            unsent.carrier = self
            self._waiting.appendleft(unsent)
        asyncio.get_running_loop().call_soon(self._after_done)

    def _after_done(self) -> None:
        self._bind()
        if self.is_idle:
            self._on_idle()

    def _fail_waiting(self, message: str) -> None:
        waiting, self._waiting = self._waiting, deque()
        for exchange in waiting:
            if not exchange.is_reset:
                exchange.responder.on_error(message)

    async def close(self) -> None:
        """Abort everything without a call to any responder."""
        self._is_closed = True
        self._waiting.clear()
        connecting = list(self._connecting)
        for task in connecting:
            task.cancel()
        await asyncio.gather(*connecting, return_exceptions=True)
        for connection in [*self._busy, *self._idle]:
            if connection.exchange is not None:
                connection.exchange.reset()
            connection.close()


def _head(address: Address, exchange: ClientExchange, body_bytes: int) -> bytes:
    lines = [
        exchange.method + b" " + exchange.target + b" HTTP/1.1",
        b"host: " + address.authority.encode(),
        *(name + b": " + value for name, value in exchange.headers),
    ]
    if body_bytes or exchange.method != b"GET":
        lines.append(b"content-length: %d" % body_bytes)
    return b"\r\n".join([*lines, b"", b""])
