"""HttpServer on real sockets: stopping, room for connections; and how many a process may have."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rewake.http_server import half_closed, limits
from rewake.http_server.connection import Connection
from rewake.http_server.limits import CHECK_SECONDS_MAX, CONNECTIONS_MAX, FILES_MAX, Limits, connections_max
from rewake.http_server.listening import listening_socket
from rewake.http_server.server import CUT_SECONDS_MAX, HttpServer

WAITING = b"GET /wait HTTP/1.1\r\n\r\n"


class Stage:
    """A server whose app answers with the body, and waits at a gate for paths with `wait`."""

    def __init__(self, server_limits: Limits | None = None, *, answers_half_closed: bool = True) -> None:
        self.gate = asyncio.Event()
        self.port = 0
        self.server = HttpServer(self._app, server_limits, cancels=True, answers_half_closed=answers_half_closed)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body, is_more = b"", True
        while is_more:
            event = await receive()
            body += event.get("body", b"")
            is_more = event.get("more_body", False)
        if "wait" in scope["path"]:
            await self.gate.wait()
        await send({"type": "http.response.start", "status": 200})
        if "stream" in scope["path"]:
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
            await self.gate.wait()
        await send({"type": "http.response.body", "body": body})

    async def ask(self, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(head)
        return reader, writer

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            await asyncio.sleep(0)


def on_stage(play: Callable[[Stage], Awaitable[None]], make: Callable[[], Stage] = Stage) -> None:
    async def main() -> None:
        stage = make()
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


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers that have ended their side are looked at again without delay."""
    monkeypatch.setattr(half_closed, "FIRST_DELAYS_S", (0.001,) * 5)


@pytest.mark.parametrize("request_", [WAITING, WAITING * 2, b"POST /wait HTTP/1.0\r\ncontent-length: 1\r\n\r\nx"])
@pytest.mark.usefixtures("brief")
def test_a_caller_that_ends_its_side_gets_its_answers(request_: bytes) -> None:
    """As `nc -N` does. Meanwhile it is sent what every client of HTTP/1.1 passes over."""

    async def play(stage: Stage) -> None:
        reader, writer = await stage.ask(request_)
        writer.write_eof()
        await stage.until(lambda: stage.server.exchange_count > 0)
        if request_ == WAITING:
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        stage.gate.set()
        rest = await reader.read()
        assert rest.count(b"HTTP/1.1 200 OK") == request_.count(b"/wait")
        writer.close()

    on_stage(play)


@pytest.mark.usefixtures("brief")
def test_callers_that_leave_are_forgotten_while_their_answers_are_not_there() -> None:
    """To TCP they look as if they had only ended their side, until they are sent something."""

    async def play(stage: Stage) -> None:
        for _ in range(20):
            _, writer = await stage.ask(WAITING)
            await writer.drain()
            await stage.until(lambda: stage.server.exchange_count == 1)
            writer.close()
            await stage.until(lambda: stage.server.connection_count == 0)

    on_stage(play)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"POST /wait HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf"])
def test_a_caller_that_ends_its_side_within_a_request_has_left(sent: bytes) -> None:
    async def play(stage: Stage) -> None:
        reader, writer = await stage.ask(sent)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()

    on_stage(play)


def test_a_reader_that_ends_its_side_within_an_answer_has_left() -> None:
    """It reads a stream, which may have nothing to say for long."""

    async def play(stage: Stage) -> None:
        reader, writer = await stage.ask(b"GET /stream HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"begun")
        writer.write_eof()
        await stage.until(lambda: stage.server.connection_count == 0)
        writer.close()

    on_stage(play)


def test_a_silent_caller_of_an_older_version_is_not_waited_for_for_ever() -> None:
    """It cannot be sent anything before its answer."""

    async def play(stage: Stage) -> None:
        reader, writer = await stage.ask(WAITING.replace(b"1.1", b"1.0"))
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()

    on_stage(play, lambda: Stage(Limits(read_s=0.05)))


def test_a_server_of_attempts_takes_the_end_of_the_other_side_for_the_end() -> None:
    """The Restate server has given the attempt up, and may begin the next one elsewhere."""

    async def play(stage: Stage) -> None:
        reader, writer = await stage.ask(WAITING)
        writer.write_eof()
        assert await reader.read() == b""
        await stage.until(lambda: stage.server.connection_count == 0)
        writer.close()

    on_stage(play, lambda: Stage(answers_half_closed=False))


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
