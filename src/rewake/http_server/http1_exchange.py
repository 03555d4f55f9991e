"""Http1Exchange: one request and its answer on an HTTP/1.1 connection. Called by http1.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from rewake.http_server.answer import Http1Answer
from rewake.http_server.exchange import ServerExchange


class ExchangeConnection(Protocol):
    """The connection's methods that an exchange uses."""

    def on_wanted(self, exchange: Http1Exchange) -> None:
        """The app waits for the body, and no byte of it is there."""

    def on_consumed(self) -> None:
        """The app received all bytes of the body that had arrived."""

    def on_unsent(self, exchange: Http1Exchange) -> None:
        """Bytes wait to be sent, or the answer has ended."""


class Http1Exchange(ServerExchange):
    """One request and its answer. version, path: of the request."""

    __slots__ = ("_connection", "_scope", "answer", "path", "version")

    def __init__(self, connection: ExchangeConnection, scope: dict[str, Any], answer: Http1Answer) -> None:
        super().__init__()
        self.answer = answer
        self.version = scope["http_version"]
        self.path = scope["path"]
        self._scope: dict[str, Any] | None = scope
        self._connection = connection

    def take_scope(self) -> dict[str, Any]:
        """The scope of the ASGI call, once: its extensions lead back here, and cycles would be the collector's work."""
        scope, self._scope = self._scope, None
        assert scope is not None
        return scope

    def answer_whole(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Take the whole answer at once. Raises AnswerError for a head that cannot be sent."""
        if self.is_gone or self.is_ended:
            return
        self.answer.begin(status, headers)
        self._unsent.append(body)
        self.has_head = True
        self._end()
        self._connection.on_unsent(self)

    def _on_wanted(self) -> None:
        self._connection.on_wanted(self)

    def _on_consumed(self, size: int) -> None:
        self._connection.on_consumed()

    def _on_head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.answer.begin(status, headers)
        self._connection.on_unsent(self)

    def _on_body(self, body: bytes) -> None:
        self._connection.on_unsent(self)
