"""Live pieces of an answer, from the body of a step to the watchers of the run.

A body calls `put_delta` for each event. The engine says in a header of the attempt (`x-rewake-stream`) where they go:
to its port, in one request for each try of a step; in its own process straight to it; in one of its workers over the
worker's socket. Nothing durable depends on them: they are never awaited, and dropped if nobody takes them or more than
BUFFER_BYTES_MAX wait. A try that fails cuts its request, so the engine makes its text void. Without the header they go
nowhere.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import ssl
import threading
from collections.abc import Sequence
from typing import Any, Final, cast
from urllib.parse import urlsplit

from rewake.ext.direct import SCHEME, Writing, open_direct
from rewake.ext.kernel.steps import Body, body_here

BUFFER_BYTES_MAX: Final = 256 * 1024
CONNECT_S: Final = 2.0
LINGER_S: Final = 5.0
"""How long the engine may take to answer a request that is complete."""

TEXT_CHARS_MAX: Final = 16 * 1024
"""Longer text is sent in pieces, because the engine accepts lines of at most 64 KiB."""

_HALF: Final = re.compile("[\ud800-\udfff]")

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


def put_delta(delta: Any) -> None:
    """Pass on a live piece from the body of a step, on its loop or in a thread. Neither waits nor raises.

    delta: text, JSON, or an event with `model_dump_json`, as those of pydantic.
    """
    body = body_here.get()
    if body is None or body.stream is None or body.loop is None:
        return
    for piece in _pieces(body, delta) if isinstance(delta, str) else (delta,):
        line = _line(piece)
        if threading.get_ident() == body.thread:
            _say(body, line)
        else:
            body.loop.call_soon_threadsafe(_say, body, line)


def mended(text: str) -> str:
    """The text with surrogates that belong together as one character, and U+FFFD in place of others."""
    if _HALF.search(text) is None:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _pieces(body: Body, text: str) -> Sequence[str]:
    """The text in pieces of whole characters: providers cut between the two surrogates of one."""
    if body.half or _HALF.search(text) is not None:
        text, body.half = body.half + text, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, body.half = text[:-1], text[-1]
        text = mended(text)
    if len(text) <= TEXT_CHARS_MAX:
        return (text,) if text else ()
    return [text[start : start + TEXT_CHARS_MAX] for start in range(0, len(text), TEXT_CHARS_MAX)]


@functools.cache
def trusted() -> ssl.SSLContext:
    """Whom this process trusts: the system's authorities, or those of SSL_CERT_FILE. Read once, as it takes 10 ms."""
    return ssl.create_default_context()


class DirectSink:
    """To an engine in this process, on whose loop the body runs."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing

    def put(self, line: bytes) -> None:
        """Take a delta."""
        self._writing.put([line])

    def end(self, *, is_done: bool) -> None:
        """The try is over."""
        (self._writing.end if is_done else self._writing.cut)()


class HttpSink(asyncio.Protocol):
    """One chunked request, written without waiting."""

    def __init__(self, url: str, head: dict[str, str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._is_over = False
        address = urlsplit(url)
        request = (
            f"POST {address.path} HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: application/x-ndjson\r\n"
            "transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        )
        self._waiting = [request.encode(), _chunk(_line(head))]
        self._waiting_bytes = 0
        self._is_whole = False
        self._connecting = self._loop.create_task(self._connect(address.hostname or "", address.port, address.scheme))

    def put(self, line: bytes) -> None:
        """Take a delta, or drop it."""
        if self._is_over:
            return
        chunk = _chunk(line)
        if self._transport is None:
            self._waiting_bytes += len(chunk)
            if self._waiting_bytes <= BUFFER_BYTES_MAX:
                self._waiting.append(chunk)
        elif self._transport.get_write_buffer_size() <= BUFFER_BYTES_MAX:
            self._transport.write(chunk)

    def end(self, *, is_done: bool) -> None:
        """The try is over."""
        if self._is_over:
            return
        self._is_over, self._is_whole = True, is_done
        if self._transport is not None:
            self._leave()
        else:  # the body was faster than the connection: the result says it all
            self._connecting.cancel()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._is_over:  # `end` came between: a request without its end would make void what is stored
            cast("asyncio.Transport", transport).abort()
            return
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has another class
        self._transport.write(b"".join(self._waiting))
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        if not self._is_over:  # an answer before the end: nothing more is taken
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._close()

    # Within

    async def _connect(self, host: str, port: int | None, scheme: str) -> None:
        try:
            async with asyncio.timeout(CONNECT_S):
                tls = trusted() if scheme == "https" else None
                await self._loop.create_connection(lambda: self, host, port or (443 if tls else 80), ssl=tls)
        except (OSError, TimeoutError):
            self._close()

    def _leave(self) -> None:
        assert self._transport is not None
        if self._is_whole:
            self._transport.write(b"0\r\n\r\n")  # only a body that ended well ends its request
            self._loop.call_later(LINGER_S, self._transport.abort)
        else:
            self._transport.close()

    def _close(self) -> None:
        self._is_over = True
        self._waiting.clear()
        if self._transport is not None:
            self._transport.close()


def _say(body: Body, line: bytes) -> None:
    """On the loop of the body."""
    if body.sink is None and body.stream is not None:
        body.sink = _sink_to(body.stream, body)
        if body.sink is None:
            body.stream = None
    if body.sink is not None:
        body.sink.put(line)


def _sink_to(url: str, body: Body) -> DirectSink | HttpSink | None:
    agent, colon, what = body.name.partition(": ")
    kind = body.kind or ("model" if what == "model" else None)
    given = (("step", body.name), ("kind", kind), ("agent", body.agent or (agent if colon else None)))
    head = {name: value for name, value in given if value is not None}
    if not url.startswith(SCHEME):
        return HttpSink(url, head)
    writing = open_direct(url, head)
    return None if writing is None else DirectSink(writing)


def _line(delta: Any) -> bytes:
    """A delta as JSON. JSON texts of pydantic and of json have no line breaks."""
    text = delta.model_dump_json() if hasattr(delta, "model_dump_json") else _dumps(delta)
    return mended(cast("str", text)).encode()


def _chunk(line: bytes) -> bytes:
    return b"%x\r\n%b\n\r\n" % (len(line) + 1, line)
