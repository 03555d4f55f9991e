"""Every port that Rewake opens, each with a request it answers: what the suites of hostile HTTP/1.1 stand on."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args

import http_app
from raw_http import Answer, Wire
from running_server import running_server

from rewake.admin.app import Guarded
from rewake.core.ids import InvocationId
from rewake.deployments.web_app import WebSettings, web_server
from rewake.http_server.limits import Limits
from rewake.http_server.listening import listening_socket
from rewake.http_server.origins import Door
from rewake.http_server.server import HttpServer
from rewake.ingress.api import Ingress
from rewake.ingress.asgi import IngressApp
from rewake.serving.server import DeploymentServer
from rewake.streams.files import Bounds
from rewake.streams.hub import Streams
from rewake.testing.models import ModelServer, rule, text
from rewake.ui.elsewhere import build_ui_elsewhere
from rewake.ui.engine_elsewhere import ServerElsewhere

PortName = Literal["ingress", "admin", "serve", "model", "web", "ui", "deltas"]
PORTS: tuple[PortName, ...] = get_args(PortName)
FORM = "application/x-www-form-urlencoded"
WHOLE = 1 << 20
FLOOD_BYTES_MAX = 64 << 20

LAST = b"GET /last HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
"""After it a server hangs up, so that a test can count the answers."""

SMUGGLED = b"POST /smuggled HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n"


@dataclass(frozen=True)
class Port:
    """One listening port and a request with a body that it answers.

    status, answer: of that answer, and what is in its body.   headers_target: where to ask which headers a request had,
    if anywhere.
    """

    name: PortName
    port: int
    target: str
    content_type: str
    body: bytes
    answer: bytes
    headers_target: str | None = None
    status: int = 200

    def head(self, *lines: str, target: str | None = None, version: str = "1.1") -> bytes:
        """The head of that request, with more header lines."""
        own = (f"POST {target or self.target} HTTP/{version}", "host: test", "accept: application/json")
        return "\r\n".join([*own, f"content-type: {self.content_type}", *lines, "", ""]).encode("latin-1")

    def whole(self, *lines: str) -> bytes:
        """That request, head and body."""
        return self.head(*lines, f"content-length: {len(self.body)}") + self.body

    def answers(self, data: bytes, piece_bytes: int = WHOLE) -> list[Answer]:
        """The answers to `data`, and to a last request that is sent after the first answer."""
        with Wire(self.port) as wire:
            send_in_pieces(wire, data, piece_bytes)
            found = [wire.answer()]
            with contextlib.suppress(OSError):
                wire.send(LAST)
            while not wire.is_closed():
                found.append(wire.answer())
        return found

    def is_answer(self, found: Answer) -> bool:
        """Whether it is the answer to that request."""
        return found.status == self.status and self.answer in found.body

    def is_healthy(self) -> bool:
        """Whether it answers somebody else as ever."""
        with Wire(self.port) as wire:
            return self.is_answer(wire.exchange(self.whole()))


def send_in_pieces(wire: Wire, data: bytes, piece_bytes: int) -> None:
    """Each piece in a packet of its own, as far as the other side still reads."""
    wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for start in range(0, len(data), piece_bytes):
            wire.send(data[start : start + piece_bytes])


def flood(wire: Wire, piece: bytes) -> tuple[bytes, int]:
    """Send a piece again and again until the server will have no more: what it said, and how many bytes were sent."""
    wire.socket.settimeout(0.5)
    sent_bytes = 0
    try:
        while sent_bytes < FLOOD_BYTES_MAX:
            sent_bytes += wire.socket.send(piece)
    except OSError:
        pass
    with contextlib.suppress(OSError):
        return wire.socket.recv(65_536), sent_bytes
    return b"", sent_bytes


@contextmanager
def all_ports(folder: Path, limits: Limits | None = None) -> Iterator[dict[PortName, Port]]:
    """One server of each kind: those of an engine, those beside one, and a model server; all in this process."""
    with ExitStack() as stack:
        here = stack.enter_context(running_server(folder, http_app.app, limits=limits))
        model = stack.enter_context(ModelServer([rule(says="hello", answer=text("Hello yourself"))], limits=limits))

        def serve(server: DeploymentServer | HttpServer) -> int:
            """Start it beside the engine; its port."""
            listener = listening_socket("127.0.0.1", 0, backlog=8)
            stack.callback(listener.close)
            here.run(server.start(listener))
            stack.callback(lambda: here.run(server.stop(0)))
            port: int = listener.getsockname()[1]
            return port

        web = serve(web_server(echo, WebSettings(app_ref="none")))
        pages = build_ui_elsewhere(ServerElsewhere(here.server.admin_url, here.server.ingress_url, "", ""))
        ui = serve(HttpServer(Guarded(pages, Door()), limits))
        form = b"token=%b&action=nothing" % csrf_at(ui)
        nothing: Any = None  # as no line that comes is JSON
        streams = Streams(folder, nothing, is_live=lambda *_: True, now_ms=lambda: 0, bounds=Bounds())
        written = f"/restate/deltas/{streams.capability(InvocationId(bytes(24)), 1)}"
        streaming: Any = SimpleNamespace(streams=streams)
        deltas = serve(HttpServer(IngressApp(Ingress(streaming), takes_deltas_alone=True), limits, cancels=True))
        as_json, query = "application/json", b'{"query":"select 42 as answer"}'
        chat = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'
        found = (
            Port("ingress", here.ingress_port, "/Greeter/raw", "text/plain", SMUGGLED, SMUGGLED, "/Greeter/headers"),
            Port("admin", here.admin_port, "/query", as_json, query, b"42"),
            Port("serve", serve(DeploymentServer(echo, limits)), "/echo", "text/plain", SMUGGLED, SMUGGLED, "/headers"),
            Port("model", int(model.url.rpartition(":")[2]), "/v1/chat/completions", as_json, chat, b"Hello yourself"),
            Port("web", web, "/echo", "text/plain", SMUGGLED, SMUGGLED, "/headers"),
            Port("ui", ui, "/ui/confirm", FORM, form, b"There is no action 'nothing'", status=400),
            Port("deltas", deltas, written, "text/plain", SMUGGLED, b"", status=204),
        )
        yield {port.name: port for port in found}


def csrf_at(port: int) -> bytes:
    """What the forms of the pages there carry."""
    with Wire(port) as wire:
        page = wire.exchange(b"GET /ui/services/Greeter/greet HTTP/1.1\r\nhost: test\r\naccept: text/html\r\n\r\n").body
    found = re.search(rb'name="token" value="(\w+)"', page)
    assert found is not None
    return found[1]


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An app that answers with the body it got, or at /headers with the headers."""
    body, is_more = b"", True
    while is_more:
        event = await receive()
        body += event.get("body", b"")
        is_more = event.get("more_body", False)
    if scope["path"] == "/headers":
        body = json.dumps({name.decode(): value.decode("latin-1") for name, value in scope["headers"]}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def framed(body: bytes, framing: str) -> tuple[str, bytes]:
    """The header line for a body, and the body as it is sent."""
    if framing == "length":
        return f"content-length: {len(body)}", body
    half = len(body) // 2
    parts = (b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    return "transfer-encoding: chunked", b"".join(parts) + b"0\r\n\r\n"
