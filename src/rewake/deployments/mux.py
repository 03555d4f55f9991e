"""Many attempts over one socket: the framing between the engine and a worker process.

A frame is `stream:u32 kind:u8 size:u32` and a payload of at most CHUNK_BYTES_MAX. Stream 0 is the link itself. All
writes of one loop iteration leave in one socket write, and one read is parsed to its last whole frame, in both
directions: with many attempts in flight the cost of a system call is shared by all of them.
Both ends subclass MuxProtocol: worker.py in the engine, worker_main.py in the child. Imports nothing of ours, so that
a child starts fast.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Final, cast

CHUNK_BYTES_MAX: Final = 64 * 1024
"""Larger payloads travel as several frames, so that a big message does not hold up the small ones behind it."""

FRAME_BYTES_MAX: Final = 64 * 1024 * 1024
"""Above this a length is taken for garbage. Only READY and FAILED may be larger than CHUNK_BYTES_MAX."""

WRITE_BUFFER_BYTES_MAX: Final = 4 * 1024 * 1024
"""Unsent bytes above which the writer is asked to wait."""

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
# The link itself. READY and FAILED open the conversation (from the child); PING asks for PONG.
READY: Final = 9
FAILED: Final = 10
PING: Final = 11
PONG: Final = 12

_header: Final = struct.Struct(">IBI")
_pack_header: Final = _header.pack
_unpack_header_from: Final = _header.unpack_from
HEADER_BYTES: Final = _header.size

_open_sizes: Final = struct.Struct(">H")


class MuxError(Exception):
    """The peer sent something that is no frame; the link cannot go on."""


def encode_frame(kind: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One frame as bytes, for the rare writer that has no loop."""
    return _pack_header(stream_id, kind, len(payload)) + payload


def encode_open(path: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    """Payload of OPEN: the size of the head, path and headers separated by NUL, the first bytes of the body."""
    head = b"\0".join([path, *(part for header in headers for part in header)])
    return _open_sizes.pack(len(head)) + head + body


def decode_open(payload: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """(path, headers, first bytes of the body)."""
    start = _open_sizes.size
    stop = start + _open_sizes.unpack_from(payload)[0]
    parts = payload[start:stop].split(b"\0")
    return parts[0], list(zip(parts[1::2], parts[2::2], strict=True)), payload[stop:]


def encode_head(status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Payload of HEAD: the status in decimal, then names and values, separated by NUL."""
    return b"\0".join([b"%d" % status, *(part for header in headers for part in header)])


def decode_head(payload: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    """(status, headers)."""
    parts = payload.split(b"\0")
    return int(parts[0]), list(zip(parts[1::2], parts[2::2], strict=True))


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
        """The socket is gone; nothing can be sent or received any more."""
        raise NotImplementedError

    def write_frame(self, kind: int, stream_id: int, payload: bytes = b"") -> None:
        """Queue one frame; it leaves with everything else this loop iteration writes."""
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
        """Split a stream's payload. The rest after an OPEN is DATA; READY and FAILED stay whole."""
        if stream_id == LINK:
            self._out += (_pack_header(stream_id, kind, len(payload)), payload)
            return
        for offset in range(0, len(payload), CHUNK_BYTES_MAX):
            chunk = payload[offset : offset + CHUNK_BYTES_MAX]
            self._out += (_pack_header(stream_id, kind, len(chunk)), chunk)
            if kind == OPEN:
                kind = DATA

    def flush_soon(self) -> None:
        """Make sure that what was written leaves in the next loop iteration; idempotent.

        Not later: a step's result that waits here when the process dies is a step that runs again.
        """
        if not self._is_flush_due:
            self._is_flush_due = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self.before_flush()
        self._is_flush_due = False
        if self.transport is None:
            return  # connection_made will flush.
        out, self._out = self._out, []
        if out and not self.transport.is_closing():
            self.transport.write(b"".join(out))

    def before_flush(self) -> None:
        """Last chance to write frames into this flush."""

    async def drain(self) -> None:
        """Wait until the peer has read enough that writing may go on."""
        if not self.is_paused:
            return
        if self._drained is None:
            self._drained = self.loop.create_future()
        await asyncio.shield(self._drained)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its class.
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
