"""One HTTP/1.1 connection, byte for byte, without a socket: requests, answers, order, clocks.

What is hostile is in tests/conformance/test_hostile_http.py, on real ports.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewake.http_server import limits
from rewake.http_server.exchange import PATIENT, TAKES, UNSENT_MAX, WHOLE
from rewake.http_server.http1 import Http1ServerConnection
from rewake.http_server.limits import HEAD_BYTES_MAX, PIPELINED_MAX, UNREAD_BYTES_MAX
from rewake.http_server.server import HttpServer

GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
NOTHING = {"type": "http.request", "body": b""}
START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", b"text/plain")]}


class Wire(asyncio.Transport):
    """A socket that keeps what is written. unread_bytes: of that, not taken by the other side."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unread_bytes = 0
        self.is_closed = self.is_aborted = self.is_reading_paused = self.has_eof = False

    def write(self, data: Any) -> None:
        assert not self.is_closed and not self.has_eof
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_eof = True

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True

    def get_write_buffer_size(self) -> int:
        return self.unread_bytes

    def pause_reading(self) -> None:
        assert not self.is_reading_paused
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        assert self.is_reading_paused
        self.is_reading_paused = False


class Peer:
    """The connection and what it says."""

    def __init__(self, app: Any, *, cancels: bool = True) -> None:
        self.wire = Wire()
        self.server = HttpServer(app, cancels=cancels)
        self.connection = Http1ServerConnection(self.server)
        self.connection.connection_made(self.wire)

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
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    assert (line, body, wire.is_closed) == (b"HTTP/1.1 200 OK", b"hello", False)
    assert headers[:2] == [b"content-type: text/plain", b"content-length: 5"]
    assert headers[2].startswith(b"date: ") and len(headers) == 3
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
        assert peer.connection.is_idle

    asyncio.run(main())


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(min_value=1, max_value=150), max_size=12))
def test_bytes_may_arrive_in_any_pieces(cuts: list[int]) -> None:
    sent = b"POST /1 HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nfirst"
    sent += b"POST /2 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n"

    async def main() -> bytes:
        peer = Peer(echo)
        edges = [0, *sorted({cut for cut in cuts if cut < len(sent)}), len(sent)]
        for start, end in zip(edges, edges[1:], strict=False):
            peer.says(sent[start:end])
        return await peer.hears()

    first, second = asyncio.run(main()).split(b"HTTP/1.1 200 OK")[1:]
    assert first.endswith(b"first")
    assert second.endswith(b"second")


@settings(max_examples=200)
@given(data=st.binary(max_size=200), prefix=st.sampled_from([b"", b"GET /a", b"POST /a HTTP/1.1\r\n", GET]))
def test_garbage_never_raises(data: bytes, prefix: bytes) -> None:
    async def main() -> None:
        peer = Peer(echo)
        peer.says(prefix + data)
        peer.says(data)
        await asyncio.sleep(0)
        peer.connection.connection_lost(None)
        await asyncio.sleep(0)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("target", "path", "query", "host"),
    [
        (b"http://other:1/a/b?c", "/a/b", b"c", b"other:1"),
        (b"http://other", "/", b"", b"other"),
        (b"*", "*", b"", b"x"),
        (b"/a%20b#c", "/a b", b"", b"x"),
        (b"/?", "/", b"", b"x"),
        (b"/%ff", "/\ufffd", b"", b"x"),
    ],
)
def test_every_form_of_target_gives_path_query_and_host(target: bytes, path: str, query: bytes, host: bytes) -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope)
        await echo(scope, receive, send)

    exchange(app, b"OPTIONS %b HTTP/1.1\r\nhost: x\r\n\r\n" % target)
    (scope,) = seen
    assert (scope["path"], scope["query_string"], dict(scope["headers"])[b"host"]) == (path, query, host)


def test_pipelined_requests_are_answered_one_at_a_time() -> None:
    async def main() -> None:
        running, permits = 0, asyncio.Semaphore(0)

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            nonlocal running
            running += 1
            assert running == 1
            await permits.acquire()
            running -= 1
            await echo(scope, receive, send)

        peer = Peer(app)
        peer.says(GET * 1_000)
        assert peer.wire.is_reading_paused
        for _ in range(1_000):
            permits.release()
        answered = b""
        while more := await peer.hears():
            answered += more
        assert answered.count(b"HTTP/1.1 200 OK") == 1_000
        assert not peer.wire.is_reading_paused

    asyncio.run(main())


def test_a_pipeline_is_parsed_no_further_than_it_is_answered() -> None:
    """What waits beyond some requests stays as the bytes it came in."""

    async def main() -> None:
        peer = Peer(waits_for_ever)
        peer.says(GET * 10_000)
        assert peer.connection.exchange_count < PIPELINED_MAX + 16 * 1024 // len(GET) + 2
        peer.connection.connection_lost(None)
        await asyncio.sleep(0)

    asyncio.run(main())


def test_a_caller_that_does_not_read_is_not_answered_further() -> None:
    async def main() -> None:
        peer = Peer(echo)
        peer.connection.pause_writing()
        peer.says(GET * 2)
        assert await peer.hears() == b""
        peer.connection.resume_writing()
        assert (await peer.hears()).count(b"HTTP/1.1 200 OK") == 2

    asyncio.run(main())


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
        peer.says(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (size + 1) + b"x" * size)
        assert peer.wire.is_reading_paused
        may_read.set()
        assert await peer.hears() == b""
        assert not peer.wire.is_reading_paused
        peer.says(b"x")
        assert len(await peer.hears()) > size

    asyncio.run(main())


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x16\x03\x01\x02\x00", b"400"),
        (b"GET / HTTP/2.0\r\n\r\n", b"505"),
        (b"GET /\xff HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT other:80 HTTP/1.1\r\nHost: other\r\n\r\nGET / HTTP/1.1\r\n\r\n", b"405"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * HEAD_BYTES_MAX + b"\r\n\r\n", b"431"),
    ],
)
def test_what_is_no_request_is_refused(request_: bytes, status: bytes) -> None:
    answer, wire = exchange(echo, request_)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"\r\nconnection: close\r\n" in answer
    assert wire.has_eof


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


async def ends_without_a_word(scope: dict[str, Any], receive: Any, send: Any) -> None:
    pass


async def has_a_line_break(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({**START, "headers": [(b"x", b"a\r\nset-cookie: b")]})


async def says_an_interim_status(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({**START, "status": 100})


async def speaks_before_its_head(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.body", "body": b"x"})


async def waits_for_ever(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await asyncio.Event().wait()


def test_an_app_that_fails() -> None:
    """Before its answer that is a 500; after its beginning nobody must take it for complete."""
    answer, wire = exchange(fails_at_once, b"GET / HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert wire.is_closed
    for app in (ends_without_a_word, has_a_line_break, says_an_interim_status, speaks_before_its_head):
        assert exchange(app, GET)[0].startswith(b"HTTP/1.1 500 ")
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


def test_a_caller_that_leaves_cancels_the_wait_but_not_the_hand_over() -> None:
    async def main() -> None:
        events: list[Any] = []

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            events.append(await read_all(receive))
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                events.append("left")
                raise

        peer = Peer(app)
        peer.says(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi")
        peer.connection.connection_lost(None)
        await peer.hears()
        assert events == [b"hi", "left"]

    asyncio.run(main())


def test_an_app_that_is_not_cancelled_hears_that_its_caller_left() -> None:
    async def main() -> None:
        events: list[Any] = []

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            events.append(await read_all(receive))
            events.append((await receive())["type"])
            await send(START)
            events.append("done")

        peer = Peer(app, cancels=False)
        peer.says(GET)
        await peer.hears()
        peer.connection.connection_lost(None)
        await peer.hears()
        assert events == [b"", "http.disconnect", "done"]

    asyncio.run(main())


def test_an_early_answer_can_be_read_while_the_request_is_sent() -> None:
    """The rest of the request is thrown away, and no more than some of it."""

    async def main() -> None:
        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            await send({**START, "status": 413})
            await send({"type": "http.response.body", "body": b"no"})
            assert (await receive())["type"] == "http.disconnect"

        peer = Peer(app)
        peer.says(b"POST / HTTP/1.1\r\ncontent-length: 100000000\r\n\r\nhi")
        answer = await peer.hears()
        assert answer.startswith(b"HTTP/1.1 413 Payload Too Large") and b"connection: close" in answer
        assert (peer.wire.has_eof, peer.wire.is_closed) == (True, False)
        peer.says(b"x" * limits.LINGER_BYTES_MAX)
        assert not peer.wire.is_closed
        peer.says(b"x")
        assert peer.wire.is_aborted

    asyncio.run(main())


# Clocks


def after(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


def test_idle_connections_are_closed_after_a_while_and_waiting_ones_never() -> None:
    async def main() -> None:
        idle, waiting = Peer(echo), Peer(waits_for_ever)
        waiting.says(GET)
        for peer in (idle, waiting):
            peer.connection.check(after(limits.IDLE_SECONDS_MAX - 1))
        assert not idle.wire.is_closed
        for peer in (idle, waiting):
            peer.connection.check(after(limits.IDLE_SECONDS_MAX * 100))
        assert idle.wire.is_closed
        assert not waiting.wire.is_closed
        waiting.connection.connection_lost(None)
        await asyncio.sleep(0)

    asyncio.run(main())


@pytest.mark.parametrize("sent", [b"GET / HT", b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nab"])
def test_a_request_that_does_not_arrive_is_given_up(sent: bytes) -> None:
    async def main() -> None:
        peer = Peer(echo)
        peer.says(sent)
        peer.connection.check(after(limits.READ_SECONDS_MAX - 1))
        assert peer.wire.written == b""
        peer.connection.check(after(limits.READ_SECONDS_MAX + 1))
        assert peer.wire.written.startswith(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n")

    asyncio.run(main())


def test_a_request_of_a_sender_that_is_known_may_take_its_time_and_the_next_may_not() -> None:
    async def patient(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scope["extensions"][PATIENT]()
        await echo(scope, receive, send)

    async def main() -> None:
        peer = Peer(patient)
        peer.says(b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nab")
        assert await peer.hears() == b""
        peer.connection.check(after(10 * limits.READ_SECONDS_MAX))
        peer.says(b"cde")
        assert (await peer.hears()).endswith(b"abcde")
        peer.says(b"POST / HTTP/1.1\r\n")
        peer.connection.check(after(limits.READ_SECONDS_MAX + 1))
        assert peer.wire.written.startswith(b"HTTP/1.1 408 ")

    asyncio.run(main())


def test_pieces_of_a_body_go_to_a_function_at_once_and_receive_has_the_end() -> None:
    pieces: list[bytes] = []
    ends: list[Any] = []

    async def taking(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scope["extensions"][TAKES](pieces.append)
        ends.append(await receive())
        await send(START)
        await send({"type": "http.response.body", "body": b"done"})

    async def main() -> None:
        peer = Peer(taking)
        peer.says(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nab")
        assert await peer.hears() == b""
        peer.says(b"cd")
        assert pieces == [b"ab", b"cd"]
        peer.says(b"ef" + GET)
        assert b"done" in await peer.hears()
        assert pieces == [b"ab", b"cd", b"ef"]
        assert ends[0] == {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(main())


def test_a_whole_answer_is_given_by_one_call_and_counts_once() -> None:
    async def at_once(scope: dict[str, Any], receive: Any, send: Any) -> None:
        for body in (b"hello", b"again"):
            scope["extensions"][WHOLE](200, START["headers"], body)
        await send({"type": "http.response.body", "body": b"more"})
        assert (await receive(), (await receive())["type"]) == ({**NOTHING, "more_body": False}, "http.disconnect")

    async def main() -> None:
        peer = Peer(at_once)
        peer.says(GET + GET)
        answers = await peer.hears()
        assert answers.count(b"content-type: text/plain\r\ncontent-length: 5\r\n") == 2
        assert answers.count(b"hello") == 2 and b"again" not in answers and b"more" not in answers

    asyncio.run(main())


def test_a_whole_answer_that_cannot_be_sent_is_a_failure_of_the_app() -> None:
    async def split(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scope["extensions"][WHOLE](200, [(b"x", b"a\r\nb: c")], b"hello")

    assert exchange(split, GET)[0].startswith(b"HTTP/1.1 500 ")


def test_requests_leave_nothing_to_the_garbage_collector() -> None:
    async def main() -> None:
        peer = Peer(echo)
        peer.says(GET)
        await peer.hears()
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                peer.says(GET)
                await peer.hears()
            assert gc.collect() == 0
        finally:
            gc.enable()

    asyncio.run(main())


def test_an_answer_may_wait_for_its_caller_earlier_than_others() -> None:
    waits: list[bool] = []

    async def sparing(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({**START, UNSENT_MAX: 1_000})
        task = asyncio.ensure_future(send({"type": "http.response.body", "body": b"x" * 1_001, "more_body": True}))
        await asyncio.sleep(0)
        waits.append(not task.done())
        task.cancel()

    async def main() -> None:
        peer = Peer(sparing)
        peer.connection.pause_writing()
        peer.says(GET)
        peer.connection._is_write_paused = False
        peer.connection._begin_next()
        peer.connection._is_write_paused = True
        await peer.hears()

    asyncio.run(main())
    assert waits == [True]


@pytest.mark.parametrize("head", [b"", b"POST / HTTP/1.1\r\ncontent-length: 100000\r\n\r\n"])
def test_a_request_that_drips_is_given_up_though_it_moves(head: bytes) -> None:
    async def main() -> None:
        peer = Peer(echo)
        peer.says(head or b"GET / HTTP/1.1\r\n")
        peer.connection._began_at -= limits.READ_SECONDS_MAX + 1
        peer.says(b"x")
        peer.connection.check(after(0))
        assert peer.wire.written.startswith(b"HTTP/1.1 408 ")

    asyncio.run(main())


def test_an_app_that_reads_slowly_is_no_fault_of_its_caller() -> None:
    async def main() -> None:
        peer = Peer(waits_for_ever)
        size = UNREAD_BYTES_MAX + 1
        peer.says(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (size * 2) + b"x" * size)
        peer.connection.check(after(limits.READ_SECONDS_MAX * 1_000))
        assert not peer.wire.written
        peer.connection.connection_lost(None)
        await asyncio.sleep(0)

    asyncio.run(main())


def test_a_caller_that_does_not_read_its_answer_is_cut() -> None:
    async def main() -> None:
        peer = Peer(echo)
        peer.wire.unread_bytes = 1_000_000
        peer.connection.pause_writing()
        peer.wire.unread_bytes -= 100_000  # more than the least rate
        peer.connection.check(after(limits.WRITE_SECONDS_MAX - 1))
        peer.connection.check(after(limits.WRITE_SECONDS_MAX * 1.5))
        assert not peer.wire.is_closed
        peer.wire.unread_bytes -= 10
        peer.connection.check(after(limits.WRITE_SECONDS_MAX * 2.5))
        assert peer.wire.is_aborted

    asyncio.run(main())
