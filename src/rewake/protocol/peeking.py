"""Facts of a chunk of messages, from the messages' heads alone: for transports, which decode nothing.

Chunks begin with a message. A FrameDecoder (framing.py) also gives the payloads.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

_unpack_head: Final = Struct(">BBxxI").unpack_from  # family, kind and body size of a message
_HEAD_BYTES: Final = 8
_CONTROL, _COMMAND = 0, 4  # families
_TERMINAL_FIRST, _TERMINAL_LAST = 1, 3  # Suspension, Error, End
_PROPOSE_RUN_COMPLETION: Final = 5


def message_count(chunk: bytes) -> int:
    """Count of messages that begin in a chunk; at least 1."""
    position, end, count = 0, len(chunk), 0
    while end - position >= _HEAD_BYTES:
        position += _HEAD_BYTES + _unpack_head(chunk, position)[2]
        count += 1
    return count or 1


def split_messages(chunk: bytes, parts_max: int) -> list[bytes]:
    """Split a chunk into at most `parts_max` parts: one message each, and all others in the last part."""
    parts: list[bytes] = []
    start, end = 0, len(chunk)
    while len(parts) < parts_max - 1 and end - start >= _HEAD_BYTES:
        stop = start + _HEAD_BYTES + _unpack_head(chunk, start)[2]
        if stop >= end:
            break
        parts.append(chunk[start:stop])
        start = stop
    parts.append(chunk[start:])
    return parts


class ChunkFacts(NamedTuple):
    """Facts of a chunk of an app's answer.

    command_count: each command shows that a task of the handler went on.   holds_result: it has a step's result; if it
    got lost the step would run again.   ends_attempt: it has a terminal message; the SDK's request should be closed.
    """

    command_count: int
    holds_result: bool
    ends_attempt: bool


def read_sent(chunk: bytes) -> ChunkFacts:
    """The facts of an app's chunk of whole frames.

    Bytes that are not whole frames, perhaps from middleware, never end the attempt. That only costs a round trip: the
    engine closes the request when it decodes the terminal message.
    """
    offset, end, commands, holds_result, has_ended = 0, len(chunk), 0, False, False
    while end - offset >= _HEAD_BYTES:
        family, kind, size = _unpack_head(chunk, offset)
        if family == _COMMAND:
            commands += 1
        elif family == _CONTROL:
            holds_result = holds_result or kind == _PROPOSE_RUN_COMPLETION
            has_ended = has_ended or _TERMINAL_FIRST <= kind <= _TERMINAL_LAST
        offset += _HEAD_BYTES + size
    return ChunkFacts(commands, holds_result, has_ended and offset == end)
