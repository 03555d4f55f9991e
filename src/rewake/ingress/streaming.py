"""Streams at the ingress: events of a run as server-sent events, deltas of its handlers, and a stop.

Ids are for reading what they are for attaching: whoever knows one may. To write needs the capability in the URL that an
attempt was given (streams/offers.py).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

import msgspec

from rewake.core.effects import ReplyStatus
from rewake.core.ids import InvocationId, invocation_id_to_str
from rewake.errors import ErrorCode
from rewake.http_server.exchange import PATIENT, Receive
from rewake.ingress.message import JSON, Head, Request, Response
from rewake.ingress.paths import StreamRoute, parse_invocation_id
from rewake.ingress.refusals import Refused, method_not_allowed
from rewake.streams.hub import Streams
from rewake.streams.run_log import Writing
from rewake.streams.sending import HEAD, offset_in, sent_events
from rewake.streams.writers import Lines, head_of

WRITE_PATH: Final = "/restate/deltas/"
_HEAD: Final[Head] = tuple((name.encode(), value.encode()) for name, value in HEAD.items())


class Engine(Protocol):
    """What streaming needs of the engine."""

    streams: Streams

    async def cancel(self, invocation_id: bytes) -> ReplyStatus: ...


class Streaming:
    """Streams of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def by_path(self, route: StreamRoute, request: Request) -> Response:
        run = InvocationId(route.invocation_id or parse_invocation_id(route.text))
        if route.is_stop:
            return await self._stop(run, request)
        if request.method != "GET":
            raise method_not_allowed()
        streams = self._engine.streams
        after, from_offset = offset_in(request.headers.get("last-event-id", "")) or 0, _from(request)
        if not streams.is_usable:
            raise _switched_off()
        if not streams.begin(run):
            raise _unknown()
        if after and streams.is_read(run, after):
            return Response(204)  # a browser that has read all would come again and again
        return stream_response(streams, run, after, 0 if after else from_offset)

    async def take(self, capability: str, scope: Any, receive: Receive) -> Response:
        """Take what a step's body says until it ends, the caller leaves, or the attempt is over."""
        if scope["method"] != "POST":
            return method_not_allowed().response()
        streams = self._engine.streams
        if not streams.allows(capability):
            return Response(404)
        if (be_patient := (scope.get("extensions") or {}).get(PATIENT)) is not None:
            be_patient()
        taking = _Taking(streams, capability)
        try:
            is_whole = await taking.all_of(receive)
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
    """One request of a writer. is_taken: its attempt was live."""

    def __init__(self, streams: Streams, capability: str) -> None:
        self.is_taken = True
        self._streams = streams
        self._capability = capability
        self._lines = Lines()
        self._writing: Writing | None = None
        self._over = asyncio.Event()

    async def all_of(self, receive: Receive) -> bool:
        """Read to the end; whether it came whole."""
        over = asyncio.ensure_future(self._over.wait())
        try:
            while True:
                event = asyncio.ensure_future(receive())
                await asyncio.wait((event, over), return_when=asyncio.FIRST_COMPLETED)
                if not event.done():
                    event.cancel()
                    return True  # nothing more is wanted
                if event.result()["type"] == "http.disconnect":
                    return False
                self._take(event.result().get("body", b""))
                if not event.result().get("more_body", False) or not self.is_taken:
                    return True
        finally:
            over.cancel()

    def leave(self, *, is_whole: bool) -> None:
        if self._writing is not None:
            (self._writing.end if is_whole else self._writing.cut)()

    def _take(self, data: bytes) -> None:
        lines = self._lines.feed(data)
        if lines and self._writing is None:
            self._writing = self._streams.writing(self._capability, head_of(lines.pop(0)), may_be_late=True)
            self.is_taken = self._writing is not None
            if self._writing is not None:
                self._writing.on_over(self._over.set)
        if self._writing is not None:
            self._writing.put(lines)


def stream_response(streams: Streams, run: InvocationId, after: int = 0, from_offset: int = 0) -> Response:
    """Events of a run as server-sent events. after, from_offset: see Streams.records."""
    return Response(200, (id_header(run), *_HEAD), stream=sent_events(streams, run, after, from_offset))


def id_header(invocation_id: bytes) -> tuple[bytes, bytes]:
    """The header that names the invocation."""
    return b"x-restate-id", invocation_id_to_str(invocation_id).encode()


def _from(request: Request) -> int:
    """The first event that is wanted, from the query."""
    given = parse_qs(request.query).get("from", ["0"])[0]
    if (offset := offset_in(given)) is None:
        message = f"bad query parameter from={given!r}: it is no offset"
        raise Refused(400, ErrorCode.REQUEST_INVALID, message, "Give the offset of an event, such as ?from=0.")
    return offset


def _unknown() -> Refused:
    hint = "Runs are kept for the handler's retention, one day unless set otherwise."
    return Refused(404, ErrorCode.INVOCATION_NOT_FOUND, "invocation not found", hint)


def _switched_off() -> Refused:
    hint = "Start the engine with --stream-log-mib above 0, on a data folder that can be written."
    return Refused(501, ErrorCode.OPERATION_UNSUPPORTED, "this engine keeps no streams", hint)
