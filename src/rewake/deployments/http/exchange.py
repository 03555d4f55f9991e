"""One request and its answer, whatever carries them: the RequestStream of an attempt, or a discovery.

An Exchange keeps what the engine writes until its carrier takes it: a pool while the request waits for a connection,
then that connection. The answer goes to its responder, which is a FramedAttempt or a Collector. Neither side blocks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from rewake.core.model import Blame

MANIFEST_BYTES_MAX: Final = 8 * 1024 * 1024
"""Largest answer to discovery: what is longer is cut off there, and not asked for again."""


ANSWER_HEAD_BYTES_MAX: Final = 64 * 1024
"""An answer over HTTP/1.1 may bring so many bytes that are no body: a head, those before it, trailers, chunk sizes."""


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and clocks of one deployment's connections; the defaults are the server's (service-protocol.md 1.2).

    requests_per_connection_max: then a connection is replaced. Servers count as well (hypercorn and nginx allow 1,000),
    and hypercorn goes silent on every open stream when its count is up, so ours has to be reached first.
    drain_timeout_s: how long an SDK may take to end its response after the last message.
    head_timeout_s: how long the head of an answer over HTTP/1.1 may take from its first byte to its last. The
    invocation's own timeouts bound how long a handler works before that byte.
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
    """Who hears the answer. After on_end or on_error nothing follows."""

    def on_head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None: ...

    def on_data(self, chunk: bytes) -> None: ...

    def on_end(self) -> None: ...

    def on_error(self, message: str, *, blame: Blame = Blame.OWN) -> None: ...


class Carrier(Protocol):
    """Who has the exchange at the moment. Never calls the responder from within these."""

    def on_written(self, exchange: Exchange) -> None:
        """There is more to send, or the request has ended."""

    def on_finished(self, exchange: Exchange) -> None:
        """As on_written, and the answer's end is all that is still waited for."""

    def on_reset(self, exchange: Exchange) -> None:
        """The exchange is given up."""


class _Nobody:
    """Carrier of an exchange that has not been submitted."""

    def on_written(self, exchange: Exchange) -> None:
        """Kept by the exchange."""

    on_finished = on_written
    on_reset = on_written


_NOBODY: Final = _Nobody()


class Exchange:
    """One request with its body still growing. `headers` are complete but for those of the connection.

    has_sent_start: something of the body is sent.
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
        """The next bytes of the body, at most `limit`; everything written since the last call comes as one."""
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
        """Undo the take that gave the whole body."""
        if data:
            self._parts.insert(0, data)

    @property
    def has_data(self) -> bool:
        """Whether body bytes wait to be sent."""
        return bool(self._parts) or self._offset < len(self._buffer)


class AnswerTooLarge(Exception):
    """An answer is over MANIFEST_BYTES_MAX."""


class Collector:
    """Responder that gathers an answer: (status, headers, body). Fails with ConnectionError or AnswerTooLarge."""

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
        """Whether the answer came to its end, so that nothing of it is still under way."""
        return self.answer.done() and not self.answer.cancelled() and self.answer.exception() is None

    def on_end(self) -> None:
        if not self.answer.done():
            self.answer.set_result((self._status, self._headers, bytes(self._body)))

    def on_error(self, message: str, *, blame: Blame = Blame.OWN) -> None:
        if not self.answer.done():
            self.answer.set_exception(ConnectionError(message))
