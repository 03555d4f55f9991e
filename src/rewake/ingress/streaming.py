"""Streams at the ingress: events of a run as server-sent events, deltas from its handlers, and a request to stop it.

Reading events needs an invocation's id and no more, as attach does. A writer needs the capability in the URL that its
attempt got (streams/offers.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

import msgspec

from rewake.core.effects import ReplyStatus
from rewake.core.ids import InvocationId, invocation_id_to_str
from rewake.errors import ErrorCode
from rewake.http_server.exchange import PATIENT, TAKES, Receive
from rewake.ingress.message import JSON, Head, Request, Response
from rewake.ingress.paths import StreamRoute, parse_invocation_id
from rewake.ingress.refusals import Refused, method_not_allowed
from rewake.streams.hub import Streams
from rewake.streams.run_log import Writing
from rewake.streams.sending import HEAD, last_read, offset_in, sent_events
from rewake.streams.writers import Lines, head_of

WRITE_PATH: Final = "/restate/deltas/"
_HEAD: Final[Head] = tuple((name.encode(), value.encode()) for name, value in HEAD.items())


class StreamingEngine(Protocol):
    """The engine's methods that streaming uses."""

    streams: Streams

    async def cancel(self, invocation_id: bytes) -> ReplyStatus: ...


class Streaming:
    """Streams of one engine."""

    def __init__(self, engine: StreamingEngine) -> None:
        self._engine = engine

    async def by_path(self, route: StreamRoute, request: Request) -> Response:
        run = InvocationId(route.invocation_id or parse_invocation_id(route.text))
        if route.is_stop:
            return await self._stop(run, request)
        if request.method != "GET":
            raise method_not_allowed()
        streams = self._engine.streams
        after, from_offset = last_read(request.headers.get("last-event-id", "")), _from(request)
        if not streams.is_usable:
            raise _switched_off()
        if not streams.begin(run):
            raise _unknown()
        if after and streams.is_read(run, after):
            return Response(204)  # without it a browser that has read everything would reconnect for ever
        return stream_response(streams, run, after, 0 if after else from_offset)

    async def take(self, capability: str, scope: Any, receive: Receive) -> Response:
        """Read a step's deltas until the body ends, the caller leaves, or the attempt is over."""
        if scope["method"] != "POST":
            return method_not_allowed().response()
        streams = self._engine.streams
        if not streams.allows(capability):
            return Response(404)
        offered = scope.get("extensions") or {}
        if (be_patient := offered.get(PATIENT)) is not None:
            be_patient()
        taking = _Taking(streams, capability)
        try:
            is_whole = await taking.all_of(receive, offered.get(TAKES))
        except asyncio.CancelledError:
            taking.leave(is_whole=False)
            raise
        taking.leave(is_whole=is_whole)
        return Response(204 if taking.is_taken else 404)

    async def _stop(self, run: InvocationId, request: Request) -> Response:
        if request.method != "POST":
            raise method_not_allowed()
        status = await self._engine.cancel(run)
        if status is ReplyStatus.NOT_FOUND:
            raise _unknown()
        word = "AlreadyCompleted" if status is ReplyStatus.ALREADY_COMPLETED else "Stopping"
        body = {"invocationId": invocation_id_to_str(run), "status": word}
        return Response(202, (id_header(run), *JSON), msgspec.json.encode(body))


class _Taking:
    """Reads one request of a writer. is_taken: its attempt was live."""

    def __init__(self, streams: Streams, capability: str) -> None:
        self.is_taken = True
        self._streams = streams
        self._capability = capability
        self._lines = Lines()
        self._writing: Writing | None = None
        self._until_over = asyncio.timeout(None)

    async def all_of(self, receive: Receive, hand_over: Callable[[Callable[[bytes], None]], None] | None) -> bool:
        """Read to the end; False if the body was cut. hand_over: makes the server give each piece to a function."""
        try:
            async with self._until_over:
                if hand_over is not None:
                    hand_over(self._take)
                while self.is_taken:
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        return False
                    self._take(event.get("body", b""))
                    if not event.get("more_body", False):
                        break
        except TimeoutError:  # the attempt is over
            pass
        return True

    def leave(self, *, is_whole: bool) -> None:
        if self._writing is not None:
            (self._writing.end if is_whole else self._writing.cut)()

    def _take(self, data: bytes) -> None:
        if not self.is_taken:
            return
        lines = self._lines.feed(data)
        if lines and self._writing is None:
            self._writing = self._streams.writing(self._capability, head_of(lines.pop(0)), may_be_late=True)
            self.is_taken = self._writing is not None
            if self._writing is None:
                self._stop()
            else:
                self._writing.on_over(self._stop)
        if self._writing is not None:
            self._writing.put(lines)

    def _stop(self) -> None:
        """End `all_of`."""
        self._until_over.reschedule(asyncio.get_running_loop().time())


def stream_response(streams: Streams, run: InvocationId, after: int = 0, from_offset: int = 0) -> Response:
    """Events of a run as server-sent events. after, from_offset: see Streams.records."""
    return Response(200, (id_header(run), *_HEAD), stream=sent_events(streams, run, after, from_offset))


def id_header(invocation_id: bytes) -> tuple[bytes, bytes]:
    """The header that names the invocation."""
    return b"x-restate-id", invocation_id_to_str(invocation_id).encode()


def _from(request: Request) -> int:
    """The query's `from`: the offset of the first wanted event."""
    given = parse_qs(request.query).get("from", ["0"])[0]
    if (offset := offset_in(given)) is None:
        message = f"bad query parameter from={given!r}: it is not an offset"
        raise Refused(400, ErrorCode.REQUEST_INVALID, message, "Give the offset of an event, such as ?from=0.")
    return offset


def _unknown() -> Refused:
    hint = "Runs are kept for the handler's retention, one day unless set otherwise."
    return Refused(404, ErrorCode.INVOCATION_NOT_FOUND, "invocation not found", hint)


def _switched_off() -> Refused:
    hint = "Start the engine with --stream-log-mib above 0, on a data folder that can be written."
    return Refused(501, ErrorCode.OPERATION_UNSUPPORTED, "this engine keeps no streams", hint)
