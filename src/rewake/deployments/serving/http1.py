"""One HTTP/1.1 connection: one request at a time, each in a task of the ASGI app.

For health checks, and for servers that register with request and response: an attempt gets its whole journal at once
and cannot be told more, which is the SDK's business. Connection hands over what does not begin as HTTP/2 does.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

import httptools
import structlog

from rewake.deployments.asgi import REQUEST_SCOPE
from rewake.deployments.serving.app_connection import AppConnection
from rewake.deployments.serving.stream import App, Stream, describe_failure
from rewake.http_server.upgrade import head_without_offer, is_offer

HEAD_BYTES_MAX: Final = 65_536
UNREAD_BYTES_MAX: Final = 1024 * 1024
"""Bytes of a request the app has not taken, above which we read no more of it."""

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_LENGTH_HEADERS: Final = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"upgrade"})
"""Headers about the framing of the answer, which is ours to choose."""

_PHRASES: Final[dict[int, bytes]] = {status.value: status.phrase.encode() for status in HTTPStatus}
_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})

log = structlog.get_logger("rewake.deployments")


class Http1Connection(AppConnection):
    """The connection. on_empty is called when a request is over, and when it is lost."""

    def __init__(
        self, app: App, on_made: Callable[[AppConnection], None], on_empty: Callable[[AppConnection], None]
    ) -> None:
        super().__init__(app, on_made, on_empty)
        self._parser = httptools.HttpRequestParser(self)
        self._request_count = 0
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._is_in_head = False
        self._may_be_in_trailers = False
        self._unread_bytes = 0
        self._answer = _Answer(b"GET", "1.1")
        self._keeps_alive = True
        self._is_deaf = False

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        may_be_in_trailers = self._may_be_in_trailers
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_without_offer(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            log.warning("connection_broken", reason=str(error))
            self._refuse(HTTPStatus.BAD_REQUEST)
        if self._is_in_head or (may_be_in_trailers and self._may_be_in_trailers):
            self._head_bytes += len(data)
            self._check_head()

    def resume_writing(self) -> None:
        self._is_paused = False
        self._flush()

    # server.py

    def leave(self) -> None:
        """Take no other request, and close after the answer."""
        self._keeps_alive = False
        if not self.streams:
            self._transport.close()

    def cut(self) -> None:
        """Give up what is still under way."""
        self._lose_streams()
        self._transport.abort()

    # httptools

    def on_message_begin(self) -> None:
        self._target, self._headers = b"", []
        self._is_in_head, self._head_bytes = True, 0
        self._may_be_in_trailers = False
        if self.streams:  # Asked before it was answered: the rest of the connection is not worth a queue.
            self._is_deaf = True
            self._keeps_alive = False

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # A trailer has no place in an ASGI scope.
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._parser.get_method() == b"CONNECT":
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED)
        if self._is_deaf or is_offer(self._parser):
            return
        self._is_in_head = False
        self._head_bytes = sum(len(name) + len(value) for name, value in self._headers)
        self._check_head()
        if self._is_deaf:
            return
        self._keeps_alive = self._keeps_alive and self._parser.should_keep_alive()
        method, version = self._parser.get_method(), self._parser.get_http_version()
        self._answer = _Answer(method, version)
        self._request_count += 1
        stream = self.streams[self._request_count] = Stream(self, self._request_count)
        if (b"expect", b"100-continue") in self._headers:
            self._transport.write(_CONTINUE)
        scope = _scope(method, self._target, version, self._headers)
        stream.task = self._loop.create_task(self._app(scope, stream.receive, stream.send))
        stream.task.add_done_callback(lambda task: self._on_task_done(stream, task))

    def on_chunk_header(self) -> None:
        self._may_be_in_trailers = True  # of the last chunk, unless a body follows

    def on_body(self, body: bytes) -> None:
        self._may_be_in_trailers = False
        stream = self.streams.get(self._request_count)
        if stream is None or self._is_deaf:
            return
        self._unread_bytes += len(body)
        if self._unread_bytes > UNREAD_BYTES_MAX:
            self._transport.pause_reading()
        stream.feed(body)

    def on_message_complete(self) -> None:
        self._may_be_in_trailers = False
        stream = self.streams.get(self._request_count)
        if stream is None or self._is_deaf:
            return
        stream.finish_request()

    # Stream

    def on_head(self, stream: Stream, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        stream.has_sent_head = True
        self._answer.status, self._answer.headers = status, headers

    def on_unsent(self, stream: Stream, *, is_urgent: bool) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def on_consumed(self, stream: Stream, size: int) -> None:
        is_over = self._unread_bytes > UNREAD_BYTES_MAX
        self._unread_bytes -= size
        if is_over and self._unread_bytes <= UNREAD_BYTES_MAX:
            self._transport.resume_reading()

    # Helpers

    def _read_without_offer(self, rest: bytes) -> None:
        if self._is_deaf:
            return
        head = head_without_offer(self._parser, self._target, self._headers)
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)

    def _flush(self) -> None:
        self._is_flush_due = False
        stream = self.streams.get(self._request_count)
        if stream is None or self._is_paused or not stream.has_sent_head:
            return
        body = stream.take(sys.maxsize)
        # What is left of a request nobody waits for would be taken for the next one.
        self._keeps_alive = self._keeps_alive and (stream.is_request_over or not stream.is_ended)
        self._transport.write(self._answer.encode(body, is_last=stream.is_ended, keeps_alive=self._keeps_alive))
        if stream.is_ended:
            self._end(stream)

    def _end(self, stream: Stream) -> None:
        del self.streams[stream.id]
        self._unread_bytes = 0
        if not self._keeps_alive or not self._answer.is_delimited:
            self._is_deaf = True
            self._transport.close()
        self._on_empty(self)

    def _check_head(self) -> None:
        if self._head_bytes > HEAD_BYTES_MAX and not self._is_deaf:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _on_task_done(self, stream: Stream, task: asyncio.Task[None]) -> None:
        """The app returned or raised; an answer it has not ended cannot be used."""
        if (reason := describe_failure(task)) is not None:
            log.warning("attempt_broke", stream=stream.id, reason=reason)
        if stream.is_ended or stream.id not in self.streams:
            return
        if self._answer.is_begun:
            self.cut()
        else:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer with a status of our own, and hang up."""
        self._is_deaf = True
        if not self._answer.is_begun or not self.streams:
            answer = _Answer(b"GET", "1.1")
            answer.status, answer.headers = status, [(b"content-type", b"text/plain")]
            self._transport.write(answer.encode(f"{status.phrase}\n".encode(), is_last=True, keeps_alive=False))
        self._lose_streams()
        self._transport.close()


class _Answer:
    """The bytes of one answer. is_delimited: its end is told by more than the end of the connection."""

    def __init__(self, method: bytes, http_version: str) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_begun = False
        self.is_delimited = True
        self._is_chunked = False
        self._is_head_only = method == b"HEAD"
        self._knows_chunks = http_version == "1.1"

    def encode(self, body: bytes, *, is_last: bool, keeps_alive: bool) -> bytes:
        """The next part, with the head before the first."""
        parts = []
        if not self.is_begun:
            parts.append(self._head(len(body) if is_last else None, keeps_alive=keeps_alive))
            self.is_begun = True
        if self._is_head_only or self.status in _BODILESS:
            return b"".join(parts)
        if not self._is_chunked:
            parts.append(body)
        else:
            if body:
                parts.append(b"%x\r\n%b\r\n" % (len(body), body))
            if is_last:
                parts.append(b"0\r\n\r\n")
        return b"".join(parts)

    def _head(self, size: int | None, *, keeps_alive: bool) -> bytes:
        self._is_chunked = size is None and self._knows_chunks
        self.is_delimited = size is not None or self._is_chunked
        lines = [b"HTTP/1.1 %d %b" % (self.status, _PHRASES.get(self.status, b""))]
        lines += [b"%b: %b" % header for header in self.headers if header[0].lower() not in _LENGTH_HEADERS]
        if self._is_chunked:
            lines.append(b"transfer-encoding: chunked")
        elif size is not None and self.status not in _BODILESS:
            lines.append(b"content-length: %d" % size)
        lines.append(b"connection: keep-alive" if keeps_alive and self.is_delimited else b"connection: close")
        return b"\r\n".join(lines) + b"\r\n\r\n"


def _scope(method: bytes, target: bytes, version: str, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """The ASGI scope of a request."""
    url = httptools.parse_url(target)
    raw_path = url.path or b"/"
    return REQUEST_SCOPE | {
        "http_version": version,
        "method": method.decode("latin-1"),
        "path": unquote(raw_path.decode("latin-1")),
        "raw_path": raw_path,
        "query_string": url.query or b"",
        "headers": headers,
    }
