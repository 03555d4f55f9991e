"""HTTP/1.1 connections against a server of bytes: reading answers, keeping connections, telling what went wrong."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import pytest
from http2_peer import Waiting

from rewake.deployments.http.address import parse_address
from rewake.deployments.http.exchange import ANSWER_HEAD_BYTES_MAX, ClientExchange, HttpOptions
from rewake.deployments.http.http1 import Http1Pool

DEADLINE_S = 10.0
LOST = "The connection was lost: the server closed it."
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

Answer = Callable[[int], Iterable[bytes | None]]
"""Number of the request on its connection -> what to send; None closes the connection."""


class Site:
    """A server that answers as told and keeps what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        number = 0
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = next(
                    (int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")), 0
                )
                self.requests.append(head + await reader.readexactly(size))
                for part in self.answer(number):
                    if part is None:
                        return
                    writer.write(part)
                    await writer.drain()
                number += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


Scenario = Callable[[Http1Pool, Site], Awaitable[None]]


def play(answer: Answer, scenario: Scenario, **options: Any) -> None:
    async def main() -> None:
        site = Site(answer)
        server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        pool = Http1Pool(parse_address(f"http://127.0.0.1:{port}/x"), None, HttpOptions(**options), lambda: None)
        try:
            async with asyncio.timeout(DEADLINE_S):
                await scenario(pool, site)
        finally:
            await pool.close()
            server.close()
            for writer in site.writers:
                writer.close()
            await asyncio.gather(*(writer.wait_closed() for writer in site.writers), return_exceptions=True)

    asyncio.run(main())


async def ask(pool: Http1Pool, body: bytes = b"") -> Waiting:
    exchange, heard = begin(pool, body)
    exchange.end()
    await heard.done.wait()
    return heard


def begin(pool: Http1Pool, body: bytes = b"") -> tuple[ClientExchange, Waiting]:
    exchange, heard = ClientExchange(b"POST", b"/x/invoke/a/b", [(b"a", b"b")]), Waiting()
    exchange.responder = heard
    pool.submit(exchange)
    exchange.write(body)
    return exchange, heard


def test_a_request_goes_out_once_it_is_complete() -> None:
    async def scenario(pool: Http1Pool, site: Site) -> None:
        exchange, heard = begin(pool, b"one")
        exchange.write(b"two")
        exchange.end()
        exchange.write(b"late")
        await heard.done.wait()
        ((head, _, body),) = (request.partition(b"\r\n\r\n") for request in site.requests)
        assert head.split(b"\r\n")[0] == b"POST /x/invoke/a/b HTTP/1.1"
        assert b"content-length: 6" in head and b"\r\na: b" in head and b"\r\nhost: 127.0.0.1:" in head
        assert body == b"onetwo"
        assert (heard.heads, heard.chunks, heard.ends) == ([(200, {b"content-length": b"2"})], [b"ok"], [None])

    play(lambda _: [OK], scenario)


@pytest.mark.parametrize(
    "parts",
    [
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n", b"1\r\nk\r\n0\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nserver: x\r\n\r\no", b"k", None],
        [b"HTTP/1.1 100 Continue\r\n\r\n", OK],
        [b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK],
        [bytes((byte,)) for byte in OK],
        [b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", None],
    ],
    ids=["chunked", "until_close", "continue", "hints", "byte_by_byte", "version_1_0"],
)
def test_forms_of_answers(parts: list[bytes | None]) -> None:
    async def scenario(pool: Http1Pool, _: Site) -> None:
        heard = await ask(pool)
        assert [status for status, _ in heard.heads] == [200]
        assert b"".join(heard.chunks) == b"ok" and heard.ends == [None]

    play(lambda _: parts, scenario)


def test_a_connection_is_kept_and_used_again() -> None:
    async def scenario(pool: Http1Pool, site: Site) -> None:
        for _ in range(3):
            assert (await ask(pool, b"x")).ends == [None]
        assert len(site.writers) == 1
        await asyncio.gather(*(ask(pool) for _ in range(4)))
        assert len(site.writers) == 4
        assert pool.is_idle

    play(lambda _: [OK], scenario)


def test_connections_are_limited() -> None:
    async def scenario(pool: Http1Pool, site: Site) -> None:
        heard = await asyncio.gather(*(ask(pool) for _ in range(10)))
        assert [each.ends for each in heard] == [[None]] * 10
        assert len(site.writers) == 2

    play(lambda _: [OK], scenario, http1_connections_max=2)


def test_a_kept_connection_closed_by_the_server_costs_nothing() -> None:
    """The server closes when the second request comes, as one whose idle timer has just run out."""

    async def scenario(pool: Http1Pool, site: Site) -> None:
        assert (await ask(pool, b"first")).ends == [None]
        second = await ask(pool, b"second")
        assert second.ends == [None]
        assert [each.rpartition(b"\r\n")[2] for each in site.requests] == [b"first", b"second", b"second"]
        assert len(site.writers) == 2

    play(lambda number: [None] if number else [OK], scenario)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([None], LOST),
        (
            [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", None],
            LOST,
        ),
        ([b"HTTP/1.1 200 OK\r\ntransfer-enc", None], LOST),
        ([b"220 mail.example ESMTP\r\n"], "The server's answer is not HTTP/1.1:"),
        ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"], "The server's answer is not HTTP/1.1:"),
    ],
)
def test_answers_that_break_off(parts: list[bytes | None], message: str) -> None:
    async def scenario(pool: Http1Pool, _: Site) -> None:
        heard = await ask(pool)
        (end,) = heard.ends
        assert end is not None and end.startswith(message)
        assert pool.is_idle

    play(lambda _: parts, scenario)


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x-more: " + b"x" * 1_000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nx-more: ", b"x" * 1_000),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n", b"x-more: x\r\n"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;", b"x" * 1_000),
    ],
    ids=["headers", "one_header", "hints", "trailers", "chunk_extension"],
)
def test_headers_that_never_end_are_cut(begin: bytes, more: bytes) -> None:
    async def scenario(pool: Http1Pool, site: Site) -> None:
        (end,) = (await ask(pool)).ends
        assert end == f"The server's answer has more than {ANSWER_HEAD_BYTES_MAX} bytes of headers."
        with contextlib.suppress(ConnectionError):
            await site.writers[0].wait_closed()
        assert pool.is_idle

    play(lambda _: endless(begin, more), scenario)


def endless(begin: bytes, more: bytes) -> Iterator[bytes]:
    yield begin
    yield from itertools.repeat(more)


def test_a_head_that_is_not_complete_in_time_is_cut() -> None:
    async def scenario(pool: Http1Pool, _: Site) -> None:
        (end,) = (await ask(pool)).ends
        assert end == "The head of the server's answer was not complete within 0.05 s."

    play(lambda _: [b"HTTP/1.1 200 OK\r\ncontent-length: "], scenario, head_timeout_s=0.05)


def test_an_answer_may_begin_late_and_its_body_take_long() -> None:
    """The time of a head counts from its first byte to its last."""

    async def scenario(pool: Http1Pool, site: Site) -> None:
        exchange, heard = begin(pool)
        exchange.end()
        for part in (b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no", b"k"):
            while not site.writers or not site.requests:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.06)
            site.writers[0].write(part)
        await heard.done.wait()
        assert heard.ends == [None]

    play(lambda _: [], scenario, head_timeout_s=0.03)


def test_a_long_answer_of_small_chunks_is_no_head() -> None:
    async def scenario(pool: Http1Pool, _: Site) -> None:
        heard = await ask(pool)
        assert heard.ends == [None] and len(b"".join(heard.chunks)) == 20 * ANSWER_HEAD_BYTES_MAX // 1_000 * 100

    chunks = b"1\r\nx\r\n" * 100
    parts = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]
    play(lambda _: [*parts, *[chunks] * (20 * ANSWER_HEAD_BYTES_MAX // 1_000), b"0\r\n\r\n"], scenario)


def test_nobody_there() -> None:
    async def scenario(pool: Http1Pool, _: Site) -> None:
        nowhere = Http1Pool(parse_address("http://127.0.0.1:1"), None, HttpOptions(), lambda: None)
        heard = await asyncio.gather(*(ask(nowhere) for _ in range(3)))
        assert [each.ends for each in heard] == [["The deployment could not be reached: Connection refused."]] * 3
        await nowhere.close()

    play(lambda _: [OK], scenario)


def test_a_reset_hangs_up_silently() -> None:
    async def scenario(pool: Http1Pool, site: Site) -> None:
        exchange, heard = begin(pool)
        exchange.end()
        while not site.requests:
            await asyncio.sleep(0)
        exchange.reset()
        never, heard_never = begin(pool)
        never.reset()
        while not pool.is_idle:
            await asyncio.sleep(0)
        assert heard.ends == heard_never.ends == []

    play(lambda _: [], scenario)


def test_a_finished_exchange_whose_answer_does_not_end_is_hung_up_on() -> None:
    async def scenario(pool: Http1Pool, site: Site) -> None:
        exchange, heard = begin(pool)
        exchange.end()
        while not heard.chunks:
            await asyncio.sleep(0)
        exchange.finish()
        await heard.done.wait()
        assert heard.ends == ["The connection was closed."]  # A FramedAttempt is over by then and passes nothing on.

    play(lambda _: [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nEnd"], scenario, drain_timeout_s=0.01)


def test_idle_connections_close() -> None:
    async def scenario(pool: Http1Pool, site: Site) -> None:
        await ask(pool)
        await asyncio.wait_for(site.writers[0].wait_closed(), 5)
        assert (await ask(pool)).ends == [None]
        assert len(site.writers) == 2

    play(lambda _: [OK], scenario, idle_timeout_s=0.01)
