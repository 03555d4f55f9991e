"""Whatever is no good deployment is refused over the admin API with one clear error, and leaves nothing behind.

Each endpoint is registered plainly, as a dry run and by force, beside a service that runs: the tables of deployments
and services stay as they were, and that service answers on. What fails a single attempt is in test_transports.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import http_apps
import pytest
from certificates import self_signed
from cli_process import rewake
from http_service import Service, free_port
from raw_http import fetch
from running_server import RunningServer, running_server

from rewake.deployments.http import client
from rewake.deployments.http.exchange import MANIFEST_BYTES_MAX
from rewake.deployments.http.identity import load_key, new_key
from rewake.errors import ErrorCode
from rewake.serving.server import DeploymentServer

MANIFEST_TYPE: Final = b"application/vnd.restate.endpointmanifest.v3+json"
JSON: Final = {"content-type": "application/json", "accept": "application/json"}
MODES: Final = {"plain": {}, "dry_run": {"dry_run": True}, "force": {"force": True}}
SETTINGS_FRAME: Final = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
DATA_FRAME_OF_ONE_MIB: Final = b"\x10\x00\x00\x00\x00\x00\x00\x00\x01"

App = Callable[[dict[str, Any], Any, Any], Coroutine[Any, Any, None]]


class Site:
    """An engine with a service that runs, and a place for impostors."""

    def __init__(self, engine: RunningServer, folder: Path) -> None:
        self.engine = engine
        self._certificate, self._certificate_key = self_signed(folder)
        self._other_key = folder / "other.pem"
        self._other_key.write_bytes(new_key())
        self._apps: list[DeploymentServer] = []
        self._servers: list[asyncio.Server] = []
        assert self.register(self.serve(http_apps.app)).status == 201

    def close(self) -> None:
        for app in self._apps:
            self.engine.run(app.stop(0))

        async def close() -> None:
            for server in self._servers:
                server.close()
                await server.wait_closed()

        self.engine.run(close())

    def serve(self, app: App) -> str:
        """The address of an app over HTTP/2."""
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        server = DeploymentServer(app)
        self.engine.run(server.start(listener))
        self._apps.append(server)
        return f"http://127.0.0.1:{port}"

    def answering(self, body: bytes, *, status: int = 200, content_type: bytes = MANIFEST_TYPE) -> str:
        """The address of something that answers every request like this."""

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            headers = [(b"content-type", content_type)]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        return self.serve(app)

    def saying(self, *parts: bytes, tls: ssl.SSLContext | None = None) -> str:
        """The address of something that says these bytes to everybody and hangs up."""

        def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.writelines(parts)
            writer.close()

        async def start() -> int:
            server = await asyncio.start_server(say, "127.0.0.1", 0, ssl=tls)
            self._servers.append(server)
            port: int = server.sockets[0].getsockname()[1]
            return port

        return f"http://127.0.0.1:{self.engine.run(start())}"

    def behind_a_certificate_nobody_vouches_for(self) -> str:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._certificate, self._certificate_key)
        return self.saying(tls=context).replace("http:", "https:")

    def for_another_key(self) -> str:
        os.environ["IDENTITY_KEY"] = load_key(self._other_key).public_form
        return self.serve(http_apps.identified)

    def register(self, uri: str, **options: Any) -> Any:
        body = json.dumps({"uri": uri, **options}).encode()
        return fetch(self.engine.admin_port, "POST", "/deployments", JSON, body)

    def rows(self, table: str) -> Any:
        body = json.dumps({"query": f"select * from {table} order by 1"}).encode()
        return fetch(self.engine.admin_port, "POST", "/query", JSON, body).json["rows"]

    def snapshot(self) -> list[Any]:
        """All that a registration changes."""
        listed = [fetch(self.engine.admin_port, "GET", path).json for path in ("/deployments", "/services")]
        return [self.rows("sys_deployment"), self.rows("sys_service"), listed, sorted(self.engine.engine.clients)]


@contextmanager
def site_in(folder: Path) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch, running_server(folder / "data", None) as engine:
        patch.setattr(client, "DISCOVERY_RETRY_DELAYS_S", (0.0, 0.0))
        patch.setenv("IDENTITY_KEY", "")
        site = Site(engine, folder)
        yield site
        site.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all tests that change nothing."""
    with site_in(tmp_path_factory.mktemp("refusals")) as site:
        yield site


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    with site_in(tmp_path) as site:
        yield site


def manifest(**changes: Any) -> bytes:
    """A manifest with one service, but for the changes."""
    handler = {"name": "greet"}
    services = [{"name": "Greeter", "ty": "SERVICE", "handlers": [handler]}]
    usual = {"protocolMode": "BIDI_STREAM", "minProtocolVersion": 5, "maxProtocolVersion": 6, "services": services}
    return json.dumps({**usual, **changes}).encode()


BAD: dict[str, tuple[Callable[[Site], str], ErrorCode, int, str]] = {
    "nobody listens": (
        lambda site: f"http://127.0.0.1:{free_port()}",
        ErrorCode.DEPLOYMENT_UNREACHABLE,
        500,
        "Connection refused",
    ),
    "hangs up": (lambda site: site.saying(), ErrorCode.DEPLOYMENT_UNREACHABLE, 500, "The connection was lost"),
    "no HTTP": (
        lambda site: site.saying(b"220 mail.example ESMTP ready\r\n" * 20),
        ErrorCode.DEPLOYMENT_UNREACHABLE,
        500,
        "HTTP/2",
    ),
    "HTTP/1.1": (
        lambda site: site.saying(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
        ErrorCode.DEPLOYMENT_NOT_HTTP2,
        500,
        "does not speak HTTP/2",
    ),
    "oversize frame": (
        lambda site: site.saying(SETTINGS_FRAME, DATA_FRAME_OF_ONE_MIB, b"x" * 1000),
        ErrorCode.DEPLOYMENT_UNREACHABLE,
        500,
        "a frame of 1048576 bytes; 65536 are allowed",
    ),
    "oversize manifest": (
        lambda site: site.answering(b" " * (MANIFEST_BYTES_MAX + 1)),
        ErrorCode.DISCOVERY_INVALID,
        500,
        f"larger than {MANIFEST_BYTES_MAX} bytes",
    ),
    "no TLS": (
        lambda site: site.answering(manifest()).replace("http:", "https:"),
        ErrorCode.DEPLOYMENT_TLS_FAILED,
        500,
        "No secure connection",
    ),
    "self-signed": (
        lambda site: site.behind_a_certificate_nobody_vouches_for(),
        ErrorCode.DEPLOYMENT_TLS_FAILED,
        500,
        "self-signed certificate",
    ),
    "another key": (lambda site: site.for_another_key(), ErrorCode.DISCOVERY_REFUSED, 500, "answered 401"),
    "no endpoint": (
        lambda site: site.answering(b"nothing here", status=404, content_type=b"text/plain"),
        ErrorCode.DISCOVERY_REFUSED,
        500,
        "answered 404",
    ),
    "a website": (
        lambda site: site.answering(b"<html>", content_type=b"text/html"),
        ErrorCode.DISCOVERY_INVALID,
        500,
        "'text/html'",
    ),
    "garbage": (lambda site: site.answering(b"\xff\xfe{"), ErrorCode.DISCOVERY_INVALID, 500, "manifest"),
    "no services": (
        lambda site: site.answering(b'{"protocolMode":"BIDI_STREAM"}'),
        ErrorCode.DISCOVERY_INVALID,
        500,
        "missing required field",
    ),
    "an unknown type": (
        lambda site: site.answering(manifest(services=[{"name": "A", "ty": "QUEUE", "handlers": [{"name": "b"}]}])),
        ErrorCode.DISCOVERY_INVALID,
        500,
        "QUEUE",
    ),
    "an old protocol": (
        lambda site: site.answering(manifest(minProtocolVersion=1, maxProtocolVersion=3)),
        ErrorCode.PROTOCOL_VERSION_UNSUPPORTED,
        500,
        "1 to 3",
    ),
    "a protocol to come": (
        lambda site: site.answering(manifest(minProtocolVersion=90, maxProtocolVersion=99)),
        ErrorCode.PROTOCOL_VERSION_UNSUPPORTED,
        500,
        "90 to 99",
    ),
    "a reserved name": (
        lambda site: site.serve(http_apps.reserved_app),
        ErrorCode.SERVICE_NAME_RESERVED,
        400,
        "restateful",
    ),
    "no address": (lambda site: "http://", ErrorCode.DEPLOYMENT_ADDRESS_INVALID, 400, "address"),
}


def check_refusal(site: Site, uri: str, options: dict[str, Any], code: ErrorCode, status: int, text: str) -> None:
    before = site.snapshot()
    answer = site.register(uri, **options)
    assert (answer.status, answer.json["code"]) == (status, code.value), answer
    assert text in answer.json["message"]
    assert answer.json["hint"]
    assert site.snapshot() == before
    assert fetch(site.engine.ingress_port, "POST", "/Chain/same", JSON, b"3").json == 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_deployment(site: Site, kind: str, mode: str) -> None:
    make, code, status, text = BAD[kind]
    check_refusal(site, make(site), MODES[mode], code, status, text)


@pytest.mark.parametrize("mode", ["plain", "dry_run"])
def test_what_would_break_a_service_that_runs(site: Site, mode: str) -> None:
    """Not by force, which is for that."""
    uri = site.serve(http_apps.object_app)
    check_refusal(site, uri, MODES[mode], ErrorCode.SERVICE_TYPE_CHANGED, 409, "would become VIRTUAL_OBJECT")


def test_a_known_address_that_has_gone_bad(own_site: Site) -> None:
    """By force it is asked again; what was registered stays when the answer is no good."""
    is_good = True

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if is_good:
            await http_apps.second_app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", MANIFEST_TYPE)]})
        await send({"type": "http.response.body", "body": b"{}"})

    uri = own_site.serve(app)
    first = own_site.register(uri)
    assert first.status == 201
    is_good = False
    before = own_site.snapshot()
    for mode in (MODES["force"], {"force": True, "dry_run": True}):
        refused = own_site.register(uri, **mode)
        assert (refused.status, refused.json["code"]) == (500, ErrorCode.DISCOVERY_INVALID.value)
    moved = json.dumps({"uri": f"{uri}/elsewhere"}).encode()
    path = f"/deployments/{first.json['id']}"
    assert fetch(own_site.engine.admin_port, "PATCH", path, JSON, moved).status == 500
    assert own_site.snapshot() == before


def test_a_server_for_http1_is_registered_when_told_so(own_site: Site, tmp_path: Path) -> None:
    """Over the command line, and its handlers are called."""
    admin = {"REWAKE_ADMIN": f"http://127.0.0.1:{own_site.engine.admin_port}"}
    service = Service("http_apps:app", "uvicorn", REWAKE_TEST_STAGE=str(tmp_path))
    try:
        refused = rewake("deployments", "register", service.uri, cwd=tmp_path, **admin)
        assert (refused.returncode, "RW2008" in refused.stderr) == (1, True)
        made = rewake("deployments", "register", service.uri, "--http1", "--json", cwd=tmp_path, **admin)
        assert made.returncode == 0, made.stderr
        deployment_id = json.loads(made.stdout)["id"]
        shown = json.loads(rewake("deployments", "show", deployment_id, "--json", cwd=tmp_path, **admin).stdout)
        assert (shown["protocol_type"], shown["http_version"]) == ("RequestResponse", "HTTP/1.1")
        answer = fetch(own_site.engine.ingress_port, "POST", "/Chain/steps", JSON, b"3")
        assert (answer.status, answer.json) == (200, 3 + http_apps.STEP_COUNT)
    finally:
        service.kill()
