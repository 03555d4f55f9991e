"""HttpServer on real sockets: stopping, room for connections; and how many a process may have."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rewake.http_server import limits
from rewake.http_server.connection import Connection
from rewake.http_server.limits import CHECK_SECONDS_MAX, CONNECTIONS_MAX, FILES_MAX, Limits, connections_max
from rewake.http_server.listening import listening_socket
from rewake.http_server.server import CUT_SECONDS_MAX, HttpServer


class Stage:
    """A server whose app answers with the body, and waits at a gate for paths with `wait`."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.port = 0
        self.server = HttpServer(self._app, cancels=True)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body, is_more = b"", True
        while is_more:
            event = await receive()
            body += event.get("body", b"")
            is_more = event.get("more_body", False)
        if "wait" in scope["path"]:
            await self.gate.wait()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": body})

    async def ask(self, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(head)
        return reader, writer

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            await asyncio.sleep(0)


def on_stage(play: Callable[[Stage], Awaitable[None]]) -> None:
    async def main() -> None:
        stage = Stage()
        listener = listening_socket("127.0.0.1", 0, backlog=8)
        stage.port = listener.getsockname()[1]
        await stage.server.start(listener)
        async with asyncio.timeout(10):
            await play(stage)
            await stage.server.stop(0.0)
            await stage.server.stop(0.0)  # a second time does nothing

    asyncio.run(main())


def test_stopping_closes_idle_connections_and_lets_the_others_finish() -> None:
    async def play(stage: Stage) -> None:
        idle, idle_writer = await stage.ask(b"GET / HTTP/1.1\r\n\r\n")
        await idle.readuntil(b"\r\n\r\n")
        half, half_writer = await stage.ask(b"POST /half HTTP/1.1\r\ncontent-length: 4\r\n\r\nab")
        busy, busy_writer = await stage.ask(b"POST /wait HTTP/1.1\r\ncontent-length: 4\r\n\r\nbusy")
        await stage.until(lambda: stage.server.exchange_count == 2)
        stopping = asyncio.ensure_future(stage.server.stop(5.0))
        assert await idle.read() == b""
        half_writer.write(b"cd")
        assert (await half.read()).endswith(b"abcd")
        with pytest.raises(ConnectionRefusedError):
            await stage.ask(b"")
        assert not stopping.done()
        stage.gate.set()
        answer = await busy.read()
        assert b"connection: close\r\n" in answer and answer.endswith(b"busy")
        await stopping
        assert stage.server.connection_count == 0
        for writer in (idle_writer, half_writer, busy_writer):
            writer.close()

    on_stage(play)


def test_what_does_not_finish_in_time_is_cut() -> None:
    async def play(stage: Stage) -> None:
        reader, writer = await stage.ask(b"GET /wait HTTP/1.1\r\n\r\n")
        await stage.until(lambda: stage.server.exchange_count == 1)
        await stage.server.stop(0.01)
        assert await reader.read() == b""
        writer.close()

    on_stage(play)


def test_a_connection_that_cannot_say_that_it_gives_up_is_aborted() -> None:
    class Stuck(Connection):
        exchange_count = 1
        is_idle = False
        is_aborted = False

        def leave(self) -> None:
            pass

        def cut(self) -> None:
            pass

        def check(self, now: float) -> None:
            pass

        def abort(self) -> None:
            self.is_aborted = True
            self.site.on_lost(self)

    async def play(stage: Stage) -> None:
        stuck = Stuck(stage.server)
        assert stage.server.on_open(stuck)
        begun = asyncio.get_running_loop().time()
        await stage.server.stop(0.0)
        assert stuck.is_aborted
        assert asyncio.get_running_loop().time() - begun >= CUT_SECONDS_MAX

    on_stage(play)


@pytest.mark.parametrize(
    ("files", "share", "count"),
    [
        (256, 0.5, 128),
        (1024, 0.125, 128),
        (1 << 20, 0.5, CONNECTIONS_MAX),
        (resource.RLIM_INFINITY, 0.5, CONNECTIONS_MAX),
    ],
)
def test_a_port_leaves_files_for_others(monkeypatch: pytest.MonkeyPatch, files: int, share: float, count: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert connections_max(share) == count


@pytest.mark.parametrize(
    ("soft", "hard", "wanted"),
    [
        (1024, 4096, 4096),
        (1024, FILES_MAX * 2, FILES_MAX),
        (1024, resource.RLIM_INFINITY, FILES_MAX),
        (1024, 1024, None),
        (FILES_MAX * 2, FILES_MAX * 2, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None),
    ],
)
def test_a_process_asks_for_more_files(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, wanted: int | None
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: asked.append(both))
    limits.raise_file_limit()
    assert asked == ([] if wanted is None else [(wanted, hard)])


def test_clocks_are_looked_at_often_enough() -> None:
    assert Limits().check_s == CHECK_SECONDS_MAX
    assert Limits(read_s=0.4).check_s == 0.1
