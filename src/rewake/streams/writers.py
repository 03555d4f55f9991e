"""The lines of a writer's request become deltas."""

from __future__ import annotations

from typing import Any, Final

import msgspec

DELTA_BYTES_MAX: Final = 64 * 1024
"""Longest line; longer ones are dropped."""


class Lines:
    """Splits bytes into lines of JSON. Drops lines that are too long or not JSON."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, as JSON without line breaks."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if whole and self._is_skipping:
            del whole[0]
            self._is_skipping = False
        if len(self._rest) > DELTA_BYTES_MAX:
            self._rest, self._is_skipping = b"", True
        return [line for each in whole if (line := _json_line(each)) is not None]


def head_of(line: bytes) -> Any:
    """The first line of a request, decoded; None if it is not JSON."""
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _json_line(line: bytes) -> bytes | None:
    line = line.strip()
    if not line or len(line) > DELTA_BYTES_MAX:
        return None
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return msgspec.json.encode(value) if b"\r" in line else line
