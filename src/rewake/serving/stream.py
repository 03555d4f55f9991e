"""One request as the ASGI app sees it, and its answer as it waits to be sent. No socket, and no version of HTTP.

What arrived since the last `receive` comes as one event, what was sent since the last write leaves as one piece: an SDK
sends many small messages, and every frame has its price on both sides. waking.py gives the wake-ups that one event may
leave out. Called by connection.py.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from rewake.deployments.asgi import DISCONNECT, END_OF_REQUEST, WAKE_UP, Event
from rewake.deployments.waking import Waker, Watched
from rewake.protocol.peeking import message_count, read_sent

App = Callable[[dict[str, Any], Any, Any], Coroutine[Any, Any, None]]

UNSENT_BYTES_MAX: Final = 1024 * 1024
"""Bytes of one answer above which its writer waits for the peer."""


def describe_failure(task: asyncio.Task[None]) -> str | None:
    """What a task of the app raised, if it did."""
    error = None if task.cancelled() else task.exception()
    return None if error is None else "".join(traceback.format_exception_only(error)).strip()


class Connection(Protocol):
    """What a stream needs of its connection."""

    waker: Waker

    def on_head(self, stream: Stream, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The answer begins."""

    def on_unsent(self, stream: Stream, *, is_urgent: bool) -> None:
        """There is something to send, or the answer has ended.

        is_urgent: it tells that a step was done, which would be done again if this got lost.
        """

    def on_consumed(self, stream: Stream, size: int) -> None:
        """The app took this many bytes of the request."""


class Stream(Watched):
    """One request and its answer. is_ended: the app has ended the answer.   is_gone: nobody listens any more."""

    __slots__ = (
        "_connection",
        "_has_request",
        "_is_request_over",
        "_is_told_of_end",
        "_is_woken",
        "_received",
        "_room",
        "_unsent",
        "_unsent_bytes",
        "_waiter",
        "consumed_bytes",
        "has_sent_head",
        "id",
        "is_ended",
        "is_gone",
        "is_marked",
        "task",
        "unread_bytes",
    )

    def __init__(self, connection: Connection, stream_id: int) -> None:
        super().__init__()
        self.id = stream_id
        self.task: asyncio.Task[None] | None = None
        self.has_sent_head = False
        self.is_ended = False
        self.is_gone = False
        self.is_marked = False
        self.consumed_bytes = 0
        self.unread_bytes = 0
        self._connection = connection
        self._received: list[bytes] = []
        self._has_request = False
        self._is_woken = False
        self._is_request_over = False
        self._is_told_of_end = False
        self._waiter: asyncio.Future[None] | None = None
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._room: asyncio.Future[None] | None = None

    # From the peer

    def feed(self, data: bytes) -> None:
        """More of the request."""
        self._received.append(data)
        self._wake()
        if self._has_request:
            self._connection.waker.delivered(self, message_count(data))
        self._has_request = True

    def wake(self) -> None:
        self._is_woken = True
        self._wake()

    def finish_request(self) -> None:
        """The request is over."""
        self._is_request_over = self.is_deaf = True
        self._wake()

    def lose(self) -> None:
        """Nobody listens any more: tell the app, and stop its task."""
        self.is_gone = self.is_deaf = True
        self._unsent.clear()
        self._unsent_bytes = 0
        self._wake()
        self._make_room()
        if self.task is not None:
            self.task.cancel()

    @property
    def is_request_over(self) -> bool:
        return self._is_request_over

    # ASGI

    async def receive(self) -> Event:
        """The next event: all that has come, as one."""
        while not (self._received or self._is_request_over or self.is_gone or self._is_woken):
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self.is_gone or self._is_told_of_end:
            if not self.is_gone:
                await self._gone()
            return DISCONNECT
        self._is_woken = False
        if not self._received:
            if not self._is_request_over:
                return WAKE_UP
            self._is_told_of_end = True
            return END_OF_REQUEST
        body = self._received[0] if len(self._received) == 1 else b"".join(self._received)
        self._received.clear()
        self._is_told_of_end = self._is_request_over
        self._connection.on_consumed(self, len(body))
        return {"type": "http.request", "body": body, "more_body": not self._is_request_over}

    async def send(self, event: Event) -> None:
        """Take a part of the answer; waits while the peer reads more slowly than the app writes."""
        if self.is_gone or self.is_ended:
            return
        if event["type"] == "http.response.start":
            self._connection.on_head(self, event["status"], list(event.get("headers", [])))
            return
        if event["type"] != "http.response.body":
            return
        body = event.get("body", b"")
        if body:
            self._unsent.append(body)
            self._unsent_bytes += len(body)
        self.is_ended = not event.get("more_body", False)
        if body or self.is_ended:
            sent = read_sent(body)
            self._connection.waker.answered(self, sent.command_count)
            self._connection.on_unsent(self, is_urgent=sent.holds_result)
        while self._unsent_bytes > UNSENT_BYTES_MAX:
            self._room = asyncio.get_running_loop().create_future()
            try:
                await self._room
            finally:
                self._room = None

    # To the peer

    @property
    def unsent_bytes(self) -> int:
        return self._unsent_bytes

    def take(self, bytes_max: int) -> bytes:
        """The next bytes of the answer."""
        body = self._unsent[0] if len(self._unsent) == 1 else b"".join(self._unsent)
        self._unsent.clear()
        if len(body) > bytes_max:
            self._unsent.append(body[bytes_max:])
            body = body[:bytes_max]
        self._unsent_bytes -= len(body)
        if self._unsent_bytes <= UNSENT_BYTES_MAX:
            self._make_room()
        return body

    # Helpers

    async def _gone(self) -> None:
        """Wait until nobody listens any more, for an app that asks again after the end of the request."""
        while not self.is_gone:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
