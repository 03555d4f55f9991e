"""Frames: an 8-byte header, then the payload. The only code that knows where a message begins and ends.

`encode_frame` and `encode_frames` write them; a FrameDecoder cuts them out of a byte stream however it was chunked.
Payloads pass through as they are; codec.py reads them. A frame too large is reported when its header is seen,
before its payload takes memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple

from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.messages import MessageType

MESSAGE_BYTES_MAX: Final = 32 * 1024 * 1024
"""Largest payload accepted from an SDK by default, as the server does."""

_HEADER: Final = Struct(">HHI")
_HEADER_SIZE: Final = _HEADER.size
_COMPLETION_ID_TAG: Final = b"\x08"
_PROPOSAL_START_BYTES: Final = 6
"""Tag and value of the completion id, the first field of a proposed result."""


class Frame(NamedTuple):
    """One message in a stream: its type, its flags (REQUESTED_ACK or 0) and its payload."""

    type_id: int
    flags: int
    payload: bytes


_tuple: Final = tuple.__new__
"""Makes a Frame without the call of a Python function."""


class Oversized(NamedTuple):
    """The header of a message above the limit. start: the first bytes of a proposed result, with its completion id."""

    type_id: int
    size: int
    size_max: int
    start: bytes

    @property
    def completion_id(self) -> int:
        """The completion id of a proposed result. Raises ProtocolViolation if it does not begin with one."""
        value = 0
        if self.start[:1] == _COMPLETION_ID_TAG:
            for shift, byte in enumerate(self.start[1:_PROPOSAL_START_BYTES]):
                value |= (byte & 0x7F) << (7 * shift)
                if byte < 0x80:
                    return value
        raise ProtocolViolation("the result of a run does not begin with its completion id")


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
    """Cuts one direction of one attempt into frames, up to one that is `oversized`; it must not be fed after that.

    pending: the bytes of an incomplete frame. If there are some at the end of a stream, the stream was cut.
    """

    def __init__(self, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self.message_bytes_max = message_bytes_max
        self.oversized: Oversized | None = None
        self.pending = bytearray()
        self._frame_size = _HEADER_SIZE

    def feed(self, data: bytes) -> list[Frame]:
        """The frames completed by `data`."""
        assert self.oversized is None
        if self.pending:
            self.pending += data
            if len(self.pending) < self._frame_size:
                return []
            data = bytes(self.pending)
            self.pending.clear()
        frames: list[Frame] = []
        position, end = 0, len(data)
        self._frame_size = _HEADER_SIZE
        while end - position >= _HEADER_SIZE:
            type_id, flags, size = _HEADER.unpack_from(data, position)
            start = position + _HEADER_SIZE
            if size > self.message_bytes_max:
                size = _PROPOSAL_START_BYTES if type_id == MessageType.PROPOSE_RUN_COMPLETION else 0
                if start + size <= end:
                    self._report(data, position, start + size)
                    return frames
            if start + size > end:
                self._frame_size = _HEADER_SIZE + size
                break
            position = start + size
            frames.append(_tuple(Frame, (type_id, flags, data[start:position])))
        if position < end:
            self.pending += data[position:]
        return frames

    def _report(self, data: bytes, position: int, stop: int) -> None:
        type_id, _, size = _HEADER.unpack_from(data, position)
        self.oversized = Oversized(type_id, size, self.message_bytes_max, bytes(data[position + _HEADER_SIZE : stop]))
