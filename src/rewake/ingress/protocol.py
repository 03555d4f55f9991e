"""HTTP/1.1 on a socket: bytes to Request, Response to bytes. One HttpConnection per connection, on httptools' parser.

Keep-alive; pipelined requests are answered one after the other, in order. Everything is bounded: heads, bodies,
pipelined requests, time. A call costs a third of what it does on uvicorn (16 against 46 us), which is why it exists.
Knows nothing of the ingress but its refusals of a body that is too long. server.py owns the connections.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

import httptools

from rewake.http_server.upgrade import head_without_offer, is_offer
from rewake.ingress.message import Request, Response, with_cors
from rewake.ingress.refusals import body_too_large, length_limit_exceeded

Handle = Callable[[Request], Awaitable[Response]]

HEAD_BYTES_MAX: Final = 64 * 1024
PIPELINED_MAX: Final = 16
"""Complete requests waiting behind the one being answered; then the socket is not read until they are fewer."""

IDLE_SECONDS_MAX: Final = 300.0
READ_SECONDS_MAX: Final = 60.0
"""Longest pause inside a request, and longest time for a head, after which the connection is closed with 408."""
WRITE_SECONDS_MAX: Final = 60.0
"""Longest time a caller may leave an answer unread."""
LINGER_SECONDS: Final = 2.0
"""After a refusal, how long what the caller still sends is thrown away so that it can read the refusal."""

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_BODY_STATUSES: Final = frozenset({204, 304})
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus} | {413: "Payload Too Large"}
_STATUS_LINES: Final = {status: b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES[status].encode()) for status in _PHRASES}


class Connections:
    """The open connections of a server, and what it allows them."""

    def __init__(self, handle: Handle, *, body_bytes_max: int, head_bytes_max: int = HEAD_BYTES_MAX) -> None:
        self.handle = handle
        self.body_bytes_max = body_bytes_max
        self.head_bytes_max = head_bytes_max
        self.open: set[HttpConnection] = set()
        self.emptied = asyncio.Event()
        self.emptied.set()

    def add(self, connection: HttpConnection) -> None:
        self.open.add(connection)
        self.emptied.clear()

    def remove(self, connection: HttpConnection) -> None:
        self.open.discard(connection)
        if not self.open:
            self.emptied.set()


class HttpConnection(asyncio.Protocol):
    """One caller's connection."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._handle = connections.handle
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._is_in_request = False
        self._is_in_head = False
        self._is_ending = False
        self._is_discarding = False
        self._is_writable = True
        self._is_reading = True
        self._fed_bytes = 0
        self._head_bytes = 0
        self._url = b""
        self._headers: dict[str, str] = {}
        self._header_lines: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []
        self._body_bytes = 0
        self._moved_at = self._loop.time()
        self._began_at = 0.0

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream transport, uvloop's or asyncio's
        self._connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The caller is gone: nobody waits any more, but what was handed over goes on."""
        self._connections.remove(self)
        self._is_discarding = True
        self._waiting.clear()
        if self._task is not None:
            # Not at once: a task that has not begun yet must still hand its request over.
            self._loop.call_soon(self._task.cancel)

    def eof_received(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        if self._is_discarding:
            return
        self._moved_at = self._loop.time()
        self._fed_bytes = len(data)
        self._feed(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self._connections.head_bytes_max:
                self._refuse(Response(431))

    def pause_writing(self) -> None:
        self._is_writable = False
        self._moved_at = self._loop.time()

    def resume_writing(self) -> None:
        self._is_writable = True
        self._begin_next()

    # From the parser

    def on_message_begin(self) -> None:
        self._is_in_request = self._is_in_head = True
        # The chunk being fed may be full of earlier requests; only what comes after it counts as head.
        self._head_bytes = -self._fed_bytes
        self._url = b""
        self._headers = {}
        self._header_lines = []
        self._chunks = []
        self._body_bytes = 0
        self._began_at = self._moved_at

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_in_head:
            return  # a trailer
        self._header_lines.append((name, value))
        key = name.decode("latin-1").lower()
        if key not in self._headers:
            self._headers[key] = value.decode("latin-1").rstrip(" \t")  # the parser only strips the front

    def on_headers_complete(self) -> None:
        if is_offer(self._parser):
            return
        self._is_in_head = False
        headers = self._headers
        if self._parser.should_upgrade():
            self._refuse(Response(405))  # CONNECT: what follows is no HTTP
        elif "content-length" in headers and int(headers["content-length"]) > self._connections.body_bytes_max:
            self._refuse(length_limit_exceeded())
        elif "expect" in headers and headers["expect"].lower() == "100-continue" and self._task is None:
            self._transport.write(_CONTINUE)

    def on_body(self, chunk: bytes) -> None:
        if self._is_discarding:
            return
        self._chunks.append(chunk)
        self._body_bytes += len(chunk)
        if self._body_bytes > self._connections.body_bytes_max:
            request = Request("POST", "", "", self._headers, b"")
            self._refuse(with_cors(request, body_too_large().response()))

    def on_message_complete(self) -> None:
        if is_offer(self._parser):
            return
        self._is_in_request = False
        if self._is_discarding or self._transport.is_closing():
            return
        target = _path_and_query(self._url)
        if target is None:
            self._refuse(Response(400))
            return
        chunks, parser = self._chunks, self._parser
        body = b"" if not chunks else chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks = []
        request = Request(parser.get_method().decode("latin-1"), target[0], target[1], self._headers, body)
        is_kept_alive = parser.should_keep_alive() and parser.get_http_version() == "1.1"
        if self._task is None and self._is_writable:
            self._task = self._loop.create_task(self._answer(request, is_kept_alive))
            return
        self._waiting.append((request, is_kept_alive))
        if len(self._waiting) >= PIPELINED_MAX and self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()

    # Answering

    async def _answer(self, request: Request, is_kept_alive: bool) -> None:
        response = await self._handle(request)
        self._task = None
        self._moved_at = self._loop.time()
        self._write(response, is_kept_alive=is_kept_alive and not self._is_ending, is_head=request.method == "HEAD")
        self._begin_next()

    def _write(self, response: Response, *, is_kept_alive: bool, is_head: bool = False) -> None:
        if self._transport.is_closing():
            return
        status, body = response.status, response.body
        line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
        tail = b"" if is_kept_alive else b"connection: close\r\n"
        if status in _NO_BODY_STATUSES:
            body = b""
        else:
            tail += b"content-length: %d\r\n" % len(body)
        if is_head:
            body = b""
        self._transport.write(b"%b%b%bdate: %b\r\n\r\n%b" % (line, response.head, tail, date(self._moved_at), body))
        if not is_kept_alive:
            self._waiting.clear()
            self._close()

    def _begin_next(self) -> None:
        """Answer the next pipelined request, if the caller reads what it got so far."""
        if not self._waiting or self._task is not None or not self._is_writable:
            return
        request, is_kept_alive = self._waiting.popleft()
        self._task = self._loop.create_task(self._answer(request, is_kept_alive))
        if not self._is_reading and len(self._waiting) < PIPELINED_MAX and not self._transport.is_closing():
            self._is_reading = True
            self._transport.resume_reading()

    def _refuse(self, response: Response) -> None:
        """Answer a request that is not read to its end, and close. One answered before it still gets its answer."""
        self._is_discarding = self._is_ending = True
        self._is_in_head = False
        self._chunks = []
        if self._task is None:
            self._write(response, is_kept_alive=False)

    def _close(self) -> None:
        """Close after what was written; while the caller is still sending, not so that it loses the answer."""
        transport = self._transport
        if not self._is_discarding:
            transport.close()
            return
        if transport.can_write_eof():
            transport.write_eof()
        self._loop.call_later(LINGER_SECONDS, transport.close)

    # From the server

    @property
    def is_idle(self) -> bool:
        return self._task is None and not self._waiting and not self._is_in_request

    def close_when_done(self) -> None:
        """Close now if nothing is under way, else with the answer to it."""
        self._is_ending = True
        if self.is_idle:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def check_timeouts(self, now: float) -> None:
        """Close what has not moved for too long. Waiting for a result has no limit."""
        unmoved_s = now - self._moved_at
        if not self._is_writable:
            if unmoved_s > WRITE_SECONDS_MAX:
                self._transport.abort()
        elif self._task is not None or self._is_discarding:
            return
        elif self._is_in_request:
            is_slow_head = self._is_in_head and now - self._began_at > READ_SECONDS_MAX
            if unmoved_s > READ_SECONDS_MAX or is_slow_head:
                self._refuse(Response(408))
        elif unmoved_s > IDLE_SECONDS_MAX:
            self._transport.close()

    # Parsing

    def _feed(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest and not self._is_discarding:
                rest = rest[self._feed_until_offer(rest) :]
        except httptools.HttpParserError:
            if not self._is_discarding:
                self._refuse(Response(400))

    def _feed_until_offer(self, data: memoryview) -> int:
        """How many bytes were read: all of them, or the head of a request that offers an upgrade."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._is_discarding:
                head = head_without_offer(self._parser, self._url, self._header_lines)
                self._parser = httptools.HttpRequestParser(self)
                self._parser.feed_data(head)
            return int(upgrade.args[0])
        return len(data)


class _Date:
    """The date header's value, made anew when a second has passed."""

    value: bytes = b""
    made_at: float = float("-inf")


def date(now: float) -> bytes:
    """now: an event loop's time, only used to see that a second has passed."""
    if not 0.0 <= now - _Date.made_at < 1.0:
        _Date.value = formatdate(usegmt=True).encode()
        _Date.made_at = now
    return _Date.value


def _path_and_query(url: bytes) -> tuple[str, str] | None:
    """Path and query of a request target, or None when it is not UTF-8."""
    if not url.startswith(b"/"):
        url = _origin_form(url)
    path, _, query = url.partition(b"#")[0].partition(b"?")
    try:
        return path.decode(), query.decode()
    except UnicodeDecodeError:
        return None


def _origin_form(url: bytes) -> bytes:
    """`http://host/path?query` without its head; `*` stays as it is."""
    _, separator, rest = url.partition(b"://")
    if not separator:
        return url
    _, slash, path = rest.partition(b"/")
    return slash + path if slash else b"/"
