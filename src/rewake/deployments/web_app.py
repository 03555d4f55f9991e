"""A program's web app with access control and the ASGI lifespan that frameworks expect."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from rewake.access.gate import MISSING, Gate, role_missing
from rewake.access.token_file import TokenFile
from rewake.access.tokens import Role, tokens_in
from rewake.errors import ErrorCode
from rewake.http_server.exchange import App, Receive, Send
from rewake.http_server.origins import Door
from rewake.http_server.server import HttpServer
from rewake.http_server.tls import Certificate

STARTUP_S: Final = 60.0


class WebSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a web app is served. The port asks as the ingress does.

    app_ref: whose `web` it is.   is_local: it listens on loopback.   tokens_file: of access tokens, None to ask for
    none.   tls_cert, tls_key: None for no TLS.
    """

    app_ref: str
    is_local: bool = True
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    tokens_file: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    drain_s: float = 1.0


def web_server(app: App, settings: WebSettings) -> HttpServer:
    """A server of the app, not started."""
    door = Door(frozenset(settings.allowed_hosts), frozenset(settings.allowed_origins), is_local=settings.is_local)
    return HttpServer(GuardedApp(app, door, _gate(settings)), cancels=True)


def certificate_of(settings: WebSettings) -> Certificate | None:
    """The certificate to start the server with. Raises RewakeError RW1018."""
    if settings.tls_cert is None:
        return None
    return Certificate(Path(settings.tls_cert), None if settings.tls_key is None else Path(settings.tls_key))


def _gate(settings: WebSettings) -> Gate | None:
    if settings.tokens_file is None:
        return None
    tokens = TokenFile(Path(settings.tokens_file), tokens_in(os.environ.get("REWAKE_TOKENS", "")))
    tokens.refresh()
    return Gate(tokens, lambda: time.time_ns() // 1_000_000)


class GuardedApp:
    """Lets requests in to `app` that door and gate let in. Links from other sites may be followed to its pages."""

    def __init__(self, app: App, door: Door, gate: Gate | None = None) -> None:
        self._app, self._door, self._gate = app, door, gate

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        refused = self._refusal(scope) if scope["type"] == "http" else None
        if refused is None:
            await self._app(scope, receive, send)
            return
        status, code, message, hint = refused
        head = [(b"content-type", b"application/json")]
        if status == 401:
            head.append((b"www-authenticate", b'Bearer realm="rewake"'))
        told = {"code": code.value, "message": message, "hint": hint}
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})

    def _refusal(self, scope: Any) -> tuple[int, ErrorCode, str, str] | None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._door.refusal(headers, is_navigation_safe=scope["method"] in ("GET", "HEAD"))
        if refusal is not None:
            return 403, refusal.code, refusal.message, refusal.hint
        if self._gate is None or scope["method"] == "OPTIONS":  # a preflight has no token
            return None
        token = self._gate.holder(headers)
        if token is None:
            return 401, *MISSING
        return None if token.allows(Role.CALL) else (403, *role_missing(token, Role.CALL))


class Lifespan:
    """The ASGI lifespan of an app: startup before the first request, shutdown after the last."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._said: asyncio.Queue[str] = asyncio.Queue()
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Run the app's startup; raises its error. An app may have no lifespan."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._events.put_nowait({"type": "lifespan.startup"})
        await self._heard()
        if self._task.done() and (problem := self._task.exception()) is not None and self._began:
            raise problem

    async def stop(self) -> None:
        """Run the app's shutdown."""
        if self._task is not None and not self._task.done():
            self._events.put_nowait({"type": "lifespan.shutdown"})
            await self._heard()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        self._began = False
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.3"}, "state": {}}
        await self._app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        self._began = True
        return await self._events.get()

    async def _send(self, event: Any) -> None:
        if event["type"] == "lifespan.startup.failed":
            raise RuntimeError(event.get("message") or "The web app did not start.")
        self._said.put_nowait(event["type"])

    async def _heard(self) -> None:
        """Wait for the app's answer, or its end."""
        assert self._task is not None
        word = asyncio.ensure_future(self._said.get())
        await asyncio.wait({word, self._task}, timeout=STARTUP_S, return_when=asyncio.FIRST_COMPLETED)
        word.cancel()
