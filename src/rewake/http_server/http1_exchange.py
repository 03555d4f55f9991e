"""Http1Exchange: one request and its answer on an HTTP/1.1 connection. Called by http1.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from rewake.http_server.answer import Answer
from rewake.http_server.exchange import Exchange


class Connection(Protocol):
    """What an exchange needs of its connection."""

    def on_wanted(self, exchange: Http1Exchange) -> None:
        """The app waits for the body, of which nothing has come."""

    def on_consumed(self) -> None:
        """The app took what has come of the body."""

    def on_unsent(self, exchange: Http1Exchange) -> None:
        """There is something to send, or the answer has ended."""


class Http1Exchange(Exchange):
    """One request and its answer. scope: of the ASGI call."""

    __slots__ = ("_connection", "answer", "scope")

    def __init__(self, connection: Connection, scope: dict[str, Any], answer: Answer) -> None:
        super().__init__()
        self.scope = scope
        self.answer = answer
        self._connection = connection

    def _on_wanted(self) -> None:
        self._connection.on_wanted(self)

    def _on_consumed(self, size: int) -> None:
        self._connection.on_consumed()

    def _on_head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.answer.begin(status, headers)
        self._connection.on_unsent(self)

    def _on_body(self, body: bytes) -> None:
        self._connection.on_unsent(self)
