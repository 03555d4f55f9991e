"""What a connection to the app is in any version of HTTP: its streams, its transport, and its end.

connection.py and http1.py add the protocol; server.py knows them by this class alone.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import cast

from rewake.deployments.serving.stream import App, Stream
from rewake.deployments.waking import Waker


class AppConnection(asyncio.Protocol):
    """on_made: called when it opens.   on_empty: when nothing is under way on it any more, and when it is lost."""

    def __init__(
        self, app: App, on_made: Callable[[AppConnection], None], on_empty: Callable[[AppConnection], None]
    ) -> None:
        self.streams: dict[int, Stream] = {}
        self.is_lost = False
        self.waker = Waker(asyncio.get_running_loop())
        self._app = app
        self._on_made = on_made
        self._on_empty = on_empty
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._is_paused = False
        self._is_flush_due = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._on_made(self)

    def pause_writing(self) -> None:
        self._is_paused = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._lose_streams()
        self._on_empty(self)

    # server.py

    @abstractmethod
    def leave(self) -> None:
        """Take nothing new, and close once nothing is under way."""

    @abstractmethod
    def cut(self) -> None:
        """Give up what is still under way."""

    def _lose_streams(self) -> None:
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            stream.lose()
