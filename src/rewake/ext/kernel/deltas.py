"""Live pieces of an answer, out of the body of a step, to whoever watches the run.

A body calls `put_delta` for each event. The engine says in a header of the attempt (`x-rewake-stream`) where they go:
to its port, in one request for each try of a step, or, in its own process, straight to it. Nothing durable depends on
them: they are never awaited, and dropped when nobody takes them or more wait than BUFFER_BYTES_MAX. A try that fails
cuts its request, by which the engine knows that what it said is void. Without the header they go nowhere.
"""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any, Final, cast
from urllib.parse import urlsplit

from rewake.ext.direct import SCHEME, Writing, open_direct
from rewake.ext.kernel.steps import Body, body_here

BUFFER_BYTES_MAX: Final = 256 * 1024
CONNECT_S: Final = 2.0
LINGER_S: Final = 5.0
"""How long the engine may take to answer a request that is complete."""

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


def put_delta(delta: Any) -> None:
    """Pass a live piece on, from within the body of a step, on its loop or in a thread. Neither waits nor raises.

    delta: text, JSON, or an event with `model_dump_json`, as those of pydantic.
    """
    body = body_here.get()
    if body is None or body.stream is None or body.loop is None:
        return
    line = _line(delta)
    if threading.get_ident() == body.thread:
        _say(body, line)
    else:
        body.loop.call_soon_threadsafe(_say, body, line)


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
                is_tls = scheme == "https"
                await self._loop.create_connection(
                    lambda: self, host, port or (443 if is_tls else 80), ssl=is_tls or None
                )
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
    return cast("str", text).encode("utf-8", "replace")


def _chunk(line: bytes) -> bytes:
    return b"%x\r\n%b\n\r\n" % (len(line) + 1, line)
