"""Hostile HTTP/2 on the port of `rewake serve`: what is no request ends its connection, and others are answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded
from hostile_ports import FLOOD_BYTES_MAX, echo
from hyperframe.frame import ContinuationFrame, HeadersFrame

from rewake.http_server.listening import listening_socket
from rewake.serving.server import DeploymentServer

Headers = list[tuple[str, str]]
HEAD: Headers = [(":method", "POST"), (":path", "/headers"), (":scheme", "http"), (":authority", "test")]
FLOOD_TAKEN_BYTES_MAX = 16 << 20


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server on a loop of its own thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    listener = listening_socket("127.0.0.1", 0, backlog=8)
    server = DeploymentServer(echo)
    asyncio.run_coroutine_threadsafe(server.start(listener), loop).result(10)
    try:
        yield listener.getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Peer:
    """One connection that checks nothing of what it sends."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.http = H2Connection(
            H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="utf-8")
        )
        self.http.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.socket.sendall(self.http.data_to_send())

    def ask(self, headers: Headers, trailers: Headers | None = None) -> tuple[int, bytes]:
        """Status and body; 0 and the name of the error when the server ends the connection."""
        self.http.send_headers(1, HEAD + headers)
        self.http.send_data(1, b"hi", end_stream=trailers is None)
        if trailers is not None:
            self.http.send_headers(1, trailers, end_stream=True)
        self.flush()
        status, body = 0, b""
        while data := self.socket.recv(65_536):
            for event in self.http.receive_data(data):
                match event:
                    case ConnectionTerminated():
                        return 0, ErrorCodes(event.error_code or 0).name.encode()
                    case ResponseReceived():
                        status = int(
                            next(value for name, value in event.headers or [] if name in (":status", b":status"))
                        )
                    case DataReceived():
                        body += event.data or b""
                    case StreamEnded():
                        return status, body
        return 0, body


@pytest.fixture
def peer(port: int) -> Iterator[Peer]:
    found = Peer(port)
    with contextlib.closing(found.socket):
        yield found


def check_healthy(port: int) -> None:
    other = Peer(port)
    with contextlib.closing(other.socket):
        assert other.ask([])[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("connection", "upgrade")],
        [("transfer-encoding", "chunked")],
        [("te", "gzip")],
        [("X-Upper", "1")],
        [("x y", "1")],
        [("x", "a\r\nb: c")],
        [("x", "a\0b")],
        [(":path", "/other")],
        [("host", "evil")],
        [("content-length", "1")],
        [("content-length", "-1")],
        [("content-length", "2"), ("content-length", "3")],
        [(f"x-{number}", "y" * 100) for number in range(1_000)],
    ],
    ids=lambda headers: "many" if len(headers) > 2 else repr(headers),
)
def test_a_head_that_is_none_ends_the_connection(port: int, peer: Peer, headers: Headers) -> None:
    assert peer.ask(headers) in ((0, b"PROTOCOL_ERROR"), (0, b"ENHANCE_YOUR_CALM"))
    check_healthy(port)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "x-none"])
def test_a_compressed_body_is_refused(peer: Peer, encoding: str) -> None:
    assert peer.ask([("content-encoding", encoding)])[0] == 415


def test_trailers_are_dropped(peer: Peer) -> None:
    """A trailer must not pass for a header that somebody in front has checked."""
    status, body = peer.ask([], [("x-evil", "1"), ("authorization", "Bearer of another")])
    assert status == 200
    assert json.loads(body) == {"host": "test"}


def test_a_trailer_that_is_none_ends_the_connection(port: int, peer: Peer) -> None:
    assert peer.ask([], [(":path", "/evil")]) == (0, b"PROTOCOL_ERROR")
    check_healthy(port)


@pytest.mark.parametrize("data", [b"", b"\x40\x01a\x01b" * 3_000], ids=["empty", "full"])
def test_a_head_without_end_is_cut(port: int, peer: Peer, data: bytes) -> None:
    first, more = HeadersFrame(1), ContinuationFrame(1)
    first.data, more.data = b"", data
    piece = more.serialize() * (1 if data else 1_000)
    sent = _flood(peer, first.serialize(), piece)
    assert sent < FLOOD_TAKEN_BYTES_MAX
    check_healthy(port)


def _flood(peer: Peer, first: bytes, piece: Any) -> int:
    """Send until the server hangs up; how many bytes."""
    sent = 0
    with contextlib.suppress(OSError):
        peer.socket.sendall(first)
        while sent < FLOOD_BYTES_MAX:
            peer.socket.sendall(piece)
            sent += len(piece)
    return sent
