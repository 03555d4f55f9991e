"""Stream: one request of an SDK's attempt and its answer, on an HTTP/2 connection.

Besides what every exchange does, it wakes the tasks of a handler that wait side by side: waking.py says which events
may leave that out. Called by connection.py.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterable
from typing import Protocol

from rewake.deployments.waking import Waker, Watched
from rewake.http_server.exchange import Exchange
from rewake.protocol.peeking import message_count, read_sent


def describe_failure(task: asyncio.Task[None]) -> str | None:
    """What a task of the app raised, if it did."""
    error = None if task.cancelled() else task.exception()
    return None if error is None else "".join(traceback.format_exception_only(error)).strip()


class Connection(Protocol):
    """What a stream needs of its connection."""

    waker: Waker

    def on_head(self, stream: Stream, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """The answer begins."""

    def on_unsent(self, stream: Stream, *, is_urgent: bool) -> None:
        """There is something to send, or the answer has ended.

        is_urgent: it reports the result of a step, which would run again if this got lost.
        """

    def on_consumed(self, stream: Stream, size: int) -> None:
        """The app took this many bytes of the request."""


class Stream(Exchange, Watched):
    """One request and its answer. is_marked: it waits for its turn to send.   has_sent_head: to the peer."""

    __slots__ = ("_connection", "_has_request", "consumed_bytes", "has_sent_head", "id", "is_marked")

    def __init__(self, connection: Connection, stream_id: int) -> None:
        Exchange.__init__(self)
        Watched.__init__(self)
        self.id = stream_id
        self.has_sent_head = False
        self.is_marked = False
        self.consumed_bytes = 0
        self._connection = connection
        self._has_request = False

    # From the peer

    def feed(self, data: bytes) -> None:
        super().feed(data)
        if self._has_request:
            self._connection.waker.delivered(self, message_count(data))
        self._has_request = True

    def finish_request(self) -> None:
        self.is_deaf = True
        super().finish_request()

    def lose(self) -> None:
        """Let the app know that nobody listens any more, and stop its task."""
        self.is_deaf = self._is_disconnect_next = True
        self._received.clear()
        super().lose()
        if self.task is not None:
            self.task.cancel()

    # To the peer

    @property
    def unsent_bytes(self) -> int:
        return self._unsent_bytes

    def take_some(self, bytes_max: int) -> bytes:
        """The next bytes of the answer."""
        body = self.take()
        if len(body) > bytes_max:
            self._unsent.append(body[bytes_max:])
            self._unsent_bytes = len(body) - bytes_max
            return body[:bytes_max]
        return body

    # The connection

    def _on_wanted(self) -> None:
        """The peer sends as it likes: its window is open."""

    def _on_consumed(self, size: int) -> None:
        self._connection.on_consumed(self, size)

    def _on_head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._connection.on_head(self, status, headers)

    def _on_body(self, body: bytes) -> None:
        sent = read_sent(body)
        self._connection.waker.answered(self, sent.command_count)
        self._connection.on_unsent(self, is_urgent=sent.holds_result)
