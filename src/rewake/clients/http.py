"""HttpClient: blocking requests to one server over HTTP/1.1, on the standard library's http.client.

A library is not needed: no request is retried, redirected, streamed or sent through a proxy, and every subcommand would
pay for the import. Called by admin.py and ingress.py.
"""

from __future__ import annotations

import http.client
import socket
from typing import Self
from urllib.parse import SplitResult, quote, urlsplit


class NoAnswer(Exception):
    """The server did not answer. reason: without a full stop.   __cause__: the original error, such as TimeoutError."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HttpClient:
    """Requests to the server at `parts` (from url_parts()), whose path is put before each request's path.

    Inside `with client:` it reuses one connection; only one thread may then use the client.
    """

    def __init__(self, parts: SplitResult, *, timeout_s: float) -> None:
        self._connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._base_path = parts.hostname or "", parts.port, parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._keeps = False
        self._kept: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        self._keeps = True
        return self

    def __exit__(self, *_: object) -> None:
        self._keeps = False
        self._drop()

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and body of the answer. Raises NoAnswer."""
        connection = self._kept or self._connect(self._host, self._port, timeout=self._timeout_s)
        self._kept = connection if self._keeps else None
        try:
            connection.request(method, self._base_path + path, body, headers)
            _acknowledge_at_once(connection)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, UnicodeError, http.client.HTTPException) as error:  # UnicodeError: of a host's name
            self._drop()
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise NoAnswer(reason) from error
        finally:
            if self._kept is None:
                connection.close()

    def _drop(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None


def url_parts(url: str) -> SplitResult | None:
    """The parts of a URL for requests; None if it is not one."""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        return None
    return parts if is_usable else None


def segment(text: str) -> str:
    """A path segment."""
    return quote(text, safe="")


def _acknowledge_at_once(connection: http.client.HTTPConnection) -> None:
    """Acknowledge at once, not after 40 ms: some servers wait for that before they send an answer's second part."""
    if hasattr(socket, "TCP_QUICKACK") and connection.sock is not None:
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
