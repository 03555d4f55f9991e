"""Deltas on their way out of a step's body: never waited for, dropped above a bound, cut when the try failed."""

from __future__ import annotations

import asyncio
import functools
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import BaseModel
from restate import TerminalError

from rewake.ext import direct
from rewake.ext.kernel import InPlace, put_delta
from rewake.ext.kernel.deltas import BUFFER_BYTES_MAX
from rewake.ext.kernel.steps import Body, prepared

Work = Callable[[], Awaitable[Any]]


class Engine:
    """What an engine hears of one step: heads, lines, and how each try ended."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        direct.doors["test"] = self.open

    def open(self, capability: str, head: dict[str, Any]) -> direct.Writing | None:
        self.heard.append((capability, head))
        return self if capability != "over" else None

    def put(self, deltas: list[bytes]) -> None:
        self.heard += deltas

    def end(self) -> None:
        self.heard.append("end")

    def cut(self) -> None:
        self.heard.append("cut")


def said(work: Work, *, url: str = "direct:test/cap", attempts: int = 1) -> list[Any]:
    engine = Engine()

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
