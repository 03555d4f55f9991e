"""A TCP proxy that cuts connections: at random times by a seed, when asked, or by falling silent."""

from __future__ import annotations

import asyncio
import random
from typing import Self


class ChaosProxy:
    """Forwards to a port of this machine. lifetime_ms: each connection is reset after a random time up to that."""

    def __init__(self, target_port: int, *, seed: int = 0, lifetime_ms: int | None = None) -> None:
        self.port = 0
        self.cut_count = 0
        self.is_hanging = False
        self.lifetime_ms = lifetime_ms
        self.target_port = target_port
        self.ends: set[_End] = set()
        self._random = random.Random(seed)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Caller(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        while self.ends:
            await asyncio.sleep(0)

    def cut(self) -> None:
        """Reset every connection."""
        for end in list(self.ends):
            end.transport.abort()

    def hang(self) -> None:
        """Keep the connections and forward nothing more: half-open, as after a lost route."""
        self.is_hanging = True

    def doom(self, end: _End) -> None:
        """Let a new connection live a random time."""
        if self.lifetime_ms is not None:
            delay_s = self._random.uniform(0.2, 1.0) * self.lifetime_ms / 1000
            asyncio.get_running_loop().call_later(delay_s, self._cut_one, end)

    def _cut_one(self, end: _End) -> None:
        if end in self.ends:
            self.cut_count += 1
            end.transport.abort()


class _End(asyncio.Protocol):
    """One side of a forwarded connection; when it ends, so does the other."""

    transport: asyncio.Transport

    def __init__(self, proxy: ChaosProxy, other: _End | None = None) -> None:
        self.proxy = proxy
        self.other = other

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.proxy.ends.add(self)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and not self.proxy.is_hanging:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.proxy.ends.discard(self)
        if self.other is not None:
            self.other.transport.abort() if exc else self.other.transport.close()


class _Caller(_End):
    """The side of whoever connected; connects to the target before it reads."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, self.other = await loop.create_connection(
                lambda: _End(self.proxy, self), "127.0.0.1", self.proxy.target_port
            )
        except OSError:
            self.transport.abort()
            return
        if self.transport.is_closing():
            self.other.transport.abort()
        else:
            self.transport.resume_reading()
            self.proxy.doom(self)
