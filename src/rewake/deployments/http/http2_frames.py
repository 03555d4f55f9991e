"""Additions to the h2 package: GOAWAY that lets streams go on, early refusal of large frames, and cheap headers.

At a GOAWAY h2 closes its state, although accepted streams go on; and it reads a whole frame before it refuses it as too
large. So FrameGuard checks frames first: it removes GOAWAY and refuses large frames. LiteralEncoder writes header
blocks without tables or Huffman coding: 5 us a request instead of 35, for some 200 bytes more. http2_state.py and
serving/connection.py, the two sides, make their connections here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings

from rewake.deployments.http.connect_errors import ConnectionBroken

FRAME_BYTES_MAX: Final = 65_536
"""Largest frame we accept."""

HEADER_LIST_BYTES_MAX: Final = 65_536

FRAMES_PER_TURN_MAX: Final = 256
"""Frames that are processed in one turn of the event loop, some milliseconds; further ones wait for the next turn."""

IDLE_FRAMES_MAX: Final = 10_000
"""Frames without content, such as PING, SETTINGS, WINDOW_UPDATE and empty DATA. A peer that sends more is cut off.

Each frame that we send, and each body of the peer, allows the peer some more: see FrameGuard.
"""

FRAMES_PER_SENT: Final = 8
_BYTES_PER_FRAME: Final = 8  # the smallest message there is

_HEADER_BYTES: Final = 9
_PADDED: Final = 0x08
_DATA: Final = 0
_SETTINGS: Final = 4
_GOAWAY: Final = 7


def new_connection(*, client_side: bool, checks_headers: bool, settings: Mapping[SettingCodes, int]) -> H2Connection:
    """An h2 connection with our limits. checks_headers: check the peer's headers; our own are checked before.

    settings: sent to the peer besides the limits.
    """
    connection = H2Connection(
        H2Configuration(
            client_side=client_side,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=checks_headers,
        )
    )
    limits = {
        SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES_MAX,
        SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_LIST_BYTES_MAX,
    }
    connection.local_settings = Settings(client=client_side, initial_values={**settings, **limits})
    connection.max_inbound_frame_size = FRAME_BYTES_MAX
    connection.encoder = LiteralEncoder()  # type: ignore[assignment]  # the two members h2 uses
    return connection


class Goaway(NamedTuple):
    """The peer accepts no stream above `last_stream_id` any more."""

    last_stream_id: int
    error_code: int


class FrameGuard:
    """Follows the peer's frames, and passes on all but GOAWAY.

    rest: bytes for the next turn, if FRAMES_PER_TURN_MAX was reached. Feed them first in that turn.
    Each frame uses one of IDLE_FRAMES_MAX. Each 8 bytes of DATA return one, and `earn` returns FRAMES_PER_SENT.
    """

    def __init__(self) -> None:
        self.rest = b""
        self._credit = IDLE_FRAMES_MAX
        self._is_first = True
        self._skip = 0  # payload bytes of the current frame that are still to come
        self._pending = b""  # an incomplete frame header or GOAWAY frame

    def earn(self, count: int = FRAMES_PER_SENT) -> None:
        """We sent frames; the peer may answer with some of its own."""
        self._credit = min(self._credit + count, IDLE_FRAMES_MAX)

    def feed(self, data: bytes) -> tuple[bytes, Goaway | None]:
        """The bytes for h2 in this turn, and a GOAWAY, if there was one. Raises ConnectionBroken."""
        self.rest = b""
        if self._pending:
            data = self._pending + data
            self._pending = b""
        goaway = None
        kept: list[bytes] = []
        start = 0  # of the next bytes to keep
        position, end = self._skip, len(data)
        frame_count = 0
        while end - position >= _HEADER_BYTES:
            if frame_count == FRAMES_PER_TURN_MAX:
                self.rest, data, end = data[position:], data[:position], position
                break
            frame_count += 1
            size = int.from_bytes(data[position : position + 3], "big")
            kind = data[position + 3]
            self._check(kind, size)
            is_data = kind == _DATA and not data[position + 4] & _PADDED
            self.earn((size // _BYTES_PER_FRAME if is_data else 0) - 1)
            frame_end = position + _HEADER_BYTES + size
            if kind == _GOAWAY:
                if frame_end > end:
                    break
                kept.append(data[start:position])
                goaway = _goaway_of(data[position + _HEADER_BYTES : frame_end])
                start = frame_end
            position = frame_end
        if position >= end:
            self._skip = position - end
        else:
            self._skip = 0
            self._pending = data[position:]
            end = position
        if not kept:
            return (data if end == len(data) else data[:end]), goaway
        kept.append(data[start:end])
        return b"".join(kept), goaway

    def _check(self, kind: int, size: int) -> None:
        if self._is_first and kind != _SETTINGS:
            raise ConnectionBroken("The server does not speak HTTP/2.")
        if self._credit <= 0:
            raise ConnectionBroken(f"The peer sent more than {IDLE_FRAMES_MAX} frames without content.")
        if size > FRAME_BYTES_MAX:
            raise ConnectionBroken(f"The server sent a frame of {size} bytes; {FRAME_BYTES_MAX} are allowed.")
        self._is_first = False


def _goaway_of(payload: bytes) -> Goaway:
    return Goaway(int.from_bytes(payload[:4], "big") & 0x7FFF_FFFF, int.from_bytes(payload[4:8], "big"))


class LiteralEncoder:
    """Replaces hpack's Encoder: writes every header as a literal without a table (RFC 7541, 6.2.2)."""

    header_table_size = 0  # h2 sets it from the peer's settings; without a table it has no effect

    def encode(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        return b"".join([_literal(name, value) for name, value in headers])


@lru_cache(maxsize=1024)
def _literal(name: bytes, value: bytes) -> bytes:
    return b"\x00" + _length(len(name)) + name + _length(len(value)) + value


def _length(size: int) -> bytes:
    """An integer with a 7-bit prefix (RFC 7541, 5.1)."""
    if size < 0x7F:
        return bytes((size,))
    out = bytearray(b"\x7f")
    size -= 0x7F
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out)
