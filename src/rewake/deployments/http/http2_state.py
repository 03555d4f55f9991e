"""The pure half of an HTTP/2 connection: exchanges on one side, bytes on the other. No socket, no clock.

`receive` takes the peer's bytes and calls the responders; `pump` gives the bytes to send, within the peer's windows.
All bytes of an exchange since the last pump become one DATA frame, or a few for several messages: see FRAMES_PER_TURN.
Only the last frame may be empty, because servers punish many small frames. Exchanges take turns, so a large or slow one
blocks no other. Called by http2.py.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Final

from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes

from rewake.core.model import Blame
from rewake.deployments.http.connect_errors import ConnectionBroken
from rewake.deployments.http.exchange import ClientExchange, HttpOptions
from rewake.deployments.http.http2_frames import FRAMES_PER_SENT, FrameGuard, Goaway, new_connection
from rewake.protocol.peeking import split_messages

TURN_BYTES: Final = 65_536
"""Bytes that an exchange may send before it is another one's turn."""

FRAMES_PER_TURN: Final = 4
"""Frames for the messages of one turn. Each frame wakes one of the waiting tasks of a handler (deployments/waking.py),
and most handlers have two or three. More would be too many: hypercorn stops reading with ten unread chunks, and servers
built on Rust's h2 close a connection that sends many small frames."""

PUMP_BYTES: Final = 262_144
"""Bytes that one pump gives at most, so that the socket can pause it in between."""

WINDOW_DEFAULT_BYTES: Final = 65_535

_HTTP1: Final = b"HTTP/"


class Http2State:
    """One connection's exchanges. is_ready: it has the peer's settings.   is_leaving: it takes no new exchange."""

    def __init__(self, scheme: bytes, authority: bytes, options: HttpOptions) -> None:
        self.exchanges: dict[int, ClientExchange] = {}
        self.is_ready = False
        self.is_leaving = False
        self.has_ping_answer = False
        self._prefix = [(b":scheme", scheme), (b":authority", authority)]
        self._options = options
        self._opened_count = 0
        self._ready: deque[ClientExchange] = deque()
        self._blocked: dict[ClientExchange, None] = {}
        self.guard = FrameGuard()
        self._h2 = _connection(options)

    # What is to be sent

    def begin(self) -> None:
        """Queue the preface and our settings."""
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(self._options.connection_window_bytes - WINDOW_DEFAULT_BYTES)

    @property
    def capacity(self) -> int:
        """How many more exchanges it takes now."""
        if self.is_leaving or not self.is_ready:
            return 0
        limit = min(self._options.streams_per_connection_max, self._h2.remote_settings.max_concurrent_streams)
        return max(limit - len(self.exchanges), 0)

    @property
    def is_blocked(self) -> bool:
        """Whether the peer's windows are closed for all exchanges."""
        return bool(self._blocked) and self._h2.outbound_flow_control_window <= 0

    def open(self, exchange: ClientExchange) -> None:
        """Send the request's head; the caller has checked the capacity."""
        stream_id = self._h2.get_next_available_stream_id()
        exchange.stream_id = stream_id
        is_whole = exchange.is_ended and not exchange.has_data
        head = [(b":method", exchange.method), *self._prefix, (b":path", exchange.target), *exchange.headers]
        self._h2.send_headers(stream_id, head, end_stream=is_whole)
        self.guard.earn()
        exchange.has_sent_end = is_whole
        self.exchanges[stream_id] = exchange
        self._opened_count += 1
        if self._opened_count >= self._options.requests_per_connection_max:
            self.is_leaving = True
        self.mark(exchange)

    def mark(self, exchange: ClientExchange) -> None:
        """Note that the exchange has bytes to send."""
        if not exchange.is_marked and not exchange.has_sent_end and (exchange.has_data or exchange.is_ended):
            exchange.is_marked = True
            self._ready.append(exchange)

    def reset(self, exchange: ClientExchange) -> None:
        """Abort one exchange."""
        if self.exchanges.pop(exchange.stream_id, None) is not None:
            self._blocked.pop(exchange, None)
            self._reset_stream(exchange)

    def _reset_stream(self, exchange: ClientExchange) -> None:
        with contextlib.suppress(StreamClosedError):  # The peer may have closed it in the bytes that are being read.
            self._h2.reset_stream(exchange.stream_id, ErrorCodes.CANCEL)

    def ping(self) -> None:
        self.has_ping_answer = False
        self._h2.ping(b"\0" * 8)

    def leave(self) -> None:
        """Queue a GOAWAY; nothing may follow."""
        self._h2.close_connection()

    def pump(self) -> bytes:
        """Bytes to send now; empty if nothing waits or the windows are closed."""
        ready = self._ready
        budget = PUMP_BYTES
        while ready and budget > 0:
            exchange = ready.popleft()
            exchange.is_marked = False
            if exchange.stream_id in self.exchanges:
                budget -= self._send_turn(exchange)
        return self._h2.data_to_send()

    def _send_turn(self, exchange: ClientExchange) -> int:
        """Send the bytes of one exchange that the windows allow, and the end of its request; returns their count."""
        h2, stream_id = self._h2, exchange.stream_id
        sent = 0
        while exchange.has_data and sent < TURN_BYTES:
            window = min(h2.local_flow_control_window(stream_id), h2.max_outbound_frame_size)
            if window <= 0:
                self._blocked[exchange] = None
                return sent
            data = exchange.take(window)
            sent += len(data)
            *parts, last = _messages_apart(exchange, data)
            for part in parts:
                h2.send_data(stream_id, part)
            is_last = exchange.is_ended and not exchange.has_data
            h2.send_data(stream_id, last, end_stream=is_last)
            self.guard.earn((len(parts) + 1) * FRAMES_PER_SENT)
            exchange.has_sent_end = is_last
        if exchange.has_data:
            self.mark(exchange)
        elif exchange.is_ended and not exchange.has_sent_end:
            exchange.has_sent_end = True
            h2.end_stream(stream_id)
        return sent

    # What came

    def receive(self, data: bytes) -> None:
        """Process the peer's bytes and call the responders. The guard may keep bytes for the next turn.

        Raises ConnectionBroken.
        """
        if not self.is_ready and data.startswith(_HTTP1):
            raise ConnectionBroken("The server answered in HTTP/1.1.", is_http1=True)
        data, goaway = self.guard.feed(data)
        try:
            events = self._h2.receive_data(data)
        except ProtocolError as error:
            raise ConnectionBroken(f"The server broke HTTP/2: {error}") from error
        chunks: dict[ClientExchange, list[bytes]] = {}
        for event in events:
            self._on_event(event, chunks)
        for exchange, parts in chunks.items():
            _deliver(exchange, parts)
        if goaway is not None:
            self._on_goaway(goaway)

    def _on_event(self, event: Event, chunks: dict[ClientExchange, list[bytes]]) -> None:
        """Handle an event of h2. `chunks` joins pieces of bodies, so that a responder gets them in one call."""
        kind = type(event)
        if kind is DataReceived:
            assert isinstance(event, DataReceived)
            stream_id = event.stream_id or 0
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, stream_id)
            exchange = self.exchanges.get(stream_id)
            if exchange is not None and event.data:
                chunks.setdefault(exchange, []).append(event.data)
        elif kind is ResponseReceived:
            assert isinstance(event, ResponseReceived)
            self._on_head(event)
        elif kind is StreamEnded:
            assert isinstance(event, StreamEnded)
            self._on_stream_ended(event.stream_id or 0, chunks)
        elif kind is StreamReset:
            assert isinstance(event, StreamReset)
            self._on_stream_reset(event.stream_id or 0, int(event.error_code or 0), chunks)
        elif kind is WindowUpdated:
            assert isinstance(event, WindowUpdated)
            self._unblock(event.stream_id or 0)
        elif kind is RemoteSettingsChanged:
            self._on_settings()
        elif kind is PingAckReceived:
            self.has_ping_answer = True

    def _on_head(self, event: ResponseReceived) -> None:
        exchange = self.exchanges.get(event.stream_id or 0)
        if exchange is None:
            return
        headers = event.headers or []
        status = next((value for name, value in headers if name == b":status"), b"")
        if len(status) == 3 and status.isdigit():
            exchange.responder.on_head(int(status), headers)
        else:
            exchange.responder.on_error("The server answered without a status.")
            exchange.reset()

    def _on_stream_ended(self, stream_id: int, chunks: dict[ClientExchange, list[bytes]]) -> None:
        exchange = self.exchanges.get(stream_id)
        if exchange is None:
            return
        _deliver(exchange, chunks.pop(exchange, ()))
        if self.exchanges.pop(stream_id, None) is None:
            return  # The engine has aborted it after this answer.
        self._blocked.pop(exchange, None)
        if not exchange.has_sent_end:
            self._end_request(exchange)
        exchange.responder.on_end()

    def _end_request(self, exchange: ClientExchange) -> None:
        """The answer ended before the request: close the request.

        If the engine has ended the request, an empty last frame is sent, otherwise a reset: hypercorn drops the whole
        connection if a DATA frame arrives for a stream that it has answered.
        """
        if exchange.is_ended and not exchange.has_data:
            exchange.has_sent_end = True
            self._h2.end_stream(exchange.stream_id)
        else:
            self._reset_stream(exchange)

    def _on_stream_reset(self, stream_id: int, error_code: int, chunks: dict[ClientExchange, list[bytes]]) -> None:
        exchange = self.exchanges.get(stream_id)
        if exchange is not None:
            _deliver(exchange, chunks.pop(exchange, ()))
            self.exchanges.pop(stream_id, None)
            self._blocked.pop(exchange, None)
            exchange.responder.on_error(f"The server reset the stream ({_error_name(error_code)}).")

    def _on_settings(self) -> None:
        self.is_ready = True
        if self._h2.remote_settings.max_concurrent_streams == 0:
            self.is_leaving = True
        self._unblock(0)

    def _unblock(self, stream_id: int) -> None:
        """The peer opened the window of an exchange, or of the connection (stream_id 0)."""
        if stream_id:
            exchange = self.exchanges.get(stream_id)
            freed = [exchange] if exchange in self._blocked and exchange is not None else []
        else:
            freed = list(self._blocked)
        for exchange in freed:
            del self._blocked[exchange]
            self.mark(exchange)

    def _on_goaway(self, goaway: Goaway) -> None:
        """The peer leaves: exchanges that it has not accepted fail now, the others may finish."""
        self.is_leaving = True
        reason = f"The server closed the connection ({_error_name(goaway.error_code)})."
        for stream_id in [each for each in self.exchanges if each > goaway.last_stream_id]:
            exchange = self.exchanges.pop(stream_id)
            self._blocked.pop(exchange, None)
            exchange.responder.on_error(reason, blame=Blame.LOST)

    def fail_all(self, message: str) -> None:
        """The connection is lost: fail every exchange."""
        self.is_leaving = True
        exchanges, self.exchanges = self.exchanges, {}
        self._blocked.clear()
        self._ready.clear()
        for exchange in exchanges.values():
            exchange.responder.on_error(message, blame=Blame.LOST)


def _connection(options: HttpOptions) -> H2Connection:
    """A connection without validation of headers: ours are checked at registration, and we read only three others."""
    settings = {SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: options.stream_window_bytes}
    return new_connection(client_side=True, checks_headers=False, settings=settings)


def _messages_apart(exchange: ClientExchange, data: bytes) -> list[bytes]:
    """Split `data` into frames: one for each of its first messages.

    The journal, in the first turn, is not split: a handler reads it before its tasks wait. Data that begins inside a
    message is cut anywhere, which is harmless.
    """
    is_first, exchange.has_sent_start = not exchange.has_sent_start, True
    return [data] if is_first else split_messages(data, FRAMES_PER_TURN)


def _deliver(exchange: ClientExchange, parts: list[bytes] | tuple[()]) -> None:
    if parts:
        exchange.responder.on_data(parts[0] if len(parts) == 1 else b"".join(parts))


def _error_name(code: int) -> str:
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"error {code}"
