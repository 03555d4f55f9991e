"""ServerExchange: one request as an ASGI app sees it, and the part of its answer that waits to be sent.

It has no socket and knows no version of HTTP. Bytes that arrived since the last `receive` come as one event, and bytes
sent since the last write leave as one piece: an SDK sends many small messages, and each frame costs both sides. A class
for each version connects it to its connection: http1_exchange.py, and serving/stream.py for HTTP/2.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from rewake.http_server.answer import AnswerError
from rewake.http_server.limits import UNSENT_BYTES_MAX

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

CANCELS: Final = "rewake.cancels"
"""ASGI extension: the server cancels the app's task when the caller leaves, so the app need not listen for that."""

PATIENT: Final = "rewake.patient"
"""ASGI extension: a call of it lifts the limits on a slow body for this request, because its sender is known."""

TAKES: Final = "rewake.takes"
"""ASGI extension: a call of it passes a function, which then gets each further piece of the body at once.

The function must not raise. This is for bodies of many small pieces: waking a task for each costs more than handling
it. `receive` still gives the end of the body.
"""

WHOLE: Final = "rewake.whole"
"""ASGI extension: a call gives status, headers and all of the body at once, in the place of two events."""

UNSENT_MAX: Final = "rewake.unsent_bytes_max"
"""Field of `http.response.start`: `send` waits while the caller has more than so many bytes to read."""

_DISCONNECT: Final = {"type": "http.disconnect"}


class ServerExchange(ABC):
    """One request and its answer.

    is_request_over: the whole request has arrived.   unread_bytes: bytes of it that the app has not received.
    is_ended: the app has ended the answer.   is_gone: the caller has left.   has_head: the app has sent the head.
    """

    __slots__ = (
        "_is_disconnect_next",
        "_is_woken",
        "_received",
        "_room",
        "_taker",
        "_unsent",
        "_unsent_bytes",
        "_waiter",
        "has_head",
        "is_ended",
        "is_gone",
        "is_request_over",
        "task",
        "unread_bytes",
        "unsent_bytes_max",
    )

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.unread_bytes = 0
        self.is_request_over = False
        self.is_ended = False
        self.is_gone = False
        self.has_head = False
        self.unsent_bytes_max = UNSENT_BYTES_MAX
        self._received: list[bytes] = []
        self._taker: Callable[[bytes], None] | None = None
        self._is_woken = False
        self._is_disconnect_next = False
        self._waiter: asyncio.Future[None] | None = None
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._room: asyncio.Future[None] | None = None

    # From the caller

    def feed(self, data: bytes) -> None:
        """More of the request's body arrived."""
        if self._taker is not None:
            self._taker(data)
            return
        self._received.append(data)
        self.unread_bytes += len(data)
        _wake(self._waiter)

    def hand_over(self, taker: Callable[[bytes], None]) -> None:
        """Give the unread part of the body and every further piece to a function."""
        self._taker = taker
        received, self._received, self.unread_bytes = b"".join(self._received), [], 0
        if received:
            taker(received)
            self._on_consumed(len(received))

    def wake(self) -> None:
        """Give the app an event with an empty body, unless another one is due."""
        self._is_woken = True
        _wake(self._waiter)

    def finish_request(self) -> None:
        """The request's end arrived."""
        self.is_request_over = True
        _wake(self._waiter)

    def lose(self) -> None:
        """The caller has left: let the app know."""
        self.is_gone = True
        self._unsent.clear()
        self._unsent_bytes = 0
        _wake(self._waiter)
        _wake(self._room)

    # ASGI

    async def receive(self) -> Event:
        """The next event, with all bytes that have arrived.

        The app gets a complete request even if its caller has left.
        """
        while not (self._received or self.is_request_over or self.is_gone or self.is_ended or self._is_woken):
            self._on_wanted()
            await self._wait()
        if self._is_disconnect_next:
            while not (self.is_gone or self.is_ended):
                await self._wait()
        if self._is_disconnect_next or ((self.is_gone or self.is_ended) and not self.is_request_over):
            return _DISCONNECT
        self._is_woken = False
        body = self._received[0] if len(self._received) == 1 else b"".join(self._received)
        self._received.clear()
        self._is_disconnect_next = self.is_request_over
        if body:
            self.unread_bytes = 0
            self._on_consumed(len(body))
        return {"type": "http.request", "body": body, "more_body": not self.is_request_over}

    async def send(self, event: Event) -> None:
        """Accept a part of the answer; waits if the caller reads more slowly than the app writes."""
        if self.is_gone or self.is_ended:
            return
        if event["type"] == "http.response.start":
            self._on_head(event["status"], event.get("headers", ()))
            self.has_head = True
            self.unsent_bytes_max = event.get(UNSENT_MAX, UNSENT_BYTES_MAX)
            return
        if event["type"] != "http.response.body":
            return
        if not self.has_head:
            raise AnswerError("the body came before the head")
        body = event.get("body", b"")
        if body:
            self._unsent.append(body)
            self._unsent_bytes += len(body)
        if not event.get("more_body", False):
            self._end()
        if body or self.is_ended:
            self._on_body(body)
        while self._unsent_bytes > self.unsent_bytes_max and not self.is_ended:
            self._room = asyncio.get_running_loop().create_future()
            try:
                await self._room
            finally:
                self._room = None

    def _end(self) -> None:
        """The answer is whole."""
        self.is_ended = True
        _wake(self._waiter)

    # To the caller

    def take(self) -> bytes:
        """All bytes that wait to be sent."""
        body = self._unsent[0] if len(self._unsent) == 1 else b"".join(self._unsent)
        self._unsent.clear()
        self._unsent_bytes = 0
        _wake(self._room)
        return body

    # The connection

    @abstractmethod
    def _on_wanted(self) -> None:
        """The app waits for the body, and no byte of it is there."""

    @abstractmethod
    def _on_consumed(self, size: int) -> None:
        """The app received these bytes of the body."""

    @abstractmethod
    def _on_head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """The answer begins. Raises AnswerError for a head that cannot be sent."""

    @abstractmethod
    def _on_body(self, body: bytes) -> None:
        """Bytes wait to be sent, or the answer has ended. body: the newest bytes of the app."""

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
