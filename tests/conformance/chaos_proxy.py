"""A TCP proxy that cuts connections: after random amounts of traffic by a seed, when asked, or by falling silent.

By traffic and not by time, so that a slow machine gets as far on each connection as a fast one. A cut falls anywhere,
mostly within a frame: the receiver gets the first part of it and then the end, the sender a reset.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Literal, Self

Sender = Literal["engine", "service"]


class ChaosProxy:
    """Forwards to a port of this machine.

    life_bytes: each connection is cut after so much traffic at most.   cuts_ns: when that was, by who was sending.
    traffic: what passed, in order, of which connection and from whom; kept when it is not to be cut.
    """

    def __init__(self, target_port: int, *, seed: int = 0, life_bytes: int | None = None) -> None:
        self.port = 0
        self.cuts_ns: dict[Sender, list[int]] = {"engine": [], "service": []}
        self.traffic: list[tuple[object, Sender, bytes]] = []
        self.is_hanging = False
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.life_bytes = life_bytes
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

    @property
    def cut_count(self) -> int:
        return sum(len(cuts) for cuts in self.cuts_ns.values())

    def shut(self) -> None:
        """Reset every connection, and keep new ones waiting until `is_open` is set."""
        self.is_open.clear()
        self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        for end in list(self.ends):
            end.transport.abort()

    def hang(self) -> None:
        """Keep the connections and forward nothing more: half-open, as after a lost route."""
        self.is_hanging = True

    def span_of_life(self) -> int | None:
        """How many bytes a new connection may carry in both directions together."""
        return None if self.life_bytes is None else int(self._random.uniform(0.2, 1.0) * self.life_bytes)


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
        if self.other is None or self.proxy.is_hanging:
            return
        caller = self if isinstance(self, _Caller) else self.other
        assert isinstance(caller, _Caller)
        sender: Sender = "engine" if self is caller else "service"
        if self.proxy.life_bytes is None:
            self.proxy.traffic.append((caller, sender, data))
        passed = caller.spend(data)
        self.other.transport.write(passed)
        if len(passed) < len(data):
            self.proxy.cuts_ns[sender].append(time.monotonic_ns())
            self.other.transport.close()
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.proxy.ends.discard(self)
        if self.other is not None:
            self.other.transport.abort() if exc else self.other.transport.close()


class _Caller(_End):
    """The side of whoever connected; connects to the target before it reads."""

    left_bytes: int | None = None

    def spend(self, data: bytes) -> bytes:
        """What the connection lives to pass on of it."""
        if self.left_bytes is None:
            return data
        passed = data[: self.left_bytes]
        self.left_bytes -= len(passed)
        return passed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        await self.proxy.is_open.wait()
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
            self.left_bytes = self.proxy.span_of_life()
            self.transport.resume_reading()
