"""The base of a connection, for any version of HTTP: its server, its transport, its end.

http1.py and serving/connection.py add the protocol; server.py uses this class alone.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Final, Protocol, cast

from rewake.http_server.exchange import App
from rewake.http_server.limits import Limits

_BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Site(Protocol):
    """The server's methods that a connection uses.

    cancels: the app's task is cancelled when its caller leaves.   answers_half_closed: a caller that has ended its side
    of the connection gets its answer, if it still listens; if False, it counts as gone.
    """

    app: App
    limits: Limits
    cancels: bool
    answers_half_closed: bool

    def on_open(self, connection: Connection) -> bool:
        """A connection is open; False if there is no room for it."""

    def on_lost(self, connection: Connection) -> None:
        """A connection is closed."""


class Connection(asyncio.Protocol):
    """One connection. moved_at: when its caller last sent or read bytes, by the loop's clock."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.moved_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._is_write_paused = False
        self._is_deaf = False
        self._unsent_mark_bytes = 0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has another class
        self.moved_at = self._loop.time()
        if not self.site.on_open(self):
            self._is_deaf = True
            self._transport.write(_BUSY)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_deaf = True
        self.site.on_lost(self)

    def pause_writing(self) -> None:
        self._is_write_paused = True
        self.moved_at = self._loop.time()
        self._unsent_mark_bytes = self._transport.get_write_buffer_size()

    # server.py

    @property
    @abstractmethod
    def exchange_count(self) -> int:
        """Requests that are not answered completely."""

    @property
    @abstractmethod
    def is_idle(self) -> bool:
        """Whether it can be closed now without losing a request or an answer."""

    @abstractmethod
    def leave(self) -> None:
        """Accept no further request, and close after the last answer."""

    @abstractmethod
    def cut(self) -> None:
        """Abort the requests that are not answered completely."""

    @abstractmethod
    def check(self, now: float) -> None:
        """Close the connection if its caller is too slow. now: the loop's time."""

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _check_writing(self, now: float) -> None:
        """Cut the connection if its caller reads an answer more slowly than the least rate."""
        limits = self.site.limits
        left_bytes = self._transport.get_write_buffer_size()
        if now - self.moved_at > limits.write_s:
            self._transport.abort()
        elif self._unsent_mark_bytes - left_bytes > limits.bytes_per_second_min * limits.write_s:
            self.moved_at, self._unsent_mark_bytes = now, left_bytes
