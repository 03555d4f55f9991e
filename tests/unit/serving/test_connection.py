"""One HTTP/2 connection of `rewake serve`, fed by a real HTTP/2 client without a socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.settings import SettingCodes
from hyperframe.frame import PingFrame

from rewake.deployments.http.http2_frames import FRAMES_PER_TURN_MAX, IDLE_FRAMES_MAX
from rewake.http_server.limits import UNSENT_BYTES_MAX
from rewake.http_server.server import HttpServer
from rewake.protocol.framing import encode_frame
from rewake.serving import connection
from rewake.serving.connection import FLUSH_HOPS, STREAM_WINDOW_BYTES, Http2ServerConnection

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
START = {"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", b"text/plain")]}
HEADERS = [(":method", "POST"), (":scheme", "http"), (":authority", "here"), (":path", "/invoke/A%20b/c?x=1")]


class Wire(asyncio.Transport):
    """A socket that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False
        self.protocol: Any = None

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def write(self, data: Any) -> None:
        assert not self.is_closed
        self.written += bytes(data)

    is_reading_paused = False

    def pause_reading(self) -> None:
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        self.is_reading_paused = False

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def take(self) -> bytes:
        written, self.written = self.written, b""
        return written


class Peer:
    """The client, and the connection it talks to."""

    def __init__(self, app: App, *, window_bytes: int = 65_535) -> None:
        self.wire = Wire()
        self.server = HttpServer(app, cancels=True, protocol=Http2ServerConnection)
        self.connection = Http2ServerConnection(self.server)
        self.connection.connection_made(self.wire)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.h2.initiate_connection()
        self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window_bytes})
        self.send()

    def send(self, piece_bytes: int = 1 << 30) -> None:
        data = self.h2.data_to_send()
        for start in range(0, len(data), piece_bytes):
            self.connection.data_received(data[start : start + piece_bytes])

    def request(self, body: bytes = b"", *, end: bool = True) -> int:
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, HEADERS)
        self.h2.send_data(stream_id, body, end_stream=end)
        self.send()
        return stream_id

    async def hears(self) -> list[Event]:
        """What the connection sent, once the loop has nothing more to do."""
        for _ in range(4 * FLUSH_HOPS):
            await asyncio.sleep(0)
        return self.h2.receive_data(self.wire.take())


def of_kind(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def body_of(events: list[Event]) -> bytes:
    pieces: list[bytes] = [event.data for event in of_kind(events, DataReceived)]
    return b"".join(pieces)


async def read_all(receive: Any) -> bytes:
    body: bytes = b""
    while True:
        event = await receive()
        assert event["type"] == "http.request"
        body += event["body"]
        if not event["more_body"]:
            return body


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    body = await read_all(receive)
    await send(START)
    await send({"type": "http.response.body", "body": body, "more_body": False})


def test_a_request_and_its_answer() -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope)
        await echo(scope, receive, send)

    async def main() -> None:
        peer = Peer(app)
        peer.request(b"hello")
        events = await peer.hears()
        (head,) = of_kind(events, ResponseReceived)
        assert dict(head.headers) == {b":status": b"200", b"content-type": b"text/plain"}
        assert body_of(events) == b"hello"
        assert of_kind(events, StreamEnded)
        assert not of_kind(events, StreamReset)
        assert peer.connection.is_idle

    asyncio.run(main())
    (scope,) = seen
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/invoke/A b/c", b"/invoke/A%20b/c", b"x=1")
    assert (scope["method"], scope["http_version"]) == ("POST", "2")
    assert scope["headers"] == [(b"host", b"here")]


@pytest.mark.parametrize("piece_bytes", [1, 7, 1 << 30])
def test_bytes_may_come_in_any_pieces(piece_bytes: int) -> None:
    async def main() -> None:
        peer = Peer(echo)
        stream_id = peer.h2.get_next_available_stream_id()
        peer.h2.send_headers(stream_id, HEADERS)
        peer.h2.send_data(stream_id, b"hello", end_stream=True)
        peer.send(piece_bytes)
        assert body_of(await peer.hears()) == b"hello"

    asyncio.run(main())


def test_what_is_said_at_once_leaves_as_one_frame() -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send(START)
        for text in (b"run", b"", b"result"):
            await send({"type": "http.response.body", "body": text, "more_body": True})
            await asyncio.sleep(0)
        await read_all(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def main() -> None:
        peer = Peer(app)
        stream_id = peer.request(end=False)
        events = await peer.hears()
        assert [event.data for event in of_kind(events, DataReceived)] == [b"runresult"]
        peer.h2.end_stream(stream_id)
        peer.send()
        events = await peer.hears()
        assert body_of(events) == b""
        assert of_kind(events, StreamEnded)

    asyncio.run(main())


def test_the_result_of_a_step_does_not_wait() -> None:
    """A killed process does the steps again whose results it has not sent, so nothing delays these."""
    command, result = encode_frame(0x0411, b"run"), encode_frame(0x0005, b"result")

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": command, "more_body": True})
        for _ in range(2):
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": command + result, "more_body": True})
        await asyncio.Event().wait()

    async def main() -> None:
        peer = Peer(app)
        peer.request()
        for _ in range(FLUSH_HOPS - 1):
            await asyncio.sleep(0)
        events = peer.h2.receive_data(peer.wire.take())
        assert [event.data for event in of_kind(events, DataReceived)] == [command + command + result]
        peer.connection.cut()

    asyncio.run(main())


def test_both_ways_at_the_same_time() -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send(START)
        while (event := await receive())["more_body"]:
            await send({"type": "http.response.body", "body": event["body"].upper(), "more_body": True})
        await send({"type": "http.response.body"})

    async def main() -> None:
        peer = Peer(app)
        stream_id = peer.request(b"one", end=False)
        assert body_of(await peer.hears()) == b"ONE"
        peer.h2.send_data(stream_id, b"two")
        peer.send()
        assert body_of(await peer.hears()) == b"TWO"
        peer.h2.end_stream(stream_id)
        peer.send()
        assert of_kind(await peer.hears(), StreamEnded)

    asyncio.run(main())


def test_a_peer_that_reads_slowly_makes_the_app_wait() -> None:
    size = UNSENT_BYTES_MAX + 100_000
    progress: list[str] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": bytes(size), "more_body": True})
        progress.append("sent")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def main() -> None:
        peer = Peer(app, window_bytes=1_000)
        stream_id = peer.request()
        other = peer.request()
        got = len(body_of([event for event in await peer.hears() if getattr(event, "stream_id", 0) == stream_id]))
        assert (got, progress) == (1_000, [])
        peer.h2.increment_flow_control_window(4 * size)
        for each in (stream_id, other):
            peer.h2.increment_flow_control_window(2 * size, each)
        peer.send()
        events = await peer.hears()
        assert len(body_of([event for event in events if getattr(event, "stream_id", 0) == stream_id])) == size - 1_000
        assert progress == ["sent", "sent"]
        assert {event.stream_id for event in of_kind(events, StreamEnded)} == {stream_id, other}

    asyncio.run(main())


def test_an_app_that_does_not_read_stops_only_itself() -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["headers"][-1] == (b"lazy", b"yes"):
            await asyncio.Event().wait()
        await echo(scope, receive, send)

    async def main() -> None:
        peer = Peer(app)
        await peer.hears()
        lazy = peer.h2.get_next_available_stream_id()
        peer.h2.send_headers(lazy, [*HEADERS, ("lazy", "yes")])
        for _ in range(STREAM_WINDOW_BYTES // 16_384):
            peer.h2.send_data(lazy, bytes(16_384))
        peer.send()
        assert peer.h2.local_flow_control_window(lazy) == 0
        sent = 0
        stream_id = peer.request(end=False)
        while sent < 3 * STREAM_WINDOW_BYTES:  # More than its window, which opens as the app reads.
            peer.h2.send_data(stream_id, bytes(16_384))
            sent += 16_384
            peer.send()
            assert not of_kind(await peer.hears(), StreamReset)
        peer.connection.cut()

    asyncio.run(main())


def test_a_reset_stops_the_app() -> None:
    ended: list[str] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append((await receive())["type"])
            raise

    async def main() -> None:
        peer = Peer(app)
        stream_id = peer.request()
        await peer.hears()
        peer.h2.reset_stream(stream_id)
        peer.send()
        await peer.hears()
        peer.request()
        await peer.hears()
        peer.connection.connection_lost(None)
        await peer.hears()

    asyncio.run(main())
    assert ended == ["http.disconnect", "http.disconnect"]


def test_an_app_that_breaks_is_a_reset() -> None:
    async def raises(scope: dict[str, Any], receive: Any, send: Any) -> None:
        raise ValueError("no")

    async def stops_in_the_middle(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    async def main() -> None:
        for app in (raises, stops_in_the_middle):
            peer = Peer(app)
            peer.request()
            events = await peer.hears()
            assert [int(event.error_code) for event in of_kind(events, StreamReset)] == [2]
            assert peer.connection.is_idle

    asyncio.run(main())


def test_an_answer_before_the_end_of_the_request_closes_it() -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"enough", "more_body": False})

    async def main() -> None:
        peer = Peer(app)
        stream_id = peer.request(b"a", end=False)
        events = await peer.hears()
        assert body_of(events) == b"enough"
        assert of_kind(events, StreamEnded)
        assert [int(event.error_code) for event in of_kind(events, StreamReset)] == [0]
        peer.request(b"b")
        assert body_of(await peer.hears()) == b"enough"
        assert stream_id == 1

    asyncio.run(main())


def test_after_its_answer_an_app_hears_that_nobody_listens() -> None:
    heard: list[Any] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"early", "more_body": False})
        await asyncio.sleep(0)  # the answer leaves before the request is read
        heard.extend([await receive(), await receive()])

    async def main() -> None:
        peer = Peer(app)
        peer.request(b"late")
        assert body_of(await peer.hears()) == b"early"
        assert [event["type"] for event in heard] == ["http.request", "http.disconnect"]
        assert (heard[0]["body"], peer.connection._unread_bytes) == (b"late", 0)

    asyncio.run(main())


def test_a_body_before_its_head_is_a_reset() -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.body", "body": b"x", "more_body": False})

    async def main() -> None:
        peer = Peer(app)
        peer.request()
        assert of_kind(await peer.hears(), StreamReset)

    asyncio.run(main())


def test_leaving_lets_streams_finish_and_takes_no_new_one() -> None:
    go_on = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await go_on.wait()
        await echo(scope, receive, send)

    async def main() -> None:
        peer = Peer(app)
        await peer.hears()
        peer.request(b"old")
        # What is on its way when the goodbye arrives is refused, and can be sent elsewhere.
        peer.connection.leave()
        peer.request(b"new")
        frames = peer.wire.take()
        goaway = frames[frames.index(b"\x07\x00\x00\x00\x00\x00") - 3 :][:17]
        assert goaway[9:17] == b"\x00\x00\x00\x01" + b"\x00\x00\x00\x00"
        events = peer.h2.receive_data(frames.replace(goaway, b""))
        assert not of_kind(events, ConnectionTerminated)
        assert [(event.stream_id, int(event.error_code)) for event in of_kind(events, StreamReset)] == [(3, 7)]
        assert not peer.wire.is_closed
        go_on.set()
        assert body_of(await peer.hears()) == b"old"
        assert peer.wire.is_closed

    asyncio.run(main())


def test_windows_open_again() -> None:
    async def main() -> None:
        peer = Peer(echo, window_bytes=STREAM_WINDOW_BYTES)
        await peer.hears()
        stream_id = peer.request(end=False)
        opened: set[int] = set()
        for _ in range(40):
            peer.h2.send_data(stream_id, bytes(16_384))
            peer.send()
            opened |= {event.stream_id for event in of_kind(await peer.hears(), WindowUpdated)}
        assert opened == {stream_id}

    asyncio.run(main())


@pytest.mark.parametrize("piece_bytes", [1, 1 << 30])
def test_http1_is_handed_over(piece_bytes: int) -> None:
    async def main() -> None:
        wire = Wire()
        server = HttpServer(echo, protocol=Http2ServerConnection)
        connection = Http2ServerConnection(server)
        connection.connection_made(wire)
        request = b"POST /discover HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi"
        for start in range(0, len(request), piece_bytes):
            (wire.protocol or connection).data_received(request[start : start + piece_bytes])
        assert server.connection_count == 1
        for _ in range(5):
            await asyncio.sleep(0)
        assert wire.take().endswith(b"\r\n\r\nhi")

    asyncio.run(main())


@pytest.mark.parametrize(
    "garbage", [b"\xff" * 64, b"\x00\x00\x04\x01\x04\x00\x00\x00\x00abcd", b"\xff\xff\xff\x00" * 9]
)
def test_garbage_closes_the_connection(garbage: bytes) -> None:
    async def main() -> None:
        peer = Peer(echo)
        peer.connection.data_received(garbage)
        assert peer.wire.is_closed
        with contextlib.suppress(Exception):
            await peer.hears()

    asyncio.run(main())


def test_a_flood_is_taken_in_turns_and_kept_as_one_piece() -> None:
    """A million chunks of one byte took 40 times their size, and the app's process stood still while they came."""
    sizes: list[int] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        while True:
            event = await receive()
            sizes.append(len(event["body"]))
            if not event["more_body"]:
                break
        await send(START)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def main() -> None:
        peer = Peer(app)
        count = 4 * FRAMES_PER_TURN_MAX
        stream_id = peer.request(b"", end=False)
        await peer.hears()
        for _ in range(count):
            peer.h2.send_data(stream_id, b"x")
        peer.h2.end_stream(stream_id)
        peer.send()
        assert peer.wire.is_reading_paused
        events = await peer.hears()
        assert not peer.wire.is_reading_paused
        assert of_kind(events, StreamEnded)
        assert sum(sizes) == count and len(sizes) <= 7

    asyncio.run(main())


def test_a_peer_that_floods_without_end_is_cut_off() -> None:
    async def main() -> None:
        peer = Peer(echo)
        peer.connection.data_received(PingFrame(0, b"12345678").serialize() * (2 * IDLE_FRAMES_MAX))
        for _ in range(2 * IDLE_FRAMES_MAX // FRAMES_PER_TURN_MAX):
            await asyncio.sleep(0)
        assert peer.wire.is_closed
        assert len(peer.wire.written) <= 17 * IDLE_FRAMES_MAX + 1_000  # no more acks than that are kept

    asyncio.run(main())


def test_what_handlers_do_not_read_is_bounded_for_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The window of the connection stays shut until they do; a stream that is reset takes its bytes along."""
    monkeypatch.setattr(connection, "UNREAD_BYTES_MAX", 1_000)
    go_on = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await go_on.wait()
        await echo(scope, receive, send)

    async def main() -> None:
        peer = Peer(app)
        await peer.hears()
        monkeypatch.setattr(connection, "CONNECTION_WINDOW_BYTES", 4_000)
        first, second = (peer.request(b"x" * 1_500, end=False) for _ in range(2))
        opened = of_kind(await peer.hears(), WindowUpdated)
        assert not [each for each in opened if each.stream_id == 0]
        peer.h2.reset_stream(first)
        peer.send()
        assert not [each for each in of_kind(await peer.hears(), WindowUpdated) if each.stream_id == 0]
        peer.h2.end_stream(second)
        peer.send()
        go_on.set()
        events = await peer.hears()
        assert [each.delta for each in of_kind(events, WindowUpdated) if each.stream_id == 0] == [3_000]

    asyncio.run(main())
