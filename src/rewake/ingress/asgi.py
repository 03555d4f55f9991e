"""IngressApp: the ingress as an ASGI app, for the engine's own server and for a program's web server to mount."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Final, TypeVar

from rewake.access.gate import MISSING, NOBODY, Gate, role_missing, without_token
from rewake.access.tokens import Role
from rewake.http_server.exchange import CANCELS, UNSENT_MAX, WHOLE, Receive, Send
from rewake.http_server.origins import Door
from rewake.ingress.api import BODY_BYTES_MAX, Ingress
from rewake.ingress.cors import cors_head
from rewake.ingress.message import Request, Response
from rewake.ingress.refusals import Refused, body_too_large, length_limit_exceeded
from rewake.ingress.streaming import WRITE_PATH
from rewake.streams.sending import UNSENT_BYTES_MAX

T = TypeVar("T")

OPEN_PATHS: Final = ("/restate/health", WRITE_PATH)
"""These paths need no token: health checks, and writers of streams, whose URL has a capability."""

CHALLENGE: Final = ((b"www-authenticate", b'Bearer realm="rewake"'),)
_BODILESS: Final = frozenset({204, 304})


class CallerGone(Exception):
    """The caller disconnected before it had its answer."""


class IngressApp:
    """ASGI app around an Ingress. Mounted under a prefix, paths below it are those of the ingress.

    door: which web pages may call it and read the answers.   gate: who may call it; None lets in everybody. With both
    None the program that mounts it decides.   takes_deltas_alone: only the path for deltas exists here.
    """

    def __init__(
        self,
        ingress: Ingress,
        *,
        body_bytes_max: int = BODY_BYTES_MAX,
        door: Door | None = None,
        gate: Gate | None = None,
        takes_deltas_alone: bool = False,
    ) -> None:
        self._ingress = ingress
        self._takes_deltas_alone = takes_deltas_alone
        self._body_bytes_max = body_bytes_max
        self._door = door
        self._gate = gate

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"the ingress speaks HTTP, not {scope['type']!r}")
        request = _request_of(scope)
        try:
            response = await self._answer(request, scope, receive)
        except CallerGone:
            return
        except Refused as refused:
            response = refused.response()
        finally:
            self._ingress.hold(-request.held)
        if response.status == 401 and self._gate is not None:
            response.head += CHALLENGE
        origin = request.headers.get("origin")
        if origin is not None and self._door is not None and self._door.allows_reading(origin):
            response.head += cors_head(request, origin)
        if response.stream is None:
            await _send(scope, send, request, response)
        elif _is_cancelled(scope):
            await _send_stream(send, response, response.stream)
        else:
            with contextlib.suppress(CallerGone):
                await _unless_gone(_send_stream(send, response, response.stream), receive)

    async def _answer(self, request: Request, scope: Any, receive: Receive) -> Response:
        if self._door is not None and (refusal := self._door.refusal(request.headers)) is not None:
            raise Refused(403, refusal.code, refusal.message, refusal.hint)
        if self._gate is not None:
            self._let_in(request, self._gate)
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._body_bytes_max:
            return length_limit_exceeded()
        if request.path.startswith(WRITE_PATH):
            return await self._ingress.streaming.take(request.path.removeprefix(WRITE_PATH), scope, receive)
        if self._takes_deltas_alone:
            return Response(404)
        request.body = await self._read_body(request, receive)
        answering = self._ingress.handle(request)
        return await (answering if _is_cancelled(scope) else _unless_gone(answering, receive))

    def _let_in(self, request: Request, gate: Gate) -> None:
        """Raises Refused. Preflights carry no token."""
        token = gate.holder(request.headers)
        request.token = token or NOBODY
        if token is None:
            if request.method != "OPTIONS" and not request.path.startswith(OPEN_PATHS):
                raise Refused(401, *MISSING)
            return
        without_token(request.headers)
        if not token.allows(Role.CALL):
            raise Refused(403, *role_missing(token, Role.CALL))

    async def _read_body(self, request: Request, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise CallerGone
            chunks.append(event.get("body", b""))
            length = len(chunks[-1])
            size += length
            if size > self._body_bytes_max:
                raise body_too_large()
            request.held += length
            self._ingress.hold(length)
            if not event.get("more_body", False):
                return b"".join(chunks) if len(chunks) > 1 else chunks[0]


def _is_cancelled(scope: Any) -> bool:
    """Whether the server cancels our task when the caller leaves."""
    return CANCELS in (scope.get("extensions") or ())


async def _unless_gone(answering: Coroutine[Any, Any, T], receive: Receive) -> T:
    """The answer. Raises CallerGone when the caller disconnects first."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Task[T] = loop.create_task(answering)
    gone = loop.create_task(_disconnected(receive))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise CallerGone
        return answer.result()
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


async def _send(scope: Any, send: Send, request: Request, response: Response) -> None:
    body = b"" if response.status in _BODILESS else response.body
    at_once = (scope.get("extensions") or {}).get(WHOLE)
    if at_once is not None and request.method != "HEAD":
        at_once(response.status, response.head, body)
        return
    head = list(response.head)
    if response.status not in _BODILESS:
        head.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": response.status, "headers": head})
    await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else body})


async def _send_stream(send: Send, response: Response, stream: AsyncGenerator[bytes]) -> None:
    start = {"type": "http.response.start", "status": response.status, "headers": list(response.head)}
    async with contextlib.aclosing(stream):
        await send({**start, UNSENT_MAX: UNSENT_BYTES_MAX})
        async for data in stream:
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
