"""The bank: an HTTP server on loopback that cuts connections before it books, or after, and never says which.

POST /pay {"order": ...}         books once more, whatever has been booked; with an Idempotency-Key at /keyed once
POST /find {"order": ...}        the bookings of an order: never cut
POST /ask {"id": ..., ...}       a question for the bank's person, who is `on_question`
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Cut = Literal["before", "after"]
WORK_S: Final = 0.004
"""At most so long a booking takes: what was sent may come to be booked after its sender has died."""


@dataclass
class Bank:
    """What was booked, and cut. seed: of the cuts.   share: of calls that are cut."""

    seed: int
    share: float = 0.6
    url: str = ""
    bookings: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    cuts: defaultdict[str, list[Cut]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)
    on_question: Callable[[dict[str, Any]], None] = lambda said: None

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @property
    def doubled(self) -> list[str]:
        """Orders that were booked more than once."""
        return [order for order, keys in self.bookings.items() if len(keys) > 1]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Bank]:
        """Listen on a free port of loopback."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            path, key, said = await _request(reader)
            answer = await self._answer(path, key, said)
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):  # the caller was killed in the middle
            answer = None
        if answer is None:
            writer.transport.abort()
            return
        body = json.dumps(answer).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    async def _answer(self, path: str, key: str, said: dict[str, Any]) -> Any:
        """What is said, None where the connection is cut."""
        if path == "/find":
            return self.bookings[said["order"]]
        if path == "/ask":
            self.on_question(said)
            return "asked"
        return await self._book(said["order"], key, is_keyed=path == "/keyed")

    async def _book(self, order: str, key: str, *, is_keyed: bool) -> Any:
        cut: Cut | None = None
        if self._random.random() < self.share:
            cut = "before" if self._random.random() < 0.5 else "after"
            self.cuts[order].append(cut)
            self.counts[f"cut {cut} the booking"] += 1
        await asyncio.sleep(self._random.random() * WORK_S)
        if cut == "before":
            return None
        if not (is_keyed and key in self.bookings[order]):
            self.bookings[order].append(key)
        return None if cut == "after" else {"receipt": key}


async def _request(reader: asyncio.StreamReader) -> tuple[str, str, Any]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return first.split()[1], headers.get("idempotency-key", ""), json.loads(body)
