"""What in_process.py and the worker's child share about ASGI: scopes, receiving, and when a request is over.

Imports next to nothing: it is loaded before the first byte of a restarted worker is served.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

from rewake.agents.introspection import tell_agents

Event = dict[str, Any]

MANIFEST_VERSIONS: Final = (1, 2, 3, 4, 5)

MANIFEST_ACCEPT: Final = ", ".join(
    f"application/vnd.restate.endpointmanifest.v{version}+json" for version in MANIFEST_VERSIONS
)

# HTTP/2 by name, so that the SDK offers BIDI_STREAM; there is no connection behind it.
REQUEST_SCOPE: Final[dict[str, Any]] = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.4"},
    "http_version": "2",
    "method": "POST",
    "scheme": "http",
    "path": "",
    "raw_path": b"",
    "query_string": b"",
    "root_path": "",
    "headers": [],
    "client": None,
    "server": None,
    "extensions": None,
}

DISCOVERY_SCOPE: Final[dict[str, Any]] = {
    **REQUEST_SCOPE,
    "method": "GET",
    "path": "/discover",
    "raw_path": b"/discover",
    "headers": [(b"accept", MANIFEST_ACCEPT.encode())],
}

END_OF_REQUEST: Final = {"type": "http.request", "body": b"", "more_body": False}
DISCONNECT: Final = {"type": "http.disconnect"}

_FRAME_HEADER_BYTES: Final = 8
_TERMINAL_FIRST, _TERMINAL_LAST = 1, 3  # Suspension, Error, End


class Receiving:
    """The `receive` of one ASGI call: events wait for the call, or the call for the next event."""

    __slots__ = ("_events", "_loop", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[Event] | None = None

    def put(self, event: Event) -> None:
        """The next event."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(event)
        else:
            self._events.append(event)

    async def receive(self) -> Event:
        """ASGI receive: the next event, waiting for it if need be."""
        if self._events:
            return self._events.popleft()
        waiter = self._waiter = self._loop.create_future()
        try:
            event: Event = await waiter
        finally:
            self._waiter = None
        return event


def ends_the_attempt(chunk: bytes) -> bool:
    """Whether a chunk of whole frames holds a terminal message, after which an SDK wants its request closed.

    False for bytes that are not whole frames, as middleware could send. That only costs a round trip: the engine closes
    the request by itself on what it decodes.
    """
    offset, end, has_ended = 0, len(chunk), False
    while end - offset >= _FRAME_HEADER_BYTES:
        has_ended = has_ended or (chunk[offset] == 0 and _TERMINAL_FIRST <= chunk[offset + 1] <= _TERMINAL_LAST)
        offset += _FRAME_HEADER_BYTES + int.from_bytes(chunk[offset + 4 : offset + 8], "big")
    return has_ended and offset == end


async def call_discovery(app: Any) -> tuple[int, dict[str, str], bytes]:
    """(status, headers, body) of an app's answer to discovery, in which its agents are told from here on."""
    tell_agents(app)
    status, headers, body = 0, {}, b""

    async def receive() -> Event:
        return END_OF_REQUEST

    async def send(event: Event) -> None:
        nonlocal status, headers, body
        if event["type"] == "http.response.start":
            status = event["status"]
            headers = {name.decode().lower(): value.decode() for name, value in event.get("headers", [])}
        else:
            body += event.get("body", b"")

    await app(DISCOVERY_SCOPE.copy(), receive, send)
    return status, headers, body
