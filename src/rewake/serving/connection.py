"""One HTTP/2 connection of a Restate server: its requests go to the ASGI app, each in a task of its own.

It is full duplex. http_server/http1.py takes over connections that do not begin as HTTP/2. Bytes that handlers send
within a few turns of the event loop leave in one write, with one DATA frame per stream; only the last frame may be
empty. The connection's window opens as bytes arrive. A stream's window opens as its app receives them, so a handler
that does not read blocks only itself. Called by server.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote

import structlog
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset, WindowUpdated
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes

from rewake.deployments.asgi import REQUEST_SCOPE
from rewake.deployments.http.connect_errors import ConnectionBroken
from rewake.deployments.http.http2_frames import FrameGuard, new_connection
from rewake.deployments.http.read_turns import ReadTurns
from rewake.deployments.waking import Waker, watching
from rewake.http_server.connection import Connection, Site
from rewake.http_server.http1 import Http1ServerConnection
from rewake.serving.stream import Http2Stream, describe_failure

STREAMS_MAX: Final = 10_000
"""Attempts at once on one connection. A waiting one costs little; a Restate server queues those above the limit."""

STREAM_WINDOW_BYTES: Final = 1024 * 1024
CONNECTION_WINDOW_BYTES: Final = 16 * 1024 * 1024
UNREAD_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes on one connection that handlers have not read; above it the connection's window stays closed."""

WINDOW_DEFAULT_BYTES: Final = 65_535
TURN_BYTES: Final = 65_536
"""Bytes that a stream may send before it is another one's turn."""

FLUSH_HOPS: Final = 5
"""Turns of the event loop that a handler's bytes wait for further ones, so that a Run command and its result leave
together. The result itself does not wait: if the process were killed now, the step would run again. Without this wait
ten steps cost both processes a tenth more CPU time with 16 callers, and a quarter more with one."""

_SETTINGS: Final = {
    SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS_MAX,
    SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
}
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_GOAWAY_HEAD: Final = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00"  # a frame of type GOAWAY, 8 bytes long, on stream 0
_NO_ERROR: Final = b"\x00\x00\x00\x00"
_STREAM_HEADERS: Final = frozenset(
    {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"proxy-connection"}
)

log = structlog.get_logger("rewake.deployments")


class Http2ServerConnection(Connection):
    """One HTTP/2 connection."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.streams: dict[int, Http2Stream] = {}
        self.waker = Waker(self._loop)
        self._h2 = new_connection(client_side=False, checks_headers=True, settings=_SETTINGS)
        self._guard = FrameGuard()
        self._turns = ReadTurns(self._loop, self._guard, self._receive)
        self._unread_bytes = 0
        self._preface = b""
        self._ready: deque[Http2Stream] = deque()
        self._blocked: dict[Http2Stream, None] = {}
        self._consumed_bytes = 0
        self._last_stream_id = 0
        self._is_leaving = False
        self._is_flush_due = False
        self._is_flush_urgent = False

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        if self._preface != _PREFACE:
            taken = self._read_preface(data)
            if taken is None:
                return
            data = taken
        self._turns.feed(self._transport, data)

    def _receive(self, data: bytes) -> None:
        """Process as many bytes as one turn of the event loop may take."""
        try:
            data, _ = self._guard.feed(data)  # After a GOAWAY the peer opens no streams; its open ones may finish.
            events = self._h2.receive_data(data)
        except (ConnectionBroken, ProtocolError) as error:
            log.warning("connection_broken", reason=str(error))
            self._turns.stop()
            self._write()
            self._transport.close()
            return
        chunks: dict[Http2Stream, list[bytes]] = {}
        for event in events:
            self._on_event(event, chunks)
        for stream, parts in chunks.items():
            self._feed(stream, parts)
        self._pump()

    def resume_writing(self) -> None:
        self._is_write_paused = False
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._turns.stop()
        super().connection_lost(exc)
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            stream.lose()

    # server.py

    @property
    def exchange_count(self) -> int:
        return len(self.streams)

    @property
    def is_idle(self) -> bool:
        return not self.streams

    def check(self, now: float) -> None:
        """Close a slow connection. A peer that has sent a request may keep its connection without limit."""
        if self._is_write_paused:
            self._check_writing(now)
        elif not self._last_stream_id and now - self.moved_at > self.site.limits.read_s:
            self._transport.close()

    def leave(self) -> None:
        """Accept no new stream, and close with the last one."""
        if self._is_leaving or self._is_deaf:
            return
        self._is_leaving = True
        if self._preface == _PREFACE:
            # Written by hand: after h2's own GOAWAY no stream could go on.
            self._transport.write(_GOAWAY_HEAD + self._last_stream_id.to_bytes(4, "big") + _NO_ERROR)
        if not self.streams:
            self._transport.close()

    def cut(self) -> None:
        """Abort the streams that are not answered completely."""
        for stream in list(self.streams.values()):
            self._reset(stream, ErrorCodes.CANCEL)
            stream.lose()
        self._write()
        self._transport.close()

    # Http2Stream

    def on_head(self, stream: Http2Stream, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        if stream.id not in self.streams or stream.has_sent_head:
            return
        stream.has_sent_head = True
        head = [(name.lower(), value) for name, value in headers if name.lower() not in _STREAM_HEADERS]
        with contextlib.suppress(StreamClosedError):
            self._guard.earn()
            self._h2.send_headers(stream.id, [(b":status", b"%d" % status), *head])
        self._flush_soon()

    def on_unsent(self, stream: Http2Stream, *, is_urgent: bool) -> None:
        self._mark(stream)
        if is_urgent and not self._is_flush_urgent:
            self._is_flush_urgent = True
            self._loop.call_soon(self._flush)
        else:
            self._flush_soon()

    def on_consumed(self, stream: Http2Stream, size: int) -> None:
        if stream.id not in self.streams:
            return
        stream.consumed_bytes += size
        self._let_go(size)
        if stream.consumed_bytes >= STREAM_WINDOW_BYTES // 2:
            with contextlib.suppress(StreamClosedError):
                self._h2.increment_flow_control_window(stream.consumed_bytes, stream.id)
            stream.consumed_bytes = 0
            self._flush_soon()

    # What came

    def _read_preface(self, data: bytes) -> bytes | None:
        """All bytes so far, once they begin like HTTP/2. Any other beginning goes to the HTTP/1.1 connection."""
        self._preface += data
        if not _PREFACE.startswith(self._preface[: len(_PREFACE)]):
            self._hand_over()
            return None
        if len(self._preface) < len(_PREFACE):
            return None
        data, self._preface = self._preface, _PREFACE
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES - WINDOW_DEFAULT_BYTES)
        # The guard reads frames only, and the preface is not one.
        self._h2.receive_data(_PREFACE)
        return data[len(_PREFACE) :]

    def _hand_over(self) -> None:
        self.site.on_lost(self)
        self._is_deaf = True
        successor = Http1ServerConnection(self.site)
        self._transport.set_protocol(successor)
        successor.connection_made(self._transport)
        successor.data_received(self._preface)

    def _on_event(self, event: Event, chunks: dict[Http2Stream, list[bytes]]) -> None:
        """Handle an event of h2. `chunks` joins pieces of bodies: one by one they would take 40 times their size."""
        kind = type(event)
        if kind is DataReceived:
            assert isinstance(event, DataReceived)
            self._on_data(event, chunks)
        elif kind is RequestReceived:
            assert isinstance(event, RequestReceived)
            self._on_request(event)
        elif kind is StreamEnded:
            assert isinstance(event, StreamEnded)
            stream = self.streams.get(event.stream_id or 0)
            if stream is not None:
                if parts := chunks.pop(stream, None):
                    self._feed(stream, parts)
                stream.finish_request()
        elif kind is StreamReset:
            assert isinstance(event, StreamReset)
            stream = self.streams.get(event.stream_id or 0)
            if stream is not None:
                chunks.pop(stream, None)
                self._forget(stream)
                stream.lose()
        elif kind is WindowUpdated:
            assert isinstance(event, WindowUpdated)
            self._unblock(event.stream_id or 0)

    def _on_data(self, event: DataReceived, chunks: dict[Http2Stream, list[bytes]]) -> None:
        size = event.flow_controlled_length or 0
        self._consumed_bytes += size
        self._open_window()
        stream = self.streams.get(event.stream_id or 0)
        if stream is not None:
            stream.consumed_bytes += size - len(event.data or b"")  # Padding, which no app receives.
            if event.data:
                chunks.setdefault(stream, []).append(event.data)

    def _feed(self, stream: Http2Stream, parts: list[bytes]) -> None:
        data = b"".join(parts)
        self._unread_bytes += len(data)
        stream.feed(data)

    def _open_window(self) -> None:
        """Open the connection's window, unless too many bytes are still unread."""
        if self._consumed_bytes >= CONNECTION_WINDOW_BYTES // 2 and self._unread_bytes <= UNREAD_BYTES_MAX:
            self._h2.increment_flow_control_window(self._consumed_bytes)
            self._consumed_bytes = 0

    def _let_go(self, size: int) -> None:
        """Count bytes as no longer held: the app has received them, or they are discarded."""
        self._unread_bytes -= size
        if self._consumed_bytes >= CONNECTION_WINDOW_BYTES // 2:
            self._open_window()
            self._flush_soon()

    def _on_request(self, event: RequestReceived) -> None:
        stream_id = event.stream_id or 0
        if self._is_leaving:
            self._h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        self._last_stream_id = stream_id
        stream = self.streams[stream_id] = Http2Stream(self, stream_id)
        stream.task = self._loop.create_task(self._run(stream, _scope(event)), context=watching(stream))
        stream.task.add_done_callback(lambda task: self._on_task_done(stream, task))

    async def _run(self, stream: Http2Stream, scope: dict[str, Any]) -> None:
        await self.site.app(scope, stream.receive, stream.send)

    def _on_task_done(self, stream: Http2Stream, task: asyncio.Task[None]) -> None:
        """The app returned or raised. If it has not ended its answer, reset the stream."""
        stream.task = stream.channel = None  # Both refer back to the stream; without them there is no cycle to collect.
        stream.is_deaf = True
        if (reason := describe_failure(task)) is not None:
            log.warning("attempt_broke", stream=stream.id, reason=reason)
        if not stream.is_ended and stream.id in self.streams:
            self._reset(stream, ErrorCodes.INTERNAL_ERROR)
            self._flush_soon()

    # What is to be sent

    def _mark(self, stream: Http2Stream) -> None:
        if not stream.is_marked and stream not in self._blocked and stream.id in self.streams:
            stream.is_marked = True
            self._ready.append(stream)

    def _flush_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._hop, FLUSH_HOPS)

    def _hop(self, hops: int) -> None:
        if hops:
            self._loop.call_soon(self._hop, hops - 1)
        else:
            self._is_flush_due = False
            self._pump()

    def _flush(self) -> None:
        self._is_flush_urgent = False
        self._pump()

    def _pump(self) -> None:
        """Write waiting bytes, as far as the windows and the socket allow."""
        while self._ready and not self._is_write_paused:
            stream = self._ready.popleft()
            stream.is_marked = False
            if stream.id in self.streams:
                self._send_turn(stream)
        self._write()

    def _send_turn(self, stream: Http2Stream) -> None:
        h2, stream_id = self._h2, stream.id
        sent = 0
        while stream.unsent_bytes and sent < TURN_BYTES:
            window = min(h2.local_flow_control_window(stream_id), h2.max_outbound_frame_size)
            if window <= 0:
                self._blocked[stream] = None
                return
            data = stream.take_some(window)
            sent += len(data)
            self._guard.earn()
            h2.send_data(stream_id, data, end_stream=stream.is_ended and not stream.unsent_bytes)
            if stream.is_ended and not stream.unsent_bytes:
                self._end(stream)
                return
        if stream.unsent_bytes:
            self._mark(stream)
        elif stream.is_ended:
            h2.end_stream(stream_id)
            self._end(stream)

    def _end(self, stream: Http2Stream) -> None:
        """The answer is complete: end the stream. The rest of its request is not needed."""
        if not stream.is_request_over:
            self._reset(stream, ErrorCodes.NO_ERROR)
        else:
            self._forget(stream)

    def _reset(self, stream: Http2Stream, code: ErrorCodes) -> None:
        with contextlib.suppress(StreamClosedError):
            self._h2.reset_stream(stream.id, code)
        self._forget(stream)

    def _forget(self, stream: Http2Stream) -> None:
        if self.streams.pop(stream.id, None) is not None:
            self._let_go(stream.unread_bytes)
        self._blocked.pop(stream, None)
        if not self.streams and self._is_leaving:
            self._loop.call_soon(self._close)

    def _close(self) -> None:
        self._write()
        self._transport.close()

    def _unblock(self, stream_id: int) -> None:
        """The peer opened the window of a stream, or of the connection (stream_id 0)."""
        freed = [each for each in self._blocked if stream_id in (0, each.id)]
        for stream in freed:
            del self._blocked[stream]
            self._mark(stream)

    def _write(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)


def _scope(event: RequestReceived) -> dict[str, Any]:
    """The ASGI scope of a request."""
    scope = REQUEST_SCOPE.copy()
    headers: list[tuple[bytes, bytes]] = []
    for name, value in event.headers or []:
        if name == b":path":
            raw_path, _, query = value.partition(b"?")
            scope["raw_path"], scope["query_string"] = raw_path, query
            scope["path"] = unquote(raw_path.decode("latin-1"))
        elif name == b":method":
            scope["method"] = value.decode("latin-1")
        elif name == b":authority":
            headers.append((b"host", value))
        elif not name.startswith(b":"):
            headers.append((name, value))
    scope["headers"] = headers
    return scope
