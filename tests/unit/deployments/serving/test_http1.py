"""One HTTP/1.1 connection of `rewake serve`, byte for byte, without a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rewake.deployments.serving.http1 import HEAD_BYTES_MAX, UNREAD_BYTES_MAX, Http1Connection

START = {"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", b"text/plain")]}


class Wire(asyncio.Transport):
    """A socket that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = self.is_aborted = self.is_reading_paused = False

    def write(self, data: Any) -> None:
        assert not self.is_closed
        self.written += bytes(data)

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True

    def pause_reading(self) -> None:
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        self.is_reading_paused = False


class Peer:
    """The connection and what it says."""

    def __init__(self, app: Any) -> None:
        self.wire = Wire()
        self.emptied = 0
        self.connection = Http1Connection(app, lambda _: None, self._on_empty)
        self.connection.connection_made(self.wire)

    def _on_empty(self, _: object) -> None:
        self.emptied += 1

    def says(self, data: bytes, piece_bytes: int = 1 << 30) -> None:
        for start in range(0, len(data), piece_bytes):
            self.connection.data_received(data[start : start + piece_bytes])

    async def hears(self) -> bytes:
        """What the connection wrote, once the loop has nothing more to do."""
        for _ in range(20):
            await asyncio.sleep(0)
        written, self.wire.written = self.wire.written, b""
        return written


def exchange(app: Any, request: bytes, piece_bytes: int = 1 << 30) -> tuple[bytes, Wire]:
    """The answer to one request."""

    async def main() -> tuple[bytes, Wire]:
        peer = Peer(app)
        peer.says(request, piece_bytes)
        return await peer.hears(), peer.wire

    return asyncio.run(main())


async def read_all(receive: Any) -> bytes:
    body: bytes = b""
    while True:
        event = await receive()
        body += event["body"]
        if not event["more_body"]:
            return body


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    body = await read_all(receive)
    await send(START)
    await send({"type": "http.response.body", "body": body})


async def in_parts(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await read_all(receive)
    await send(START)
    for part in (b"one", b"two"):
        await send({"type": "http.response.body", "body": part, "more_body": True})
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("piece_bytes", [1, 7, 1 << 30])
def test_a_request_and_its_answer(piece_bytes: int) -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope)
        await echo(scope, receive, send)

    request = b"POST /invoke/A%20b/c?x=1 HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nhello"
    answer, wire = exchange(app, request, piece_bytes)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\n"
    assert (answer, wire.is_closed) == (head + b"hello", False)
    (scope,) = seen
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/invoke/A b/c", b"/invoke/A%20b/c", b"x=1")
    assert (scope["method"], scope["http_version"]) == ("POST", "1.1")
    assert scope["headers"] == [(b"host", b"here"), (b"content-length", b"5")]


def test_chunks_in_and_out() -> None:
    answer, wire = exchange(in_parts, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    assert not wire.is_closed


@pytest.mark.parametrize(
    ("line", "header", "closes", "ends_with"),
    [
        (b"GET / HTTP/1.1", b"", False, b"0\r\n\r\n"),
        (b"GET / HTTP/1.1", b"Connection: close\r\n", True, b"0\r\n\r\n"),
        (b"GET / HTTP/1.0", b"", True, b"onetwo"),
        (b"GET / HTTP/1.0", b"Connection: keep-alive\r\n", True, b"onetwo"),
        (b"HEAD / HTTP/1.1", b"", False, b"\r\n\r\n"),
        (b"GET / HTTP/1.1", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n", False, b"0\r\n\r\n"),
    ],
)
def test_the_end_of_an_answer(line: bytes, header: bytes, closes: bool, ends_with: bytes) -> None:
    answer, wire = exchange(in_parts, line + b"\r\n" + header + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(ends_with)
    assert wire.is_closed is closes


def test_a_connection_is_kept() -> None:
    async def main() -> None:
        peer = Peer(echo)
        for body in (b"a", b"b", b"c"):
            peer.says(b"POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\n" + body)
            assert (await peer.hears()).endswith(b"\r\n\r\n" + body)
        assert peer.emptied == 3

    asyncio.run(main())


def test_what_is_asked_too_early_is_not_answered() -> None:
    answer, wire = exchange(echo, b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert b"connection: close" in answer
    assert wire.is_closed


def test_a_large_request_is_announced() -> None:
    async def main() -> None:
        peer = Peer(echo)
        peer.says(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert await peer.hears() == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.says(b"hi")
        assert (await peer.hears()).endswith(b"hi")

    asyncio.run(main())


def test_an_app_that_does_not_read_stops_its_peer() -> None:
    async def main() -> None:
        may_read = asyncio.Event()

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            await may_read.wait()
            await echo(scope, receive, send)

        peer = Peer(app)
        size = UNREAD_BYTES_MAX + 1
        peer.says(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
        assert peer.wire.is_reading_paused
        may_read.set()
        assert len(await peer.hears()) > size
        assert not peer.wire.is_reading_paused

    asyncio.run(main())


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x16\x03\x01\x02\x00", b"400"),
        (b"GET / HTTP/9.9\r\n\r\n", b"400"),
        (b"CONNECT other:80 HTTP/1.1\r\nHost: other\r\n\r\nGET / HTTP/1.1\r\n\r\n", b"405"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * HEAD_BYTES_MAX + b"\r\n\r\n", b"431"),
    ],
)
def test_what_is_no_request_is_refused(request_: bytes, status: bytes) -> None:
    answer, wire = exchange(echo, request_)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert wire.is_closed


@pytest.mark.parametrize("piece_bytes", [1, 1_000])
def test_trailers_are_dropped_and_not_without_end(piece_bytes: int) -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope)
        await echo(scope, receive, send)

    head = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
    answer, wire = exchange(app, head + b"x-sum: 1\r\n\r\n", piece_bytes)
    assert answer.endswith(b"\r\n\r\nhello")
    assert not wire.is_closed
    assert [name for name, _ in seen[0]["headers"]] == [b"host", b"transfer-encoding"]
    for endless in (b"x: " + b"y" * HEAD_BYTES_MAX * 2, b"x: y\r\n" * (HEAD_BYTES_MAX // 3)):
        answer, wire = exchange(app, head + endless, piece_bytes)
        assert answer.startswith(b"HTTP/1.1 431")
        assert wire.is_closed


@pytest.mark.parametrize("piece_bytes", [1, 80, 1 << 30])
def test_who_offers_an_upgrade_is_answered_without(piece_bytes: int) -> None:
    """As curl --http2 does. The body is the request's, and never taken for another request."""
    offer = b"Host: here\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    inner = b"POST /other HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n"
    for framed in (
        b"Content-Length: %d\r\n\r\n%b" % (len(inner), inner),
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner),
    ):
        answer, wire = exchange(echo, b"POST /invoke HTTP/1.1\r\n" + offer + framed, piece_bytes)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert body == inner
        assert not wire.is_closed
    answer, _ = exchange(echo, b"GET /health HTTP/1.1\r\n" + offer + b"\r\n", piece_bytes)
    assert answer.count(b"HTTP/1.1 200 OK") == 1


def test_a_large_body_in_chunks_is_none_of_it() -> None:
    """Chunks of any size, however their heads fall into the pieces that arrive."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (size, b"z" * size) for size in (1, 7, HEAD_BYTES_MAX, 3) * 4)
    request = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    for piece_bytes in (3, 1 << 30):
        answer, _ = exchange(echo, request, piece_bytes)
        assert answer.endswith(b"z" * (HEAD_BYTES_MAX + 11) * 4)


async def fails_at_once(scope: dict[str, Any], receive: Any, send: Any) -> None:
    raise ValueError("broken")


async def fails_in_the_middle(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    raise ValueError("broken")


def test_an_app_that_fails() -> None:
    """Before its answer that is a 500; after its beginning nobody must take it for complete."""
    answer, wire = exchange(fails_at_once, b"GET / HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert wire.is_closed
    answer, wire = exchange(fails_in_the_middle, b"GET / HTTP/1.1\r\n\r\n")
    assert answer.endswith(b"4\r\nhalf\r\n")
    assert wire.is_aborted


def test_leaving_lets_the_answer_out() -> None:
    async def main() -> None:
        idle, busy = Peer(echo), Peer(echo)
        busy.says(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n")
        for peer in (idle, busy):
            peer.connection.leave()
        assert (idle.wire.is_closed, busy.wire.is_closed) == (True, False)
        busy.says(b"hi")
        assert b"connection: close" in await busy.hears()
        assert busy.wire.is_closed

    asyncio.run(main())


def test_a_peer_that_hangs_up_stops_the_app() -> None:
    async def main() -> None:
        seen: list[BaseException] = []

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as error:
                seen.append(error)
                raise

        peer = Peer(app)
        peer.says(b"GET / HTTP/1.1\r\n\r\n")
        await peer.hears()
        peer.connection.connection_lost(None)
        await peer.hears()
        assert len(seen) == 1
        assert peer.connection.is_lost and peer.emptied == 1

    asyncio.run(main())
