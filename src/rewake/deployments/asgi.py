"""ASGI scopes and `receive`, shared by in_process.py, the worker's child and serving/.

It imports almost nothing, because a restarted worker loads it before it serves its first byte.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from rewake.agents.introspection import tell_agents
from rewake.deployments.waking import Waker, Watched
from rewake.protocol.peeking import message_count

Event = dict[str, Any]

MANIFEST_VERSIONS: Final = (1, 2, 3, 4, 5)

MANIFEST_ACCEPT: Final = ", ".join(
    f"application/vnd.restate.endpointmanifest.v{version}+json" for version in MANIFEST_VERSIONS
)

# The scope claims HTTP/2, so that the SDK offers BIDI_STREAM; there is no connection.
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
WAKE_UP: Final = {"type": "http.request", "body": b"", "more_body": True}


class Receiving(Watched):
    """The `receive` of one ASGI call: a queue of events.

    _taker: a function that gets each event at once instead, see channels.py.
    """

    __slots__ = ("_events", "_loop", "_taker", "_waiter", "_waker")

    def __init__(self, loop: asyncio.AbstractEventLoop, waker: Waker) -> None:
        super().__init__()
        self._loop = loop
        self._waker = waker
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[Event] | None = None
        self._taker: Callable[[Event], None] | None = None

    def give_to(self, taker: Callable[[Event], None] | None) -> None:
        """Give a function what has come, and all that follows; None ends that."""
        self._taker = taker
        while taker is not None and self._events:
            taker(self._events.popleft())

    def put(self, event: Event) -> None:
        """Add an event."""
        waiter = self._waiter
        if self._taker is not None:
            self._taker(event)
        elif waiter is not None and not waiter.done():
            waiter.set_result(event)
        else:
            self._events.append(event)

    def feed(self, body: bytes) -> None:
        """Add a further part of the request."""
        self.put({"type": "http.request", "body": body, "more_body": True})
        self._waker.delivered(self, message_count(body))

    def wake(self) -> None:
        waiter = self._waiter
        if self._taker is not None:
            self._taker(WAKE_UP)
        elif waiter is not None and not waiter.done():
            waiter.set_result(WAKE_UP)

    async def receive(self) -> Event:
        """ASGI receive: wait for the next event."""
        if self._events:
            return self._events.popleft()
        waiter = self._waiter = self._loop.create_future()
        try:
            event: Event = await waiter
        finally:
            self._waiter = None
        return event


async def call_discovery(app: Any) -> tuple[int, dict[str, str], bytes]:
    """(status, headers, body) of an app's answer to discovery, with the app's agents in the metadata."""
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
