"""HttpClient: requests to one server over HTTP/1.1, one after another. Blocks; on the standard library's http.client.

Not a library of its own: no request here is retried, redirected, streamed or sent by a proxy, and every subcommand
would pay for the import. Called by admin.py and ingress.py.
"""

from __future__ import annotations

import http.client
import socket
from typing import Self
from urllib.parse import SplitResult, quote, urlsplit


class NoAnswer(Exception):
    """The server did not answer. reason: without a full stop.   __cause__: the error below, TimeoutError among them."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HttpClient:
    """Requests to the server at `parts`, as url_parts() gave them; their path comes before that of each request.

    Inside `with client:` one connection is kept and used again; a client may then be used by one thread only.
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
    """The parts of a URL that requests can be sent to; None for anything else."""
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
    """Some servers send an answer in two parts, the second when the first is acknowledged: 40 ms later by default."""
    if hasattr(socket, "TCP_QUICKACK") and connection.sock is not None:
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
