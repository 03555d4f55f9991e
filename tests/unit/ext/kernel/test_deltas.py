"""Deltas on their way out of a step's body: never waited for, dropped above a bound, cut when the try failed."""

from __future__ import annotations

import asyncio
import functools
import json
import ssl
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import self_signed
from pydantic import BaseModel
from restate import TerminalError
from tests.unit.ext.kernel.door import Door

from rewake.ext import direct
from rewake.ext.kernel import InPlace, put_delta
from rewake.ext.kernel.deltas import BUFFER_BYTES_MAX, TEXT_CHARS_MAX, trusted
from rewake.ext.kernel.steps import Body, prepared

Work = Callable[[], Awaitable[Any]]


def said(work: Work, *, url: str = "direct:test/cap", attempts: int = 1) -> list[Any]:
    engine = Door()
    direct.doors["test"] = engine.open

    async def main() -> None:
        body = Body("Desk: model", uuid.UUID(int=1), stream=url)
        try:
            await prepared(body, work, InPlace(attempts=attempts, first_delay_s=0.001))()
        except (ConnectionError, TerminalError):
            engine.heard.append("raised")

    asyncio.run(main())
    return engine.heard


HEAD = ("cap", {"step": "Desk: model", "kind": "model", "agent": "Desk"})


def test_a_body_speaks_to_the_engine_in_its_process() -> None:
    class Event(BaseModel):
        text: str = "é"

    async def work() -> None:
        put_delta("a\nb")
        put_delta({"x": 1})
        put_delta(Event())
        await asyncio.to_thread(put_delta, "from a thread")
        await asyncio.sleep(0)

    assert said(work) == [
        HEAD, b'"a\\nb"', b'{"x":1}', '{"text":"é"}'.encode(), b'"from a thread"', "end"
    ]  # fmt: skip


def test_text_is_said_in_whole_characters_and_in_pieces_that_the_engine_takes() -> None:
    """Providers cut between the two surrogates of a character; one without the other is no text."""

    async def work() -> None:
        for delta in (
            "so \ud83d",
            "\ude00!",
            "\ude00",
            {"text": "\ud83d"},
            "",
            "x" * (2 * TEXT_CHARS_MAX + 1),
            "\ud83d",
        ):
            put_delta(delta)

    pieces = ["so ", "\U0001f600!", "\ufffd", {"text": "\ufffd"}, "x" * TEXT_CHARS_MAX, "x" * TEXT_CHARS_MAX, "x"]
    assert [json.loads(line) for line in said(work)[1:-1]] == pieces


def test_a_try_that_fails_is_cut_and_the_next_speaks_anew() -> None:
    tries = iter([ConnectionError("gone"), None])

    async def work() -> None:
        put_delta("a")
        if (problem := next(tries)) is not None:
            raise problem

    assert said(work, attempts=2) == [HEAD, b'"a"', "cut", HEAD, b'"a"', "end"]


@pytest.mark.parametrize("url", ["direct:test/over", "direct:gone/cap", "http://127.0.0.1:1/restate/deltas/x"])
def test_a_step_does_not_depend_on_who_watches(url: str) -> None:
    async def work() -> None:
        for _ in range(3):
            put_delta("a")
            await asyncio.sleep(0.01)

    assert said(work, url=url)[1:] == []


def test_outside_of_a_step_nothing_is_said() -> None:
    put_delta("a")


def test_over_tls_with_a_certificate_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    trusted.cache_clear()
    got: list[bytes] = []

    async def main() -> None:
        heard = asyncio.Event()

        async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got.append(await reader.readuntil(b'"Yes"\n\r\n'))
            heard.set()
            got.append(await reader.readuntil(b"0\r\n\r\n"))
            writer.close()

        async def work() -> None:
            put_delta("Yes")
            await heard.wait()

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        server = await asyncio.start_server(hear, "127.0.0.1", 0, ssl=context)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/restate/deltas/cap"
        await prepared(Body("Desk: model", uuid.UUID(int=1), stream=url), work, InPlace(attempts=1))()
        while len(got) < 2:
            await asyncio.sleep(0.005)
        server.close()
        await server.wait_closed()

    asyncio.run(main())
    trusted.cache_clear()
    assert b'{"step":"Desk: model","kind":"model","agent":"Desk"}' in got[0]


def test_over_http_a_body_that_is_about_as_fast_as_its_connection_is_whole_or_not_there() -> None:
    """However far the connection is: half a request would make void what a good try said."""
    got: list[bytes] = []

    async def main() -> None:
        is_last = asyncio.Event()

        async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            request = b""
            while not request.endswith(b"0\r\n\r\n") and (more := await reader.read(1 << 16)):
                request += more
                if b'"last"' in request:
                    is_last.set()
            got.append(request)
            writer.close()

        async def say(text: str, work: Work) -> None:
            async def body() -> None:
                put_delta(text)
                await work()

            step = Body("Desk: model", uuid.UUID(int=1), stream=url)
            await prepared(step, body, InPlace(attempts=1))()

        async def take(turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        server = await asyncio.start_server(hear, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/restate/deltas/cap"
        for turns in range(20):
            await say("a", functools.partial(take, turns))
        await say("last", is_last.wait)
        while not any(b'"last"' in request for request in got):
            await asyncio.sleep(0.005)
        server.close()
        await server.wait_closed()

    asyncio.run(main())
    assert [request for request in got if request and not request.endswith(b"0\r\n\r\n")] == []


def test_over_http_what_nobody_reads_is_dropped_above_a_bound() -> None:
    """The other side takes the connection and reads nothing; then it reads all there is."""
    got = bytearray()

    async def main() -> None:
        read = asyncio.Event()

        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read.wait()
            got.extend(await reader.readuntil(b"0\r\n\r\n"))
            writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(hold, "127.0.0.1", 0, limit=64 * 1024 * 1024)
        port = server.sockets[0].getsockname()[1]

        async def work() -> None:
            put_delta("first")
            await asyncio.sleep(0.05)
            for _ in range(40):
                put_delta("x" * (BUFFER_BYTES_MAX // 2))
            read.set()

        body = Body("Desk: model", uuid.UUID(int=1), stream=f"http://127.0.0.1:{port}/restate/deltas/cap")
        await prepared(body, work, InPlace(attempts=1))()
        while not got.endswith(b"0\r\n\r\n"):
            await asyncio.sleep(0.005)
        server.close()
        await server.wait_closed()

    asyncio.run(main())
    head, _, rest = bytes(got).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /restate/deltas/cap HTTP/1.1\r\n")
    assert b'{"step":"Desk: model","kind":"model","agent":"Desk"}\n' in rest
    assert b'"first"\n' in rest
    assert len(rest) < 40 * (BUFFER_BYTES_MAX // 2)
