"""IngressApp: the ingress as an ASGI app, for the engine's own server and for a program's web server to mount."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from rewake.http_server.exchange import CANCELS, Receive, Send
from rewake.ingress.api import BODY_BYTES_MAX, Ingress
from rewake.ingress.message import Request, Response, with_cors
from rewake.ingress.refusals import Refused, body_too_large, length_limit_exceeded

_BODILESS: Final = frozenset({204, 304})


class CallerGone(Exception):
    """The caller disconnected before its request was complete."""


class IngressApp:
    """ASGI app around an Ingress. Mounted under a prefix, paths below it are those of the ingress."""

    def __init__(self, ingress: Ingress, *, body_bytes_max: int = BODY_BYTES_MAX) -> None:
        self._ingress = ingress
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"the ingress speaks HTTP, not {scope['type']!r}")
        request = _request_of(scope)
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._body_bytes_max:
            await _send(send, request, length_limit_exceeded())
            return
        try:
            request.body = await self._read_body(receive)
        except CallerGone:
            return
        except Refused as refused:
            await _send(send, request, with_cors(request, refused.response()))
            return
        answering = self._ingress.handle(request)
        is_cancelled = CANCELS in (scope.get("extensions") or ())
        response = await (answering if is_cancelled else _unless_gone(answering, receive))
        if response is not None:
            await _send(send, request, response)

    async def _read_body(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise CallerGone
            chunks.append(event.get("body", b""))
            size += len(chunks[-1])
            if size > self._body_bytes_max:
                raise body_too_large()
            if not event.get("more_body", False):
                return b"".join(chunks) if len(chunks) > 1 else chunks[0]


async def _unless_gone(answering: Any, receive: Receive) -> Response | None:
    """The answer, or None when the caller disconnected first."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Task[Response] = loop.create_task(answering)
    gone = loop.create_task(_disconnected(receive))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        for task in (answer, gone):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _request_of(scope: Any) -> Request:
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    path = raw_path.partition(b"?")[0].decode("utf-8", "replace").removeprefix(scope.get("root_path", ""))
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return Request(scope["method"], path, scope["query_string"].decode("utf-8", "replace"), headers, b"")


async def _send(send: Send, request: Request, response: Response) -> None:
    head, body = list(response.head), response.body
    if response.status in _BODILESS:
        body = b""
    else:
        head.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": response.status, "headers": head})
    await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else body})
