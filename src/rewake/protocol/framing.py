"""Frames: an 8-byte header, then the payload. The only code that knows where a message begins and ends.

`encode_frame` and `encode_frames` write them; a FrameDecoder cuts them out of a byte stream however it was chunked.
Payloads pass through as they are; codec.py reads them. A frame too large is refused when its header is seen,
before its payload takes memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple

from rewake.protocol.errors import MESSAGE_TOO_LARGE, ProtocolViolation

MESSAGE_BYTES_MAX: Final = 32 * 1024 * 1024
"""Largest payload accepted from an SDK by default, as the server does."""

_HEADER: Final = Struct(">HHI")
_HEADER_SIZE: Final = _HEADER.size


class Frame(NamedTuple):
    """One message as it travels: its type, its flags (REQUESTED_ACK or 0) and its payload."""

    type_id: int
    flags: int
    payload: bytes


def encode_frame(type_id: int, payload: bytes, flags: int = 0) -> bytes:
    """Header and payload."""
    return _HEADER.pack(type_id, flags, len(payload)) + payload


def encode_frames(messages: Iterable[tuple[int, bytes]]) -> bytes:
    """The frames of (type_id, payload) pairs, one after the other, without flags."""
    parts: list[bytes] = []
    for type_id, payload in messages:
        parts += (_HEADER.pack(type_id, 0, len(payload)), payload)
    return b"".join(parts)


class FrameDecoder:
    """Cuts one direction of one attempt into frames. After it has raised it must not be fed again."""

    def __init__(self, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self.message_bytes_max = message_bytes_max
        self._pending = bytearray()
        self._frame_size = _HEADER_SIZE

    @property
    def pending_size(self) -> int:
        """Bytes of a frame that is not complete yet; not 0 at the end of a stream means it was cut off."""
        return len(self._pending)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames completed by `data`. Raises ProtocolViolation RT0003 for a frame above the limit."""
        if self._pending:
            self._pending += data
            if len(self._pending) < self._frame_size:
                return []
            data = bytes(self._pending)
            self._pending.clear()
        frames = []
        position, end = 0, len(data)
        self._frame_size = _HEADER_SIZE
        while end - position >= _HEADER_SIZE:
            type_id, flags, size = _HEADER.unpack_from(data, position)
            self._check_size(type_id, size)
            start = position + _HEADER_SIZE
            if start + size > end:
                self._frame_size = _HEADER_SIZE + size
                break
            position = start + size
            frames.append(Frame(type_id, flags, data[start:position]))
        if position < end:
            self._pending += data[position:]
        return frames

    def _check_size(self, type_id: int, size: int) -> None:
        if size > self.message_bytes_max:
            raise ProtocolViolation(
                f"message of type 0x{type_id:04X} has {size} bytes, more than the {self.message_bytes_max} allowed",
                MESSAGE_TOO_LARGE,
            )
