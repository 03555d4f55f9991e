"""What a chunk of messages holds, read by the messages' headers alone: for transports, which decode nothing.

Chunks begin with a message. A FrameDecoder gives the payloads too (framing.py) and codec.py.
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
    """How many messages begin in a chunk that begins with one; at least 1. Read by their headers alone."""
    position, end, count = 0, len(chunk), 0
    while end - position >= _HEAD_BYTES:
        position += _HEAD_BYTES + _unpack_head(chunk, position)[2]
        count += 1
    return count or 1


def split_messages(chunk: bytes, parts_max: int) -> list[bytes]:
    """A chunk that begins with a message as at most so many parts: one message each, and the last has all the rest."""
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


class Sent(NamedTuple):
    """What a chunk of an app's answer holds.

    command_count: each command says that a task of the handler went on.   holds_result: a step was done, and would be
    done again if this got lost.   ends_attempt: a terminal message, after which an SDK wants its request closed.
    """

    command_count: int
    holds_result: bool
    ends_attempt: bool


def read_sent(chunk: bytes) -> Sent:
    """What an app's chunk of whole frames holds. It is read by the heads of its messages alone.

    Bytes that are not whole frames, as middleware could send, never end the attempt. That only costs a round trip: the
    engine closes the request by itself on what it decodes.
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
    return Sent(commands, holds_result, has_ended and offset == end)
