"""Many attempts over one socket: the framing between the engine and a worker process.

A frame is `stream:u32 kind:u8 size:u32` and a payload of at most CHUNK_BYTES_MAX. Stream 0 is the link itself. In both
directions all writes of one turn of the event loop leave in one socket write, and one read is parsed to its last whole
frame, so many attempts share the cost of a system call. Both ends subclass MuxProtocol: worker.py in the engine,
worker_main.py in the child. It imports no other file of Rewake, so that a child starts fast.
"""

from __future__ import annotations

import asyncio
import struct
from functools import lru_cache
from itertools import chain
from typing import Final, cast

CHUNK_BYTES_MAX: Final = 64 * 1024
"""Larger payloads are sent as several frames, so that a large message does not delay small ones."""

FRAME_BYTES_MAX: Final = 64 * 1024 * 1024
"""A larger length is garbage. Only READY and FAILED may be larger than CHUNK_BYTES_MAX."""

WRITE_BUFFER_BYTES_MAX: Final = 4 * 1024 * 1024
"""Unsent bytes above which writers wait in `drain`."""

LINK: Final = 0

# Engine to child. OPEN: head and first bytes of a request. DATA: more of it. HALF_CLOSE: its end. ABORT: forget it.
OPEN: Final = 1
DATA: Final = 2
HALF_CLOSE: Final = 3
ABORT: Final = 4
# Child to engine. HEAD: status and headers. BODY: bytes of the response. END: its end. ERROR: it broke, with a text.
HEAD: Final = 5
BODY: Final = 6
END: Final = 7
ERROR: Final = 8
# The link itself. READY and FAILED open the conversation (from the child), after any IMPORTING; PING asks for PONG.
READY: Final = 9
FAILED: Final = 10
PING: Final = 11
PONG: Final = 12
IMPORTING: Final = 13
# Child to engine, numbered by the child. What a step says live: its head, a delta, its end, or that its try failed.
SPEAK: Final = 14
SAID: Final = 15
ALL_SAID: Final = 16
CUT: Final = 17

_header: Final = struct.Struct(">IBI")
_pack_header: Final = _header.pack
_unpack_header_from: Final = _header.unpack_from
HEADER_BYTES: Final = _header.size

_open_sizes: Final = struct.Struct(">H")


class MuxError(Exception):
    """The peer sent bytes that are not a frame; the link cannot go on."""


def encode_frame(kind: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One frame as bytes, for a writer without an event loop."""
    return _pack_header(stream_id, kind, len(payload)) + payload


def encode_open(path: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    """Payload of OPEN: the size of the head, path and headers separated by NUL, the first bytes of the body."""
    head = b"\0".join((path, *chain.from_iterable(headers)))
    return _open_sizes.pack(len(head)) + head + body


def decode_open(payload: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """(path, headers, first bytes of the body)."""
    start = _open_sizes.size
    stop = start + _open_sizes.unpack_from(payload)[0]
    parts = payload[start:stop].split(b"\0")
    return parts[0], list(zip(parts[1::2], parts[2::2], strict=True)), payload[stop:]


def encode_head(status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Payload of HEAD: the status in decimal, then names and values, separated by NUL."""
    return b"\0".join((b"%d" % status, *chain.from_iterable(headers)))


@lru_cache(maxsize=64)
def decode_head(payload: bytes) -> tuple[int, tuple[tuple[bytes, bytes], ...]]:
    """(status, headers). An SDK sends the same few heads for ever."""
    parts = payload.split(b"\0")
    return int(parts[0]), tuple(zip(parts[1::2], parts[2::2], strict=True))


class MuxProtocol(asyncio.Protocol):
    """One end of the link. Subclasses implement frame_received and link_lost."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.transport: asyncio.Transport | None = None
        self.is_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._rest = b""
        self._out: list[bytes] = []
        self._is_flush_due = False

    def frame_received(self, kind: int, stream_id: int, payload: bytes) -> None:
        """One whole frame, in order of arrival. A MuxError closes the link."""
        raise NotImplementedError

    def link_lost(self, reason: Exception | None) -> None:
        """The socket is closed."""
        raise NotImplementedError

    def write_frame(self, kind: int, stream_id: int, payload: bytes = b"") -> None:
        """Queue one frame; it leaves with all other frames of this turn of the event loop."""
        out = self._out
        if not self._is_flush_due:
            self.flush_soon()
        if len(payload) > CHUNK_BYTES_MAX:
            self._write_chunks(kind, stream_id, payload)
            return
        out.append(_pack_header(stream_id, kind, len(payload)))
        if payload:
            out.append(payload)

    def _write_chunks(self, kind: int, stream_id: int, payload: bytes) -> None:
        """Split a stream's payload. Behind an OPEN the other parts are DATA; READY and FAILED stay whole."""
        if stream_id == LINK:
            self._out += (_pack_header(stream_id, kind, len(payload)), payload)
            return
        for offset in range(0, len(payload), CHUNK_BYTES_MAX):
            chunk = payload[offset : offset + CHUNK_BYTES_MAX]
            self._out += (_pack_header(stream_id, kind, len(chunk)), chunk)
            if kind == OPEN:
                kind = DATA

    def flush_soon(self) -> None:
        """Flush in the next turn of the event loop; idempotent.

        A later flush would be worse: if the process dies while a step's result waits here, the step runs again.
        """
        if not self._is_flush_due:
            self._is_flush_due = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self.before_flush()
        self._is_flush_due = False
        if self.transport is None:
            return  # connection_made flushes.
        out, self._out = self._out, []
        if out and not self.transport.is_closing():
            self.transport.write(b"".join(out))

    def before_flush(self) -> None:
        """Called before a flush, to add frames to it."""

    async def drain(self) -> None:
        """Wait until the peer has read enough."""
        if not self.is_paused:
            return
        if self._drained is None:
            self._drained = self.loop.create_future()
        await asyncio.shield(self._drained)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's has another class.
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
        self._flush()

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        offset, end = 0, len(data)
        try:
            while end - offset >= HEADER_BYTES:
                stream_id, kind, size = _unpack_header_from(data, offset)
                start = offset + HEADER_BYTES
                stop = start + size
                if stop > end:
                    if size > FRAME_BYTES_MAX:
                        raise MuxError(f"a frame of {size} bytes was announced")
                    break
                self.frame_received(kind, stream_id, data[start:stop])
                offset = stop
        except MuxError:
            assert self.transport is not None
            self.transport.abort()
            return
        self._rest = data[offset:] if offset else data

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False
        self._release_writers()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_paused = False
        self._release_writers()
        self.link_lost(exc)

    def _release_writers(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None
