"""One request and its answer, over any version of HTTP: for an attempt (as its RequestStream) or a discovery.

It keeps the engine's bytes until its carrier takes them. The carrier is the pool, while the request waits for a
connection, and then the connection. The answer goes to its responder, a FramedAttempt or a Collector. Neither blocks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from rewake.core.model import Blame

MANIFEST_BYTES_MAX: Final = 8 * 1024 * 1024
"""Largest answer to discovery. A longer one is cut, and not requested again."""


ANSWER_HEAD_BYTES_MAX: Final = 64 * 1024
"""Bytes outside the body in an answer over HTTP/1.1: its head, heads of 1xx answers, trailers, chunk sizes."""


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and clocks of one deployment's connections; the defaults are the server's (service-protocol.md 1.2).

    requests_per_connection_max: after so many a connection is replaced. Servers count, too (hypercorn and nginx allow
    1,000). At its limit hypercorn stops sending on every open stream, so ours must be lower.
    drain_timeout_s: time for an SDK to end its response after the last message.
    head_timeout_s: time for the head of an answer over HTTP/1.1, from its first byte to its last. The invocation's own
    timeouts limit the time before that byte.
    """

    connect_timeout_s: float = 10.0
    ping_interval_s: float = 40.0
    ping_timeout_s: float = 20.0
    idle_timeout_s: float = 300.0
    drain_timeout_s: float = 5.0
    head_timeout_s: float = 60.0
    streams_per_connection_max: int = 128
    requests_per_connection_max: int = 1_000
    connections_max: int = 64
    http1_connections_max: int = 256
    stream_window_bytes: int = 2 * 1024 * 1024
    connection_window_bytes: int = 5 * 1024 * 1024


class Responder(Protocol):
    """Gets the answer. After on_end or on_error there is no further call."""

    def on_head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None: ...

    def on_data(self, chunk: bytes) -> None: ...

    def on_end(self) -> None: ...

    def on_error(self, message: str, *, blame: Blame = Blame.OWN) -> None: ...


class Carrier(Protocol):
    """The current owner of an exchange. It never calls the responder from within these methods."""

    def on_written(self, exchange: ClientExchange) -> None:
        """Bytes wait to be sent, or the request has ended."""

    def on_finished(self, exchange: ClientExchange) -> None:
        """Like on_written; in addition, only the end of the answer is still expected."""

    def on_reset(self, exchange: ClientExchange) -> None:
        """The exchange is aborted."""


class _Nobody:
    """The carrier of an exchange before its submission."""

    def on_written(self, exchange: ClientExchange) -> None:
        """Nothing to do: the exchange keeps the bytes."""

    on_finished = on_written
    on_reset = on_written


_NOBODY: Final = _Nobody()


class ClientExchange:
    """One request whose body still grows. headers: complete, except those of the connection.

    has_sent_start: the first part of the body is sent.
    """

    __slots__ = (
        "_buffer",
        "_offset",
        "_parts",
        "carrier",
        "has_sent_end",
        "has_sent_start",
        "headers",
        "is_ended",
        "is_marked",
        "is_reset",
        "method",
        "responder",
        "stream_id",
        "target",
    )

    def __init__(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.responder: Responder
        self.carrier: Carrier = _NOBODY
        self.stream_id = 0
        self.is_ended = False
        self.is_reset = False
        self.is_marked = False
        self.has_sent_start = False
        self.has_sent_end = False
        self._parts: list[bytes] = []
        self._buffer = b""
        self._offset = 0

    # RequestStream, the engine's side

    def write(self, data: bytes) -> None:
        if data and not (self.is_ended or self.is_reset):
            self._parts.append(data)
            self.carrier.on_written(self)

    def end(self) -> None:
        if not (self.is_ended or self.is_reset):
            self.is_ended = True
            self.carrier.on_written(self)

    def finish(self) -> None:
        if not self.is_reset:
            self.is_ended = True
            self.carrier.on_finished(self)

    def reset(self) -> None:
        if not self.is_reset:
            self.is_reset = True
            self._parts.clear()
            self._buffer = b""
            self._offset = 0
            self.carrier.on_reset(self)

    # The carrier's side

    def take(self, limit: int) -> bytes:
        """The next bytes of the body, at most `limit`; all bytes since the last call are joined."""
        if self._parts:
            self._buffer = b"".join([self._buffer[self._offset :], *self._parts])
            self._offset = 0
            self._parts.clear()
        start = self._offset
        data = self._buffer[start : start + limit] if start or len(self._buffer) > limit else self._buffer
        self._offset = start + len(data)
        if self._offset == len(self._buffer):
            self._buffer = b""
            self._offset = 0
        return data

    def put_back(self, data: bytes) -> None:
        """Undo a `take` of the whole body."""
        if data:
            self._parts.insert(0, data)

    @property
    def has_data(self) -> bool:
        """Whether bytes of the body wait to be sent."""
        return bool(self._parts) or self._offset < len(self._buffer)


class AnswerTooLarge(Exception):
    """An answer is longer than MANIFEST_BYTES_MAX."""


class Collector:
    """Responder that collects an answer: (status, headers, body). Fails with ConnectionError or AnswerTooLarge."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[tuple[int, dict[str, str], bytes]] = asyncio.get_running_loop().create_future()
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    def on_head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._status = status
        self._headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}

    def on_data(self, chunk: bytes) -> None:
        if self.answer.done():
            return
        self._body += chunk
        if len(self._body) > MANIFEST_BYTES_MAX:
            self._body.clear()
            self.answer.set_exception(AnswerTooLarge(f"Its answer is larger than {MANIFEST_BYTES_MAX} bytes."))

    @property
    def is_whole(self) -> bool:
        """Whether the answer has arrived completely."""
        return self.answer.done() and not self.answer.cancelled() and self.answer.exception() is None

    def on_end(self) -> None:
        if not self.answer.done():
            self.answer.set_result((self._status, self._headers, bytes(self._body)))

    def on_error(self, message: str, *, blame: Blame = Blame.OWN) -> None:
        if not self.answer.done():
            self.answer.set_exception(ConnectionError(message))
