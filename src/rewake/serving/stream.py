"""Http2Stream: one request of an SDK's attempt and its answer, on an HTTP/2 connection.

Unlike other exchanges it also wakes the tasks of a handler that wait side by side. waking.py decides which events need
not wake them. Called by connection.py.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterable
from typing import Protocol

from rewake.deployments.waking import Waker, Watched
from rewake.http_server.exchange import ServerExchange
from rewake.protocol.peeking import message_count, read_sent


def describe_failure(task: asyncio.Task[None]) -> str | None:
    """The exception of the app's task, on one line; None if it raised none."""
    error = None if task.cancelled() else task.exception()
    return None if error is None else "".join(traceback.format_exception_only(error)).strip()


class StreamConnection(Protocol):
    """The connection's methods that a stream uses."""

    waker: Waker

    def on_head(self, stream: Http2Stream, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """The answer begins."""

    def on_unsent(self, stream: Http2Stream, *, is_urgent: bool) -> None:
        """Bytes wait to be sent, or the answer has ended.

        is_urgent: they report a step's result; if they got lost the step would run again.
        """

    def on_consumed(self, stream: Http2Stream, size: int) -> None:
        """The app received this many bytes of the request."""


class Http2Stream(ServerExchange, Watched):
    """One request and its answer. is_marked: it waits for its turn to send.   has_sent_head: the peer has the head."""

    __slots__ = ("_connection", "_has_request", "consumed_bytes", "has_sent_head", "id", "is_marked")

    def __init__(self, connection: StreamConnection, stream_id: int) -> None:
        ServerExchange.__init__(self)
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
        """The peer has left: let the app know, and stop its task."""
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
        """Nothing to do: the peer's window is open, so it sends by itself."""

    def _on_consumed(self, size: int) -> None:
        self._connection.on_consumed(self, size)

    def _on_head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._connection.on_head(self, status, headers)

    def _on_body(self, body: bytes) -> None:
        sent = read_sent(body)
        self._connection.waker.answered(self, sent.command_count)
        self._connection.on_unsent(self, is_urgent=sent.holds_result)
