"""The web app of a program as our server calls it: its door, and the lifespan that frameworks expect."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from rewake.http_server.exchange import App, Receive, Send
from rewake.http_server.origins import Door

STARTUP_S: Final = 60.0


class Guarded:
    """Lets requests in to `app` that the door lets in. Links from other sites may be followed to its pages."""

    def __init__(self, app: App, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            is_safe = scope["method"] in ("GET", "HEAD")
            refusal = self._door.refusal(headers, is_navigation_safe=is_safe)
            if refusal is not None:
                told = {"code": refusal.code.value, "message": refusal.message, "hint": refusal.hint}
                head = [(b"content-type", b"application/json")]
                await send({"type": "http.response.start", "status": 403, "headers": head})
                await send({"type": "http.response.body", "body": json.dumps(told).encode()})
                return
        await self._app(scope, receive, send)


class Lifespan:
    """The ASGI lifespan of an app: startup before the first request, shutdown after the last."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._said: asyncio.Queue[str] = asyncio.Queue()
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises what the app raises at its startup; an app without a lifespan is fine."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._events.put_nowait({"type": "lifespan.startup"})
        await self._heard()
        if self._task.done() and (problem := self._task.exception()) is not None and self._began:
            raise problem

    async def stop(self) -> None:
        """Let the app clean up."""
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
        """Wait for the app's word, or its end."""
        assert self._task is not None
        word = asyncio.ensure_future(self._said.get())
        await asyncio.wait({word, self._task}, timeout=STARTUP_S, return_when=asyncio.FIRST_COMPLETED)
        word.cancel()
