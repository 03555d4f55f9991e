"""Hostile and odd HTTP/1.1 on every port Rewake opens: ingress, admin API, `rewake serve`, scripted model server.

One suite for all of them, so that a hole closed on one port is not left open on another.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import http_app
import pytest
from raw_http import Answer, Wire, request
from serving import served

from rewake.deployments.serving.server import AppServer
from rewake.testing.models import ModelServer, rule, text

PortName = Literal["ingress", "admin", "serve", "model"]
PORTS: tuple[PortName, ...] = ("ingress", "admin", "serve", "model")
FRAMINGS = ("length", "chunked")
WHOLE = 1 << 20

LAST = b"GET /last HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
"""After it a server hangs up, so that a test can count the answers."""

SMUGGLED = b"POST /smuggled HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n"


@dataclass(frozen=True)
class Port:
    """One listening port and a request with a body that it answers with 200."""

    port: int
    target: str
    content_type: str
    body: bytes
    answer: bytes

    def head(self, *lines: str) -> bytes:
        """The head of that request, with more header lines."""
        own = (
            f"POST {self.target} HTTP/1.1",
            "host: test",
            "accept: application/json",
            f"content-type: {self.content_type}",
        )
        return "\r\n".join([*own, *lines, "", ""]).encode()

    def answers(self, data: bytes, piece_bytes: int = WHOLE) -> list[Answer]:
        """The answers to `data`, and to a last request that is sent after the first answer."""
        with Wire(self.port) as wire:
            wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(data), piece_bytes):
                wire.send(data[start : start + piece_bytes])
            found = [wire.answer()]
            with contextlib.suppress(OSError):
                wire.send(LAST)
            while not wire.is_closed():
                found.append(wire.answer())
        return found


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[PortName, Port]]:
    with ExitStack() as stack:
        here = stack.enter_context(served(tmp_path_factory.mktemp("hostile") / "data", http_app.app))
        model = stack.enter_context(ModelServer([rule(says="hello", answer=text("Hello yourself"))]))
        listener = socket.create_server(("127.0.0.1", 0))
        app_server = AppServer(echo)
        here.run(app_server.start(listener))
        stack.callback(lambda: here.run(app_server.stop(0)))
        json, query = "application/json", b'{"query":"select 42 as answer"}'
        chat = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'
        yield {
            "ingress": Port(here.ingress_port, "/Greeter/raw", "text/plain", SMUGGLED, SMUGGLED),
            "admin": Port(here.admin_port, "/query", json, query, b"42"),
            "serve": Port(listener.getsockname()[1], "/echo", "text/plain", SMUGGLED, SMUGGLED),
            "model": Port(int(model.url.rpartition(":")[2]), "/v1/chat/completions", json, chat, b"Hello yourself"),
        }


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An app that answers with the body it got."""
    body, is_more = b"", True
    while is_more:
        event = await receive()
        body += event.get("body", b"")
        is_more = event.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(params=PORTS)
def port(ports: dict[PortName, Port], request: pytest.FixtureRequest) -> Port:
    return ports[request.param]


def framed(body: bytes, framing: str) -> tuple[str, bytes]:
    """The header line for a body, and the body as it is sent."""
    if framing == "length":
        return f"content-length: {len(body)}", body
    half = len(body) // 2
    parts = (b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    return "transfer-encoding: chunked", b"".join(parts) + b"0\r\n\r\n"


# Offers of another protocol


@pytest.mark.parametrize("piece_bytes", [WHOLE, 7, 1])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("offer", ["h2c", "websocket"])
def test_the_body_of_a_request_that_offers_an_upgrade_is_its_body(
    port: Port, offer: str, framing: str, piece_bytes: int
) -> None:
    """Java's HttpClient and `curl --http2` offer h2c. A body that reads like a request must not become one."""
    length, body = framed(port.body, framing)
    head = port.head("connection: Upgrade, HTTP2-Settings", f"upgrade: {offer}", "http2-settings: AAMAAABk", length)
    first, *more = port.answers(head + body, piece_bytes)
    assert first.status == 200
    assert port.answer in first.body
    assert len(more) == 1


def test_an_offer_without_a_body_is_answered_and_the_connection_goes_on(port: Port) -> None:
    length, body = framed(port.body, "length")
    with Wire(port.port) as wire:
        offer = request("GET", "/none", {"connection": "Upgrade", "upgrade": "h2c"})
        assert wire.exchange(offer).status < 500
        assert port.answer in wire.exchange(port.head(length) + body).body


def test_thousands_of_offers_at_once_are_read_one_after_the_other(port: Port) -> None:
    offer = request("GET", "/none", {"connection": "Upgrade", "upgrade": "h2c"})
    with Wire(port.port) as wire:
        wire.send(offer * 3_000)
        assert wire.answer().status < 500


def test_connect_opens_no_tunnel(port: Port) -> None:
    """What follows its head would be another protocol's."""
    (answer,) = port.answers(b"CONNECT test:80 HTTP/1.1\r\nhost: test\r\n\r\n" + SMUGGLED)
    assert answer.status in {400, 404, 405}
