"""HTTP/1.1 on real sockets, with a handler of the test's own: order, limits, malformed input, time, stopping."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewake.ingress import protocol
from rewake.ingress.message import Request, Response
from rewake.ingress.protocol import Connections, HttpConnection
from rewake.ingress.server import HttpServer

BODY_BYTES_MAX = 100_000
GET = b"GET /a/b HTTP/1.1\r\nhost: x\r\n\r\n"


class Peer:
    """The caller's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[bytes, dict[str, str], bytes]:
        """Status line, headers and body of the next answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        line, *rest = head.split("\r\n")
        headers = dict(each.lower().split(": ", 1) for each in rest if each)
        return line.encode(), headers, await self.reader.readexactly(int(headers.get("content-length", 0)))

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


class Stage:
    """A server whose handler answers with the path and body, waits at a gate for paths with `wait`, and remembers."""

    def __init__(self, server: HttpServer, port: int, seen: list[Request], gate: asyncio.Event) -> None:
        self.server = server
        self.port = port
        self.seen = seen
        self.gate = gate
        self.peers: list[Peer] = []

    async def connect(self) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port))
        self.peers.append(peer)
        return peer

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.001)


def on_stage(play: Callable[[Stage], Awaitable[None]]) -> None:
    """Run `play` against a server."""

    async def main() -> None:
        seen: list[Request] = []
        gate = asyncio.Event()

        async def handle(request: Request) -> Response:
            seen.append(request)
            if "wait" in request.path:
                await gate.wait()
            if "big" in request.path:
                return Response(200, b"", b"x" * 5_000_000)
            return Response(200, b"x-path: %b\r\n" % request.path.encode(), request.body)

        listener = socket.create_server(("127.0.0.1", 0))
        server = HttpServer(handle, body_bytes_max=BODY_BYTES_MAX)
        await server.start(listener)
        stage = Stage(server, listener.getsockname()[1], seen, gate)
        try:
            async with asyncio.timeout(10):
                await play(stage)
        finally:
            for peer in stage.peers:
                await peer.close()
            await server.stop(0.0)

    asyncio.run(main())


def post(path: str, body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST %b HTTP/1.1" % path.encode(), b"host: x", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def test_a_request_is_parsed_into_its_parts() -> None:
    async def play(stage: Stage) -> None:
        peer = await stage.connect()
        peer.send(post("/a%20b/c?x=1&y=%20", b"hello", b"X-Name:  first ", b"x-name: second", b"X-Latin: \xe9"))
        line, headers, body = await peer.answer()
        assert (line, body) == (b"HTTP/1.1 200 OK", b"hello")
        assert headers["x-path"] == "/a%20b/c"
        assert stage.seen == [
            Request(
                "POST",
                "/a%20b/c",
                "x=1&y=%20",
                {"host": "x", "content-length": "5", "x-name": "first", "x-latin": "\u00e9"},
                b"hello",
            )
        ]

    on_stage(play)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"http://host:1/a/b?c", "/a/b", "c"),
        (b"http://host", "/", ""),
        (b"*", "*", ""),
        (b"/a#b", "/a", ""),
        (b"/?", "/", ""),
    ],
)
def test_every_form_of_target_gives_path_and_query(target: bytes, path: str, query: str) -> None:
    async def play(stage: Stage) -> None:
        peer = await stage.connect()
        peer.send(b"OPTIONS %b HTTP/1.1\r\nhost: x\r\n\r\n" % target)
        await peer.answer()
        assert (stage.seen[0].path, stage.seen[0].query) == (path, query)

    on_stage(play)


def test_pipelined_requests_are_answered_in_order_and_one_at_a_time() -> None:
    async def play(stage: Stage) -> None:
        peer = await stage.connect()
        peer.send(post("/wait/1", b"1") + b"".join(post(f"/next/{number}", b"%d" % number) for number in range(2, 100)))
        await stage.until(lambda: len(stage.seen) == 1)
        await asyncio.sleep(0)
        assert len(stage.seen) == 1
        stage.gate.set()
        assert [(await peer.answer())[2] for _ in range(1, 100)] == [b"%d" % number for number in range(1, 100)]

    on_stage(play)


def test_a_caller_that_does_not_read_is_not_answered_further() -> None:
    async def play(stage: Stage) -> None:
        peer = await stage.connect()
        peer.send(GET.replace(b"/a/b", b"/big/1") * 10)
        await stage.until(lambda: len(stage.seen) > 0)
        await asyncio.sleep(0.05)
        assert len(stage.seen) < 10
        for _ in range(10):
            assert len((await peer.answer())[2]) == 5_000_000

    on_stage(play)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(min_value=1, max_value=150), max_size=12))
def test_bytes_may_arrive_in_any_pieces(cuts: list[int]) -> None:
    sent = (
        post("/a/1", b"first")
        + b"POST /a/2 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n"
    )

    async def main() -> list[tuple[str, bytes]]:
        seen: list[tuple[str, bytes]] = []

        async def handle(request: Request) -> Response:
            seen.append((request.path, request.body))
            return Response(200)

        connection, transport = connected(handle)
        edges = [0, *sorted({cut for cut in cuts if cut < len(sent)}), len(sent)]
        for start, end in zip(edges, edges[1:], strict=False):
            connection.data_received(sent[start:end])
        for _ in range(10):
            await asyncio.sleep(0)
        assert transport.written.count(b"HTTP/1.1 200 OK") == 2
        return seen

    assert asyncio.run(main()) == [("/a/1", b"first"), ("/a/2", b"second")]


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), prefix=st.sampled_from([b"", b"GET /a", b"POST /a HTTP/1.1\r\n", GET]))
def test_garbage_never_raises(data: bytes, prefix: bytes) -> None:
    async def main() -> None:
        async def handle(request: Request) -> Response:
            return Response(200)

        connection, _ = connected(handle)
        connection.data_received(prefix + data)
        connection.data_received(data)
        await asyncio.sleep(0)
        connection.connection_lost(None)
        await asyncio.sleep(0)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nfoo bar: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: abc\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 60_000, 431),
        (b"POST / HTTP/1.1\r\ncontent-length: 100001\r\n\r\n", 413),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(sent: bytes, status: int) -> None:
    async def play(stage: Stage) -> None:
        peer = await stage.connect()
        for start in range(0, len(sent), 50_000):
            peer.send(sent[start : start + 50_000])
            await asyncio.sleep(0)
        answer = await peer.rest()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"connection: close\r\n" in answer
        assert stage.seen == []

    on_stage(play)


def test_a_refusal_does_not_overtake_the_answer_before_it() -> None:
    async def play(stage: Stage) -> None:
        peer = await stage.connect()
        peer.send(post("/wait/1", b"one") + b"GARBAGE\r\n\r\n")
        await stage.until(lambda: len(stage.seen) == 1)
        stage.gate.set()
        answer = await peer.rest()
        assert answer.count(b"HTTP/1.1 ") == 1
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert answer.endswith(b"one")
        assert b"connection: close\r\n" in answer

    on_stage(play)


@pytest.mark.parametrize("sent", [GET.replace(b"1.1", b"1.0"), GET.replace(b"host: x", b"connection: close")])
def test_a_caller_that_wants_one_answer_gets_one(sent: bytes) -> None:
    async def play(stage: Stage) -> None:
        peer = await stage.connect()
        peer.send(sent + GET)
        answer = await peer.rest()
        assert answer.count(b"HTTP/1.1 200 OK") == 1
        assert b"connection: close\r\n" in answer
        assert len(stage.seen) == 1

    on_stage(play)


def test_an_upgrade_is_answered_as_http_1_and_the_connection_goes_on() -> None:
    upgrade = b"GET /a/1 HTTP/1.1\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: x\r\n\r\n"

    async def play(stage: Stage) -> None:
        peer = await stage.connect()
        peer.send(upgrade + post("/a/2", b"two"))
        assert (await peer.answer())[1]["x-path"] == "/a/1"
        assert (await peer.answer())[2] == b"two"

    on_stage(play)


def test_a_caller_that_leaves_cancels_the_wait_but_not_the_hand_over() -> None:
    async def main() -> None:
        events: list[str] = []

        async def handle(request: Request) -> Response:
            events.append("handed over")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                events.append("left")
                raise
            return Response(200)

        connection, _ = connected(handle)
        connection.data_received(GET)
        connection.connection_lost(None)
        for _ in range(5):
            await asyncio.sleep(0)
        assert events == ["handed over", "left"]

    asyncio.run(main())


def test_stopping_closes_idle_connections_and_lets_the_others_finish() -> None:
    async def play(stage: Stage) -> None:
        idle, half, busy = await stage.connect(), await stage.connect(), await stage.connect()
        idle.send(GET)
        await idle.answer()
        half.send(b"POST /half/1 HTTP/1.1\r\ncontent-length: 4\r\n\r\nab")
        busy.send(post("/wait/1", b"busy"))
        await stage.until(lambda: len(stage.seen) == 2 and stage.server.connection_count == 3)
        stopping = asyncio.ensure_future(stage.server.stop(5.0))
        assert await idle.rest() == b""
        half.send(b"cd")
        assert (await half.rest()).endswith(b"abcd")
        assert not stopping.done()
        stage.gate.set()
        _, headers, body = await busy.answer()
        assert (headers["connection"], body) == ("close", b"busy")
        await stopping
        with pytest.raises(ConnectionRefusedError):
            await stage.connect()

    on_stage(play)


# Time: connections on a transport of the test's own


class Recorded(asyncio.Transport):
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.aborted = False
        self.is_read = True

    def write(self, data: Any) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None:
        assert self.is_read
        self.is_read = False

    def resume_reading(self) -> None:
        assert not self.is_read
        self.is_read = True


def connected(handle: Callable[[Request], Awaitable[Response]]) -> tuple[HttpConnection, Recorded]:
    connection, transport = HttpConnection(Connections(handle, body_bytes_max=BODY_BYTES_MAX)), Recorded()
    connection.connection_made(transport)
    return connection, transport


async def echo(request: Request) -> Response:
    return Response(200, b"", request.body)


async def never(request: Request) -> Response:
    await asyncio.Event().wait()
    return Response(200)


def after(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


def test_idle_connections_are_closed_after_a_while_and_waiting_ones_never() -> None:
    async def main() -> None:
        idle, idle_transport = connected(echo)
        waiting, waiting_transport = connected(never)
        waiting.data_received(GET)
        for connection in (idle, waiting):
            connection.check_timeouts(after(protocol.IDLE_SECONDS_MAX - 1))
        assert not idle_transport.closed
        for connection in (idle, waiting):
            connection.check_timeouts(after(protocol.IDLE_SECONDS_MAX * 100))
        assert idle_transport.closed
        assert not waiting_transport.closed
        waiting.connection_lost(None)
        await asyncio.sleep(0)

    asyncio.run(main())


def test_a_request_that_does_not_arrive_is_given_up() -> None:
    async def main() -> None:
        for sent in (b"GET / HT", b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nab"):
            connection, transport = connected(echo)
            connection.data_received(sent)
            connection.check_timeouts(after(protocol.READ_SECONDS_MAX - 1))
            assert transport.written == b""
            connection.check_timeouts(after(protocol.READ_SECONDS_MAX + 1))
            assert transport.written.startswith(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n")

    asyncio.run(main())


def test_a_head_that_drips_is_given_up_though_it_moves() -> None:
    async def main() -> None:
        connection, transport = connected(echo)
        connection.data_received(b"GET / HTTP/1.1\r\n")
        connection._began_at -= protocol.READ_SECONDS_MAX + 1
        connection.data_received(b"x: y\r\n")
        connection.check_timeouts(after(0))
        assert transport.written.startswith(b"HTTP/1.1 408 ")

    asyncio.run(main())


def test_a_caller_that_does_not_read_is_cut() -> None:
    async def main() -> None:
        connection, transport = connected(echo)
        connection.pause_writing()
        connection.check_timeouts(after(protocol.WRITE_SECONDS_MAX - 1))
        assert not transport.closed
        connection.check_timeouts(after(protocol.WRITE_SECONDS_MAX + 1))
        assert transport.aborted

    asyncio.run(main())


def test_a_flood_of_pipelined_requests_stops_being_read_until_some_are_answered() -> None:
    async def main() -> None:
        permits = asyncio.Semaphore(0)

        async def handle(request: Request) -> Response:
            await permits.acquire()
            return Response(200)

        connection, transport = connected(handle)
        connection.data_received(GET * protocol.PIPELINED_MAX)
        assert transport.is_read
        connection.data_received(GET * 10)
        assert not transport.is_read
        for _ in range(9):
            permits.release()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert not transport.is_read
        for _ in range(protocol.PIPELINED_MAX + 1):
            permits.release()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert transport.is_read
        assert transport.written.count(b"HTTP/1.1 200 OK") == protocol.PIPELINED_MAX + 10

    asyncio.run(main())


def test_the_date_is_made_anew_each_second() -> None:
    first = protocol.date(1000.0)
    assert protocol.date(1000.9) is first
    assert protocol.date(1001.5) is not first
    assert protocol.date(5.0) is not first
    assert first.endswith(b" GMT")


def test_the_parser_still_separates_what_it_should() -> None:
    """Request smuggling is httptools' business; this notices a release that grows lenient."""

    async def main() -> None:
        connection, transport = connected(echo)
        connection.data_received(
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: x\r\n\r\n0\r\n\r\n"
        )
        assert transport.written.startswith(b"HTTP/1.1 400 ")

    asyncio.run(main())
