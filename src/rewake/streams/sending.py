"""Sending: a stream as server-sent events over HTTP, at the ingress and at the admin API."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Final

from rewake.core.ids import InvocationId
from rewake.streams.hub import Streams

EVENT_STREAM: Final = "text/event-stream"
HEAD: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}
RETRY_MS: Final = 1_000
"""A browser reconnects after this pause."""

UNSENT_BYTES_MAX: Final = 64 * 1024
"""Memory that a stalled reader may use in the server; further events wait in the file."""

OFFSET_DIGITS_MAX: Final = 18
_SIGN_OF_LIFE: Final = b":\n\n"


async def sent_events(
    streams: Streams, run: InvocationId, after: int = 0, from_offset: int = 0
) -> AsyncGenerator[bytes]:
    """The bytes of a stream, with heartbeats. after, from_offset: see Streams.records."""
    yield b"retry: %d\n\n" % RETRY_MS
    async with contextlib.aclosing(streams.records(run, after, from_offset=from_offset)) as records:
        async for data in records:
            yield data or _SIGN_OF_LIFE


def offset_in(text: str) -> int | None:
    """The offset in a reader's `Last-Event-ID` or `?from=`; None for any other text."""
    is_one = len(text) <= OFFSET_DIGITS_MAX and text.isascii() and text.isdecimal()
    return int(text) if is_one else None


def last_read(last_event_id: str) -> int:
    """The offset in a reader's last id, 0 without one. An id that is not an offset becomes one that no log has."""
    offset = offset_in(last_event_id)
    return offset if offset is not None else -1 if last_event_id else 0
