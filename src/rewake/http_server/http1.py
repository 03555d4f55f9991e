"""One HTTP/1.1 connection, on httptools' parser (llhttp): each request goes to an ASGI app, in a task of its own.

Pipelined requests are answered one after the other, in order. A doubtful request is refused and the connection closed.
Limits hold for heads, trailers, waiting requests and time. server.py owns the connections.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import httptools
import structlog

from rewake.http_server.answer import AnswerError, Http1Answer, refusal
from rewake.http_server.connection import Connection, Site
from rewake.http_server.exchange import CANCELS, PATIENT, TAKES, WHOLE
from rewake.http_server.half_closed import HalfClosed
from rewake.http_server.http1_exchange import Http1Exchange
from rewake.http_server.limits import LINGER_BYTES_MAX, LINGER_SECONDS, PIPELINED_MAX, UNREAD_BYTES_MAX
from rewake.http_server.upgrade import head_without_offer, is_offer

READ_BYTES: Final = 16 * 1024
"""Bytes that are parsed at once. Requests within one such piece may exceed PIPELINED_MAX."""

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_VERSIONS: Final = frozenset({"1.0", "1.1"})
_ASGI: Final = {"version": "3.0", "spec_version": "2.4"}

log = structlog.get_logger("rewake.http")


class Http1ServerConnection(Connection):
    """The connection. _exchanges: the request that is being answered, then those that wait."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._peers: dict[str, Any] = {}
        self._extensions: dict[str, Any] = {}
        self._parser: Any = httptools.HttpRequestParser(self)
        self._exchanges: deque[Http1Exchange] = deque()
        self._incoming: Http1Exchange | None = None
        self._held = b""
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._is_in_head = self._is_in_request = False
        self._expects_leave = self._is_patient = self._is_offer = False
        self._host_count = 0
        self._began_at = 0.0
        self._body_bytes = 0
        self._quiet_bytes = 0
        self._is_leaving = False
        self._is_read_paused = False
        self._is_flush_due = False
        self._left_bytes = LINGER_BYTES_MAX
        self._half_closed: HalfClosed | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        info = transport.get_extra_info
        self._peers = {
            "client": _address(info("peername")),
            "server": _address(info("sockname")),
            "scheme": "http" if info("sslcontext") is None else "https",
        }
        self._extensions = {PATIENT: self._be_patient} | ({CANCELS: {}} if self.site.cancels else {})

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._half_closed is not None:
            self._half_closed.stop()
        self._lose_exchanges()

    def eof_received(self) -> bool:
        """Whether to stay open for an answer that has yet to begin. TLS has no half-closed connections in asyncio.

        A reader of a stream that has begun has left: nobody ends a side in the middle of it, and it may be silent.
        """
        is_tls = self._peers["scheme"] == "https"
        if is_tls or self._is_deaf or self._is_in_request or not self.site.answers_half_closed:
            return False
        if not self._exchanges or self._exchanges[0].answer.is_begun:
            return False
        self._exchanges[-1].answer.keeps_alive = False
        self._half_closed = HalfClosed(self._loop, self._touch)
        return True

    def _touch(self) -> None:
        """Send what a caller that still listens passes over."""
        exchange = self._exchanges[0] if self._exchanges else None
        if exchange is None or self._is_write_paused or self._transport.is_closing():
            return
        if exchange.version == "1.1" and not exchange.answer.is_begun:
            self.moved_at = self._loop.time()
            self._transport.write(_CONTINUE)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            self._throw_away(len(data))
            return
        self.moved_at = self._loop.time()
        if self._held:
            self._held += data  # bytes that the transport read before it was paused
        else:
            self._read(data)
        self._set_reading()

    def resume_writing(self) -> None:
        self._is_write_paused = False
        self.moved_at = self._loop.time()
        self._flush()
        self._begin_next()

    # httptools

    def on_message_begin(self) -> None:
        self._is_in_request = self._is_in_head = True
        self._expects_leave = self._is_patient = False
        self._host_count = 0
        self._target, self._headers = b"", []
        self._body_bytes = 0
        self._began_at = self.moved_at

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_in_head:
            return  # A trailer must not count as a header: a proxy in front may have checked the headers alone.
        name = name.lower()
        self._headers.append((name, value.rstrip(b" \t")))  # the parser strips only the front
        if name == b"host":
            self._host_count += 1
        elif name == b"expect" and value.lower() == b"100-continue":
            self._expects_leave = True

    def on_headers_complete(self) -> None:
        parser = self._parser
        self._is_offer = is_offer(parser)
        if self._is_offer or self._is_deaf:
            return
        self._is_in_head = False
        version = parser.get_http_version()
        scope = self._scope(version)
        if parser.should_upgrade():
            self._refuse(405)  # CONNECT: the bytes behind it are not HTTP
        elif version not in _VERSIONS:
            self._refuse(505)
        elif scope is None or self._host_count > 1:
            self._refuse(400)
        elif self._quiet_bytes > self.site.limits.head_bytes_max:
            self._refuse(431)
        else:
            keeps_alive = version == "1.1" and not self._is_leaving and parser.should_keep_alive()
            is_head_only = scope["method"] == "HEAD"
            answer = Http1Answer(is_head_only=is_head_only, knows_chunks=version == "1.1", keeps_alive=keeps_alive)
            incoming = self._incoming = Http1Exchange(self, scope, answer)
            scope["extensions"] = {**self._extensions, TAKES: incoming.hand_over, WHOLE: incoming.answer_whole}
            self._exchanges.append(incoming)
            self._begin_next()

    def on_body(self, body: bytes) -> None:
        self._quiet_bytes = 0
        self._body_bytes += len(body)
        if self._incoming is not None:
            self._incoming.feed(body)

    def on_message_complete(self) -> None:
        if self._is_offer:
            return
        self._quiet_bytes = 0
        self._is_in_request = False
        if self._incoming is not None:
            self._incoming.finish_request()
            self._incoming = None

    def _be_patient(self) -> None:
        self._is_patient = True

    # Http1Exchange

    def on_wanted(self, exchange: Http1Exchange) -> None:
        if self._expects_leave and exchange is self._incoming and not exchange.answer.is_begun and not self._is_deaf:
            self._expects_leave = False
            self._transport.write(_CONTINUE)

    def on_consumed(self) -> None:
        if self._is_read_paused:
            self._set_reading()

    def on_unsent(self, exchange: Http1Exchange) -> None:
        if exchange.is_ended:
            self._flush()
        elif not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush_later)

    # server.py

    @property
    def exchange_count(self) -> int:
        return len(self._exchanges)

    @property
    def is_idle(self) -> bool:
        return not self._exchanges and not self._is_in_request and not self._is_write_paused

    def leave(self) -> None:
        self._is_leaving = True
        if self._exchanges:
            self._exchanges[-1].answer.keeps_alive = False
        elif not self._is_in_request or self._is_deaf:
            self._transport.close()

    def cut(self) -> None:
        for exchange in self._exchanges:
            if exchange.task is not None:
                exchange.task.cancel()
        self._transport.abort()

    def check(self, now: float) -> None:
        limits = self.site.limits
        if self._is_write_paused:
            self._check_writing(now)
        elif self._is_deaf:
            return
        elif self._is_read_paused:
            self.moved_at = self._began_at = now  # The app was slow, not the caller.
        elif self._is_in_request and not self._is_patient:
            late_at = self._began_at + limits.read_s + self._body_bytes / limits.bytes_per_second_min
            if now > late_at or now - self.moved_at > limits.read_s:
                self._refuse(408)
        elif self._half_closed is not None:
            if now - self.moved_at > limits.read_s:
                self._transport.abort()  # Whether it still listens cannot be seen.
        elif not self._exchanges and now - self.moved_at > limits.idle_s:
            self._transport.close()

    # Reading

    def _read(self, data: bytes) -> None:
        """Parse bytes piece by piece until enough requests wait."""
        read_bytes = self._feed(data) if len(data) <= READ_BYTES else 0
        if read_bytes == len(data):
            return
        rest = memoryview(data)[read_bytes:]
        while rest and not self._is_deaf:
            if len(self._exchanges) > PIPELINED_MAX:
                self._held = bytes(rest)
                return
            rest = rest[self._feed(rest[:READ_BYTES]) :]

    def _feed(self, data: bytes | memoryview) -> int:
        """Parse bytes and return how many were read: all, or up to the end of a head that offers an upgrade."""
        self._quiet_bytes += len(data)
        read_bytes = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._is_deaf:
                read_bytes = upgrade.args[0]
                self._quiet_bytes -= len(data) - read_bytes
                self._read_without_offer()
        except httptools.HttpParserError:
            self._refuse(400)
        if self._quiet_bytes > self.site.limits.head_bytes_max:
            self._refuse(431)
        return read_bytes

    def _read_without_offer(self) -> None:
        head = head_without_offer(self._parser, self._target, self._headers)
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserError:
            self._refuse(400)

    def _set_reading(self) -> None:
        """Pause or resume reading, by the bytes and requests that still wait."""
        is_paused = (
            self._held != b""
            or len(self._exchanges) > 1
            or (self._incoming is not None and self._incoming.unread_bytes > UNREAD_BYTES_MAX)
        )
        if is_paused != self._is_read_paused and not self._transport.is_closing():
            self._is_read_paused = is_paused
            if is_paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _refuse(self, status: int) -> None:
        """Refuse a request and stop reading. Earlier requests are still answered; then the connection closes."""
        if self._is_deaf:
            return
        self._is_deaf = True
        self._held = b""
        broken, self._incoming = self._incoming, None
        if broken is not None:
            self._exchanges.remove(broken)
            self._give_up(broken)
        if self._exchanges:
            self._exchanges[-1].answer.keeps_alive = False
            return
        if broken is None or not broken.answer.is_begun:
            self._transport.write(refusal(status, self._loop.time()))
        self._close()

    def _throw_away(self, size: int) -> None:
        self._left_bytes -= size
        if self._left_bytes < 0:
            self._transport.abort()

    # Answering

    def _scope(self, version: str) -> dict[str, Any] | None:
        """The ASGI scope of the request whose head has arrived; None if its target is not valid."""
        raw_path, _, query = self._target.partition(b"#")[0].partition(b"?")
        headers = self._headers
        if not raw_path.startswith(b"/"):
            authority, raw_path = _origin_form(raw_path)
            if authority:
                headers = [(b"host", authority), *(header for header in headers if header[0] != b"host")]
        try:
            path = (unquote_to_bytes(raw_path) if b"%" in raw_path else raw_path).decode(errors="replace")
            self._target.decode()
        except UnicodeDecodeError:
            return None
        return {
            **self._peers,
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": self._parser.get_method().decode("ascii"),
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
        }

    def _begin_next(self) -> None:
        """Start the next request's app, if the caller reads the earlier answers."""
        if self._exchanges and not self._is_write_paused:
            exchange = self._exchanges[0]
            if exchange.task is None:
                exchange.task = self._loop.create_task(self._run(exchange, exchange.take_scope()))

    async def _run(self, exchange: Http1Exchange, scope: dict[str, Any]) -> None:
        try:
            await self.site.app(scope, exchange.receive, exchange.send)
        except Exception as error:  # noqa: BLE001 - whatever the app raises
            if not exchange.is_gone:
                log.warning("request_broke", path=exchange.path, reason=describe(error))
        if exchange.is_gone or exchange.is_ended:
            return
        if exchange.answer.is_begun:
            self._transport.abort()  # The client must not take an unfinished answer for a whole one.
        else:
            self._transport.write(refusal(500, self._loop.time()))
            self._close()
        self._lose_exchanges()

    def _flush_later(self) -> None:
        self._is_flush_due = False
        self._flush()

    def _flush(self) -> None:
        """Write the app's bytes, unless the caller still has to read earlier ones."""
        exchange = self._exchanges[0] if self._exchanges else None
        if exchange is None or not exchange.answer.has_head or self._is_write_paused or self._transport.is_closing():
            return
        answer, is_last = exchange.answer, exchange.is_ended
        if is_last and not exchange.is_request_over:
            answer.keeps_alive = False  # The rest of the request would have to be read to its end.
        now = self._loop.time()
        try:
            self._transport.write(answer.encode(exchange.take(), is_last=is_last, now=now))
        except AnswerError as error:
            log.warning("request_broke", path=exchange.path, reason=describe(error))
            self._transport.abort()
            return
        self.moved_at = now
        if is_last:
            self._end(exchange)

    def _end(self, exchange: Http1Exchange) -> None:
        self._exchanges.popleft()
        if not exchange.answer.keeps_alive:
            self._incoming = None
            self._lose_exchanges()
            self._close()
            return
        self._begin_next()
        if self._held and len(self._exchanges) <= PIPELINED_MAX:
            held, self._held = self._held, b""
            self._read(held)
        if self._is_read_paused:
            self._set_reading()

    def _close(self) -> None:
        """Close when all is written. If the caller is still sending, linger, so that it does not lose the answer."""
        is_sending = self._is_deaf or self._is_in_request
        self._is_deaf = True
        if not is_sending:
            self._transport.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        if self._is_read_paused and not self._transport.is_closing():
            self._is_read_paused = False
            self._transport.resume_reading()
        self._left_bytes = LINGER_BYTES_MAX
        self._loop.call_later(LINGER_SECONDS, self._transport.close)

    def _give_up(self, exchange: Http1Exchange) -> None:
        """Let the app of an exchange know that its caller has left."""
        exchange.lose()
        if self.site.cancels and exchange.task is not None:
            # Not at once: a task that has not begun yet must still pass its request on.
            self._loop.call_soon(exchange.task.cancel)

    def _lose_exchanges(self) -> None:
        exchanges, self._exchanges = self._exchanges, deque()
        self._held, self._incoming = b"", None
        for exchange in exchanges:
            self._give_up(exchange)


def describe(error: BaseException) -> str:
    """An app's exception, on one line for the log."""
    return "".join(traceback.format_exception_only(error)).strip()


def _origin_form(target: bytes) -> tuple[bytes, bytes]:
    """Authority and path of `http://host/path`; `*` counts as a path without an authority."""
    _, separator, rest = target.partition(b"://")
    if not separator:
        return b"", target
    authority, slash, path = rest.partition(b"/")
    return authority, slash + path if slash else b"/"


def _address(name: Any) -> tuple[str, int] | None:
    """Host and port of a socket's address; None if it has neither."""
    return (str(name[0]), int(name[1])) if isinstance(name, (tuple, list)) else None
