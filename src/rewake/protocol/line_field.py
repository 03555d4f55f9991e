"""The line of the app that made a command: an additional field at the end of the command, which SDKs ignore.

A host of handlers adds it to the output of its SDK (deployments/step_lines.py). The engine stores commands unchanged,
so the line is that of the attempt that made the entry. It is there after a restart, in forks and in exported journals.
A replay does not compare it, since it is not a field of the protocol; only mismatch reports read it.

Form of the field: UTF-8 text of up to three lines: `FILE:LINE`, the function, and the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.protobuf import LENGTH, read_varint, skip_field, varint

NUMBER: Final = 2047
"""Far above the protocol's own fields; the tag still has two bytes."""

LINE_BYTES_MAX: Final = 300
"""Size of the text. Writers leave out longer texts, and readers ignore them."""

_TAG: Final = NUMBER << 3 | LENGTH
_TAG_BYTES: Final = varint(_TAG)
_HEAD: Final = Struct(">HHI")  # type, flags and body size of a message
_COMMANDS: Final = range(0x0400, 0x0500)

Note = tuple[frozenset[int], bytes]
"""The possible types of a command that the SDK made, and the field for it."""


def field_of(line: str) -> bytes:
    """The field with this text; empty if the text is too long."""
    text = line.encode("utf-8", "replace")
    return b"" if len(text) > LINE_BYTES_MAX else _TAG_BYTES + varint(len(text)) + text


def line_in(payload: bytes) -> str | None:
    """The line in a command; None if it has none."""
    position = 0
    try:
        while position < len(payload):
            tag, position = read_varint(payload, position)
            if tag == _TAG:
                size, position = read_varint(payload, position)
                return payload[position : position + size].decode() if size <= LINE_BYTES_MAX else None
            position = skip_field(payload, position, tag)
    except (ProtocolViolation, IndexError, UnicodeDecodeError):
        return None
    return None


def line_start(payload: bytes) -> int | None:
    """Where the field begins in a command that ends with it; None if it has none. Text has no byte of the tag."""
    at = payload.rfind(_TAG_BYTES)
    if at < 0:
        return None
    try:
        size, position = read_varint(payload, at + len(_TAG_BYTES))
    except (ProtocolViolation, IndexError):
        return None
    return at if size <= LINE_BYTES_MAX and position + size == len(payload) else None


def with_lines(chunk: bytes, notes: Sequence[Note]) -> bytes:
    """A chunk of whole messages, with lines added to its commands.

    notes: of the calls that may have made them, in order; the first ones may be of a replay, which made none. Commands
    and notes are paired from the last one backwards. At the first command whose type its note does not have, pairing
    stops, and the earlier commands stay unchanged.
    """
    if len(notes) == 1 and len(chunk) >= _HEAD.size:  # a single command: most chunks
        (types, field), (type_id, flags, size) = notes[0], _HEAD.unpack_from(chunk)
        if type_id in types and _HEAD.size + size == len(chunk):
            return _HEAD.pack(type_id, flags, size + len(field)) + chunk[_HEAD.size :] + field if field else chunk
    heads = _heads(chunk)
    added: dict[int, bytes] = {}
    left = list(notes)
    for position, type_id, _, _ in reversed(heads):
        if type_id in _COMMANDS:
            if not left or type_id not in left[-1][0]:
                break
            added[position] = left.pop()[1]
    if not any(added.values()):
        return chunk
    parts: list[bytes] = []
    for position, type_id, flags, size in heads:
        body = position + _HEAD.size
        field = added.get(position, b"")
        parts += (_HEAD.pack(type_id, flags, size + len(field)), chunk[body : body + size], field)
    return b"".join(parts)


def _heads(chunk: bytes) -> list[tuple[int, int, int, int]]:
    """Position, type, flags and body size of each message; empty if the last message is not whole."""
    found, position, end = [], 0, len(chunk)
    while position + _HEAD.size <= end:
        type_id, flags, size = _HEAD.unpack_from(chunk, position)
        found.append((position, type_id, flags, size))
        position += _HEAD.size + size
    return found if position == end else []
