"""A server of the h2 package at the other end of an Http2State, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event, RequestReceived, StreamEnded, StreamReset
from hyperframe.frame import DataFrame, Frame

from rewake.core.model import Blame
from rewake.deployments.http.exchange import ClientExchange, HttpOptions
from rewake.deployments.http.http2_state import Http2State

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Heard:
    """A responder that keeps what it hears."""

    def __init__(self) -> None:
        self.heads: list[tuple[int, dict[bytes, bytes]]] = []
        self.chunks: list[bytes] = []
        self.ends: list[str | None] = []
        self.blame: Blame | None = None

    def on_head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.heads.append((status, dict(headers)))

    def on_data(self, chunk: bytes) -> None:
        self.chunks.append(chunk)

    def on_end(self) -> None:
        self.ends.append(None)

    def on_error(self, message: str, *, blame: Blame = Blame.OWN) -> None:
        self.ends.append(message)
        self.blame = blame


class Waiting(Heard):
    """A responder one can wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.done = asyncio.Event()

    def on_end(self) -> None:
        super().on_end()
        self.done.set()

    def on_error(self, message: str, *, blame: Blame = Blame.OWN) -> None:
        super().on_error(message, blame=blame)
        self.done.set()


class Carried:
    """Carrier that passes everything to the state, as the shell does."""

    def __init__(self, state: Http2State) -> None:
        self.state = state

    def on_written(self, exchange: ClientExchange) -> None:
        self.state.mark(exchange)

    on_finished = on_written

    def on_reset(self, exchange: ClientExchange) -> None:
        self.state.reset(exchange)


class Pair:
    """An Http2State that has met its peer. settings: what the peer announces."""

    def __init__(self, options: HttpOptions | None = None, settings: dict[int, int] | None = None) -> None:
        self.state = Http2State(b"http", b"host:1", options or HttpOptions())
        self.peer = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.frames: list[Frame] = []
        self._pending = b""
        self.state.begin()
        self.peer.initiate_connection()
        if settings:
            self.peer.update_settings(settings)
        self.sync()

    def open(self, *, is_ended: bool = False) -> tuple[ClientExchange, Heard]:
        exchange, heard = ClientExchange(b"POST", b"/invoke/a/b", [(b"x", b"y")]), Heard()
        exchange.responder = heard
        exchange.carrier = Carried(self.state)
        exchange.is_ended = is_ended
        self.state.open(exchange)
        return exchange, heard

    def sent(self) -> list[Event]:
        """What the peer has heard since, reading everything we have to send."""
        events: list[Event] = []
        while data := self.state.pump():
            self._note(data)
            events += self.peer.receive_data(data)
        return events

    def sync(self) -> list[Event]:
        """Let both sides say all they have."""
        events = self.sent()
        while data := self.peer.data_to_send():
            self.state.receive(data)
            events += self.sent()
        return events

    def answer(self, stream_id: int, *chunks: bytes, ends: bool = True) -> None:
        self.peer.send_headers(stream_id, [(b":status", b"200"), (b"content-type", b"text/plain")])
        for chunk in chunks:
            self.peer.send_data(stream_id, chunk)
        if ends:
            self.peer.end_stream(stream_id)

    def _note(self, data: bytes) -> None:
        self._pending += data.removeprefix(PREFACE)
        while len(self._pending) >= 9:
            frame, size = Frame.parse_frame_header(memoryview(self._pending[:9]))
            frame.parse_body(memoryview(self._pending[9 : 9 + size]))
            self._pending = self._pending[9 + size :]
            self.frames.append(frame)

    def data_frames(self, stream_id: int) -> list[tuple[bytes, bool]]:
        """DATA frames we sent on a stream: payload, and whether it was the end."""
        return [
            (frame.data, "END_STREAM" in frame.flags)
            for frame in self.frames
            if isinstance(frame, DataFrame) and frame.stream_id == stream_id
        ]


def of(kind: type[Any], events: list[Event]) -> list[Any]:
    return [event for event in events if type(event) is kind]


__all__ = ["Heard", "Pair", "RequestReceived", "StreamEnded", "StreamReset", "of"]
