"""Http1Answer: an ASGI app's events become bytes of HTTP/1.1. Only this file decides the framing of a body.

An app may give the length. Otherwise a body that comes as one piece gets its length, and any other body is chunked. For
HTTP/1.0 the end of the connection ends such a body.
"""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

STATUS_MIN, STATUS_MAX = 200, 999

_FRAMING: Final = frozenset(
    {b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"upgrade", b"date"}
)
_BODILESS: Final = frozenset({204, 304})
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus} | {413: "Payload Too Large"}
_STATUS_LINES: Final = {status: b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES[status].encode()) for status in _PHRASES}


class AnswerError(Exception):
    """The app sent events that make no valid answer."""


class Http1Answer:
    """One answer. is_begun: its head has been encoded.   keeps_alive: another request may follow on the connection."""

    __slots__ = (
        "_is_chunked",
        "_is_head_only",
        "_knows_chunks",
        "_left_bytes",
        "_lines",
        "_status",
        "is_begun",
        "keeps_alive",
    )

    def __init__(self, *, is_head_only: bool, knows_chunks: bool, keeps_alive: bool) -> None:
        self.is_begun = False
        self.keeps_alive = keeps_alive
        self._is_head_only = is_head_only
        self._knows_chunks = knows_chunks
        self._is_chunked = False
        self._left_bytes: int | None = None
        self._status = 0
        self._lines = b""

    @property
    def has_head(self) -> bool:
        return self._status != 0

    def begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Take the head. Raises AnswerError if a client would read it as another head."""
        if not STATUS_MIN <= status <= STATUS_MAX:
            raise AnswerError(f"{status} is no status of an answer")
        if self.has_head:
            raise AnswerError("the head came twice")
        lines = []
        for name, value in headers:
            name = name.lower()
            if name not in _FRAMING:
                lines.append(b"%b: %b\r\n" % (name, value))
            elif name == b"content-length" and value.isdigit():
                self._left_bytes = int(value)
            elif name == b"connection" and value.lower() == b"close":
                self.keeps_alive = False
        self._lines = b"".join(lines)
        if not self._lines.count(b"\r") == self._lines.count(b"\n") == len(lines) or b"\0" in self._lines:
            raise AnswerError(f"a header has a line break: {headers!r}")
        self._status = status

    def encode(self, body: bytes, *, is_last: bool, now: float) -> bytes:
        """The next bytes; the first ones begin with the head. Raises AnswerError if the body's length is wrong.

        now: the event loop's time.
        """
        head = b""
        if not self.is_begun:
            head = self._head(len(body), is_last=is_last, now=now)
            self.is_begun = True
        if self._is_head_only or self._status in _BODILESS:
            return head
        if self._is_chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return b"%b%b%b" % (head, chunk, b"0\r\n\r\n" if is_last else b"")
        if self._left_bytes is not None:
            self._left_bytes -= len(body)
            if self._left_bytes < 0 or (is_last and self._left_bytes):
                raise AnswerError(f"the body differs from its content-length by {-self._left_bytes} bytes")
        return head + body

    def _head(self, size: int, *, is_last: bool, now: float) -> bytes:
        if is_last and not (self._is_head_only and self._left_bytes is not None):
            self._left_bytes = size
        framing = b""
        if self._status == 204:
            self._left_bytes = None
        elif self._left_bytes is not None and (self._status != 304 or self._left_bytes):
            framing = b"content-length: %d\r\n" % self._left_bytes
        elif self._status != 304:
            self._is_chunked = self._knows_chunks
            self.keeps_alive = self.keeps_alive and self._is_chunked
            framing = b"transfer-encoding: chunked\r\n" if self._is_chunked else b""
        line = _STATUS_LINES.get(self._status) or b"HTTP/1.1 %d \r\n" % self._status
        close = b"" if self.keeps_alive else b"connection: close\r\n"
        return b"%b%b%b%bdate: %b\r\n\r\n" % (line, self._lines, close, framing, date(now))


def refusal(status: int, now: float) -> bytes:
    """A whole answer by the server itself, which then closes the connection."""
    answer = Http1Answer(is_head_only=False, knows_chunks=True, keeps_alive=False)
    answer.begin(status, [])
    return answer.encode(b"", is_last=True, now=now)


class _Date:
    """The date header's value, computed once a second."""

    value: bytes = b""
    made_at: float = float("-inf")


def date(now: float) -> bytes:
    """The date header's value. now: the event loop's time, used only to notice that a second has passed."""
    if not 0.0 <= now - _Date.made_at < 1.0:
        _Date.value = formatdate(usegmt=True).encode()
        _Date.made_at = now
    return _Date.value
